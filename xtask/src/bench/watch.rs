//! The agent of a measurement, as fast as it goes: its spans go to a receiver that takes all.
//!
//! In: its program, the receiver, the probes, whom to trace. Out: the agent, ready, and surely by those probes.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::sink::Sink;
use crate::agent::Agent;

const READY_LIMIT: Duration = Duration::from_secs(30);

/// Starts it; without `hooks`, runtimes get none.
pub fn start(program: &Path, sink: &Sink, probes: &str, hooks: bool, pids: &[u32]) -> Result<Agent> {
    let environment = [
        ("SOCKSPAN_PROBES", probes.to_owned()),
        ("SOCKSPAN_NO_UPROBES", (!hooks).to_string()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "65536".to_owned()),
    ];
    let mut agent = Agent::start(program, pids, &environment)?;
    agent.wait_ready(READY_LIMIT)?;
    if agent.status()?["mode"] != probes {
        bail!("the agent does not trace by {probes}");
    }
    Ok(agent)
}
