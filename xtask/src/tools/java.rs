//! Java services: the virtual machine, and the service's jar built by Maven.
//!
//! In: a folder with pom.xml. Out: the runnable jar, in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{INSTALL_LIMIT, apt};
use crate::{cache, process, ui::Step, workspace};

/// Debian's packages for what is missing of a Java development kit and Maven.
fn packages() -> Vec<&'static str> {
    let kit = process::which("java").is_some() && process::which("javac").is_some();
    let maven = process::which("mvn").is_some();
    [(kit, "default-jdk-headless"), (maven, "maven")]
        .into_iter()
        .filter(|(here, _)| !here)
        .map(|(_, p)| p)
        .collect()
}

/// What [`machine`] would install.
pub fn missing() -> Option<String> {
    let packages = packages();
    (!packages.is_empty()).then(|| format!("Java: Debian's {}", packages.join(" ")))
}

/// The Java virtual machine; it and Maven are installed if missing.
pub fn machine() -> Result<PathBuf> {
    apt::ensure(&packages(), "Java and Maven")?;
    process::which("java").context("java is not on PATH after its installation")
}

/// The runnable jar of the service `source`.
pub fn prepare(source: &Path) -> Result<PathBuf> {
    machine()?;
    let key = cache::content_key(&[source], "")?;
    let name = workspace::display(source);
    let dir = cache::get("java", &key, |dir| {
        cache::copy_sources(source, dir)?;
        let log = workspace::log("maven");
        process::start_log(&log)?;
        Step::run(format!("building {name} (mvn package)"), |step| {
            step.watch(&log);
            let mut maven = Command::new("mvn");
            maven.args(["--batch-mode", "--no-transfer-progress", "-DskipTests", "package"]).current_dir(dir);
            process::run(&mut maven, &log, INSTALL_LIMIT)
        })
    })?;
    jar(&dir.join("target"))
}

fn jar(target: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(target).with_context(|| format!("no folder {}", target.display()))?;
    let mut jars: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    jars.retain(|p| p.extension().is_some_and(|e| e == "jar"));
    jars.pop().with_context(|| format!("Maven left no jar in {}", target.display()))
}
