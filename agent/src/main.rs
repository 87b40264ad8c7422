//! The command `sockspan`.

use std::process::ExitCode;

use sockspan::{
    chain::chain,
    kubernetes, log, memory, preflight, run,
    settings::{Error, Invocation, Settings, Verb},
};

fn main() -> ExitCode {
    memory::bound();
    let invocation = match Invocation::of_process() {
        Ok(invocation) => invocation,
        Err(Error::Usage(usage)) => usage.exit(),
        Err(error) => return failure(&error.into()),
    };
    log::start(invocation.settings.log);
    for warning in &invocation.settings.warnings {
        tracing::warn!("{warning}");
    }
    match act(&invocation) {
        Ok(code) => code,
        Err(error) => failure(&error),
    }
}

fn act(invocation: &Invocation) -> anyhow::Result<ExitCode> {
    let Invocation { verb, settings, .. } = invocation;
    match verb {
        Verb::Run => run::run(invocation, None)?,
        Verb::Record { file } => run::run(invocation, Some(file))?,
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
