//! Raw batches into events: parsed without copying the captured bytes, and put into the order of time.
//!
//! In: batches of `crate::capture` (or a recording). Out: [`Event`]s, oldest first.

use bytes::{Buf as _, Bytes};
use sockspan_ebpf::{DATA_BYTES, Data, EventKind, Inheritance, Lifecycle};

use crate::{http::Nanos, timed::Timed};

/// Something the kernel side told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes moved, or a connection's turn; `head` and `tail` are the captured bytes.
    Socket {
        /// What kind.
        kind: EventKind,
        /// The connection and the call.
        data: Box<Data>,
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

    /// Parses one event; `None` if it is not one of this version's.
    pub fn parse(mut bytes: Bytes) -> Option<Self> {
        let kind = EventKind::from_byte(*bytes.first()?)?;
        if matches!(
            kind,
            EventKind::Fork
                | EventKind::Exec
                | EventKind::Exit
                | EventKind::Listen
                | EventKind::Multiplexed
                | EventKind::Released
        ) {
            let turn = bytemuck::try_pod_read_unaligned(bytes.get(..size_of::<Lifecycle>())?).ok()?;
            return Some(Self::Process { kind, turn });
        }
        if kind == EventKind::Inherited {
            let told = bytemuck::try_pod_read_unaligned(bytes.get(..size_of::<Inheritance>())?).ok()?;
            return Some(Self::Inherited(told));
        }
        let data: Data = bytemuck::try_pod_read_unaligned(bytes.get(..DATA_BYTES)?).ok()?;
        bytes.advance(DATA_BYTES);
        let (head, tail) = (usize::from(data.head), usize::from(data.tail));
        if bytes.len() < head + tail || head + tail > data.length as usize {
            return None;
        }
        let head = bytes.split_to(head);
        Some(Self::Socket { kind, data: Box::new(data), head, tail: bytes.split_to(tail) })
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
            Self::Socket { head, tail, .. } => {
                size_of::<Self>() + size_of::<Data>() + head.len() + tail.len()
            }
            Self::Process { .. } | Self::Inherited(_) => size_of::<Self>(),
        }
    }
}

/// The events of a batch, and how many of it could not be parsed.
pub fn events(mut batch: Bytes) -> (Vec<Event>, u64) {
    let mut events = Vec::new();
    let mut damaged = 0;
    while batch.len() >= 4 {
        let length = batch.get_u32_ne() as usize;
        if length > batch.len() {
            return (events, damaged + 1);
        }
        match Event::parse(batch.split_to(length)) {
            Some(event) => events.push(event),
            None => damaged += 1,
        }
    }
    (events, damaged + u64::from(!batch.is_empty()))
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
#[derive(Default)]
pub struct Order {
    events: Timed<Event>,
    newest: Nanos,
}

impl Order {
    /// Takes an event in.
    pub fn push(&mut self, event: Event) {
        let at = event.at();
        self.newest = self.newest.max(at);
        self.events.push(at, event);
    }

    /// Time has come this far, whether events say so or not.
    pub fn tick(&mut self, now: Nanos) {
        self.newest = self.newest.max(now);
    }

    /// The next event that no older one can precede any more.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.pop_until(self.newest.saturating_sub(WINDOW))
    }

    /// The next event, older ones to come or not: for the end of a stream.
    pub fn drain(&mut self) -> Option<Event> {
        self.events.pop()
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
            events(exec(at, tgid)).0.into_iter().for_each(|e| order.push(e));
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
        assert!(Event::parse(bytes.into()).is_none(), "more captured than moved");
    }
}
