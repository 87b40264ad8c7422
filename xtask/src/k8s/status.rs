//! `cargo xtask k8s status`: what of the cluster is here.
//!
//! In: the daemons' cgroups, the API server. Out: a table on standard output.

use std::fs;

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
    if !down::anything_left() {
        println!("no cluster is here (`cargo xtask k8s up`)");
        return Ok(false);
    }
    let up = up();
    println!(
        "{}",
        if up { "the cluster is up" } else { "the cluster is not whole (`cargo xtask k8s down`, then `up`)" }
    );
    for daemon in Daemon::ALL {
        let pids = daemon.processes();
        let mib = pids.iter().filter_map(|pid| memory_mib(*pid)).sum::<u64>();
        let state = match pids.first() {
            Some(pid) => format!("runs     pid {pid:<8} {mib:>5} MiB"),
            None => "stopped".to_owned(),
        };
        println!("  {:<24} {state}", daemon.name());
    }
    println!("  KUBECONFIG={}", layout::admin_kubeconfig().display());
    println!("  logs: {}", state("log").display());
    for name in store::known().keys() {
        println!("  image {name}");
    }
    if up {
        print!("{}", kubectl::run(&["get", "nodes", "-o", "wide"])?);
        print!("{}", kubectl::run(&["get", "pods", "--all-namespaces", "-o", "wide"])?);
    }
    Ok(up)
}

/// What a process has of its own and shares with files, in MiB.
fn memory_mib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
