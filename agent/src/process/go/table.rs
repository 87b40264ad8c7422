//! Go's table of functions, `.gopclntab`, as Go 1.18 and later write it: a header, the functions' names one after the
//! other, and for each function, in the order of their addresses, where it begins and where its name is.

use super::pieces::Pieces;

/// Where the header has the address of the first function, in versions that say it.
pub(super) const TEXT: u64 = 8 + 2 * 8;
/// What it begins with: Go 1.18 and 1.19, Go 1.20 and later.
const MAGIC: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
/// Little-endian machines with pointers of eight bytes; the byte before is the shortest instruction's length.
const POINTER: u8 = 8;
/// Tables above this size are left alone: they are no program's that is meant to be run.
const MAX_TABLE: u64 = 512 << 20;
/// An entry: two numbers of four bytes, from the first function and from the entries' beginning.
const ENTRY: u64 = 8;

/// Where the parts are, by their offsets in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    text: u64,
    names: u64,
    names_end: u64,
    entries: u64,
    count: u64,
    end: u64,
}

impl Table {
    /// Reads the header at `offset`.
    pub(super) fn read(pieces: &mut Pieces, offset: u64, size: u64) -> Option<Self> {
        let end = offset.checked_add(size.min(MAX_TABLE))?;
        let head = pieces.copy(offset, 8)?;
        let [a, b, c, d, 0, 0, _, POINTER] = *head.as_slice() else { return None };
        if !MAGIC.contains(&u32::from_le_bytes([a, b, c, d])) {
            return None;
        }
        let mut word = |index: u64| pieces.u64(offset.checked_add(8 * index)?);
        let (count, names, names_end, entries) = (word(1)?, word(4)?, word(5)?, word(8)?);
        let within = |into: u64| offset.checked_add(into).filter(|at| *at <= end);
        let table = Self {
            text: 0,
            names: within(names)?,
            names_end: within(names_end)?,
            entries: within(entries)?,
            count,
            end,
        };
        // The last entry is where the last function ends.
        let last = count.checked_add(1)?.checked_mul(ENTRY)?.checked_add(table.entries)?;
        (last <= end).then_some(table)
    }

    /// The same, of functions whose first is at this address.
    pub(super) fn based_at(self, text: u64) -> Self {
        Self { text, ..self }
    }

    /// Address and size of the functions of these names. What assembly calls has a wrapper of the same name, which changes
    /// the calling convention and jumps on: the longer one is meant.
    pub(super) fn find(&self, pieces: &mut Pieces, names: &[&str]) -> Option<Vec<Option<(u64, u64)>>> {
        let wanted = self.named(pieces, names)?;
        let mut found = vec![None; names.len()];
        let mut details = pieces.another()?;
        for index in 0..self.count {
            let at = self.entries + index * ENTRY;
            let start = pieces.u32(at)?;
            let detail = self.entries.checked_add(u64::from(pieces.u32(at + 4)?))?;
            if detail >= self.end {
                return None;
            }
            let name = details.u32(detail.checked_add(4)?)?;
            let Some(which) = wanted.iter().position(|w| w.contains(&name)) else { continue };
            let size = u64::from(pieces.u32(at + ENTRY)?.checked_sub(start)?);
            let address = self.text.checked_add(u64::from(start))?;
            if let Some(found) = found.get_mut(which)
                && found.is_none_or(|(_, known)| size > known)
            {
                *found = Some((address, size));
            }
        }
        Some(found)
    }

    /// Where each of these names is among the names; some are there twice.
    fn named(&self, pieces: &mut Pieces, names: &[&str]) -> Option<Vec<Vec<u32>>> {
        let mut found = vec![Vec::new(); names.len()];
        let (mut at, mut cut) = (self.names, false);
        while at < self.names_end {
            let rest = pieces.from(at).filter(|rest| !rest.is_empty())?;
            let end = memchr::memchr(0, rest);
            let name = rest.get(..end.unwrap_or(rest.len()))?;
            // A name that is longer than what is there together is none of those.
            let which = names.iter().position(|n| n.as_bytes() == name).filter(|_| !cut && end.is_some());
            if let Some(places) = which.and_then(|which| found.get_mut(which)) {
                places.push(u32::try_from(at - self.names).ok()?);
            }
            cut = end.is_none();
            at += name.len() as u64 + u64::from(!cut);
        }
        Some(found)
    }
}
