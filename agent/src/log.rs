//! The agent's log: to standard error, for standard output is the console exporter's, at a level that can change.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::settings::Level;

static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // What the Kubernetes client says of each failed watch, the agent says once and in its own words.
    let quiet = ["kube_client", "kube_runtime"].map(|target| (target, LevelFilter::OFF));
    Targets::new().with_default(level).with_targets(quiet)
}

/// Begins to log. To be called once.
pub fn start(level: Level) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colour);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let _ = FILTER.set(handle);
}

/// Logs at this level from now on. What libraries say by the `log` crate stays at the first.
pub fn set(level: Level) {
    if let Some(handle) = FILTER.get()
        && handle.modify(|now| *now = filter(level)).is_err()
    {
        tracing::warn!("the log's level cannot be changed");
    }
}
