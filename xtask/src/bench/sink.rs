//! The receiver of a measurement: the test package's program `sink`, which counts spans and does nothing with them.
//!
//! In: nothing. Out: an endpoint, and how many spans came to it.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    http,
    process::{self, Group},
    tools::{self, INSTALL_LIMIT},
    ui::Step,
    workspace,
};

/// A receiver that runs; ended when dropped.
pub struct Sink {
    port: u16,
    // Ended with this value.
    _group: Group,
}

/// Builds the program.
pub fn build() -> Result<PathBuf> {
    let log = workspace::log("build-sink");
    process::start_log(&log)?;
    Step::run("building the receiver", |step| {
        step.watch(&log);
        let mut cargo = tools::cargo("cargo");
        cargo.args(["build", "--release", "--package", "sockspan-tests", "--bin", "sink"]);
        process::run(cargo.current_dir(workspace::root()), &log, INSTALL_LIMIT)
    })?;
    Ok(workspace::target().join("release/sink"))
}

impl Sink {
    /// Starts the program.
    pub fn start(program: &PathBuf) -> Result<Self> {
        let log = workspace::log("sink");
        process::start_log(&log)?;
        let mut command = Command::new(program);
        process::log_to(&mut command, &log)?;
        command.stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let mut line = String::new();
        BufReader::new(group.output().context("the receiver has no output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the receiver says no port")?;
        let port = said["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Ok(Self { port: port.context("the receiver says no port")?, _group: group })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`, by gRPC and by HTTP.
    pub fn endpoint(&self) -> String {
        http::loopback(self.port)
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Result<f64> {
        let count: Value = serde_json::from_str(&http::get(self.port, "/count")?)?;
        count["spans"].as_f64().context("the receiver counts no spans")
    }
}
