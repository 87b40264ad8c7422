//! `cargo xtask bench probes`: what the agent costs the calls that processes make on its machine.
//!
//! In: how many rounds. Out: a table on standard output, `target/xtask/bench-probes.json`, and a picture beside it.
//!
//! Every round measures all states one after the other, so that whatever else the machine does falls on all of
//! them alike; ratios are to "nothing attached" of the same rounds.

mod measure;
mod quiet;
mod state;
mod svg;
mod table;

use anyhow::{Context, Result};
use serde_json::json;

use self::{
    measure::{Bench, CALLS_ROUNDS, Measured},
    state::State,
    table::Table,
};
use super::report;
use crate::{
    build::{self, Profile},
    process,
    tools::native,
    ui::Step,
    workspace,
};

/// Measures both ways of reading sockets.
pub fn run(rounds: u32) -> Result<()> {
    report::privileges()?;
    let agent = build::all(Profile::Release)?;
    let programs = native::prepare(&workspace::root().join("tests/programs"))?;
    let bench = Bench { agent, callcost: programs.join("callcost") };
    let machine = report::Machine::new();
    let step = Step::begin(format!("measuring {rounds} rounds of {} states", State::ALL.len()));
    let mut measured: Vec<Vec<Measured>> = State::ALL.iter().map(|_| Vec::new()).collect();
    let mut discarded = 0;
    for _ in 0..rounds {
        for (state, all) in State::ALL.into_iter().zip(&mut measured) {
            process::check_interrupted()?;
            all.push(undisturbed(&bench, state, &mut discarded)?);
        }
    }
    step.done(if discarded == 0 {
        String::new()
    } else {
        format!("{discarded} discarded: others' programs were attached")
    });
    let table = Table::new(&measured);
    let mut report = json!({
        "command": format!("cargo xtask bench probes --rounds {rounds}"),
        "unit": "ns per call",
        "rounds": rounds,
        "rounds_within_a_measurement": CALLS_ROUNDS,
        "measurements_discarded": discarded,
        "states": table.to_json(),
    });
    machine.add_to(&mut report);
    println!("{}", table.text());
    report::save("bench-probes", &report, &svg::draw(&table))
}

/// One measurement during which no other tool had programs attached.
fn undisturbed(bench: &Bench, state: State, discarded: &mut u32) -> Result<Measured> {
    loop {
        quiet::wait()?;
        let measured = bench.measure(state).with_context(|| format!("state: {}", state.text()))?;
        if quiet::others()?.is_empty() {
            return Ok(measured);
        }
        *discarded += 1;
    }
}
