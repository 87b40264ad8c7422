//! `cargo xtask`: everything a person types in this repository.
//!
//! In: a verb and its options. Out: what the verb makes; progress on standard error, results on standard output.

mod agent;
mod bench;
mod build;
mod cache;
mod demo;
mod http;
mod k8s;
mod load;
mod process;
mod services;
mod test;
mod tools;
mod trace;
mod tree;
mod ui;
mod usage;
mod vm;
mod workspace;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, shows and tests sockspan",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the eBPF programs and the agent with them inside
    Build(BuildOptions),
    /// Trace the sample application on this machine and show what comes of it
    Demo(DemoOptions),
    /// Measure what the agent costs, and how true its traces are
    #[command(subcommand)]
    Bench(Bench),
    /// Check and test everything
    Test(TestOptions),
    /// A real Kubernetes on this machine, for tests and to try things
    #[command(subcommand)]
    K8s(k8s::Verb),
    /// Run a shell command in a virtual machine with another kernel
    Vm(VmOptions),
    /// Make what these steps of `test` need
    #[command(hide = true)]
    MakeAhead { steps: Vec<test::Name> },
}

#[derive(Args)]
struct BuildOptions {
    /// Optimise: leaves target/release/sockspan, which needs no other file
    #[arg(long)]
    release: bool,
}

#[derive(Args)]
struct DemoOptions {
    /// Send the traces to a real Jaeger, read them back from it, and keep running until Ctrl-C
    #[arg(long)]
    jaeger: bool,
    /// Do it on a real Kubernetes that is brought up on this machine, and leave that up
    #[arg(long, conflicts_with_all = ["jaeger", "keep"])]
    k8s: bool,
    /// How long to send requests: 15s, 2m
    #[arg(long, default_value = "15s", value_parser = duration)]
    duration: Duration,
    /// Requests a second
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
    /// Keep everything running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand)]
enum Bench {
    /// What calls take beside the agent, in both probe modes, traced and not
    Probes {
        /// How often each state is measured
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
    },
    /// What a span takes of the agent: by stage, by thread, at 1,000 to 50,000 spans a second and more
    Agent(bench::agent::Options),
    /// What tracing costs services under load: throughput, latency, CPU time; beside OpenTelemetry's SDK
    App(bench::app::Options),
    /// What grows with connections, services, bodies and processes that are not traced
    Scale(bench::scale::Options),
    /// How true the traces of real services are: complete, unlinked and wrong links of every cell of a matrix
    Fidelity(bench::fidelity::Options),
}

#[derive(Args)]
struct TestOptions {
    /// Skip what needs root or a kernel with eBPF instead of failing
    #[arg(long)]
    unprivileged: bool,
    /// Also run the capture tests in a virtual machine with this kernel of Debian's
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// Also bring up a real Kubernetes on this machine and run the tests on it
    #[arg(long)]
    k8s: bool,
    /// Only these steps
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<test::Name>,
}

#[derive(Args)]
struct VmOptions {
    /// Debian's kernel to boot
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// A file or folder to have in the guest, HOST[:GUEST]; programs bring their libraries
    #[arg(long = "file", value_name = "HOST[:GUEST]")]
    files: Vec<String>,
    /// How long the guest may take, in seconds
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// The command, for the guest's shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match process::handle_signals().and_then(|()| run(cli.verb)) {
        Ok(code) => code,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(if process::interrupted() { 130 } else { 1 })
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Build(options) => build(&options),
        Verb::Demo(DemoOptions { jaeger, k8s, duration, rate, keep }) => {
            let options = demo::Options { jaeger, duration, rate, keep };
            if k8s { demo::kubernetes::run(&options) } else { demo::run(&options) }?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench(Bench::Probes { rounds }) => {
            bench::probes::run(rounds)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench(Bench::Agent(options)) => {
            bench::agent::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench(Bench::App(options)) => {
            bench::app::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench(Bench::Scale(options)) => {
            bench::scale::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench(Bench::Fidelity(options)) => {
            bench::fidelity::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test(TestOptions { unprivileged, kernel, k8s, only }) => {
            let well = test::run(&test::Options { unprivileged, kernel, k8s, only })?;
            Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::K8s(verb) => k8s::run(verb),
        Verb::Vm(options) => vm(&options),
        Verb::MakeAhead { steps } => {
            test::make_ahead(&steps)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build(options: &BuildOptions) -> Result<ExitCode> {
    let profile = if options.release { build::Profile::Release } else { build::Profile::Dev };
    println!("{}", workspace::display(&build::all(profile)?));
    Ok(ExitCode::SUCCESS)
}

fn vm(options: &VmOptions) -> Result<ExitCode> {
    let split = |text: &String| match text.split_once(':') {
        Some((host, guest)) => (PathBuf::from(host), PathBuf::from(guest)),
        None => (PathBuf::from(text), std::path::absolute(text).unwrap_or_else(|_| text.into())),
    };
    let files: Vec<_> = options.files.iter().map(split).collect();
    let files: Vec<_> = files.iter().map(|(host, guest)| (host.as_path(), guest.as_path())).collect();
    let limit = Duration::from_secs(options.timeout);
    let outcome = vm::run(&options.kernel, &files, &options.command.join(" "), limit, true)?;
    Ok(ExitCode::from(u8::try_from(outcome.status).context("an exit code above 255")?))
}

/// `15s`, `2m`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let seconds = match (number.parse::<f64>(), unit) {
        (Ok(n), "" | "s") => n,
        (Ok(n), "m" | "min") => n * 60.0,
        _ => return Err("expected a duration such as 15s or 2m".to_owned()),
    };
    let valid = (0.1..=86_400.0).contains(&seconds);
    if valid { Ok(Duration::from_secs_f64(seconds)) } else { Err("expected 0.1 s to a day".to_owned()) }
}

/// A rate that a load generator on one machine can keep.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("expected 0.1 to 1000 requests a second".to_owned()),
    }
}
