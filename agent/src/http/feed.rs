//! A cursor over one chunk: the bytes that are new, and the runs of the stream that nobody saw.
//!
//! In: a [`Chunk`] and the offset that its direction had reached. Out: runs, in stream order: first the jump
//! from there to the chunk, then captured and hidden bytes in turn.

use bytes::{Buf, Bytes};

use super::{Chunk, Nanos};

/// What is left to read of one chunk.
#[derive(Debug)]
pub(super) struct Feed {
    /// Bytes between the last chunk and this one, which nobody saw.
    jump: u64,
    head: Bytes,
    hole: u64,
    tail: Bytes,
    /// Stream offset of the next byte.
    pub position: u64,
    /// Stream offset of the chunk's first new byte.
    pub start: u64,
    /// A message is said to begin at `start`, and nobody has looked at that yet.
    flagged: bool,
    /// A message has ended within this chunk, not in the jump before it.
    pub ended: bool,
    /// When the chunk's call began.
    pub began: Nanos,
    at: Nanos,
    /// When the jump's bytes passed, as far as is known.
    before: Nanos,
}

impl Feed {
    /// The part of `chunk` from `next` on. `None` if there is none, or the chunk's offsets overflow.
    pub fn new(chunk: Chunk, next: Option<u64>, last_at: Nanos) -> Option<Self> {
        let end = chunk.position.checked_add(chunk.len)?;
        let reached = next.unwrap_or(chunk.position);
        if next.is_some() && end <= reached {
            return None;
        }
        let fits = usize::try_from(chunk.len).unwrap_or(usize::MAX);
        let (mut head, mut tail) = (chunk.head, chunk.tail);
        head.truncate(fits);
        tail.advance(tail.len().saturating_sub(fits.saturating_sub(head.len())));
        let mut feed = Self {
            jump: 0,
            hole: chunk.len.saturating_sub((head.len() + tail.len()) as u64),
            head,
            tail,
            position: chunk.position,
            start: chunk.position,
            flagged: chunk.starts_message && chunk.position >= reached,
            ended: false,
            began: chunk.began.min(chunk.at),
            at: chunk.at,
            before: if chunk.len == 0 { chunk.at } else { last_at },
        };
        if chunk.position < reached {
            feed.skip(reached - chunk.position);
            feed.start = reached;
        }
        feed.jump = chunk.position.saturating_sub(reached);
        feed.position = feed.position.saturating_sub(feed.jump);
        Some(feed)
    }

    /// Length of the unseen run at the cursor; 0 if captured bytes (or nothing) come next.
    pub fn hidden(&self) -> u64 {
        match self.jump {
            0 if self.head.is_empty() => self.hole,
            jump => jump,
        }
    }

    /// The captured run at the cursor; empty if hidden bytes (or nothing) come next.
    pub fn seen(&self) -> &[u8] {
        match (self.hidden(), self.head.is_empty()) {
            (0, false) => &self.head,
            (0, true) => &self.tail,
            _ => &[],
        }
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        self.hidden() == 0 && self.seen().is_empty()
    }

    /// Takes up to `n` bytes of the captured run at the cursor, without copying.
    pub fn take(&mut self, n: usize) -> Bytes {
        let n = n.min(self.seen().len());
        self.position += n as u64;
        if self.head.is_empty() { self.tail.split_to(n) } else { self.head.split_to(n) }
    }

    /// Passes over up to `n` bytes, seen or not, and tells how many there were.
    pub fn skip(&mut self, n: u64) -> u64 {
        let jump = n.min(self.jump);
        self.jump -= jump;
        let head = cut(&mut self.head, n - jump);
        let hole = (n - jump - head).min(self.hole);
        self.hole -= hole;
        let tail = cut(&mut self.tail, n - jump - head - hole);
        let all = jump + head + hole + tail;
        self.position += all;
        all
    }

    /// Whether the cursor is where a message is said to begin; asked once, and only with its bytes captured.
    pub fn take_flag(&mut self) -> bool {
        let here = self.flagged && self.position == self.start && !self.seen().is_empty();
        self.flagged &= !here;
        here
    }

    /// When the byte before the cursor had passed.
    pub fn time(&self) -> Nanos {
        if self.position <= self.start && self.before <= self.at { self.before } else { self.at }
    }

    /// When the chunk's call was done.
    pub fn at(&self) -> Nanos {
        self.at
    }
}

/// Drops up to `n` bytes from the front of `run` and tells how many there were.
fn cut(run: &mut Bytes, n: u64) -> u64 {
    let n = usize::try_from(n).map_or(run.len(), |n| n.min(run.len()));
    run.advance(n);
    n as u64
}
