//! `cargo xtask bench agent`: what a span takes of the agent, by stage and by thread, at rates up to the highest that it
//! keeps.
//!
//! In: nothing. Out: tables on standard output, `target/xtask/bench-agent.json`, and a picture beside it.

pub mod instructions;
mod live;
mod picture;
pub mod pipeline;
mod replayed;
mod table;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    app, report,
    sink::{self, Sink},
};
use crate::{
    build::{self, Profile},
    process,
    tools::{valgrind, wrk},
    ui::Step,
};

/// Spans a second that are asked of it.
const RATES: [u64; 3] = [1_000, 10_000, 50_000];

/// What is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How long the agent is watched beside a real server in each mode, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Everything that was measured.
pub struct Measured {
    live: Vec<live::Live>,
    replayed: Vec<replayed::Replayed>,
    highest: Option<replayed::Replayed>,
    instructions: instructions::Figures,
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    report::privileges()?;
    wrk::ensure()?;
    valgrind::ensure()?;
    let agent = build::all(Profile::Release)?;
    let program = pipeline::ensure()?;
    let receiver = sink::build()?;
    let server = app::prepare_fastest()?;
    let machine = report::Machine::new();
    let sink = Sink::start(&receiver)?;
    let duration = Duration::from_secs(options.seconds);
    let mut measured = Measured {
        live: Vec::new(),
        replayed: Vec::new(),
        highest: None,
        instructions: instructions::count(&program)?,
    };
    let server = server.start()?;
    for probes in ["sock", "syscalls"] {
        let step = Step::begin(format!("measuring the agent beside a server, by {probes}"));
        measured.live.push(live::run(&agent, &sink, &server, probes, duration)?);
        step.done(String::new());
    }
    drop(server);
    for rate in RATES {
        process::check_interrupted()?;
        let step = Step::begin(format!("replaying {rate} spans a second"));
        measured.replayed.push(replayed::run(&program, &sink, rate)?);
        step.done(String::new());
    }
    let step = Step::begin("looking for the highest rate");
    measured.highest = replayed::highest(&program, &sink, RATES[2])?;
    step.done(String::new());
    let mut report = json!({
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "live": measured.live.iter().map(live::Live::to_json).collect::<Vec<_>>(),
        "replayed": measured.replayed.iter().map(replayed::Replayed::to_json).collect::<Vec<_>>(),
        "highest": measured.highest.as_ref().map(replayed::Replayed::to_json),
        "instructions_per_span": measured.instructions,
    });
    machine.add_to(&mut report);
    println!("{}", table::text(&measured));
    report::save("bench-agent", &report, &picture::draw(&measured))
}
