//! Steps on the real kernel, with real services: as root only.
//!
//! In: the agent, the services. Out: verdicts. Why a step can't run here is asked of the agent's own preflight.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Count, Services, Shared, Verdict, checks};
use crate::{
    build,
    demo::{self, Ready, Stage},
    k8s, process,
    services::{Program, runtime},
    tools::{jaeger::Jaeger, nginx},
    ui, workspace,
};

/// The test programs of this step; that of Kubernetes has a step of its own.
const INTEGRATION: [&str; 10] = [
    "capture",
    "coexistence",
    "correlation",
    "edges",
    "fidelity",
    "operation",
    "refusals",
    "reload",
    "runtimes",
    "timing",
];

/// Why this machine can't run eBPF programs; `None` if it can.
fn obstacle(agent: &Path) -> Result<Option<String>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Some("needs root".to_owned()));
    }
    let log = workspace::log("preflight");
    process::start_log(&log)?;
    let code = process::run_for_code(Command::new(agent).arg("preflight"), &log, Duration::from_secs(60))?;
    Ok((code != 0).then(|| {
        format!("this machine can't run the agent: `sockspan preflight` says why; {}", ui::excerpt(&log))
    }))
}

/// The tests on a cluster that is brought up for them.
pub fn kubernetes() -> Result<Verdict> {
    match k8s::test::obstacle() {
        Some(obstacle) => Ok(Verdict::Impossible(obstacle)),
        None => k8s::test::perform(&k8s::test::Options::default()).map(Verdict::Ran),
    }
}

/// The package `sockspan-tests`, one test at a time: they share two cores with the services.
pub fn integration(shared: &Shared) -> Result<Verdict> {
    let agent = shared.agent()?;
    if let Some(obstacle) = obstacle(agent)? {
        return Ok(Verdict::Impossible(obstacle));
    }
    nginx::ensure()?;
    let services = shared.services()?;
    let list = services_file(services, "services.json", |_| true)?;
    let mut cargo = build::with_object(shared.object()?);
    cargo
        .args(["test", "--package", "sockspan-tests", "--no-fail-fast"])
        .args(INTEGRATION.map(|name| format!("--test={name}")))
        .env("SOCKSPAN_BIN", agent)
        .env("SOCKSPAN_SERVICES", list)
        .env("SOCKSPAN_PROGRAMS", &services.programs)
        .env("RUST_TEST_THREADS", "1");
    checks::harness("integration", "integration tests on this kernel", &mut cargo).map(Verdict::Ran)
}

/// Writes to `name` how to start each service for which `wanted` says yes, as test programs read it.
pub fn services_file(services: &Services, name: &str, wanted: impl Fn(&Program) -> bool) -> Result<PathBuf> {
    let group = |programs: &[Program]| -> serde_json::Value {
        let wanted = programs.iter().filter(|program| wanted(program));
        wanted
            .map(|program| (program.name.clone(), program.to_json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let path = workspace::output().join(name);
    fs::create_dir_all(workspace::output())?;
    let list = json!({
        "sample": group(&services.sample),
        "variants": group(&services.variants),
        "runtimes": runtime::list(&services.runtimes),
        "instrumented": group(&services.instrumented),
    });
    let list = format!("{list:#}");
    // A file that stays the same keeps its time, and so the guest's image.
    if fs::read_to_string(&path).ok().as_ref() != Some(&list) {
        fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

/// The sample application's traces through a real Jaeger: each request's must be complete there.
pub fn jaeger(shared: &Shared) -> Result<Verdict> {
    let agent = shared.agent()?;
    if let Some(obstacle) = obstacle(agent)? {
        return Ok(Verdict::Impossible(obstacle));
    }
    let ready = Ready {
        agent: agent.clone(),
        programs: shared.services()?.sample.clone(),
        jaeger: Some(Jaeger::ensure()?),
    };
    let options = demo::Options { jaeger: true, duration: Duration::from_secs(10), rate: 8.0, keep: false };
    let mut stage = Stage::start(&ready)?;
    let report = stage.perform(&options)?;
    stage.stop()?;
    ui::say(format!("{} of {} traces complete in Jaeger", report.complete, report.answers.sent()));
    report.verdict()?;
    Ok(Verdict::Ran(Count::PASSED))
}
