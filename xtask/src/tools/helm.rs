//! Helm, which renders the chart.
//!
//! In: PATH, a Go toolchain, the cache. Out: the program.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::go;
use crate::{cache, process, ui::Step, workspace};

const PACKAGE: &str = "helm.sh/helm/v4/cmd/helm@v4.3.1";

/// What [`ensure`] would build.
pub fn missing() -> Option<String> {
    let here = process::which("helm").is_some() || cache::find("helm", &cache::key(PACKAGE)).is_some();
    (!here).then(|| format!("Helm: built from {PACKAGE} by Go"))
}

/// Finds Helm or builds it into the cache.
pub fn ensure() -> Result<PathBuf> {
    if let Some(path) = process::which("helm") {
        return Ok(path);
    }
    let dir = cache::get("helm", &cache::key(PACKAGE), |dir| {
        go::ensure(25, "without Helm (https://helm.sh/docs/intro/install) the chart's test")?;
        let log = workspace::log("helm-build");
        process::start_log(&log)?;
        Step::run(format!("building Helm ({PACKAGE}, some minutes)"), |step| {
            step.watch(&log);
            // Outside any module, so that no go.mod here is read or written.
            let mut go = go::command(Path::new("/"));
            go.args(["install", "-v", "-trimpath", "-ldflags=-s -w", PACKAGE]).env("GOBIN", dir);
            process::run(&mut go, &log, go::BUILD_LIMIT)
        })
    })?;
    Ok(dir.join("helm"))
}

/// The objects of `chart` with `values` (as `--set` takes them), as YAML; an error carries what Helm said.
pub fn template(helm: &Path, chart: &Path, values: &[&str]) -> Result<String> {
    let mut command = Command::new(helm);
    command.args(["template", "sockspan"]).arg(chart).args([
        "--namespace",
        "sockspan",
        "--kube-version",
        "1.34.0",
    ]);
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.output()?;
    if !output.status.success() {
        bail!("helm template failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
