//! Helm, which renders the chart.
//!
//! In: PATH, a Go toolchain, the cache. Out: the program.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::INSTALL_LIMIT;
use crate::{cache, process, ui::Step, workspace};

const PACKAGE: &str = "helm.sh/helm/v4/cmd/helm@v4.3.1";

/// Finds Helm or builds it into the cache.
pub fn ensure() -> Result<PathBuf> {
    if let Some(path) = process::which("helm") {
        return Ok(path);
    }
    let dir = cache::get("helm", &cache::key(PACKAGE), |dir| {
        if process::which("go").is_none() {
            bail!(
                "the chart's test needs Helm (https://helm.sh/docs/intro/install) or Go to build it (https://go.dev/dl)"
            );
        }
        let log = workspace::log("helm-build");
        process::start_log(&log)?;
        Step::run(format!("building Helm ({PACKAGE}, some minutes)"), |step| {
            step.watch(&log);
            let mut go = Command::new("go");
            // Outside any module, so that no go.mod here is read or written.
            go.args(["install", "-v", "-trimpath", "-ldflags=-s -w", PACKAGE]).current_dir("/");
            go.env("GOBIN", dir).env("GO111MODULE", "on").env("GOWORK", "off").env("CGO_ENABLED", "0");
            process::run(&mut go, &log, INSTALL_LIMIT)
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
