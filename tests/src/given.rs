//! What the test runner gives by the environment: the agent, the services, the programs, and where this runs.
//!
//! In: `SOCKSPAN_BIN`, `SOCKSPAN_SERVICES`, `SOCKSPAN_PROGRAMS`, `SOCKSPAN_PROBES`, `SOCKSPAN_GUEST`, `SOCKSPAN_LONG`,
//! `SOCKSPAN_KUBECTL`, `SOCKSPAN_XTASK`, `SOCKSPAN_CLUSTER`.
//! Out: the same as values. What is missing ends the test with a message that says how to run it.

use std::{env, fmt, path::PathBuf, time::Duration};

/// A way of reading sockets, as `--probes` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The sockets' own tracepoints.
    Sock,
    /// The system calls' tracepoints.
    Syscalls,
}

impl Mode {
    /// The word for `--probes`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sock => "sock",
            Self::Syscalls => "syscalls",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The ways to test: both, unless `SOCKSPAN_PROBES` restricts them.
pub fn modes() -> Vec<Mode> {
    let all = [Mode::Sock, Mode::Syscalls];
    match env::var("SOCKSPAN_PROBES") {
        Ok(list) => all.into_iter().filter(|mode| list.split(',').any(|word| word == mode.text())).collect(),
        Err(_) => all.to_vec(),
    }
}

/// One way, for tests in which the way makes no difference.
pub fn any_mode() -> Mode {
    modes().into_iter().next().expect("SOCKSPAN_PROBES names sock or syscalls")
}

/// The agent's binary.
pub fn agent() -> PathBuf {
    path("SOCKSPAN_BIN")
}

/// The file that says how services are started.
pub fn services() -> PathBuf {
    path("SOCKSPAN_SERVICES")
}

/// The folder of the compiled C programs.
pub fn programs() -> PathBuf {
    path("SOCKSPAN_PROGRAMS")
}

/// The cluster's own kubectl.
pub fn kubectl() -> PathBuf {
    path("SOCKSPAN_KUBECTL")
}

/// The program behind `cargo xtask`, which stops and starts the cluster's daemons.
pub fn xtask() -> PathBuf {
    path("SOCKSPAN_XTASK")
}

/// Where the cluster keeps its files.
fn cluster() -> PathBuf {
    path("SOCKSPAN_CLUSTER")
}

/// What an administrator's kubectl reads.
pub fn kubeconfig() -> String {
    path("KUBECONFIG").display().to_string()
}

/// Where the API server notes who asked for what.
pub fn audit_log() -> PathBuf {
    cluster().join("log/audit.log")
}

/// The folder in which the kubelet looks for static pods.
pub fn static_pods() -> PathBuf {
    cluster().join("static-pods")
}

/// The files in which the network plugin notes the last address it gave.
pub fn address_notes() -> Vec<PathBuf> {
    let networks = std::fs::read_dir(cluster().join("cni-state/networks")).into_iter().flatten().flatten();
    networks.map(|network| network.path().join("last_reserved_ip.0")).collect()
}

/// A file of the repository.
pub fn repository(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn path(variable: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(value) => value.into(),
        None => panic!(
            "{variable} is not set: run these tests by `cargo xtask test --only integration`, those of Kubernetes by \
             `cargo xtask k8s test`"
        ),
    }
}

/// In a virtual machine without hardware help, where everything takes some ten times longer.
pub fn is_guest() -> bool {
    env::var_os("SOCKSPAN_GUEST").is_some_and(|value| value == "1")
}

/// Time does not matter: periods are as long as the promises that they test.
pub fn is_long() -> bool {
    env::var_os("SOCKSPAN_LONG").is_some_and(|value| value == "1")
}

/// A time limit for things that this machine does within `here`.
pub fn limit(here: Duration) -> Duration {
    if is_guest() { here * 12 } else { here }
}

/// An amount of work: `here`, or what a guest can do in the same time.
pub fn amount(here: usize) -> usize {
    if is_guest() { here.div_ceil(8) } else { here }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ways() {
        assert_eq!(Mode::Sock.to_string(), "sock");
        assert!(!modes().is_empty());
        assert_eq!(limit(Duration::from_secs(1)).as_secs(), if is_guest() { 12 } else { 1 });
    }
}
