//! The few questions asked of an executable file: which sections it has and which symbols it exports.
//!
//! Only the tables are read, never the whole file: executables of 100 MB are common.

use std::{fs::File, path::Path};

use object::{Object, ObjectSection, ReadCache, ReadRef};

/// Tables of names above this size are left alone.
const MAX_NAMES: u64 = 64 << 20;
/// Sections that only Go's linker writes; position-independent executables have the last.
const GO: [&str; 3] = [".go.buildinfo", ".gopclntab", ".data.rel.ro.gopclntab"];

/// A runtime that was compiled into an executable of any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Embedded {
    Node,
    Python,
    Dotnet,
}

/// Whether the file at `path` is a Go executable. `false` if it cannot be read or is no ELF file.
pub(super) fn is_go(path: &Path) -> bool {
    read(path, |file| GO.iter().any(|name| file.section_by_name(name).is_some())).unwrap_or(false)
}

/// The runtime whose entry point is among the dynamic symbols of the executable at `path`.
pub(super) fn embedded(path: &Path) -> Option<Embedded> {
    read(path, |file| {
        let names = file.section_by_name(".dynstr").filter(|section| section.size() <= MAX_NAMES)?;
        // One read of all names: asking for symbols one by one takes a third of a second on Node.
        names.data().ok()?.split(|&b| b == 0).find_map(|name| match name {
            b"Py_BytesMain" | b"Py_RunMain" => Some(Embedded::Python),
            b"DotNetRuntimeInfo" => Some(Embedded::Dotnet),
            // node::Start, with whatever parameters a version gives it.
            name if name.starts_with(b"_ZN4node5StartE") => Some(Embedded::Node),
            _ => None,
        })
    })?
}

/// Whether `name` is among the dynamic symbols of the file at `path`; `None` where that cannot be told.
pub(super) fn exports(path: &Path, name: &[u8]) -> Option<bool> {
    read(path, |file| {
        let names = file.section_by_name(".dynstr").filter(|section| section.size() <= MAX_NAMES)?;
        Some(names.data().ok()?.split(|&b| b == 0).any(|one| one == name))
    })?
}

fn read<T>(path: &Path, ask: impl FnOnce(&object::File<'_, &ReadCache<File>>) -> T) -> Option<T> {
    let cache = ReadCache::new(File::open(path).ok()?);
    // A device or a pipe has no length, and no tables.
    (&cache).len().ok().filter(|&length| length > 0)?;
    object::File::parse(&cache).ok().map(|file| ask(&file))
}

/// Files for tests.
#[cfg(test)]
pub(super) mod fixture {
    /// A little-endian 64-bit ELF file of named sections, all with the same content.
    pub(in crate::process) fn with_sections(names: &[&str], content: &[u8]) -> Vec<u8> {
        const HEADER: usize = 64;
        let mut strings = vec![0];
        let mut section = |name: &str, kind: u32, offset: usize, size: usize| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(name.bytes().chain([0]));
            let mut header = [at.to_le_bytes(), kind.to_le_bytes()].concat();
            for word in [0, 0, offset, size, 0, 1, 0] {
                header.extend((word as u64).to_le_bytes());
            }
            header
        };
        let count = names.len() + 2;
        let content_at = HEADER + count * HEADER;
        let mut table = vec![0; HEADER];
        table.extend(names.iter().flat_map(|name| section(name, 1, content_at, content.len())));
        let strings_at = content_at + content.len();
        let size = 1 + names.iter().map(|n| n.len() + 1).sum::<usize>() + ".shstrtab".len() + 1;
        table.extend(section(".shstrtab", 3, strings_at, size));
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend([2u16, 62].into_iter().flat_map(u16::to_le_bytes));
        file.extend(1u32.to_le_bytes());
        file.extend([0u64, 0, HEADER as u64].into_iter().flat_map(u64::to_le_bytes));
        file.extend(0u32.to_le_bytes());
        let halves = [HEADER, 0, 0, HEADER, count, count - 1].map(|n| u16::try_from(n).unwrap());
        file.extend(halves.into_iter().flat_map(u16::to_le_bytes));
        [file, table, content.to_vec(), strings].concat()
    }

    /// A file whose table of dynamic names holds `name`.
    pub(in crate::process) fn with_dynamic_names(name: &str) -> Vec<u8> {
        with_sections(&[".text", ".dynstr"], format!("\0{name}\0").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sections(names: &[&str]) -> Vec<u8> {
        fixture::with_sections(names, b"\0Py_RunMain\0")
    }

    #[test]
    fn this_test_is_native() {
        let exe = std::env::current_exe().unwrap();
        assert_eq!((is_go(&exe), embedded(&exe)), (false, None));
    }

    fn ask(bytes: &[u8]) -> (bool, Option<Embedded>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        (is_go(file.path()), embedded(file.path()))
    }

    #[test]
    fn go_by_its_sections() {
        for name in GO {
            assert_eq!(ask(&with_sections(&[".text", name])), (true, None), "{name}");
        }
        assert_eq!(ask(&with_sections(&[".text", ".note.go"])), (false, None));
    }

    #[test]
    fn embedded_runtimes_by_their_symbols() {
        let content = with_sections(&[".text", ".dynstr"]);
        assert_eq!(ask(&content), (false, Some(Embedded::Python)));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        assert_eq!(exports(file.path(), b"Py_RunMain"), Some(true));
        assert_eq!(exports(file.path(), b"PyInit__asyncio"), Some(false));
        std::fs::write(file.path(), with_sections(&[".text"])).unwrap();
        assert_eq!(exports(file.path(), b"Py_RunMain"), None);
    }

    #[test]
    fn broken_files_do_no_harm() {
        let file = with_sections(&[".go.buildinfo", ".dynstr"]);
        for length in 0..file.len() {
            let _ = ask(file.get(..length).unwrap());
        }
        for at in 0..file.len() {
            let mut broken = file.clone();
            *broken.get_mut(at).unwrap() ^= 0xff;
            let _ = ask(&broken);
        }
    }

    #[test]
    fn not_an_elf_file() {
        for path in ["/proc/self/cmdline", "/dev/zero", "/nowhere", "/"] {
            assert_eq!((is_go(Path::new(path)), embedded(Path::new(path))), (false, None), "{path}");
        }
    }
}
