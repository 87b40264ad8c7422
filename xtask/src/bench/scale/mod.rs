//! `cargo xtask bench scale`: what grows when there is more of everything: connections, services, bytes, processes that
//! are none of ours.
//!
//! In: which of these. Out: a table on standard output, `target/xtask/bench-scale.json`, and a picture beside it.

mod crowd;
mod dimension;
mod measure;
mod table;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use self::{
    dimension::Dimension,
    measure::{Bench, Measured},
};
use super::{
    report,
    sink::{self, Sink},
};
use crate::{
    build::{self, Profile},
    tools::native,
    ui::Step,
    workspace,
};

/// What is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each size is measured, with and without the agent
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    report::privileges()?;
    let agent = build::all(Profile::Release)?;
    let receiver = sink::build()?;
    let programs = native::prepare(&workspace::root().join("tests/programs"))?;
    let machine = report::Machine::new();
    let bench = Bench { agent, crowd: programs.join("crowd"), sink: Sink::start(&receiver)? };
    let mut all: Vec<Measured> = Vec::new();
    for dimension in Dimension::ALL {
        for size in dimension.sizes() {
            let what = format!("{size} {}", dimension.text());
            let step = Step::begin(format!("measuring {what}"));
            all.push(bench.measure(dimension, *size, options.rounds).context(what)?);
            step.done(String::new());
        }
    }
    let mut report = json!({
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "rounds": options.rounds,
        "sizes": all.iter().map(Measured::to_json).collect::<Vec<_>>(),
    });
    machine.add_to(&mut report);
    println!("{}", table::text(&all));
    report::save("bench-scale", &report, &table::draw(&all))
}
