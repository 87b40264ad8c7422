//! Processes that ended before their pod's status had told all of them. A job's only program may be gone when the API says
//! in which container it ran; its spans wait for that, as those of the living do.
//!
//! In: ends of processes whose resources are incomplete, changes of pods. Out: the resources, once they are complete.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{Arrival, Census, Entry, News, seat::Seat};
use crate::process::{Process, Runtime};

/// As long as spans wait.
const PATIENCE: Duration = Duration::from_secs(6);
/// The most that are remembered; the oldest go first.
const MOST: usize = 1_024;

/// What is needed to say more of a process that /proc no longer knows.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    process: Process,
    runtime: Runtime,
    seat: Seat,
}

impl Memory {
    /// What is known of a process while it lives.
    pub fn new(process: &Process, runtime: &Runtime, seat: &Seat) -> Box<Self> {
        Box::new(Self { process: process.clone(), runtime: runtime.clone(), seat: seat.clone() })
    }

    /// The process as it was.
    pub fn process(&self) -> (Process, Runtime) {
        (self.process.clone(), self.runtime.clone())
    }
}

/// Those that are remembered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Departed(Vec<(Instant, Memory)>);

impl Departed {
    /// Remembers a process that has ended, if its pod has more to tell of it.
    pub fn remember(&mut self, entry: Entry) {
        let Some(memory) = entry.memory.filter(|_| entry.traced) else { return };
        self.0.retain(|(since, _)| since.elapsed() < PATIENCE);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((Instant::now(), *memory));
    }
}

impl Census {
    /// What pods whose cgroups have these names tell of processes that have ended.
    pub(super) fn tell_of_departed(&mut self, names: &HashSet<Box<str>>) -> Vec<News> {
        let mut news = Vec::new();
        let mut departed = std::mem::take(&mut self.departed);
        departed.0.retain_mut(|(since, memory)| {
            // Its id may be another's by now.
            let again = self.lock().contains_key(&memory.process.pid());
            let concerned = !again && memory.seat.berth().is_some_and(|berth| names.contains(&berth));
            let now = || memory.seat.now(self.cluster.as_ref()?);
            if let Some(seat) = concerned.then(now).flatten()
                && let Some(facts) = self.facts(&seat)
            {
                let resource = self.resource(&memory.process, &memory.runtime, Some(&facts));
                let (tgid, complete) = (memory.process.pid(), facts.complete);
                news.push(News::Arrival(Arrival { tgid, resource, complete }));
                memory.seat = seat;
                return !complete;
            }
            since.elapsed() < PATIENCE
        });
        self.departed = departed;
        news
    }
}
