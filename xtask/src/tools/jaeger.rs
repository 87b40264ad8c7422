//! A real Jaeger v2: as a container where an engine works, else built from its Go module.
//!
//! In: a container engine or a Go toolchain. Out: a [`Jaeger`] that can be started with a configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{INSTALL_LIMIT, container, go};
use crate::{cache, process, ui::Step, workspace};

/// The Go module's version; the same source is released as [`IMAGE`].
const MODULE: &str = "github.com/jaegertracing/jaeger@v1.76.0";
/// The released image of the same version.
pub const IMAGE: &str = "docker.io/jaegertracing/jaeger:2.13.0";

/// A Jaeger that is there but not running.
#[derive(Clone, Debug)]
pub enum Jaeger {
    /// An image in a container engine.
    Container {
        /// The engine's command.
        engine: &'static str,
    },
    /// A program.
    Binary(PathBuf),
}

impl Jaeger {
    /// Finds or makes one.
    pub fn ensure() -> Result<Self> {
        match container::engine() {
            Some(engine) => pull(engine),
            None => build().map(Self::Binary),
        }
    }

    /// The command that runs it with the configuration `config` and the name `name`.
    pub fn command(&self, config: &Path, name: &str) -> Command {
        match self {
            Self::Binary(path) => {
                let mut command = Command::new(path);
                command.arg("--config").arg(config);
                command
            }
            Self::Container { engine } => {
                let mut command = Command::new(engine);
                command.args(["run", "--rm", "--network", "host", "--name", name, "--volume"]);
                command.arg(format!("{}:/etc/jaeger.yaml:ro,z", config.display()));
                command.args([IMAGE, "--config", "/etc/jaeger.yaml"]);
                command
            }
        }
    }

    /// Whether its pages for the browser are there: a module carries none of the UI's assets.
    pub fn has_ui(&self) -> bool {
        matches!(self, Self::Container { .. })
    }
}

/// What [`Jaeger::ensure`] would fetch or build.
pub fn missing() -> Option<String> {
    match container::engine() {
        Some(engine) if has_image(engine) => None,
        Some(engine) => Some(format!("Jaeger: {IMAGE} by {engine}")),
        None => unbuilt(),
    }
}

/// What [`build`] would build.
pub fn unbuilt() -> Option<String> {
    let here = cache::find("jaeger", &cache::key(MODULE)).is_some();
    (!here).then(|| format!("Jaeger: built from {MODULE} by Go"))
}

fn has_image(engine: &str) -> bool {
    process::output(Command::new(engine).args(["image", "inspect", IMAGE])).is_some()
}

fn pull(engine: &'static str) -> Result<Jaeger> {
    if !has_image(engine) {
        let log = workspace::log("jaeger-pull");
        process::start_log(&log)?;
        Step::run(format!("fetching Jaeger ({engine} pull {IMAGE})"), |step| {
            step.watch(&log);
            process::run(Command::new(engine).args(["pull", IMAGE]), &log, INSTALL_LIMIT)
        })?;
    }
    Ok(Jaeger::Container { engine })
}

/// The program, built from its module; also where a container engine could run the image.
pub fn build() -> Result<PathBuf> {
    let dir = cache::get("jaeger", &cache::key(MODULE), |dir| {
        go::ensure(25, "Jaeger, without a container engine (docker or podman) that works,")?;
        let log = workspace::log("jaeger-build");
        process::start_log(&log)?;
        Step::run(format!("building Jaeger ({MODULE}, three minutes or more)"), |step| {
            step.watch(&log);
            let source = dir.join("source");
            // `go install` refuses it: its go.mod has replace directives. The module cache is read-only, and building
            // writes: so a copy, with permissions of its own.
            let module = go::download(MODULE, &log)?;
            let mut copy = Command::new("cp");
            copy.args(["-r", "--no-preserve=mode"]).arg(module).arg(&source);
            process::run(&mut copy, &log, INSTALL_LIMIT)?;
            go::build(&source, "./cmd/jaeger", &dir.join("jaeger"), "", &log)?;
            fs::remove_dir_all(&source).context("cannot remove Jaeger's source")
        })
    })?;
    Ok(dir.join("jaeger"))
}
