//! One measurement: services under load, with or without somebody who watches.
//!
//! In: services, a state, a duration. Out: what was answered, and what it cost the services and the agent.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{
    super::{sink::Sink, watch::Watch},
    load::{self, Answered},
    state::State,
    subject::{Prepared, Running},
};
use crate::{agent::Agent, process, usage};

/// Between readiness and load: what is attached may still be patched in.
const SETTLE: Duration = Duration::from_millis(300);
/// After the load: spans wait for those above them, and then for a batch.
const DRAIN: Duration = Duration::from_millis(1500);

/// What watches, ready to be started.
pub struct Watchers<'a> {
    /// The agent's program.
    pub agent: &'a Path,
    /// Where spans go.
    pub sink: &'a Sink,
}

/// A subject's services, running.
pub struct Stage {
    /// As they are.
    plain: Running,
    /// With OpenTelemetry's SDK inside.
    instrumented: Option<Running>,
}

impl Stage {
    /// Starts them, and loads each for a while so that what compiles itself has done so.
    pub fn start(prepared: &Prepared, sink: &Sink, warmup: Duration) -> Result<Self> {
        let plain = prepared.start()?;
        let instrumented = prepared.start_instrumented(&sink.endpoint())?;
        for running in [Some(&plain), instrumented.as_ref()].into_iter().flatten() {
            load::run(running.port, prepared.subject.asked, warmup)?;
        }
        Ok(Self { plain, instrumented })
    }

    /// Whether there is something to measure in that state.
    pub fn has(&self, state: State) -> bool {
        state != State::Sdk || self.instrumented.is_some()
    }
}

/// A measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// The load's side.
    pub answered: Answered,
    /// CPU time of the services for a request, in microseconds.
    pub cpu_us: f64,
    /// The spans that arrived.
    pub spans: f64,
    /// The agent's side, if there was one.
    pub agent: Option<Seen>,
}

/// The agent's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// CPU time of the agent for a span, in microseconds.
    pub cpu_us: f64,
    /// Exchanges and spans that it lost.
    pub lost: f64,
    /// The most memory it had at a time (RSS), in MiB.
    pub peak_mib: f64,
}

/// Measures in `state`.
pub fn measure(
    prepared: &Prepared,
    stage: &Stage,
    state: State,
    watchers: &Watchers<'_>,
    duration: Duration,
) -> Result<Measured> {
    let running = match state {
        State::Sdk => stage.instrumented.as_ref().unwrap_or(&stage.plain),
        State::Nothing | State::Agent { .. } => &stage.plain,
    };
    let mut agent = match state {
        State::Agent { probes, hooks } => {
            let watch = Watch { program: watchers.agent, sink: watchers.sink, environment: Vec::new() };
            Some(watch.start_with(probes, hooks, &running.pids())?)
        }
        State::Nothing | State::Sdk => None,
    };
    process::sleep(SETTLE);
    let spans = watchers.sink.spans()?;
    let cpu = || running.pids().into_iter().map(usage::of_group).sum::<f64>();
    let (before, agent_before) = (cpu(), agent.as_ref().map(Agent::cost).transpose()?);
    let answered = load::run(running.port, prepared.subject.asked, duration)?;
    let took = cpu() - before;
    if answered.requests == 0.0 {
        bail!("{} answered nothing", prepared.subject.name);
    }
    process::sleep(DRAIN);
    let mut seen = None;
    if let (Some(agent), Some(before)) = (&mut agent, agent_before) {
        let (cost, lost) = (agent.cost()?, agent.lost()?);
        agent.stop()?;
        let cpu_s = cost.cpu_s - before.cpu_s;
        seen = Some((cpu_s, lost, cost.peak_mib));
    }
    let spans = watchers.sink.spans()? - spans;
    let seen =
        seen.map(|(cpu_s, lost, peak_mib)| Seen { cpu_us: cpu_s / spans.max(1.0) * 1e6, lost, peak_mib });
    Ok(Measured { answered, cpu_us: took / answered.requests * 1e6, spans, agent: seen })
}
