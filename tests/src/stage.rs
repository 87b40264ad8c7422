//! An agent with a receiver of its own: what most tests begin with.
//!
//! In: how to start the agent; then, load by load, what must have happened. Out: verdicts.

use std::time::Duration;

use crate::{
    agent::{Agent, Launch, Stopped},
    given::{self, Mode},
    judge::{Request, Verdict, judge},
    otlp::Collector,
    shop,
    span::Span,
};

/// The agent and where its spans arrive.
#[derive(Debug)]
pub struct Stage {
    /// The agent.
    pub agent: Agent,
    /// The receiver.
    pub collector: Collector,
}

/// An agent of each mode, all watching the same requests: for tests whose load is light.
pub fn together(launch: impl Fn(Mode) -> Launch) -> Vec<(Mode, Stage)> {
    let launches: Vec<_> = given::modes().into_iter().map(|mode| (mode, launch(mode))).collect();
    std::thread::scope(|scope| {
        let starting: Vec<_> =
            launches.into_iter().map(|(mode, launch)| (mode, scope.spawn(|| Stage::start(launch)))).collect();
        let started = starting.into_iter().map(|(mode, one)| (mode, one.join()));
        started.map(|(mode, one)| (mode, one.unwrap_or_else(|p| std::panic::resume_unwind(p)))).collect()
    })
}

/// Stops agents at the same time: to detach many probes takes the kernel seconds.
///
/// # Panics
/// As [`Stage::stop`].
pub fn stop_all(stages: Vec<(Mode, Stage)>) {
    std::thread::scope(|scope| {
        let stopping: Vec<_> = stages.into_iter().map(|(_, stage)| scope.spawn(|| stage.stop())).collect();
        stopping
            .into_iter()
            .for_each(|one| drop(one.join().unwrap_or_else(|p| std::panic::resume_unwind(p))));
    });
}

/// Spans are under way for no longer than this.
pub const ARRIVAL: Duration = Duration::from_secs(12);

impl Stage {
    /// Traces these processes in this mode.
    pub fn trace(mode: Mode, pids: &[u32]) -> Self {
        Self::start(Launch::run(mode).pids(pids))
    }

    /// Starts the agent this way.
    pub fn start(launch: Launch) -> Self {
        let collector = Collector::start();
        Self { agent: launch.export(&collector).start(), collector }
    }

    /// The spans that arrived since the last look, once `expected` of them did.
    pub fn spans(&self, expected: usize) -> Vec<Span> {
        self.collector.settle(expected, given::limit(ARRIVAL));
        self.collector.take()
    }

    /// Compares what arrived since the last look with what must have happened.
    pub fn judge(&self, requests: &[Request]) -> Verdict {
        judge(requests, &self.spans(shop::spans(requests)))
    }

    /// Stops the agent once everything that is finished has arrived, and compares all of it: what ends only now is
    /// part of it.
    pub fn judge_at_end(self, requests: &[Request]) -> Verdict {
        self.collector.settle(shop::spans(requests), given::limit(ARRIVAL) / 4);
        stop(self.agent);
        judge(requests, &self.collector.take())
    }

    /// What the agent counted as lost, for people.
    pub fn drops(&self) -> String {
        self.agent.drops()
    }

    /// Stops the agent in good order; nothing may have gone wrong in it.
    ///
    /// # Panics
    /// If its log has an error or a panic.
    pub fn stop(self) -> Stopped {
        stop(self.agent)
    }
}

/// Stops an agent in good order; nothing may have gone wrong in it.
///
/// # Panics
/// If its log has an error or a panic.
pub fn stop(agent: Agent) -> Stopped {
    let stopped = agent.stop();
    let bad = stopped.log.lines().find(|line| line.contains("ERROR") || line.contains("panicked"));
    assert_eq!(bad, None, "the agent's log:\n{}", stopped.log);
    stopped
}
