//! `cargo xtask k8s status`: what of the cluster is here.
//!
//! In: the daemons' cgroups, the API server. Out: a table on standard output.

use std::{
    fs,
    io::{self, Write},
};

use anyhow::Result;

use super::{
    daemon::Daemon,
    down, kubectl,
    layout::{self, state},
    node, store,
};

/// The file that says that a start came to its end.
pub const READY: &str = "ready";

/// Whether all of it is here and answers.
pub fn up() -> bool {
    state(READY).exists()
        && node::running()
        && Daemon::ALL.into_iter().all(Daemon::running)
        && kubectl::run(&["get", "--raw", "/readyz"]).is_ok()
}

/// Prints it; returns whether the cluster is up.
pub fn print() -> Result<bool> {
    let (up, text) = describe()?;
    // A reader that has seen enough is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(up)
}

fn describe() -> Result<(bool, String)> {
    if !down::anything_left() {
        return Ok((false, "no cluster is here (`cargo xtask k8s up`)\n".to_owned()));
    }
    let up = up();
    let word = if up { "up" } else { "not whole (`cargo xtask k8s down`, then `up`)" };
    let mut text = format!("the cluster is {word}\n");
    for daemon in Daemon::ALL {
        let pids = daemon.processes();
        let mib = pids.iter().filter_map(|pid| memory_mib(*pid)).sum::<u64>();
        let state = match pids.first() {
            Some(pid) => format!("runs     pid {pid:<8} {mib:>5} MiB"),
            None => "stopped".to_owned(),
        };
        text += &format!("  {:<24} {state}\n", daemon.name());
    }
    text += &format!("  KUBECONFIG={}\n", layout::admin_kubeconfig().display());
    text += &format!("  logs: {}\n", state("log").display());
    for name in store::known().keys() {
        text += &format!("  image {name}\n");
    }
    if up {
        text += &kubectl::run(&["get", "nodes", "-o", "wide"])?;
        text += &kubectl::run(&["get", "pods", "--all-namespaces", "-o", "wide"])?;
    }
    Ok((up, text))
}

/// What a process has of its own and shares with files, in MiB.
fn memory_mib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
