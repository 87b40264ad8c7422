//! `cargo xtask bench app`: what tracing costs services under load: throughput, latency, CPU time for a request.
//!
//! In: which services, how many rounds. Out: a table on standard output, `target/xtask/bench-app.json`, and a picture
//! beside it.
//!
//! The services stay up while states change: nothing attached, the agent in both probe modes, and a second copy with
//! OpenTelemetry's SDK inside. Every round goes through all states, by turns forwards and backwards, so that whatever else
//! the machine does falls on all of them alike.

mod load;
mod measure;
mod picture;
mod state;
mod subject;
mod table;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use self::{
    measure::{Measured, Stage, Watchers},
    state::State,
    subject::Subject,
    table::Row,
};
use super::{
    report,
    sink::{self, Sink},
};
use crate::{
    build::{self, Profile},
    process,
    tools::wrk,
    ui::Step,
};

pub use subject::{Prepared, Running};

/// The server that answers the most a second, made ready.
pub fn prepare_fastest() -> Result<Prepared> {
    Subject::FASTEST.prepare(false)
}

/// Loads that server.
pub fn load(port: u16, duration: Duration) -> Result<()> {
    load::run(port, Subject::FASTEST.asked, duration).map(|_| ())
}

/// What is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Only these services: application, node-hello, python-gunicorn-sync, java-tomcat, go-net-http, nginx
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    service: Vec<String>,
    /// How often each state is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Leave OpenTelemetry's SDK out
    #[arg(long)]
    no_reference: bool,
}

impl Options {
    fn subjects(&self) -> Result<Vec<Subject>> {
        let known = Subject::ALL.map(|subject| subject.name);
        if let Some(unknown) = self.service.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("--service {unknown}: there are {}", known.join(", "));
        }
        let wanted =
            |subject: &Subject| self.service.is_empty() || self.service.iter().any(|n| n == subject.name);
        Ok(Subject::ALL.into_iter().filter(wanted).collect())
    }
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    report::privileges()?;
    let subjects = options.subjects()?;
    wrk::ensure()?;
    let agent = build::all(Profile::Release)?;
    let program = sink::build()?;
    let prepared: Vec<_> =
        subjects.iter().map(|subject| subject.prepare(!options.no_reference)).collect::<Result<_>>()?;
    let machine = report::Machine::new();
    let sink = Sink::start(&program)?;
    let watchers = Watchers { agent: &agent, sink: &sink };
    let mut rows = Vec::new();
    for prepared in &prepared {
        rows.extend(subject(prepared, &watchers, options)?);
    }
    let mut report = json!({
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": table::json(&rows),
    });
    machine.add_to(&mut report);
    println!("{}", table::text(&rows));
    report::save("bench-app", &report, &picture::draw(&rows))
}

/// All rounds of a subject: a row for each state.
fn subject(prepared: &subject::Prepared, watchers: &Watchers<'_>, options: &Options) -> Result<Vec<Row>> {
    let name = prepared.subject.name;
    let step = Step::begin(format!("measuring {name}, {} rounds", options.rounds));
    let duration = Duration::from_secs(options.seconds);
    let stage = Stage::start(prepared, watchers.sink, duration).with_context(|| name.to_owned())?;
    let mut order: Vec<_> = State::ALL.into_iter().filter(|state| stage.has(*state)).collect();
    let states = order.clone();
    let mut measured: Vec<Vec<Measured>> = states.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for state in &order {
            process::check_interrupted()?;
            let one = measure::measure(prepared, &stage, *state, watchers, duration)
                .with_context(|| format!("{name}, {}", state.text()))?;
            let place = states.iter().position(|other| other == state).unwrap_or_default();
            measured[place].push(one);
        }
        order.reverse();
    }
    step.done(String::new());
    let base = measured[0].clone();
    let row = |(state, rounds)| Row::new(name, state, rounds, base.clone());
    Ok(states.into_iter().zip(measured).map(row).collect())
}
