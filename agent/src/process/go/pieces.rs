//! A file read in pieces, of which one is held.

use std::{fs::File, os::unix::fs::FileExt as _};

/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// So many bytes are there together, unless the file ends before.
pub(super) const WHOLE: usize = 4 << 10;

/// A file.
#[derive(Debug)]
pub(super) struct Pieces {
    file: File,
    start: u64,
    held: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(file: File) -> Self {
        Self { file, start: 0, held: Vec::new() }
    }

    /// Another reader of the same file, with a piece of its own.
    pub(super) fn another(&self) -> Option<Self> {
        Some(Self::new(self.file.try_clone().ok()?))
    }

    /// What follows `at`: [`WHOLE`] bytes or more, less only where the file ends.
    pub(super) fn from(&mut self, at: u64) -> Option<&[u8]> {
        let ahead =
            at.checked_sub(self.start).map_or(0, |into| (self.held.len() as u64).saturating_sub(into));
        if ahead < WHOLE as u64 {
            self.held.resize(PIECE, 0);
            let mut got = 0;
            while got < PIECE {
                match self.file.read_at(self.held.get_mut(got..)?, at.checked_add(got as u64)?) {
                    Ok(0) => break,
                    Ok(more) => got += more,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => return None,
                }
            }
            self.held.truncate(got);
            self.start = at;
        }
        self.held.get(usize::try_from(at - self.start).ok()?..)
    }

    pub(super) fn u32(&mut self, at: u64) -> Option<u32> {
        self.from(at)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self, at: u64) -> Option<u64> {
        self.from(at)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// `length` bytes; `None` if there are fewer, or more than a piece has.
    pub(super) fn copy(&mut self, at: u64, length: u64) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= PIECE)?;
        if self.from(at)?.len() < length {
            // What is held ends too soon.
            self.held.clear();
        }
        self.from(at)?.get(..length).map(<[u8]>::to_vec)
    }
}
