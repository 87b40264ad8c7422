//! kubectl, of the cluster's own version and for this cluster.
//!
//! In: its arguments. Out: a command, or what it printed.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};

use super::layout;

/// A kubectl that talks to the cluster.
pub fn command() -> Command {
    let mut command = Command::new(layout::program("kubectl"));
    command.env("KUBECONFIG", layout::admin_kubeconfig()).env_remove("LD_LIBRARY_PATH");
    // The API server is on a link of this machine: no proxy knows the way.
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command
}

/// What kubectl prints for `arguments`; an error carries what it said.
pub fn run(arguments: &[&str]) -> Result<String> {
    let output = command().args(arguments).output().context("cannot start kubectl: is the cluster up?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`kubectl {}` failed: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes kubectl.
pub fn exec(arguments: &[String]) -> Result<std::convert::Infallible> {
    if !layout::admin_kubeconfig().is_file() {
        bail!("no cluster is up: `cargo xtask k8s up` starts one");
    }
    Err(command().args(arguments).exec()).context("cannot start kubectl")
}
