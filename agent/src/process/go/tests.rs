//! Go programs' own tables, from programs of several versions and from what is none.

use std::io::Write as _;

use super::*;

const BASE: u64 = 0x40_0000;
/// Where the functions begin, and what they are called; the last is a wrapper of the one before, for assembly.
const TEXT: u64 = BASE + 0x1000;
const FUNCTIONS: [(&str, u32); 4] =
    [("runtime.main", 0), ("net/http.(*persistConn).roundTrip", 16), ("main.main", 48), ("main.main", 60)];
const CODE: usize = 64;

/// How a linker of some version lays a program out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Up to Go 1.25.
    Header,
    /// Since Go 1.26.
    Module,
    /// The same, position-independent, linked by another linker than Go's.
    Relocated,
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The table of [`FUNCTIONS`].
fn functions(layout: Layout) -> Vec<u8> {
    let mut names = Vec::new();
    let mut entries = Vec::new();
    let mut details = Vec::new();
    let first_detail = (FUNCTIONS.len() + 1) * 8;
    for (name, start) in FUNCTIONS {
        entries.extend(start.to_le_bytes());
        entries.extend(((first_detail + details.len()) as u32).to_le_bytes());
        details.extend(start.to_le_bytes());
        details.extend((names.len() as u32).to_le_bytes());
        names.extend(name.bytes().chain([0]));
    }
    entries.extend(words(&[CODE as u64]));
    let text = if layout == Layout::Header { TEXT } else { 0 };
    let names_at = 8 + 8 * 8;
    let names_end = names_at + names.len() as u64;
    let head =
        words(&[FUNCTIONS.len() as u64, 0, text, names_at, names_end, names_end, names_end, names_end]);
    [vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], head, names, entries, details].concat()
}

fn build_information(version: &str) -> Vec<u8> {
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    info.push(version.len() as u8);
    info.extend(version.bytes());
    info.resize(info.len() + 8, 0);
    info
}

/// An executable file of sections and one segment of code.
fn program(layout: Layout, version: &str) -> Vec<u8> {
    let table_at = TEXT + 0x100;
    let module_at = table_at + 0x400;
    let mut module = vec![0; MODULE_TEXT as usize + 8];
    let mut relocations = Vec::new();
    let mut pointer = |at: u64, value: u64| {
        if layout == Layout::Relocated {
            relocations.extend(words(&[module_at + at, 8, value]));
        } else {
            let at = at as usize;
            module.get_mut(at..at + 8).unwrap().copy_from_slice(&value.to_le_bytes());
        }
    };
    pointer(0, table_at);
    pointer(MODULE_TEXT, TEXT);
    let sections = [
        (".text", TEXT, (0..CODE as u8).collect()),
        (".gopclntab", table_at, functions(layout)),
        (".go.module", module_at, module),
        (".go.buildinfo", module_at + 0x200, build_information(version)),
        (".rela.dyn", module_at + 0x300, relocations),
    ];
    elf(layout, &sections)
}

fn elf(layout: Layout, sections: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let mut strings = vec![0];
    let mut headers = vec![0; 64];
    let mut section = |name: &str, kind: u32, address: u64, offset: u64, size: usize| {
        headers.extend((strings.len() as u32).to_le_bytes());
        headers.extend(kind.to_le_bytes());
        headers.extend(words(&[0, address, offset, size as u64, 0, 1, 0]));
        strings.extend(name.bytes().chain([0]));
    };
    for (name, address, content) in sections {
        section(name, 1, *address, address - BASE, content.len());
    }
    let strings_at = 0x2000;
    section(".shstrtab", 3, 0, strings_at, 100);
    strings.resize(100, 0);
    let (kind, count) = (if layout == Layout::Relocated { 3u16 } else { 2 }, sections.len() as u16 + 2);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([kind.to_le_bytes(), 62u16.to_le_bytes()].concat());
    file.extend(1u32.to_le_bytes());
    file.extend(words(&[TEXT, 64, strings_at + 100]));
    file.extend(0u32.to_le_bytes());
    file.extend([64, 56, 1, 64, count, count - 1].into_iter().flat_map(u16::to_le_bytes));
    file.extend([1u32.to_le_bytes(), 5u32.to_le_bytes()].concat());
    file.extend(words(&[TEXT - BASE, TEXT, TEXT, CODE as u64, CODE as u64, 0x1000]));
    file.resize(strings_at as usize, 0);
    for (_, address, content) in sections {
        let at = (address - BASE) as usize;
        file.get_mut(at..at + content.len()).unwrap().copy_from_slice(content);
    }
    file.extend(strings);
    file.extend(headers);
    file
}

fn read(bytes: &[u8]) -> Result<GoProgram, GoError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    GoProgram::read(file.path())
}

#[test]
fn functions_by_their_names() {
    for layout in [Layout::Header, Layout::Module, Layout::Relocated] {
        let mut program = read(&program(layout, "go1.26.8")).unwrap();
        let found = program.functions(&["main.main", "main.mai", "net/http.(*persistConn).roundTrip"]);
        let function = |start: u64, end: u8| {
            let code = (start as u8..end).collect();
            Some(Function { offset: TEXT - BASE + start, address: TEXT + start, code })
        };
        assert_eq!(found, [function(48, 60), None, function(16, 48)]);
    }
}

#[test]
fn versions() {
    let told = [
        ("go1.18", Some(18)),
        ("go1.26.8", Some(26)),
        ("go1.27rc1", Some(27)),
        ("go1.24.4 X:boringcrypto", Some(24)),
        ("devel go1.28-7c2b69080a", None),
        ("go2", None),
        ("go1.", None),
    ];
    for (version, minor) in told {
        let program = read(&program(Layout::Module, version)).unwrap();
        assert_eq!(program.minor(), minor, "{version}");
    }
    let program = read(&program(Layout::Module, "go1.24.4 X:boringcrypto")).unwrap();
    assert_eq!(program.version(), "go1.24.4");
}

#[test]
fn what_is_no_go_program_says_so() {
    let own = GoProgram::read(&std::env::current_exe().unwrap()).unwrap_err();
    assert_eq!(own.to_string(), "its executable has no build information that can be read");
    for path in ["/proc/self/cmdline", "/dev/zero", "/nowhere", "/"] {
        assert!(GoProgram::read(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn broken_files_do_no_harm() {
    let file = program(Layout::Relocated, "go1.26.8");
    let ask = |bytes: &[u8]| {
        if let Ok(mut program) = read(bytes) {
            let _ = program.functions(&["main.main"]);
        }
    };
    for length in (0..file.len()).step_by(7) {
        ask(file.get(..length).unwrap());
    }
    // Where there is anything.
    for at in (0..file.len()).filter(|at| file.get(*at) != Some(&0)) {
        for mask in [0xff, 0x80] {
            let mut broken = file.clone();
            *broken.get_mut(at).unwrap() ^= mask;
            ask(&broken);
        }
    }
}
