//! `cargo xtask build`: the eBPF programs for their own target, then the agent with them inside.
//!
//! In: the sources of `agent-ebpf` and `agent`. Out: the paths of the object and of the agent. cargo knows what
//! is stale; a build with nothing to do takes a second.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    process,
    tools::{self, ebpf::Toolchain},
    ui::Step,
    workspace,
};

const TARGET: &str = "bpfel-unknown-none";
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// How the agent is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, with assertions.
    Dev,
    /// As it is released.
    Release,
}

/// Builds the eBPF programs; returns the object's absolute path.
pub fn ebpf() -> Result<PathBuf> {
    ebpf_into(&workspace::ebpf_target(), None)
}

/// The machine among those whose registers the programs know that is not this one.
pub fn other_machine() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "x86_64" } else { "aarch64" }
}

/// Builds the programs for [`other_machine`], which this one can't run; returns the object's absolute path.
pub fn ebpf_for_other_machine() -> Result<PathBuf> {
    let machine = other_machine();
    // Apart, so that neither build makes the other stale.
    ebpf_into(&workspace::ebpf_target().join(machine), Some(machine))
}

fn ebpf_into(target: &Path, machine: Option<&str>) -> Result<PathBuf> {
    let toolchain = Toolchain::ensure()?;
    let suffix = machine.map_or_else(String::new, |machine| format!("-{machine}"));
    let log = workspace::log(&format!("build-ebpf{suffix}"));
    process::start_log(&log)?;
    let whose = machine.map_or_else(String::new, |machine| format!(" for {machine}"));
    let step = Step::begin(format!("building the eBPF programs{whose}"));
    step.watch(&log);
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--release", "-Zbuild-std=core", "--target", TARGET])
        .args(["--package", "sockspan-ebpf", "--bin", "sockspan-ebpf", "--target-dir"])
        .arg(target)
        .current_dir(workspace::root())
        .env_remove("CARGO_TARGET_DIR");
    if let Some(machine) = machine {
        cargo.env("SOCKSPAN_TARGET_ARCH", machine);
    }
    if let Err(error) = process::run(&mut cargo, &log, LIMIT) {
        step.fail(toolchain.describe());
        return Err(error);
    }
    step.done(toolchain.describe());
    let object = target.join(TARGET).join("release/sockspan-ebpf");
    if !object.is_file() {
        bail!("cargo succeeded but left no object at {}", object.display());
    }
    Ok(object)
}

/// Builds the agent around the `object`; returns its path.
pub fn agent(profile: Profile, object: &Path) -> Result<PathBuf> {
    let log = workspace::log("build-agent");
    process::start_log(&log)?;
    let (name, folder) = match profile {
        Profile::Dev => ("building the agent", "debug"),
        Profile::Release => ("building the agent (release)", "release"),
    };
    Step::run(name, |step| {
        step.watch(&log);
        let mut cargo = with_object(object);
        cargo.args(["build", "--package", "sockspan", "--bin", "sockspan"]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        process::run(&mut cargo, &log, LIMIT)
    })?;
    Ok(workspace::target().join(folder).join("sockspan"))
}

/// Builds both.
pub fn all(profile: Profile) -> Result<PathBuf> {
    agent(profile, &ebpf()?)
}

/// A cargo, in the repository, whose builds of the agent find the eBPF `object`.
pub fn with_object(object: &Path) -> Command {
    let mut cargo = tools::cargo("cargo");
    cargo.env("SOCKSPAN_EBPF_OBJECT", object).current_dir(workspace::root());
    cargo
}
