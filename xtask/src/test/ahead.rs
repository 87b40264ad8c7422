//! What later steps need, made while earlier ones wait for clocks and services: from nothing, Jaeger and Kubernetes alone
//! take a quarter of an hour to build.
//!
//! In: the steps that are still to come. Out: tools in the cache, by a child that runs only where nobody else wants to. A
//! step that comes before its tools are there waits for them; what fails here is tried again there, and told there.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{Name, label};
use crate::{
    build::{self, Profile},
    k8s::binaries,
    process::{self, Group},
    tools::{
        helm,
        jaeger::{self, Jaeger},
    },
    ui, workspace,
};

/// A child that is told to end ends its own children first.
const GRACE: Duration = Duration::from_secs(10);

/// What `step` would have to build, as far as it can be made ahead.
fn missing(step: Name) -> Vec<String> {
    match step {
        Name::Chart => helm::missing().into_iter().collect(),
        Name::Jaeger => jaeger::missing().into_iter().collect(),
        Name::Kubernetes => {
            let agent = "the agent as it is released".to_owned();
            binaries::missing().into_iter().chain([agent]).collect()
        }
        _ => Vec::new(),
    }
}

/// Makes what `steps` need, one thing after the other.
pub fn make(steps: &[Name]) -> Result<()> {
    for step in steps {
        match step {
            Name::Chart => drop(helm::ensure()?),
            Name::Jaeger => drop(Jaeger::ensure()?),
            Name::Kubernetes => {
                build::all(Profile::Release)?;
                binaries::ensure()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Begins to make what `steps` need, if anything is missing. It ends with the value.
pub fn begin(steps: &[Name]) -> Result<Option<Group>> {
    let steps: Vec<_> = steps.iter().filter(|step| !missing(**step).is_empty()).collect();
    if steps.is_empty() {
        return Ok(None);
    }
    let log = workspace::log("ahead");
    ui::say(format!("meanwhile, where a processor is idle (log: {}):", workspace::display(&log)));
    steps.iter().flat_map(|step| missing(**step)).for_each(|what| ui::say(format!("  {what}")));
    process::start_log(&log)?;
    let mut command = idle();
    command.arg(std::env::current_exe().context("xtask does not know itself")?).arg("make-ahead");
    command.args(steps.into_iter().map(|step| label(*step)));
    process::log_to(&mut command, &log)?;
    Ok(Some(Group::spawn(&mut command)?.grace(GRACE)))
}

/// The beginning of a command line for what must disturb nobody.
fn idle() -> Command {
    let (program, words) =
        if process::which("chrt").is_some() { ("chrt", ["--idle", "0"]) } else { ("nice", ["-n", "19"]) };
    let mut command = Command::new(program);
    command.args(words);
    command
}
