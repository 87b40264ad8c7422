//! An ELF file that a process has mapped: its symbols, its bytes by address, and what its pointers point to.
//!
//! In: a file. Out: addresses as the file has them; [`bias`] is what a process adds to them. Nothing is read but what
//! is asked for.

use std::{fs::File, path::Path};

use object::{
    Object as _, ObjectSegment as _, ObjectSymbol as _, ObjectSymbolTable as _, ReadCache, ReadRef as _,
    RelocationTarget, SymbolKind, read::elf::ElfFile64,
};

/// The file's tables.
pub type Elf<'a> = ElfFile64<'a, object::Endianness, &'a ReadCache<File>>;

/// A part of the file that is mapped as it is.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
}

/// A parsed file.
pub struct Binary<'a> {
    file: &'a ReadCache<File>,
    elf: Elf<'a>,
    segments: Vec<Segment>,
}

/// Opens a file for [`Binary::parse`]; `None` if it cannot be read or has no length.
pub fn open(path: &Path) -> Option<ReadCache<File>> {
    let cache = ReadCache::new(File::open(path).ok()?);
    (&cache).len().ok().filter(|&length| length > 0)?;
    Some(cache)
}

impl<'a> Binary<'a> {
    /// `None` if it is no 64-bit ELF file.
    pub fn parse(file: &'a ReadCache<File>) -> Option<Self> {
        let elf = ElfFile64::parse(file).ok()?;
        let segment = |s: object::read::elf::ElfSegment64<'a, '_, object::Endianness, _>| {
            let (offset, size) = s.file_range();
            Segment { address: s.address(), offset, size }
        };
        let segments = elf.segments().map(segment).collect();
        Some(Self { file, elf, segments })
    }

    /// The addresses of these symbols, as the file exports them, or has them otherwise; `None` for those it has not.
    pub fn symbols<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        let mut found = [None; N];
        for symbol in self.elf.dynamic_symbols().chain(self.elf.symbols()).filter(|s| s.is_definition()) {
            let Ok(name) = symbol.name() else { continue };
            for (_, slot) in names.iter().zip(&mut found).filter(|(wanted, _)| **wanted == name) {
                slot.get_or_insert(symbol.address());
            }
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        found
    }

    /// The functions that it exports whose names begin with one of these, and their addresses.
    pub fn exported(&self, prefixes: &[&str]) -> Vec<(String, u64)> {
        let functions =
            self.elf.dynamic_symbols().filter(|s| s.is_definition() && s.kind() == SymbolKind::Text);
        let named = functions.filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol.address())));
        named.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
    }

    /// The file as it is.
    pub fn elf(&self) -> &Elf<'a> {
        &self.elf
    }

    /// Where in the file the byte of this address is.
    pub fn offset(&self, address: u64) -> Option<u64> {
        let (segment, into) = self.place(address)?;
        segment.offset.checked_add(into)
    }

    fn place(&self, address: u64) -> Option<(&Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let into = address.checked_sub(segment.address).filter(|into| *into < segment.size)?;
            Some((segment, into))
        })
    }

    /// At most `most` bytes from an address on; fewer at the end of what is mapped.
    pub fn bytes(&self, address: u64, most: u64) -> Option<&'a [u8]> {
        let (segment, into) = self.place(address)?;
        let size = most.min(segment.size - into);
        self.file.read_bytes_at(segment.offset.checked_add(into)?, size).ok()
    }

    /// The number at an address, as the file has it.
    pub fn word(&self, address: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(address, 8)?.try_into().ok()?))
    }

    /// What the pointer at this address will point to when the file is loaded.
    pub fn pointer(&self, address: u64) -> Option<u64> {
        let relocated = self.elf.dynamic_relocations().and_then(|mut all| all.find(|(at, _)| *at == address));
        let Some((_, relocation)) = relocated else {
            // Loaded where it was linked for, or relocated in place.
            return self.word(address).filter(|word| *word != 0);
        };
        let base = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = self.elf.dynamic_symbol_table()?.symbol_by_index(index).ok()?;
                symbol.is_definition().then(|| symbol.address())?
            }
            _ => 0,
        };
        base.checked_add_signed(relocation.addend())
    }

    /// What a process that has mapped it adds to its addresses; `maps` is what `/proc` says, `path` its name there.
    pub fn bias(&self, maps: &str, path: &str) -> Option<u64> {
        if self.elf.kind() == object::ObjectKind::Executable {
            return Some(0);
        }
        bias(maps, path, self.segments.iter().map(|s| (s.address, s.offset)))
    }
}

