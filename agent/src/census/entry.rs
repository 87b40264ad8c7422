//! What is known of each process, as `/status` tells it.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde::Serialize;
use sockspan_ebpf::{Layout, Policy};

use super::{departed::Memory, seat::Seat};
use crate::{
    kubernetes::{Facts, Pod},
    process::Identity,
};

/// How soon and how seldom a process is looked at again.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// A process, as `/status` tells of it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Its executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<PathBuf>,
    /// Whether it is traced.
    pub traced: bool,
    /// It would be, but for a tracer of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub instrumented: bool,
    /// Why, or why not.
    pub reason: String,
    /// The pod it is in: `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container's name, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The rule that decided, of a process in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its spans' service.name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its runtime.
    pub runtime: String,
    /// How its outgoing requests are tied to those it serves.
    pub causality: String,
    /// Which process this is.
    #[serde(skip)]
    pub(super) identity: Identity,
    /// What the kernel side goes by.
    #[serde(skip)]
    pub(super) policy: Policy,
    /// Where its runtime keeps its tasks.
    #[serde(skip)]
    pub(super) layout: Layout,
    /// It was judged by how it serves, not by what it may come to.
    #[serde(skip)]
    pub(super) settled: bool,
    /// Its threads were evidence, until it was seen to run an event loop.
    #[serde(skip)]
    pub(super) lapsed: bool,
    /// When it is looked at again.
    #[serde(skip)]
    pub(super) review: Review,
    /// What its pod's cgroup is called.
    #[serde(skip)]
    pub(super) berth: Option<Box<str>>,
    /// It was named by its id, or descends from such a process.
    #[serde(skip)]
    pub(super) named: bool,
    /// What was last said of it by its pod.
    #[serde(skip)]
    pub(super) facts: Option<Facts>,
    /// While its pod has more to tell of it.
    #[serde(skip)]
    pub(super) memory: Option<Box<Memory>>,
}

impl Entry {
    /// A process that is left alone, or of which nothing else is known yet.
    pub(super) fn left(identity: Identity, executable: Option<PathBuf>, reason: &str) -> Self {
        Self {
            pid: identity.pid,
            executable,
            traced: false,
            instrumented: false,
            reason: reason.to_owned(),
            pod: None,
            container: None,
            rule: None,
            service: None,
            runtime: String::new(),
            causality: String::new(),
            identity,
            policy: Policy::None,
            layout: Layout::default(),
            settled: false,
            lapsed: false,
            review: Review::soon(Instant::now()),
            berth: None,
            named: false,
            facts: None,
            memory: None,
        }
    }

    /// The same process, in a pod.
    pub(super) fn seated(mut self, seat: &Seat, rule: &str) -> Self {
        self.berth = seat.berth();
        self.pod = seat.pod().map(Pod::full_name);
        self.container = seat.container_name();
        self.rule = Some(rule.to_owned());
        self
    }

    /// Whether another look can find another policy for it. Hooks in an event loop stay; an asyncio can be found to have
    /// loaded uvloop.
    pub(super) fn may_change(&self) -> bool {
        let changes = match self.policy {
            Policy::None | Policy::Thread => !self.lapsed,
            Policy::Asyncio => self.layout.python.stream_handle == 0,
            _ => false,
        };
        self.traced && changes
    }

    /// Whether it is worth another look although nothing was heard of it.
    pub(super) fn is_reviewed(&self) -> bool {
        let open = match self.policy {
            Policy::None => !self.settled && self.runtime == "python",
            Policy::Thread | Policy::Asyncio => true,
            _ => false,
        };
        open && self.may_change()
    }
}

/// When a process is looked at again: soon, and then less and less often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Review {
    due: Instant,
    pause: Duration,
}

impl Review {
    /// The first after the shortest pause.
    pub(super) fn soon(now: Instant) -> Self {
        Self { due: now + SHORTEST, pause: SHORTEST }
    }

    /// Whether it is time; if so, the next is due twice as much later.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.pause = (self.pause * 2).min(LONGEST);
            self.due = now + self.pause;
        }
        due
    }
}

/// What all readers of the census share.
pub type Entries = Arc<Mutex<HashMap<u32, Entry>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_grow_rare() {
        let start = Instant::now();
        let mut review = Review::soon(start);
        let due: Vec<u64> =
            (0..200).filter(|tenth| review.is_due(start + Duration::from_millis(tenth * 100))).collect();
        assert_eq!(due, [10, 30, 70, 120, 170]);
    }
}
