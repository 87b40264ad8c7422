//! Steps that need no privileges: format, lints, dependencies, and the tests beside the code.
//!
//! In: the sources. Out: verdicts; full output in the steps' logs.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{
    Count, LIMIT, Shared, Verdict,
    count::{failures, panics},
};
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

/// `cargo deny check`; advisories only where their database can be fetched, else they count as skipped
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
    whole("deny", "checking licences, sources and bans", &mut command(&["bans", "licenses", "sources"]))?;
    let log = workspace::log("deny-advisories");
    process::start_log(&log)?;
    match process::run(&mut command(&["advisories"]), &log, LIMIT) {
        Ok(()) => Ok(Verdict::Ran(Count { passed: 2, ..Count::default() })),
        Err(error) => {
            let Some(why) = fetch_failure(&process::read_log(&log)?) else { return Err(error) };
            ui::warn(format!("advisories were NOT checked, their database can't be fetched: {why}"));
            Ok(Verdict::Ran(Count { skipped: 1, ..Count::PASSED }))
        }
    }
}

/// Why the advisories' database could not be fetched; `None` if cargo-deny failed for another reason.
fn fetch_failure(log: &str) -> Option<String> {
    let failure = log.lines().find(|line| line.contains("failed to fetch advisory database"))?;
    let cause = log.lines().find_map(|line| line.strip_prefix("fatal: ")).unwrap_or(failure);
    Some(cause.trim().to_owned())
}

/// The eBPF programs for a machine that can't run here
pub fn machine() -> Result<Verdict> {
    build::ebpf_for_other_machine().map(|_| Verdict::Ran(Count::PASSED))
}

/// `cargo test` on all that needs no privileges
pub fn unit(shared: &Shared) -> Result<Verdict> {
    let object = shared.object()?;
    let test = |name, text, arguments: &[&str]| {
        harness(name, text, build::with_object(object).arg("test").args(arguments).arg("--no-fail-fast"))
    };
    let most = ["--workspace", "--exclude", "sockspan-tests"];
    let mut count = test("unit", "unit, replay and property tests", &most)?;
    // Of the package whose other tests need privileges, the judge is tested here.
    count += test(
        "unit-judge",
        "tests of the integration tests' judge",
        &["--package", "sockspan-tests", "--lib"],
    )?;
    Ok(Verdict::Ran(count))
}

/// Runs test programs and counts what their harnesses say.
pub fn harness(name: &str, text: &str, command: &mut Command) -> Result<Count> {
    let log = workspace::log(name);
    process::start_log(&log)?;
    let step = Step::begin(text);
    step.watch(&log);
    let code = process::run_for_code(command, &log, LIMIT)?;
    step.quiet();
    Ok(judge(&process::read_log(&log)?, code, &log))
}

/// Counts, and names what failed.
pub fn judge(output: &str, code: i32, log: &Path) -> Count {
    let count = Count::from_harness(output, code);
    if count.failed > 0 {
        failures(output).iter().for_each(|name| ui::warn(format!("failed: {name}")));
        ui::say(ui::excerpt(log));
        // Last, for this is what one looks for, and all that is left where only the end of a run is kept.
        panics(output).iter().for_each(ui::warn);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_fetch_excuses_the_advisories() {
        let log =
            "[ERROR] failed to fetch advisory database https://x\nfatal: unable to access 'https://x/'\n";
        assert_eq!(fetch_failure(log).as_deref(), Some("unable to access 'https://x/'"));
        assert_eq!(fetch_failure("error[vulnerability]: a hole\nadvisories FAILED\n"), None);
    }
}
