//! Settings into the parts of the agent.

use anyhow::Context as _;

use crate::{
    exchange::{Excluded, Seed},
    export::ConsoleOptions,
    pipeline::{self, Rules},
    preflight::System,
    sampler::Sampler,
    settings::{Level, Settings, Treatment},
    span::{assemble::Assembler, clock::Clock, conventions::Conventions, redact::Redaction, route::Router},
};

/// What ids are made from: random, so that no two agents and no two runs make the same.
pub fn seed() -> anyhow::Result<Seed> {
    let mut bytes = [0; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("the kernel gave no random bytes")?;
    anyhow::ensure!(got == bytes.len(), "the kernel gave too few random bytes");
    Ok(Seed(bytes))
}

/// The pipeline's options.
pub fn pipeline(settings: &Settings, sampler: Sampler, seed: Seed, clock: Clock) -> pipeline::Options {
    let Rules { excluded, correlation, leave_instrumented, conventions, router, evidence } = rules(settings);
    let assembler = Assembler { clock, conventions, router, sampler, evidence };
    pipeline::Options {
        seed,
        head_bytes: settings.head_limit as usize,
        connections: settings.max_connections as usize,
        max_duration: settings.max_duration,
        excluded,
        correlation,
        leave_instrumented,
        assembler,
    }
}

/// What the pipeline goes by and can change while it runs.
pub fn rules(settings: &Settings) -> Rules {
    let redaction = Redaction::new(settings.redact.clone());
    let mut conventions = Conventions::default().with_query(settings.query_string).with_redaction(redaction);
    if let Some(methods) = settings.otel("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") {
        conventions = conventions.with_known_methods(&methods);
    }
    Rules {
        excluded: excluded(settings),
        correlation: settings.correlation_headers.iter().map(|name| name.text().to_owned()).collect(),
        leave_instrumented: settings.instrumented == Treatment::Leave,
        conventions,
        router: Router::new(settings.routes.clone(), settings.guess_routes),
        evidence: settings.evidence,
    }
}

fn excluded(settings: &Settings) -> Excluded {
    let rules = settings.exclude.clone();
    Box::new(move |request| rules.rule(request.target(), request.user_agent()).is_some())
}

/// How the console is drawn.
pub fn console(settings: &Settings) -> ConsoleOptions {
    let colour = settings.console_color.forced();
    ConsoleOptions { width: settings.console_width, colour }
}

/// The machine, as the preflight looks at it.
pub fn system(settings: &Settings) -> System<'static> {
    let mut system = System::running();
    system.btf.clone_from(&settings.btf);
    system
}

/// The programs' own level of diagnostics, as their loader counts it.
pub fn bpf_level(level: Level) -> u8 {
    match level {
        Level::Off => 0,
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}
