//! Functions of an extension of Python's that it does not export: by the tables in which it names them (`PyMethodDef`),
//! which are there whatever was stripped.
//!
//! In: a file, a method's name. Out: where in the file the functions of that name are.

use std::{error::Error, fs::File, path::Path};

use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, SectionKind,
    read::{ReadCache, elf::ElfFile64},
};

/// Sections above this size are left alone.
const MAX_SECTION: u64 = 64 << 20;

type Elf<'a> = ElfFile64<'a, object::Endianness, &'a ReadCache<File>>;

/// A method's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Method {
    /// Its address, as the file has it.
    pub address: u64,
    /// The offset at which to probe its beginning.
    pub probe: u64,
}

/// The functions of methods of that name.
pub(super) fn functions(path: &Path, name: &str) -> Result<Vec<Method>, Box<dyn Error>> {
    let cache = ReadCache::new(File::open(path)?);
    let elf = Elf::parse(&cache)?;
    let names = addresses(&elf, name)?;
    let mut file = File::open(path)?;
    let mut found = Vec::new();
    for address in entries(&elf, &names)? {
        let at = elf.segments().find_map(|segment| {
            let into = address.checked_sub(segment.address())?;
            let (start, size) = segment.file_range();
            (into < size).then_some(start + into)
        });
        if let Some(offset) = at {
            let probe = offset + super::cheap_start(&mut file, offset)?;
            found.push(Method { address, probe });
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Where the file has `name` as a string of its own.
fn addresses(elf: &Elf<'_>, name: &str) -> Result<Vec<u64>, Box<dyn Error>> {
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
fn entries(elf: &Elf<'_>, names: &[u64]) -> Result<Vec<u64>, Box<dyn Error>> {
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
    use std::{fs, hint::black_box};

    use super::*;

    /// As CPython's `PyMethodDef` begins.
    #[repr(C)]
    struct Method {
        name: &'static u8,
        function: extern "C" fn(u64) -> u64,
    }

    static TABLE: [Method; 1] = [Method { name: &b"\0method_of_a_test\0"[1], function }];

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
        let found = functions(Path::new("/proc/self/exe"), "method_of_a_test").unwrap();
        let expected = in_file(method.function as usize as u64).unwrap();
        assert!(found.len() == 1 && found.iter().all(|m| m.probe - expected <= 4), "{found:x?} {expected:x}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(functions(Path::new("/proc/self/exe"), "no_method_at_all").unwrap().is_empty());
        assert!(functions(Path::new("/proc/self/cmdline"), "get_native_id").is_err());
        assert!(functions(Path::new("/nowhere"), "get_native_id").is_err());
    }
}
