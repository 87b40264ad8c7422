//! One measurement: the program `callcost`, with or without an agent beside it.
//!
//! In: a state. Out: what each call took, and what the agent made of it. What the agent says it does is checked: a
//! measurement of something else than its title says is an error.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::state::{CALLS, State};
use crate::{
    agent::Agent,
    process::{self, Group},
    workspace,
};

/// How often `callcost` measures each call in one measurement; it gives their minimum and median.
pub const CALLS_ROUNDS: u32 = 5;
/// HTTP exchanges in one of its rounds; both ends are in the same process, so each is seen twice.
const EXCHANGES: u32 = 2000;
const READY_LIMIT: Duration = Duration::from_secs(20);
/// The kernel lets go of programs a moment after their owner has ended.
const SETTLE: Duration = Duration::from_millis(200);
/// How long the agent may take to read what is left in its buffer.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What it takes to measure.
pub struct Bench {
    /// The agent's program.
    pub agent: PathBuf,
    /// The microbenchmark.
    pub callcost: PathBuf,
}

/// Nanoseconds per call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
}

/// A measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// In the order of [`CALLS`].
    pub calls: [Cost; CALLS.len()],
    /// The agent's side, if there was one.
    pub agent: Option<Seen>,
}

/// What the agent counted.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Time from its start until it was ready to trace.
    pub ready: Duration,
    /// Ends of exchanges that there were to see.
    pub expected: f64,
    /// Exchanges that it saw.
    pub exchanges: f64,
    /// Of those, the ones it dropped, by its own count.
    pub dropped: f64,
}

impl Bench {
    /// Measures all calls in `state`.
    pub fn measure(&self, state: State) -> Result<Measured> {
        process::sleep(SETTLE);
        let subject = Subject::start(&self.callcost)?;
        let Some(probes) = state.probes() else {
            return Ok(Measured { calls: subject.run()?, agent: None });
        };
        // Something to trace, where the subject is not it.
        let bystander = Subject::start(&self.callcost)?;
        let traced = matches!(state, State::Traced(_));
        let pid = if traced { subject.pid } else { bystander.pid };
        let environment =
            [("SOCKSPAN_PROBES", probes.to_owned()), ("OTEL_TRACES_EXPORTER", "none".to_owned())];
        let mut agent = Agent::start(&self.agent, &[pid], &environment)?;
        let ready = agent.wait_ready(READY_LIMIT)?;
        if agent.status()?["mode"] != probes {
            bail!("the agent does not trace by {probes}");
        }
        let calls = subject.run()?;
        let seen = seen(&mut agent, ready, traced)?;
        agent.stop()?;
        Ok(Measured { calls, agent: Some(seen) })
    }
}

/// Waits until the agent's counts stand still, and checks them.
fn seen(agent: &mut Agent, ready: Duration, traced: bool) -> Result<Seen> {
    let count = |agent: &Agent| agent.metric("sockspan_exchanges_total");
    let mut exchanges = count(agent)?;
    let started = std::time::Instant::now();
    loop {
        process::sleep(Duration::from_millis(200));
        let now = count(agent)?;
        if now == exchanges || started.elapsed() > DRAIN_LIMIT {
            break;
        }
        exchanges = now;
    }
    agent.check()?;
    let expected = if traced { f64::from(2 * EXCHANGES * CALLS_ROUNDS) } else { 0.0 };
    let dropped = agent.metric("sockspan_exchanges_dropped_total")?;
    match (traced, exchanges > 0.0) {
        (true, false) => bail!("the agent was to trace the calls and saw none"),
        (false, true) => bail!("the agent was not to trace the calls and saw {exchanges} exchanges"),
        _ => Ok(Seen { ready, expected, exchanges, dropped }),
    }
}

/// A `callcost` that waits for its start.
struct Subject {
    pid: u32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    // Last, so that it is ended after its pipes are closed.
    _group: Group,
}

impl Subject {
    fn start(program: &Path) -> Result<Self> {
        let log = workspace::log("callcost");
        process::start_log(&log)?;
        let mut command = Command::new(program);
        command.args(["--wait", &CALLS_ROUNDS.to_string()]);
        process::log_to(&mut command, &log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let (input, output) = group.pipes().context("callcost has no pipes")?;
        let mut subject = Self { pid: group.pid(), input, output: BufReader::new(output), _group: group };
        // It says who it is when it is ready.
        subject.line()?;
        Ok(subject)
    }

    fn run(mut self) -> Result<[Cost; CALLS.len()]> {
        writeln!(self.input, "go").context("callcost takes no input")?;
        read(&self.line()?)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let log = workspace::log("callcost");
        serde_json::from_str(&line).with_context(|| {
            format!("callcost said {line:?}: {}", fs::read_to_string(&log).unwrap_or_default().trim())
        })
    }
}

/// What `callcost` found out.
fn read(result: &Value) -> Result<[Cost; CALLS.len()]> {
    let mut costs = [Cost::default(); CALLS.len()];
    for (cost, (name, _)) in costs.iter_mut().zip(CALLS) {
        let number = |key: &str| result[name][key].as_f64().with_context(|| format!("no {key} of {name}"));
        *cost = Cost { min: number("min_ns")?, median: number("median_ns")? };
    }
    Ok(costs)
}
