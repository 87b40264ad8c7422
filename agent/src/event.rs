//! Raw batches into events: parsed without copying the captured bytes, and put into the order of time.
//!
//! In: batches of `crate::capture` (or a recording). Out: [`Event`]s, oldest first.

use std::{collections::VecDeque, mem::offset_of};

use bytes::{Buf as _, Bytes};
use sockspan_ebpf::{DATA_BYTES, Data, EventKind, Inheritance, Lifecycle};

use crate::http::Nanos;

/// Something the kernel side told.
#[derive(Clone, Debug)]
// One at a time is made, looked at and gone: on the stack it costs less than in memory of its own.
#[allow(clippy::large_enum_variant)]
pub enum Event {
    /// Bytes moved, or a connection's turn; `head` and `tail` are the captured bytes.
    Socket {
        /// What kind.
        kind: EventKind,
        /// The connection and the call.
        data: Data,
        /// The first bytes.
        head: Bytes,
        /// The last bytes.
        tail: Bytes,
    },
    /// A process's turn.
    Process {
        /// What kind.
        kind: EventKind,
        /// Whose.
        turn: Lifecycle,
    },
    /// A task's end, and what it had inherited.
    Inherited(Inheritance),
}

impl Event {
    /// When it happened, nanoseconds of CLOCK_MONOTONIC.
    pub fn at(&self) -> Nanos {
        match self {
            Self::Socket { data, .. } => data.at,
            Self::Process { turn, .. } => turn.at,
            Self::Inherited(told) => told.at,
        }
    }
}

impl Event {
    /// The same, without the rest of the batch that it came in.
    #[must_use]
    pub fn alone(self) -> Self {
        match self {
            Self::Socket { kind, data, head, tail } => {
                let (head, tail) = (Bytes::copy_from_slice(&head), Bytes::copy_from_slice(&tail));
                Self::Socket { kind, data, head, tail }
            }
            other => other,
        }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Socket { head, tail, .. } => size_of::<Self>() + head.len() + tail.len(),
            Self::Process { .. } | Self::Inherited(_) => size_of::<Self>(),
        }
    }
}

