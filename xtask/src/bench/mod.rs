//! `cargo xtask bench`: what the agent costs the calls that processes make on its machine.
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

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::json;

use self::{
    measure::{Bench, CALLS_ROUNDS, Measured},
    state::State,
    table::Table,
};
use crate::{
    build::{self, Profile},
    process,
    tools::native,
    ui::{self, Step},
    workspace,
};

/// Measures both ways of reading sockets.
pub fn probes(rounds: u32) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the benchmark loads eBPF programs into the kernel, which takes root: run it from a root shell"
        );
    }
    let agent = build::all(Profile::Release)?;
    let programs = native::prepare(&workspace::root().join("tests/programs"))?;
    let bench = Bench { agent, callcost: programs.join("callcost") };
    let load_before = load();
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
    let report = json!({
        "command": format!("cargo xtask bench probes --rounds {rounds}"),
        "unit": "ns per call",
        "kernel": process::output(std::process::Command::new("uname").arg("-r")),
        "processor": processor(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load_average": { "before": load_before, "after": load() },
        "rounds": rounds,
        "rounds_within_a_measurement": CALLS_ROUNDS,
        "measurements_discarded": discarded,
        "states": table.to_json(),
    });
    println!("{}", table.text());
    save("bench-probes.json", &format!("{report:#}\n"))?;
    save("bench-probes.svg", &svg::draw(&table))
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

fn save(name: &str, text: &str) -> Result<()> {
    let path = workspace::output().join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    ui::say(workspace::display(&path));
    Ok(())
}

/// How many tasks wanted to run in the last minute, as the kernel tells it.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
