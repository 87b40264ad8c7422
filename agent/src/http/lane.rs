//! One direction of a connection: finds where its messages begin and end.
//!
//! In: a [`Feed`] over the next chunk. Out: [`Step`]s, which the conversation answers by telling the lane how to
//! go on ([`Lane::follow`], [`Lane::unsync`]). The lane knows nothing of the other direction.

use bytes::Bytes;

use super::{
    Body, Chunk, LossReason, Nanos,
    chunked::{Chunked, Progress},
    feed::Feed,
    fields::Framing,
    gathered::Gathered,
    head::{self, is_line_end},
};

/// Where in the stream the cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Anywhere: waiting for a chunk that starts a message.
    Unsynced,
    /// Exactly between two messages.
    Idle,
    /// In a head.
    Head,
    /// In a body of known length.
    Fixed { left: u64 },
    /// In a chunked body.
    Chunked(Chunked),
    /// In a body that ends with the connection.
    UntilClose,
    /// In a message whose end can't be told by counting; its end can still show if it is chunked.
    Adrift { chunked: bool },
    /// Past the last message: switched to another protocol, or ended.
    Over,
}

/// What the lane came upon. The conversation decides; the lane waits until it has.
#[derive(Debug)]
pub(super) enum Step {
    /// The first byte of a message, or what should be one (`synced`: right after the last message).
    Start { synced: bool },
    /// In a message without a known end, the capture side believes that another begins.
    Restart,
    /// A complete head.
    Head(Bytes),
    /// The beginning of a head that can't be read whole.
    HeadCut(Bytes, LossReason),
    /// The body is over.
    End { body: Body, at: Nanos },
    /// The framing of the body is gone; the lane is adrift.
    Astray(LossReason),
    /// Hidden bytes where a message should begin; the lane is out of sync.
    Lost,
}

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Lane {
    next: Option<u64>,
    /// When the last byte passed.
    pub last_at: Nanos,
    /// When the current message began.
    pub began: Nanos,
    pub phase: Phase,
    /// Payload bytes of the current body.
    size: u64,
    gathered: Option<Box<Gathered>>,
    /// No byte has been passed over since the conversation set this.
    pub clean: bool,
}

impl Lane {
    pub fn new() -> Self {
        Self {
            next: None,
            last_at: 0,
            began: 0,
            phase: Phase::Unsynced,
            size: 0,
            gathered: None,
            clean: false,
        }
    }

    /// The stream's first byte is at `position`.
    pub fn begins_at(&mut self, position: u64) {
        (self.next, self.phase) = (Some(position), Phase::Idle);
    }

    /// Whether nothing of this direction has been seen and its beginning is not known.
    pub fn is_virgin(&self) -> bool {
        self.next.is_none()
    }

    /// Offset of the next byte.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether `position` is too far behind to be a repetition: no TCP window reaches back that far.
    pub fn is_far_behind(&self, position: u64) -> bool {
        self.next.is_some_and(|next| next.saturating_sub(position) > 1 << 31)
    }

    /// Forgets where the stream was.
    pub fn forget_position(&mut self) {
        self.next = None;
    }

    /// The part of `chunk` that is new.
    pub fn admit(&self, chunk: Chunk) -> Option<Feed> {
        Feed::new(chunk, self.next, self.last_at)
    }

    /// Notes that `feed` has been read.
    pub fn finish(&mut self, feed: &Feed) {
        self.next = Some(feed.position);
        self.last_at = self.last_at.max(feed.at());
    }

    /// Passes over `chunk` unread.
    pub fn pass(&mut self, chunk: Chunk) {
        if let Some(mut feed) = self.admit(chunk) {
            feed.skip(u64::MAX);
            self.finish(&feed);
        }
    }

    /// Starts reading a head at the cursor.
    pub fn begin(&mut self, began: Nanos) {
        (self.phase, self.size, self.began, self.gathered) = (Phase::Head, 0, began, None);
    }

    /// Goes on with the body that follows a head.
    pub fn follow(&mut self, framing: Framing) {
        self.phase = match framing {
            Framing::Length(left) => Phase::Fixed { left },
            Framing::Chunked => Phase::Chunked(Chunked::new()),
            Framing::UntilClose => Phase::UntilClose,
            Framing::Unknown(_) => Phase::Adrift { chunked: false },
        };
        self.clean &= !matches!(framing, Framing::Unknown(_));
    }

    /// Waits for the next chunk that starts a message.
    pub fn unsync(&mut self) {
        self.gathered = None;
        if self.phase != Phase::Over {
            self.phase = Phase::Unsynced;
        }
    }

    /// Expects no more messages.
    pub fn over(&mut self) {
        (self.phase, self.gathered) = (Phase::Over, None);
    }

    /// Whether the current message has no end that its own bytes must show.
    pub fn is_open_ended(&self) -> bool {
        matches!(self.phase, Phase::Adrift { .. } | Phase::UntilClose)
    }

    /// What has been counted of the current body.
    pub fn body(&self, exact: bool) -> Body {
        let counted = matches!(self.phase, Phase::Fixed { .. } | Phase::Chunked(_) | Phase::UntilClose);
        Body { size: counted.then_some(self.size), exact }
    }

