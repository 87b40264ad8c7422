//! A head that comes in pieces: the only bytes of the stream that are ever copied and kept.
//!
//! In: captured runs. Out: the head as one, when it is complete or as long as it may get.

use bytes::{Bytes, BytesMut};

use super::{LossReason, feed::Feed, head, lane::Step};

/// A head that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: BytesMut,
    /// The empty line is not before this.
    searched: usize,
}

impl Gathered {
    /// Adds the captured run at the cursor, up to the head's end.
    pub fn add(&mut self, feed: &mut Feed, limit: usize) -> Option<Step> {
        let before = self.bytes.len();
        let room = limit.saturating_sub(before).min(feed.seen().len());
        self.bytes.extend_from_slice(feed.seen().get(..room).unwrap_or_default());
        let end = head::end(&self.bytes, self.searched);
        let size = end.unwrap_or(self.bytes.len());
        self.bytes.truncate(size);
        feed.take(size.saturating_sub(before));
        // The line end before the empty line may already be here.
        self.searched = size.saturating_sub(3);
        match end {
            Some(_) => Some(Step::Head(self.bytes.split().freeze())),
            None if size >= limit => {
                Some(Step::HeadCut(self.bytes.split().freeze(), LossReason::HeadTooLong))
            }
            None => None,
        }
    }

    /// What there is of it.
    pub fn cut(self) -> Bytes {
        self.bytes.freeze()
    }

    /// Heap bytes held, this value included.
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}
