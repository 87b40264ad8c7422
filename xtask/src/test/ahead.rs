//! What later steps need, made while earlier ones leave a processor idle: they wait for clocks and services, and a compiler's
//! last crate is one thread. From nothing, Jaeger and Kubernetes alone take a quarter of an hour to build.
//!
//! In: the steps. Out: tools in the cache and programs in the target folder, in the order in which they are needed, by a child
//! that runs only where nobody else wants to. A step that comes before its tools are there waits for them; what fails here is
//! tried again there, and told there.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{Name, budget, label};
use crate::{
    bench::agent::pipeline,
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

/// What `step` needs of what can be made ahead, and may have to build; nothing, if it can't run here anyway.
fn needs(step: Name) -> Vec<String> {
    match step {
        Name::Jaeger | Name::Kubernetes if !nix::unistd::geteuid().is_root() => Vec::new(),
        Name::Instructions if budget::obstacle().is_some() => Vec::new(),
        Name::Chart => helm::missing().into_iter().collect(),
        Name::Jaeger => jaeger::missing().into_iter().collect(),
        Name::Kubernetes => {
            binaries::missing().into_iter().chain(["the agent as it is released".to_owned()]).collect()
        }
        Name::Instructions => vec!["the pipeline's benchmark".to_owned()],
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
                binaries::ensure()?;
                build::all(Profile::Release)?;
            }
            Name::Instructions => drop(pipeline::ensure()?),
            _ => {}
        }
    }
    Ok(())
}

/// Begins to make what `steps` need. It ends with the value.
pub fn begin(steps: &[Name]) -> Result<Option<Group>> {
    // Alone, a step waits for what it needs anyway.
    let wanted = |step: &&Name| steps.len() > 1 && !needs(**step).is_empty();
    let made: Vec<Name> = steps.iter().filter(wanted).copied().collect();
    if made.is_empty() {
        return Ok(None);
    }
    let log = workspace::log("ahead");
    ui::say(format!("meanwhile, where a processor is idle (log: {}):", workspace::display(&log)));
    made.iter().flat_map(|step| needs(*step)).for_each(|what| ui::say(format!("  {what}")));
    process::start_log(&log)?;
    let mut command = idle();
    command.arg(std::env::current_exe().context("xtask does not know itself")?).arg("make-ahead");
    command.args(made.into_iter().map(label)).env(workspace::LOG_PREFIX, "ahead-");
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
