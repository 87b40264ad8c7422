//! Node.js services: the interpreter, and a copy of the service with its dependencies beside it.
//!
//! In: a folder with package.json and package-lock.json. Out: a folder in the cache that Node can run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{INSTALL_LIMIT, apt};
use crate::{cache, process, ui::Step, workspace};

/// What [`interpreter`] would install.
pub fn missing() -> Option<String> {
    let here = process::which("node").is_some() && process::which("npm").is_some();
    (!here).then(|| "Node.js: Debian's nodejs npm".to_owned())
}

/// The interpreter, installed if missing.
pub fn interpreter() -> Result<PathBuf> {
    if missing().is_some() {
        apt::ensure(&["nodejs", "npm"], "Node.js")?;
    }
    process::which("node").context("node is not on PATH after its installation")
}

/// A copy of the service `source` with its dependencies installed; the source tree stays untouched.
pub fn prepare(source: &Path) -> Result<PathBuf> {
    let node = interpreter()?;
    let version = process::output(Command::new(&node).arg("--version"));
    let key = cache::content_key(&[source], version)?;
    let name = workspace::display(source);
    cache::get("node", &key, |dir| {
        cache::copy_sources(source, dir)?;
        let log = workspace::log("npm");
        process::start_log(&log)?;
        Step::run(format!("fetching the dependencies of {name} (npm ci)"), |step| {
            step.watch(&log);
            let mut npm = Command::new("npm");
            npm.args(["ci", "--omit=dev", "--no-audit", "--no-fund"]).current_dir(dir);
            process::run(&mut npm, &log, INSTALL_LIMIT)
        })
    })
}
