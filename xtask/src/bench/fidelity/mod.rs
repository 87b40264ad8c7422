//! `cargo xtask bench fidelity`: how true the traces of real services are, by service, client library, style of
//! connections, concurrency, route and probe mode.
//!
//! In: which part of that matrix. Out: tables on standard output, `target/xtask/bench-fidelity.json` with every cell, and
//! a picture beside it.
//!
//! The work is done by the test package's program `fidelity`, which has the judge: this makes ready what it needs, and
//! draws what it says.

mod cells;
mod picture;
mod table;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use self::cells::Cells;
use super::report;
use crate::{
    build::{self, Profile},
    process::{self, Group},
    services::runtime,
    ui::{self, Step},
    workspace,
};

/// Which part of the matrix.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Only these services of tests/runtimes
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    runtime: Vec<String>,
    /// Only these client libraries
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    client: Vec<String>,
    /// Only these routes: one, seq, par, …
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    route: Vec<String>,
    /// Only these styles of connections: pool, new, limit, pipelined, job
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    style: Vec<String>,
    /// Only these probe modes: sock, syscalls
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    mode: Vec<String>,
    /// Only these numbers of requests at a time
    #[arg(long, value_name = "N", value_delimiter = ',')]
    concurrency: Vec<usize>,
    /// Requests in each cell
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Every combination, not only those that differ from the base (first client, pool, 50 at a time) in one way
    #[arg(long)]
    full: bool,
    /// Both probe modes watch the same requests: half the time, but then clocks and CPU time are those of both
    #[arg(long)]
    together: bool,
    /// Also the services with OpenTelemetry's own SDK inside in place of the agent
    #[arg(long)]
    reference: bool,
    /// Also the agent without hooks in runtimes: what these gain, and what they cost
    #[arg(long)]
    unhooked: bool,
    /// The agent as the tests have it: quicker to build
    #[arg(long)]
    dev: bool,
}

impl Options {
    /// As the program reads it.
    fn filter(&self) -> Value {
        json!({
            "runtimes": self.runtime, "clients": self.client, "routes": self.route, "styles": self.style,
            "modes": self.mode, "concurrencies": self.concurrency, "requests": self.requests,
            "full": self.full, "reference": self.reference,
            "unhooked": self.unhooked, "together": self.together,
        })
    }

    fn wants(&self, name: &str) -> bool {
        self.runtime.is_empty() || self.runtime.iter().any(|wanted| wanted == name)
    }
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    report::privileges()?;
    let object = build::ebpf()?;
    let profile = if options.dev { Profile::Dev } else { Profile::Release };
    let agent = build::agent(profile, &object)?;
    let services = services(options)?;
    let program = program()?;
    let machine = report::Machine::new();
    let mut command = Command::new(program);
    command.arg(options.filter().to_string());
    command.env("SOCKSPAN_BIN", agent).env("SOCKSPAN_SERVICES", services);
    let cells = measure(&mut command)?;
    let mut report = json!({
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "filter": options.filter(),
        "failed": cells.failed,
        "drops": cells.drops,
        "cells": cells.all,
    });
    machine.add_to(&mut report);
    println!("{}", table::text(&cells));
    report::save("bench-fidelity", &report, &picture::draw(&cells))
}

/// Makes the services ready, and writes how they are started.
fn services(options: &Options) -> Result<PathBuf> {
    let runtimes = runtime::prepare(|name| options.wants(name), options.reference)?;
    if let Some(unknown) = options.runtime.iter().find(|name| !runtimes.iter().any(|r| r.name() == *name)) {
        bail!("no service in tests/runtimes is called {unknown}");
    }
    let path = workspace::output().join("bench-services.json");
    let list = json!({ "runtimes": runtime::list(&runtimes) });
    fs::write(&path, format!("{list:#}")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The program that does the work.
fn program() -> Result<PathBuf> {
    let log = workspace::log("build-fidelity");
    process::start_log(&log)?;
    Step::run("building the load, the leaf and the judge", |step| {
        step.watch(&log);
        let mut cargo = crate::tools::cargo("cargo");
        cargo.args(["build", "--package", "sockspan-tests", "--bin", "fidelity"]);
        process::run(cargo.current_dir(workspace::root()), &log, crate::tools::INSTALL_LIMIT)
    })?;
    Ok(workspace::target().join("debug/fidelity"))
}

/// Runs it, and shows how far it is.
fn measure(command: &mut Command) -> Result<Cells> {
    let log = workspace::log("fidelity");
    process::start_log(&log)?;
    process::log_to(command, &log)?;
    command.stdout(Stdio::piped());
    let mut group = Group::spawn(command)?;
    let output = group.output().context("the program has no output")?;
    let mut cells = Cells::default();
    let mut step: Option<(Step, usize)> = None;
    for line in BufReader::new(output).lines() {
        process::check_interrupted()?;
        let line = line?;
        // What children of a run that failed have said stands between.
        let Ok(value) = serde_json::from_str(&line) else {
            process::append(&log, &line)?;
            continue;
        };
        if let Some(text) = cells::title(&value) {
            end(step.take(), &cells);
            step = Some((Step::begin(text), cells.all.len()));
        }
        cells.take(value);
    }
    end(step, &cells);
    finish(&mut group, &log)?;
    Ok(cells)
}

/// Says what came of the run that began when there were fewer cells.
fn end(step: Option<(Step, usize)>, cells: &Cells) {
    let Some((step, before)) = step else { return };
    match cells.sum(before) {
        Some(sum) => step.done(sum.to_string()),
        None => step.fail("it did not come to its end"),
    };
}

fn finish(group: &mut Group, log: &Path) -> Result<()> {
    let status = group.wait(std::time::Duration::from_secs(60))?;
    if !status.success() {
        bail!("the program failed ({status}); {}", ui::excerpt(log));
    }
    Ok(())
}