/// The time that the bytes of a [`Data`], [`Inheritance`] or [`Lifecycle`] tell.
fn at(bytes: &[u8], offset: usize) -> Option<Nanos> {
    Some(Nanos::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// An event as the kernel wrote it, of this version and whole.
#[derive(Clone, Debug)]
pub struct Raw {
    /// When it happened, nanoseconds of CLOCK_MONOTONIC.
    pub at: Nanos,
    /// What kind.
    pub kind: EventKind,
    bytes: Bytes,
}

impl Raw {
    /// Looks no further than it must; `None` if it is not one of this version's.
    pub fn new(bytes: Bytes) -> Option<Self> {
        let kind = EventKind::from_byte(*bytes.first()?)?;
        let (at, length) = match kind {
            EventKind::Fork
            | EventKind::Exec
            | EventKind::Exit
            | EventKind::Listen
            | EventKind::Multiplexed
            | EventKind::Released => (at(&bytes, offset_of!(Lifecycle, at))?, size_of::<Lifecycle>()),
            EventKind::Inherited => (at(&bytes, offset_of!(Inheritance, at))?, size_of::<Inheritance>()),
            EventKind::Data | EventKind::EndOfStream | EventKind::Closed => {
                (at(&bytes, offset_of!(Data, at))?, DATA_BYTES)
            }
        };
        if length == DATA_BYTES {
            let data: &Data = &bytemuck::try_pod_read_unaligned(bytes.get(..DATA_BYTES)?).ok()?;
            let captured = usize::from(data.head) + usize::from(data.tail);
            if bytes.len() < DATA_BYTES + captured || captured > data.length as usize {
                return None;
            }
        }
        (bytes.len() >= length).then_some(Self { at, kind, bytes })
    }

    /// What it tells; its captured bytes are not copied.
    pub fn event(mut self) -> Option<Event> {
        match self.kind {
            EventKind::Data | EventKind::EndOfStream | EventKind::Closed => {
                let data: Data = bytemuck::try_pod_read_unaligned(self.bytes.get(..DATA_BYTES)?).ok()?;
                self.bytes.advance(DATA_BYTES);
                let head = self.bytes.split_to(usize::from(data.head).min(self.bytes.len()));
                let tail = self.bytes.split_to(usize::from(data.tail).min(self.bytes.len()));
                Some(Event::Socket { kind: self.kind, data, head, tail })
            }
            EventKind::Inherited => {
                let told = bytemuck::try_pod_read_unaligned(self.bytes.get(..size_of::<Inheritance>())?);
                told.ok().map(Event::Inherited)
            }
            kind => {
                let turn = bytemuck::try_pod_read_unaligned(self.bytes.get(..size_of::<Lifecycle>())?);
                turn.ok().map(|turn| Event::Process { kind, turn })
            }
        }
    }
}

/// Takes a batch apart; returns how many of its events could not be read.
#[inline(never)] // A stage: its instructions are budgeted.
pub fn events(mut batch: Bytes, mut take: impl FnMut(Raw)) -> u64 {
    let mut damaged = 0;
    while batch.len() >= 4 {
        let length = batch.get_u32_ne() as usize;
        if length > batch.len() {
            return damaged + 1;
        }
        match Raw::new(batch.split_to(length)) {
            Some(event) => take(event),
            None => damaged += 1,
        }
    }
    damaged + u64::from(!batch.is_empty())
}

/// A batch of one event, as the kernel side would have written it: a process's turn.
pub fn turn_of(kind: EventKind, tgid: u32, at: Nanos) -> Bytes {
    let turn = Lifecycle { kind: kind as u8, reserved: [0; 3], tgid, other: 0, flags: 0, at };
    let event = bytemuck::bytes_of(&turn);
    let length = u32::try_from(event.len()).unwrap_or_default();
    Bytes::from([&length.to_ne_bytes(), event].concat())
}

/// How long an event waits for older ones from other processors. They are written microseconds apart; a
/// program that is held up between reading the clock and writing takes longer.
const WINDOW: Nanos = 5_000_000;

/// Puts events into the order of time. Events of one moment keep the order they came in.
///
/// They come all but in order: those of several processors, each by its own clock's reading a moment before it was
/// written. So each goes in from the end, past the few that are newer.
#[derive(Default)]
pub struct Order {
    events: VecDeque<Raw>,
    newest: Nanos,
}

impl Order {
    /// Takes an event in.
    pub fn push(&mut self, event: Raw) {
        self.newest = self.newest.max(event.at);
        let place = self.events.iter().rposition(|other| other.at <= event.at).map_or(0, |before| before + 1);
        self.events.insert(place, event);
    }

    /// Time has come this far, whether events say so or not.
    pub fn tick(&mut self, now: Nanos) {
        self.newest = self.newest.max(now);
    }

    /// The next event that no older one can precede any more.
    pub fn pop(&mut self) -> Option<Event> {
        let until = self.newest.saturating_sub(WINDOW);
        if self.events.front()?.at <= until { self.drain() } else { None }
    }

    /// The next event, older ones to come or not: for the end of a stream.
    pub fn drain(&mut self) -> Option<Event> {
        self.events.pop_front()?.event()
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(batch: Bytes) -> (Vec<Event>, u64) {
        let mut found = Vec::new();
        let damaged = super::events(batch, |raw| found.push(raw.event().unwrap()));
        (found, damaged)
    }

    fn exec(at: Nanos, tgid: u32) -> Bytes {
        turn_of(EventKind::Exec, tgid, at)
    }

    #[test]
    fn a_turn_that_was_not_the_kernels_reads_as_one() {
        let (found, damaged) = events(turn_of(EventKind::Multiplexed, 7, 9));
        assert_eq!(damaged, 0);
        let [Event::Process { kind: EventKind::Multiplexed, turn }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((turn.tgid, turn.at), (7, 9));
    }

    #[test]
    fn events_come_out_by_time_and_wait_for_stragglers() {
        let mut order = Order::default();
        for (at, tgid) in [(10_000_000, 2), (9_000_000, 1), (16_000_000, 3)] {
            super::events(exec(at, tgid), |event| order.push(event));
        }
        let popped: Vec<_> = std::iter::from_fn(|| order.pop()).map(|e| e.at()).collect();
        assert_eq!(popped, [9_000_000, 10_000_000]);
        assert!(order.pop().is_none());
        order.tick(30_000_000);
        assert_eq!(order.pop().map(|e| e.at()), Some(16_000_000));
    }

    #[test]
    fn a_batch_cut_anywhere_gives_what_is_whole_and_never_panics() {
        let mut batch = exec(1, 1).to_vec();
        batch.extend(exec(2, 2));
        for end in 0..batch.len() {
            let (found, damaged) = events(Bytes::copy_from_slice(&batch[..end]));
            assert!(found.len() <= 2);
            assert_eq!(damaged == 0, end == 0 || end == batch.len() / 2, "cut at {end}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut data: Data = bytemuck::Zeroable::zeroed();
        data.kind = EventKind::Data as u8;
        data.head = 10;
        let mut bytes = bytemuck::bytes_of(&data).to_vec();
        bytes.extend([0; 10]);
        assert!(Raw::new(bytes.into()).is_none(), "more captured than moved");
    }
}
