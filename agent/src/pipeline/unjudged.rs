//! Events of processes that nobody has judged yet.
//!
//! The kernel side tells of a program from its first call, in case that it is selected; whether it is shows some
//! milliseconds later. In: events of processes that have no resource. Out: the same events, once their process has one; what
//! is never asked for is dropped after [`PATIENCE`], unread, for its process is not traced.

use std::collections::HashMap;

use sockspan_ebpf::Data;

use crate::{event::Event, http::Nanos};

/// The longest that a judgement may take. With Kubernetes, a pod has to be known first.
const PATIENCE: Nanos = 5_000_000_000;
/// The most that is held of all processes together, in bytes.
const MOST: usize = 4 << 20;

/// What is held.
#[derive(Default)]
pub(super) struct Unjudged {
    held: HashMap<u32, Held>,
    bytes: usize,
}

struct Held {
    since: Nanos,
    events: Vec<Event>,
}

impl Unjudged {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Holds an event of `tgid`; false if there is no room.
    pub fn hold(&mut self, tgid: u32, now: Nanos, event: Event) -> bool {
        let bytes = event.bytes();
        if self.bytes + bytes > MOST {
            return false;
        }
        self.bytes += bytes;
        let event = event.alone();
        self.held.entry(tgid).or_insert_with(|| Held { since: now, events: Vec::new() }).events.push(event);
        true
    }

    /// The process whose held events are of the same connection, if any are.
    pub fn owner(&self, data: &Data) -> Option<u32> {
        let same = |event: &Event| matches!(event, Event::Socket { data: held, .. } if (held.socket, held.generation) == (data.socket, data.generation));
        self.held.iter().find(|(_, held)| held.events.iter().any(same)).map(|(tgid, _)| *tgid)
    }

    /// The events of `tgid`, in their order.
    pub fn take(&mut self, tgid: u32) -> Vec<Event> {
        let events = self.held.remove(&tgid).map(|held| held.events).unwrap_or_default();
        self.bytes -= events.iter().map(Event::bytes).sum::<usize>();
        events
    }

    /// Drops what has waited enough.
    pub fn expire(&mut self, now: Nanos) {
        let old = self.held.iter().filter(|(_, held)| now.saturating_sub(held.since) > PATIENCE);
        let old: Vec<u32> = old.map(|(tgid, _)| *tgid).collect();
        old.into_iter().for_each(|tgid| drop(self.take(tgid)));
    }
}
