//! `cargo xtask k8s test`: the tests on the real cluster, which is brought up for them.
//!
//! In: filters by name. Out: counts; a cluster that was not there before is gone afterwards.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use super::{
    down,
    layout::{self, STATE},
    preflight, status,
};
use crate::{
    build,
    test::{self, Count},
    ui,
};

/// What a person asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the tests whose names contain one of these.
    pub names: Vec<String>,
    /// The cluster stays up.
    pub keep: bool,
}

/// The verb.
pub fn run(options: &Options) -> Result<ExitCode> {
    let count = perform(options)?;
    println!("{count}");
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why this machine can't be asked to; whatever else is missing is told when the cluster is brought up.
pub fn obstacle() -> Option<String> {
    preflight::privileges().into_iter().next()
}

/// Brings the cluster up, runs the tests, and leaves the machine as it was.
pub fn perform(options: &Options) -> Result<Count> {
    let stays = options.keep || status::up();
    super::up(false)?;
    let count = tests(&options.names);
    if stays {
        ui::say("the cluster stays up: `cargo xtask k8s down` removes it");
    } else {
        down::run()?;
    }
    count
}

fn tests(names: &[String]) -> Result<Count> {
    let object = build::ebpf()?;
    let agent = build::all(build::Profile::Release)?;
    let mut cargo: Command = build::with_object(&object);
    cargo
        .args(["test", "--package", "sockspan-tests", "--test", "kubernetes", "--no-fail-fast", "--"])
        .args(names)
        .env("KUBECONFIG", layout::admin_kubeconfig())
        .env("SOCKSPAN_KUBECTL", layout::program("kubectl"))
        .env("SOCKSPAN_XTASK", std::env::current_exe().context("xtask does not know itself")?)
        .env("SOCKSPAN_CLUSTER", STATE)
        .env("SOCKSPAN_BIN", agent)
        .env("RUST_TEST_THREADS", "1");
    test::harness("kubernetes", "tests on a real Kubernetes", &mut cargo)
}
