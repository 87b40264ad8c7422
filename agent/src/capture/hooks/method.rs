//! Functions of an extension of Python's that it does not export: by the tables in which it names them (`PyMethodDef`),
//! which are there whatever was stripped.
//!
//! In: a file, a method's name. Out: where in the file the functions of that name are.

use object::{Object as _, ObjectSection as _, SectionKind};

use crate::process::binary::{Binary, Elf};

/// Sections above this size are left alone.
const MAX_SECTION: u64 = 64 << 20;

/// A method's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Method {
    /// Its address, as the file has it.
    pub address: u64,
    /// The offset at which to probe its beginning.
    pub probe: u64,
}

/// The functions of methods of that name; none if the file cannot be read.
pub(super) fn functions(binary: &Binary<'_>, name: &str) -> Vec<Method> {
    let addresses = addresses(binary.elf(), name).and_then(|names| entries(binary.elf(), &names));
    let addresses = addresses.unwrap_or_default().into_iter();
    let method = |address: u64| Some(Method { address, probe: super::probe(binary, address)? });
    let mut found: Vec<Method> = addresses.filter_map(method).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Where the file has `name` as a string of its own.
fn addresses(elf: &Elf<'_>, name: &str) -> object::Result<Vec<u64>> {
    let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
    let mut found = Vec::new();
    let kinds = [SectionKind::ReadOnlyData, SectionKind::ReadOnlyString];
    for section in elf.sections().filter(|s| kinds.contains(&s.kind()) && s.size() <= MAX_SECTION) {
        let data = section.data()?;
        let places = data.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
        found.extend(places.filter_map(|(at, _)| section.address().checked_add(at as u64 + 1)));
    }
    Ok(found)
}

/// The word after each that names one of `names`: the method's function. Words are in the file as they are, or the loader
/// puts them there.
fn entries(elf: &Elf<'_>, names: &[u64]) -> object::Result<Vec<u64>> {
    let tables = [SectionKind::Data, SectionKind::ReadOnlyDataWithRel];
    let mut found = Vec::new();
    for section in elf.sections().filter(|s| tables.contains(&s.kind()) && s.size() <= MAX_SECTION) {
        let mut words = section.data()?.chunks_exact(8).map(word).peekable();
        while let Some(one) = words.next() {
            if names.contains(&one) {
                found.extend(words.peek().copied());
            }
        }
    }
    let relocated = || elf.dynamic_relocations().into_iter().flatten();
    let value = |relocation: &object::Relocation| u64::try_from(relocation.addend()).unwrap_or_default();
    let places: Vec<u64> =
        relocated().filter(|(_, r)| names.contains(&value(r))).map(|(at, _)| at.saturating_add(8)).collect();
    if !places.is_empty() {
        found.extend(relocated().filter(|(at, _)| places.contains(at)).map(|(_, r)| value(&r)));
    }
    found.retain(|address| *address != 0);
    Ok(found)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box, path::Path};

    use super::*;
    use crate::process::binary::open;

    /// The methods of that name in a file.
    fn found(path: &str, name: &str) -> Option<Vec<Method>> {
        let file = open(Path::new(path))?;
        Some(functions(&Binary::parse(&file)?, name))
    }

    /// As CPython's `PyMethodDef` begins.
    #[repr(C)]
    struct Definition {
        name: &'static u8,
        function: extern "C" fn(u64) -> u64,
    }

    static TABLE: [Definition; 1] = [Definition { name: &b"\0method_of_a_test\0"[1], function }];

    extern "C" fn function(word: u64) -> u64 {
        black_box(word) ^ 0x5a5a
    }

    /// Where in this program's file `address` is.
    fn in_file(address: u64) -> Option<u64> {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (range, _, offset) = (words.next()?, words.next()?, words.next()?);
            let (start, end) = range.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let into = address.checked_sub(number(start)?)?;
            (address < number(end)?).then_some(number(offset)? + into)
        })
    }

    #[test]
    fn a_method_of_this_program() {
        let method = black_box(&TABLE).first().unwrap();
        black_box(method.name);
        let found = found("/proc/self/exe", "method_of_a_test").unwrap();
        let expected = in_file(method.function as usize as u64).unwrap();
        assert!(found.len() == 1 && found.iter().all(|m| m.probe - expected <= 4), "{found:x?} {expected:x}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(found("/proc/self/exe", "no_method_at_all"), Some(Vec::new()));
        assert_eq!(found("/proc/self/cmdline", "put"), None);
    }
}