    /// The offset before which nothing needs to be captured.
    pub fn until(&self) -> Option<u64> {
        let blind = match &self.phase {
            Phase::Fixed { left } => *left,
            Phase::Chunked(chunked) => chunked.blind(),
            Phase::UntilClose | Phase::Over => return Some(u64::MAX),
            _ => 0,
        };
        self.next.filter(|_| blind > 0).map(|next| next.saturating_add(blind))
    }

    /// Heap bytes held.
    pub fn cost(&self) -> usize {
        self.gathered.as_ref().map_or(0, |g| g.cost())
    }

    /// Reads `feed` up to the next thing to decide; `None` when all of it is read. Heads and lines of chunked
    /// framing are read up to `limit` bytes.
    pub fn step(&mut self, feed: &mut Feed, limit: usize) -> Option<Step> {
        match self.phase {
            Phase::Unsynced => self.unsynced(feed),
            Phase::Idle => self.idle(feed),
            Phase::Head => self.head(feed, limit),
            Phase::Fixed { left } => self.fixed(feed, left),
            Phase::Chunked(chunked) => self.chunked(feed, chunked, limit),
            Phase::UntilClose => {
                self.size = self.size.saturating_add(feed.skip(u64::MAX));
                None
            }
            Phase::Adrift { chunked } => self.adrift(feed, chunked),
            Phase::Over => {
                feed.skip(u64::MAX);
                None
            }
        }
    }

    fn unsynced(&mut self, feed: &mut Feed) -> Option<Step> {
        while !feed.is_done() {
            if feed.take_flag() {
                let blank = feed.seen().iter().take_while(|b| is_line_end(**b)).count();
                if blank < feed.seen().len() {
                    feed.take(blank);
                    return Some(Step::Start { synced: false });
                }
            }
            self.pass_run(feed);
        }
        None
    }

    fn idle(&mut self, feed: &mut Feed) -> Option<Step> {
        while !feed.is_done() {
            if feed.hidden() > 0 {
                self.unsync();
                return Some(Step::Lost);
            }
            let blank = feed.seen().iter().take_while(|b| is_line_end(**b)).count();
            let is_blank = blank == feed.seen().len();
            feed.take_flag();
            feed.take(blank);
            if !is_blank {
                return Some(Step::Start { synced: true });
            }
        }
        None
    }

    fn head(&mut self, feed: &mut Feed, limit: usize) -> Option<Step> {
        while !feed.is_done() {
            let mut gathered = self.gathered.take();
            if feed.hidden() > 0 {
                let cut = gathered.map(|g| g.cut()).unwrap_or_default();
                return Some(Step::HeadCut(cut, LossReason::Gap));
            }
            if gathered.is_none() {
                let run = feed.seen();
                let searched = run.get(..limit.min(run.len())).unwrap_or_default();
                match head::end(searched, 0) {
                    Some(end) => return Some(Step::Head(feed.take(end))),
                    None if run.len() >= limit => {
                        return Some(Step::HeadCut(feed.take(limit), LossReason::HeadTooLong));
                    }
                    None => {}
                }
            }
            let pieces = gathered.get_or_insert_default();
            if let Some(step) = pieces.add(feed, limit) {
                return Some(step);
            }
            self.gathered = gathered;
        }
        None
    }

    fn fixed(&mut self, feed: &mut Feed, left: u64) -> Option<Step> {
        let n = feed.skip(left);
        self.size = self.size.saturating_add(n);
        self.phase = Phase::Fixed { left: left - n };
        (left == n).then(|| self.end(feed, true))
    }

    fn chunked(&mut self, feed: &mut Feed, mut chunked: Chunked, limit: usize) -> Option<Step> {
        let progress = chunked.step(feed, limit, &mut self.size);
        self.phase = Phase::Chunked(chunked);
        match progress {
            Progress::More => None,
            Progress::Done => Some(self.end(feed, true)),
            Progress::Broken(reason) => {
                (self.phase, self.clean) = (Phase::Adrift { chunked: true }, false);
                Some(Step::Astray(reason))
            }
        }
    }

    fn adrift(&mut self, feed: &mut Feed, chunked: bool) -> Option<Step> {
        while !feed.is_done() {
            if feed.take_flag() {
                return Some(Step::Restart);
            }
            let run = feed.seen();
            let last = run.ends_with(b"\r\n0\r\n\r\n") || feed.position == feed.start && run == b"0\r\n\r\n";
            self.pass_run(feed);
            if chunked && last && feed.is_done() {
                return Some(self.end(feed, false));
            }
        }
        None
    }

    fn pass_run(&mut self, feed: &mut Feed) {
        self.clean = false;
        let run = feed.hidden().max(feed.seen().len() as u64);
        feed.skip(run);
    }

    fn end(&mut self, feed: &mut Feed, exact: bool) -> Step {
        let body = self.body(exact);
        self.phase = Phase::Idle;
        feed.ended |= feed.position > feed.start;
        Step::End { body, at: feed.time() }
    }
}
