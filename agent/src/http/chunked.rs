//! The chunked transfer coding, read over captured and hidden runs.
//!
//! In: a [`Feed`] inside a chunked body. Out: whether the body goes on, is over, or its framing is gone; payload
//! bytes are counted. Extensions and trailers are passed over, bare LF line ends tolerated.

use super::{LossReason, feed::Feed};

/// Where in a chunked body the cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the line that holds a chunk's size.
    Size { value: u64, line: u32, part: SizePart },
    /// In a chunk's data.
    Data { left: u64 },
    /// In the line end after a chunk's data.
    DataEnd { cr: bool },
    /// In the trailer section; `line` counts the bytes of the current line without CR.
    Trailer { line: u32, total: u32 },
}

/// What has been read of a size line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizePart {
    /// Nothing.
    Start,
    /// Hexadecimal digits.
    Digits,
    /// The digits are over.
    Rest,
}

/// How far a step came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The chunk was read to its end, the body goes on.
    More,
    /// The body is over.
    Done,
    /// The framing is gone.
    Broken(LossReason),
}

const NEXT: Chunked = Chunked::Size { value: 0, line: 0, part: SizePart::Start };
const TRAILER: Chunked = Chunked::Trailer { line: 0, total: 0 };

impl Chunked {
    /// The beginning of a body.
    pub fn new() -> Self {
        NEXT
    }

    /// Bytes from here on that need not be seen.
    pub fn blind(&self) -> u64 {
        if let Self::Data { left } = self { *left } else { 0 }
    }

    /// Reads on; adds payload bytes to `size`. Lines longer than `limit` bytes break the framing.
    pub fn step(&mut self, feed: &mut Feed, limit: usize, size: &mut u64) -> Progress {
        while !feed.is_done() {
            match self {
                Self::Data { left } => {
                    let n = feed.skip(*left);
                    *left -= n;
                    *size = size.saturating_add(n);
                    if *left == 0 {
                        *self = Self::DataEnd { cr: false };
                    }
                }
                Self::DataEnd { cr } if feed.hidden() > 0 => {
                    // Unseen, but it can only be CRLF.
                    feed.skip(1);
                    *self = if *cr { NEXT } else { Self::DataEnd { cr: true } };
                }
                _ if feed.hidden() > 0 => return Progress::Broken(LossReason::Gap),
                _ => match self.line(feed, limit) {
                    Progress::More => {}
                    end => return end,
                },
            }
        }
        Progress::More
    }

    /// Reads the framing bytes of the captured run at the cursor, up to the next change of state.
    fn line(&mut self, feed: &mut Feed, limit: usize) -> Progress {
        let (mut used, mut state) = (0, Some(*self));
        for b in feed.seen() {
            used += 1;
            state = state.and_then(|s| s.byte(*b, limit));
            let Some(Self::Size { .. } | Self::Trailer { .. } | Self::DataEnd { .. }) = state else { break };
            if Self::is_over(*self, state, *b) {
                feed.take(used);
                return Progress::Done;
            }
            if let Some(s) = state {
                *self = s;
            }
        }
        feed.take(used);
        match state {
            Some(s) => *self = s,
            None => return Progress::Broken(LossReason::Chunked),
        }
        Progress::More
    }

    /// Whether `b` was the line end of an empty trailer line.
    fn is_over(before: Self, after: Option<Self>, b: u8) -> bool {
        let empty = |s| matches!(s, Self::Trailer { line: 0, .. });
        b == b'\n' && empty(before) && after.is_some_and(empty)
    }

    fn byte(self, b: u8, limit: usize) -> Option<Self> {
        let fits = |n: u32| (n as usize) < limit;
        match (self, b) {
            (Self::Size { value: 0, part: SizePart::Digits | SizePart::Rest, .. }, b'\n') => Some(TRAILER),
            (Self::Size { part: SizePart::Start, .. }, b'\n') => None,
            (Self::Size { value, .. }, b'\n') => Some(Self::Data { left: value }),
            (Self::Size { value, line, part }, b) if fits(line) => Self::size_byte(value, part, b)
                .map(|(value, part)| Self::Size { value, line: line + 1, part }),
            (Self::DataEnd { cr: false }, b'\r') => Some(Self::DataEnd { cr: true }),
            (Self::DataEnd { .. }, b'\n') => Some(NEXT),
            (Self::Trailer { total, .. }, b'\n') => Some(Self::Trailer { line: 0, total }),
            (Self::Trailer { line, total }, b) if fits(total) => {
                Some(Self::Trailer { line: line + u32::from(b != b'\r'), total: total + 1 })
            }
            _ => None,
        }
    }

    fn size_byte(value: u64, part: SizePart, b: u8) -> Option<(u64, SizePart)> {
        let digit = char::from(b).to_digit(16);
        match (part, digit) {
            (SizePart::Start | SizePart::Digits, Some(digit)) => {
                let value = value.checked_mul(16)?.checked_add(u64::from(digit))?;
                Some((value, SizePart::Digits))
            }
            (SizePart::Digits, None) if matches!(b, b'\r' | b';' | b' ' | b'\t') => {
                Some((value, SizePart::Rest))
            }
            (SizePart::Rest, _) => Some((value, SizePart::Rest)),
            _ => None,
        }
    }
}