/// The lines of `maps` that are of this file say where its parts, of these addresses and offsets, came to lie.
fn bias(maps: &str, path: &str, segments: impl Iterator<Item = (u64, u64)>) -> Option<u64> {
    const PAGE: u64 = !0xfff;
    let mapped: Vec<(u64, u64)> = maps.lines().filter_map(|line| mapping(line, path)).collect();
    segments.into_iter().find_map(|(address, offset)| {
        let (start, _) = mapped.iter().find(|(_, at)| *at == offset & PAGE)?;
        start.checked_sub(address & PAGE)
    })
}

/// Where a line of `maps` begins, and where in the file, if it is of this file.
fn mapping(line: &str, path: &str) -> Option<(u64, u64)> {
    // address perms offset dev inode path; only paths hold a slash.
    let found = line.find('/').and_then(|at| line.get(at..))?;
    let mut words = line.split_ascii_whitespace();
    let (start, _) = words.next()?.split_once('-')?;
    let offset = words.nth(1)?;
    (found == path)
        .then(|| Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(offset, 16).ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000100000 r--p 00000000 fe:00 12  /usr/lib/libpython3.12.so.1.0
7f0000100000-7f0000300000 r-xp 00100000 fe:00 12  /usr/lib/libpython3.12.so.1.0
7f0000300000-7f0000400000 rw-p 002ff000 fe:00 12  /usr/lib/libpython3.12.so.1.0
7f0000400000-7f0000500000 r-xp 00000000 fe:00 13  /usr/lib/libpython3.12.so.1.0 (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]
";

    #[test]
    fn a_bias_by_any_part() {
        let path = "/usr/lib/libpython3.12.so.1.0";
        let all = [(0, 0), (0x10_0000, 0x10_0000), (0x30_1e20, 0x2f_fe20)];
        assert_eq!(bias(MAPS, path, all.into_iter()), Some(0x7f00_0000_0000));
        // As a linker lays out one that is not aligned to pages in the file.
        assert_eq!(bias(MAPS, path, [(0x30_0e20, 0x2f_fe20)].into_iter()), Some(0x7f00_0000_0000));
        assert_eq!(bias(MAPS, path, [(0, 0x4000)].into_iter()), None);
        assert_eq!(bias(MAPS, "/usr/lib/libpython3.so", all.into_iter()), None);
        assert_eq!(bias("nonsense /x\n-- /x", "/x", all.into_iter()), None);
    }

    #[test]
    fn this_very_program() {
        let path = std::env::current_exe().unwrap();
        let file = open(&path).unwrap();
        let binary = Binary::parse(&file).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let bias = binary.bias(&maps, path.to_str().unwrap()).unwrap();
        let function: fn() = this_very_program;
        let address = (function as usize as u64).checked_sub(bias).unwrap();
        assert!(binary.offset(address).is_some() && binary.bytes(address, 8).is_some_and(|b| b.len() == 8));
        let [main, none] = binary.symbols(["main", "no such symbol"]);
        assert!(main.is_some() && none.is_none());
    }

    #[test]
    fn no_file_of_this_kind() {
        assert!(open(Path::new("/nowhere")).is_none());
        assert!(open(Path::new("/dev/zero")).is_none());
        let text = open(Path::new("/proc/self/cmdline"));
        assert!(text.is_none_or(|file| Binary::parse(&file).is_none()));
    }
}
