//! What a Go executable says of itself: which Go compiled it, and where its functions are. Stripped ones say it too:
//! the runtime needs its own tables for stack traces.
//!
//! In: a file. Out: [`GoProgram`]. The tables are read piece by piece: those of large programs have tens of megabytes.

mod pieces;
mod table;

use std::{fs::File, path::Path};

use object::{
    Object as _, ObjectKind, ObjectSection as _, ObjectSegment as _, ReadCache, ReadRef as _, SegmentFlags,
    elf, read::elf::ElfFile64,
};

use pieces::Pieces;
use table::Table;

/// A function's code in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it begins in the file.
    pub offset: u64,
    /// Where it begins in memory, before it is relocated.
    pub address: u64,
    /// Its instructions.
    pub code: Vec<u8>,
}

/// A Go executable.
#[derive(Debug)]
pub struct GoProgram {
    pieces: Pieces,
    /// As `go version` tells it.
    version: String,
    table: Table,
    /// Executable memory: address, offset in the file, size.
    code: Vec<(u64, u64, u64)>,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum GoError {
    /// The file cannot be read.
    #[error("its executable cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is no ELF file for a 64-bit machine.
    #[error("its executable cannot be read: {0}")]
    Elf(#[from] object::Error),
    /// It lacks a section or what should be in it.
    #[error("its executable has no {0} that can be read")]
    Lacks(&'static str),
}

/// Most bytes of a function's code.
const MAX_CODE: u64 = 64 << 10;
/// `.go.buildinfo` begins so; then come a byte that is no longer used and one of flags.
const BUILD_INFO: &[u8] = b"\xff Go buildinf:";
const BUILD_INFO_FLAGS: u64 = 15;
/// Flag: what follows the header is the version itself, no pointer to it. So it is since Go 1.18.
const INLINE: u8 = 2;
const BUILD_INFO_HEADER: u64 = 32;
/// Where `runtime.moduledata` keeps the address at which the functions begin.
const MODULE_TEXT: u64 = 22 * 8;
/// Size of a relocation with addend.
const RELA: u64 = 24;

/// A section: address, offset in the file, size.
#[derive(Clone, Copy)]
struct Section {
    address: u64,
    offset: u64,
    size: u64,
}

impl GoProgram {
    /// Reads the executable at `path`.
    ///
    /// # Errors
    /// [`GoError`], also of a program of a Go before 1.18.
    pub fn read(path: &Path) -> Result<Self, GoError> {
        let cache = ReadCache::new(File::open(path)?);
        // A device or a pipe has no length, and no tables.
        (&cache).len().ok().filter(|&length| length > 0).ok_or(GoError::Lacks("header"))?;
        let elf = ElfFile64::<object::Endianness, _>::parse(&cache)?;
        let mut pieces = Pieces::new(File::open(path)?);
        let version = section(&elf, ".go.buildinfo").and_then(|info| version(&mut pieces, info));
        let version = version.ok_or(GoError::Lacks("build information"))?;
        let at = section(&elf, ".gopclntab").or_else(|| section(&elf, ".data.rel.ro.gopclntab"));
        let at = at.ok_or(GoError::Lacks("table of functions"))?;
        let table =
            Table::read(&mut pieces, at.offset, at.size).ok_or(GoError::Lacks("table of functions"))?;
        let text = first_function(&elf, &mut pieces, at).ok_or(GoError::Lacks("beginning of its code"))?;
        let executable = |flags| matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & elf::PF_X != 0);
        let code = elf.segments().filter(|s| executable(s.flags()));
        let code = code.map(|s| (s.address(), s.file_range().0, s.file_range().1)).collect();
        Ok(Self { pieces, version, table: table.based_at(text), code })
    }

    /// The version, as `go version` tells it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `26` of Go 1.26, if it is a release or on the way to one.
    pub fn minor(&self) -> Option<u32> {
        let rest = self.version.strip_prefix("go1.")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits)?.parse().ok()
    }

    /// The functions of these names, `None` for each that the program does not have.
    pub fn functions(&mut self, names: &[&str]) -> Vec<Option<Function>> {
        let found = self.table.find(&mut self.pieces, names).unwrap_or_default();
        let mut found = found.into_iter();
        names
            .iter()
            .map(|_| found.next().flatten().and_then(|(address, size)| self.function(address, size)))
            .collect()
    }

    fn function(&mut self, address: u64, size: u64) -> Option<Function> {
        let within = |(start, _, length): &&(u64, u64, u64)| {
            let end = address.checked_add(size);
            address >= *start && end.is_some_and(|end| end - start <= *length)
        };
        let (start, offset, _) = self.code.iter().find(within)?;
        let offset = offset.checked_add(address - start)?;
        let code = self.pieces.copy(offset, size.min(MAX_CODE))?;
        Some(Function { offset, address, code })
    }
}

type Elf<'a> = ElfFile64<'a, object::Endianness, &'a ReadCache<File>>;

fn section(elf: &Elf<'_>, name: &str) -> Option<Section> {
    let section = elf.section_by_name(name)?;
    let (offset, size) = section.file_range()?;
    Some(Section { address: section.address(), offset, size })
}

fn version(pieces: &mut Pieces, info: Section) -> Option<String> {
    let header = pieces.copy(info.offset, BUILD_INFO_HEADER + 2)?;
    if !header.starts_with(BUILD_INFO) || header.get(BUILD_INFO_FLAGS as usize)? & INLINE == 0 {
        return None;
    }
    // A number of one byte, or of two: no version is longer.
    let [.., low, high] = header.as_slice() else { return None };
    let (length, skip) = match (low & 0x80, high) {
        (0, _) => (u64::from(*low), 1),
        (_, 0..0x80) => (u64::from(low & 0x7f) | u64::from(*high) << 7, 2),
        _ => return None,
    };
    let text = pieces.copy(info.offset.checked_add(BUILD_INFO_HEADER + skip)?, length)?;
    // After a blank come experiments, as in `go1.26.1 X:nodwarf5`.
    let text = String::from_utf8(text).ok()?;
    Some(text.split(' ').next().filter(|v| *v != "devel").unwrap_or(&text).to_owned())
}

/// The address of the first function. Up to Go 1.25 the table of functions has it; since then only the module does.
fn first_function(elf: &Elf<'_>, pieces: &mut Pieces, table: Section) -> Option<u64> {
    let text = pointer(
        elf,
        pieces,
        table.address.checked_add(table::TEXT)?,
        table.offset.checked_add(table::TEXT)?,
    )?;
    if text != 0 {
        return Some(text);
    }
    let module = section(elf, ".go.module")?;
    // It begins with the address of the table.
    if pointer(elf, pieces, module.address, module.offset)? != table.address {
        return None;
    }
    let text = pointer(
        elf,
        pieces,
        module.address.checked_add(MODULE_TEXT)?,
        module.offset.checked_add(MODULE_TEXT)?,
    )?;
    (text != 0).then_some(text)
}

/// The pointer at `address`, found at `offset` of the file. In a position-independent executable its value may stand in
/// the relocation alone.
fn pointer(elf: &Elf<'_>, pieces: &mut Pieces, address: u64, offset: u64) -> Option<u64> {
    let value = pieces.u64(offset)?;
    if value != 0 || elf.kind() != ObjectKind::Dynamic {
        return Some(value);
    }
    let relocations = elf.sections().filter(|s| s.name().is_ok_and(|name| name.starts_with(".rela")));
    for section in relocations {
        let (start, size) = section.file_range()?;
        for entry in 0..size / RELA {
            let at = start.checked_add(entry * RELA)?;
            if pieces.u64(at)? == address {
                return pieces.u64(at.checked_add(16)?);
            }
        }
    }
    Some(0)
}

#[cfg(test)]
mod tests;
