//! Steps that need no privileges: format, lints, dependencies, and the tests beside the code.
//!
//! In: the sources. Out: verdicts; full output in the steps' logs.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use super::{Count, LIMIT, Shared, Verdict, count::failures};
use crate::{
    build, process,
    tools::{self, deny},
    ui::{self, Step},
    workspace,
};

/// Runs a command that passes or fails as a whole.
fn whole(name: &str, text: &str, command: &mut Command) -> Result<Verdict> {
    let log = workspace::log(name);
    process::start_log(&log)?;
    let step = Step::begin(text);
    step.watch(&log);
    process::run(command, &log, LIMIT)?;
    step.quiet();
    Ok(Verdict::Ran(Count::PASSED))
}

/// `cargo fmt --check`
pub fn fmt() -> Result<Verdict> {
    let mut cargo = tools::cargo("cargo");
    cargo.args(["fmt", "--all", "--check"]).current_dir(workspace::root());
    whole("fmt", "checking the format", &mut cargo)
}

/// `cargo clippy` on everything, with warnings as errors
pub fn clippy(shared: &Shared) -> Result<Verdict> {
    let mut cargo = build::with_object(shared.object()?);
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    whole("clippy", "checking by clippy", &mut cargo)
}

/// `cargo deny check`; known flaws only where their list can be fetched
pub fn deny() -> Result<Verdict> {
    let program = deny::ensure()?;
    let command = |checks: &[&str]| {
        let mut cargo = tools::cargo("cargo");
        // By its own path it takes its verb as a cargo subcommand would.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = program.parent().map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&path));
        cargo.env("PATH", std::env::join_paths(folders).unwrap_or(path)).current_dir(workspace::root());
        cargo.args(["deny", "--workspace", "check"]).args(checks);
        cargo
    };
    whole("deny", "checking licences and sources", &mut command(&["bans", "licenses", "sources"]))?;
    let log = workspace::log("deny-advisories");
    process::start_log(&log)?;
    match process::run(&mut command(&["advisories"]), &log, LIMIT) {
        Ok(()) => Ok(Verdict::Ran(Count { passed: 2, ..Count::default() })),
        Err(_) if fetch_failed(&log) => {
            ui::warn(format!(
                "known flaws were not checked, their list can't be fetched ({})",
                workspace::display(&log)
            ));
            Ok(Verdict::Ran(Count { passed: 1, failed: 0, skipped: 1 }))
        }
        Err(error) => Err(error),
    }
}

fn fetch_failed(log: &Path) -> bool {
    fs::read_to_string(log).unwrap_or_default().contains("failed to fetch advisory database")
}

/// `cargo test` on all that needs no privileges
pub fn unit(shared: &Shared) -> Result<Verdict> {
    let mut cargo = build::with_object(shared.object()?);
    cargo.args(["test", "--workspace", "--exclude", "sockspan-tests", "--no-fail-fast"]);
    harness("unit", "unit, replay and property tests", &mut cargo)
}

/// Runs test programs and counts what their harnesses say.
pub fn harness(name: &str, text: &str, command: &mut Command) -> Result<Verdict> {
    let log = workspace::log(name);
    process::start_log(&log)?;
    let step = Step::begin(text);
    step.watch(&log);
    let code = process::run_for_code(command, &log, LIMIT)?;
    step.quiet();
    let output = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
    Ok(Verdict::Ran(judge(&output, code, &log)))
}

/// Counts, and names what failed.
pub fn judge(output: &str, code: i32, log: &Path) -> Count {
    let count = Count::from_harness(output, code);
    if count.failed > 0 {
        failures(output).iter().for_each(|name| ui::warn(format!("failed: {name}")));
        ui::say(ui::excerpt(log));
    }
    count
}
