//! `cargo xtask test`: everything that can be checked, step by step, and one line at the end that says how it went.
//!
//! In: options. Out: each step's verdict with its duration; the last line reads `N passed, N failed, N skipped`.

mod ahead;
mod budget;
mod chart;
mod checks;
mod count;
mod guest;
mod real;

use std::{cell::OnceCell, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::ValueEnum;

pub use self::{ahead::make as make_ahead, checks::harness, count::Count};
use crate::{
    build::{self, Profile},
    process,
    services::{
        self, Program,
        runtime::{self, Runtime},
    },
    tools::native,
    ui::{self, Step},
    workspace,
};

/// How long one step's programs may take.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// rustfmt
    Fmt,
    /// clippy with the workspace's lints
    Clippy,
    /// cargo-deny: licences, sources, known flaws
    Deny,
    /// The eBPF programs for the machine this one isn't: arm64 on x86-64; built, not run
    Machine,
    /// Unit, replay and property tests; need no privileges
    Unit,
    /// Integration tests with this kernel and the real services; need root
    Integration,
    /// The pipeline's instructions for a span, by callgrind, against agent/benches/pipeline/budgets.json
    Instructions,
    /// The Helm chart against the manifests; needs Helm, or Go to build it
    Chart,
    /// The sample application's traces, read back from a real Jaeger; needs root
    Jaeger,
    /// The manifests on a real Kubernetes, brought up on this machine; needs root (asked for by --k8s)
    Kubernetes,
    /// The capture tests in a virtual machine with another kernel (asked for by --kernel)
    Vm,
}

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What can't run here is skipped instead of failed.
    pub unprivileged: bool,
    /// The other kernel to test on.
    pub kernel: Option<String>,
    /// On a real Kubernetes too.
    pub k8s: bool,
    /// Only these steps.
    pub only: Vec<Name>,
}

/// How a step ended.
enum Verdict {
    /// It ran.
    Ran(Count),
    /// It can't run here, for this reason.
    Impossible(String),
}

/// What several steps share; made when first asked for.
#[derive(Default)]
struct Shared {
    object: OnceCell<PathBuf>,
    agent: OnceCell<PathBuf>,
    services: OnceCell<Services>,
}

/// Services and programs that tests trace.
struct Services {
    /// The sample application.
    sample: [Program; 3],
    /// Its variants with an id in every path.
    variants: [Program; 3],
    /// What registered in `tests/runtimes`.
    runtimes: Vec<Runtime>,
    /// Services that OpenTelemetry's SDKs trace.
    instrumented: [Program; 2],
    /// The folder of the C programs.
    programs: PathBuf,
}

impl Shared {
    fn object(&self) -> Result<&PathBuf> {
        made(&self.object, build::ebpf)
    }
    fn agent(&self) -> Result<&PathBuf> {
        made(&self.agent, || build::agent(Profile::Dev, self.object()?))
    }
    fn services(&self) -> Result<&Services> {
        made(&self.services, || {
            let root = workspace::root();
            Ok(Services {
                sample: services::prepare_three(&root.join("deploy/e-commerce"))?,
                variants: services::prepare_three(&root.join("tests/services"))?,
                runtimes: runtime::prepare(|_| true, false)?,
                instrumented: [
                    services::prepare(&root.join("tests/coexistence/sdk-node"))?,
                    services::prepare(&root.join("tests/coexistence/sdk-python"))?,
                ],
                programs: native::prepare(&root.join("tests/programs"))?,
            })
        })
    }
}

fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let value = make()?;
        let _ = cell.set(value);
    }
    Ok(cell.get().expect("it was set above"))
}

/// The verb; true if nothing failed.
pub fn run(options: &Options) -> Result<bool> {
    let shared = Shared::default();
    let mut total = Count::default();
    let mut lines = Vec::new();
    let steps = Name::value_variants().iter().copied().filter(|name| wanted(*name, options));
    let steps: Vec<_> = steps.collect();
    let mut ahead = None;
    for name in steps.iter().copied() {
        process::check_interrupted()?;
        // Once the eBPF programs are there: who builds ahead installs nothing.
        if ahead.is_none() && shared.object.get().is_some() {
            ahead = ahead::begin(&steps)?;
        }
        let (count, took) = step(name, options, &shared);
        process::check_interrupted()?;
        lines.push(format!("{:<12} {:>12}   {count}", label(name), ui::seconds(took)));
        total += count;
    }
    drop(ahead);
    ui::heading("\nsummary");
    lines.iter().for_each(ui::say);
    println!("{total}");
    Ok(total.failed == 0)
}

fn wanted(name: Name, options: &Options) -> bool {
    let asked = options.only.is_empty() || options.only.contains(&name);
    match name {
        Name::Vm => asked && options.kernel.is_some(),
        Name::Kubernetes => asked && (options.k8s || options.only.contains(&name)),
        _ => asked,
    }
}

fn label(name: Name) -> String {
    name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Does a step. Its error is shown and counts as one failure: the other steps still run.
fn step(name: Name, options: &Options, shared: &Shared) -> (Count, Duration) {
    let started = std::time::Instant::now();
    let verdict = match name {
        Name::Fmt => checks::fmt(),
        Name::Clippy => checks::clippy(shared),
        Name::Deny => checks::deny(),
        Name::Chart => chart::chart(),
        Name::Machine => checks::machine(),
        Name::Unit => checks::unit(shared),
        Name::Instructions => budget::instructions(),
        Name::Integration => real::integration(shared),
        Name::Jaeger => real::jaeger(shared),
        Name::Kubernetes => real::kubernetes(),
        Name::Vm => guest::capture(shared, options.kernel.as_deref().unwrap_or("6.1")),
    };
    let step = Step::begin(label(name)).since(started);
    let count = match verdict {
        Ok(Verdict::Ran(count)) if count.failed == 0 => {
            step.done(count.to_string());
            count
        }
        Ok(Verdict::Ran(count)) => {
            step.fail(count.to_string());
            count
        }
        Ok(Verdict::Impossible(why)) if options.unprivileged => {
            step.skip(why);
            Count::SKIPPED
        }
        Ok(Verdict::Impossible(why)) => {
            step.fail(format!("{why} (--unprivileged leaves it out)"));
            Count::FAILED
        }
        Err(error) => {
            ui::error(&error);
            step.fail("");
            Count::FAILED
        }
    };
    (count, started.elapsed())
}
