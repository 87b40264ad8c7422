//! Actors that agents watch, one in each probe mode.
//!
//! In: actors, and the settings of the agents. Out: what the agents told, compared with what the actors did.

use std::{
    ops::{Deref, DerefMut},
    thread,
    time::Duration,
};

use sockspan_tests::{
    actor::Address,
    agent::{Agent, Launch},
    given::{self, Mode},
    pair::{Ends, Pair},
    span::Span,
    stage::{Stage, stop_all, together},
    wait_until,
};

use crate::told::Told;

/// What happens, happens sooner.
const PATIENCE: Duration = Duration::from_secs(20);

/// Spans that are shown where there are others than expected.
const SHOWN: usize = 20;

/// A pair of actors and the agents that watch it.
pub struct Watched {
    pub pair: Pair,
    stages: Vec<(Mode, Stage)>,
}

impl Deref for Watched {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.pair
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

impl Watched {
    /// A pair on loopback.
    pub fn start() -> Self {
        Self::with(Pair::start(), &[], &[])
    }

    /// This pair, and these processes besides, with settings of the agents.
    pub fn with(pair: Pair, others: &[u32], settings: &[&str]) -> Self {
        let pids = [&pair.pids()[..], others].concat();
        let stages = together(|mode| Launch::run(mode).pids(&pids).args(settings));
        Self { pair, stages }
    }

    /// A pair at an address.
    pub fn at(address: &Address) -> Self {
        Self::with(Pair::at(address), &[], &[])
    }

    /// One exchange, each message in one piece; what must be told of it so far.
    pub fn exchange(&mut self, ends: Ends, told: Told, request: &str, response: &str) -> Told {
        let began = self.ask(ends, request.as_bytes());
        let ended = self.answer(ends, response.as_bytes());
        told.began(began).ended(ended)
    }

    /// A plain exchange that shows that the connection is still followed, or that another one is.
    pub fn plain(&mut self, ends: Ends, path: &str) -> Told {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.exchange(ends, Told::get(path).status(200).response(2), &request, OK)
    }

    /// Likewise, on a connection of its own.
    pub fn plain_anew(&mut self, path: &str) -> Told {
        let ends = self.connect();
        let told = self.plain(ends, path);
        self.close(ends);
        told
    }

    /// Each agent has told exactly this, since the last look.
    pub fn assert_told(&self, told: &[Told]) {
        let expected = told.iter().map(Told::spans).sum();
        for ((mode, stage), mut spans) in self.stages.iter().zip(self.arrived(expected)) {
            let what = format!("{mode}; {}", stage.drops());
            let all: Vec<_> = spans.iter().take(SHOWN).map(Span::line).collect();
            assert_eq!(spans.len(), expected, "{what}: {all:#?}");
            told.iter().for_each(|told| told.assert(&what, &mut spans));
        }
    }

    /// What each agent's receiver got since the last look, once so many spans came.
    fn arrived(&self, expected: usize) -> Vec<Vec<Span>> {
        thread::scope(|scope| {
            let waiting: Vec<_> =
                self.stages.iter().map(|(_, stage)| scope.spawn(move || stage.spans(expected))).collect();
            waiting.into_iter().map(|one| one.join().expect("nothing is asserted there")).collect()
        })
    }

    /// Of what each agent dropped, in all exchanges so far: so many for this reason.
    pub fn assert_dropped(&self, reason: &str, count: usize) {
        let label = format!("reason=\"{reason}\"");
        self.await_each(&format!("{count} dropped, {reason}"), |agent| {
            agent.metric("sockspan_exchanges_dropped_total", &[&label]) as usize == count
        });
    }

    /// Nothing was dropped or lost.
    pub fn assert_nothing_dropped(&self) {
        for (mode, stage) in &self.stages {
            assert_eq!(stage.drops(), "nothing dropped", "{mode}");
        }
    }

    /// Every agent's kernel side has counted so much by this name.
    pub fn assert_counted(&self, counter: &str, count: u64) {
        self.await_each(&format!("{count} counted as {counter}"), |agent| {
            agent.status()["kernel"][counter].as_u64() == Some(count)
        });
    }

    /// Waits until this holds of every agent.
    pub fn await_each(&self, what: &str, holds: impl Fn(&Agent) -> bool) {
        for (mode, stage) in &self.stages {
            let came = wait_until(given::limit(PATIENCE), || holds(&stage.agent));
            assert!(came, "{mode}: not {what}: {}; {}", stage.drops(), stage.agent.status()["kernel"]);
        }
    }

    /// Stops the agents; nothing may have gone wrong in them.
    pub fn stop(self) {
        stop_all(self.stages);
    }

    /// Nothing was dropped, and nothing more is told.
    pub fn finish(self, told: &[Told]) {
        self.assert_told(told);
        self.assert_nothing_dropped();
        self.stop();
    }
}

/// A whole response with two bytes of body.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
