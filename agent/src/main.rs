//! The command `sockspan`.

use std::{io::IsTerminal as _, process::ExitCode};

use sockspan::{
    chain::chain,
    kubernetes, preflight, run,
    settings::{Error, Invocation, Level, Settings, Verb},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

fn main() -> ExitCode {
    let invocation = match Invocation::of_process() {
        Ok(invocation) => invocation,
        Err(Error::Usage(usage)) => usage.exit(),
        Err(error) => return failure(&error.into()),
    };
    log(&invocation.settings);
    for warning in &invocation.settings.warnings {
        tracing::warn!("{warning}");
    }
    match act(&invocation) {
        Ok(code) => code,
        Err(error) => failure(&error),
    }
}

fn act(Invocation { verb, settings }: &Invocation) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Run => run::run(settings, None)?,
        Verb::Record { file } => run::run(settings, Some(file))?,
        Verb::Replay { file } => run::replay(settings, file)?,
        Verb::Config => print!("{}", run::config(settings)?),
        Verb::Preflight { json } => return preflight(settings, *json),
    }
    Ok(ExitCode::SUCCESS)
}

fn preflight(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let options = preflight::Options { probes: settings.probes, uprobes: settings.uprobes, mount: true };
    let mut report = preflight::run(&run::system(settings), options);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(check) = runtime.block_on(kubernetes::check(&settings.kubernetes)) {
        report.add(check);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.fatal().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("sockspan: {}", chain(error.as_ref()));
    ExitCode::FAILURE
}

/// The log goes to stderr: stdout is the console exporter's.
fn log(settings: &Settings) {
    let level = match settings.log {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let out = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(colour);
    // What the Kubernetes client says of each failed watch, the agent says once and in its own words.
    let others = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("kube_runtime", LevelFilter::OFF);
    out.finish().with(others).init();
}
