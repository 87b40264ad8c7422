//! The agent of a measurement, as fast as it goes: its spans go to a receiver that takes all.
//!
//! In: its program, the receiver, settings, whom to trace. Out: the agent, ready.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::sink::Sink;
use crate::agent::Agent;

const READY_LIMIT: Duration = Duration::from_secs(60);
/// Milliseconds that a batch waits for more: what has been seen has arrived before a measurement's end is looked at.
const DELAY: &str = "500";

/// An agent, not yet started.
pub struct Watch<'a> {
    /// Its program.
    pub program: &'a Path,
    /// Where its spans go.
    pub sink: &'a Sink,
    /// Its settings, beside those.
    pub environment: Vec<(&'static str, String)>,
}

impl Watch<'_> {
    /// Starts it; returns how long it took until it was ready, too.
    pub fn start(mut self, pids: &[u32]) -> Result<(Agent, Duration)> {
        self.environment.extend([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.sink.endpoint()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "65536".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", DELAY.to_owned()),
        ]);
        let mut agent = Agent::start(self.program, pids, &self.environment)?;
        let ready = agent.wait_ready(READY_LIMIT)?;
        Ok((agent, ready))
    }

    /// Starts it with these probes, and sees to it that it has them; without `hooks`, runtimes get none.
    pub fn start_with(mut self, probes: &str, hooks: bool, pids: &[u32]) -> Result<Agent> {
        self.environment
            .extend([("SOCKSPAN_PROBES", probes.to_owned()), ("SOCKSPAN_NO_UPROBES", (!hooks).to_string())]);
        let (agent, _) = self.start(pids)?;
        if agent.status()?["mode"] != probes {
            bail!("the agent does not trace by {probes}");
        }
        Ok(agent)
    }
}
