//! What the agent needs of kernel and privileges: a verdict for each need, with cause and cure, and which way of
//! reading sockets follows from them.
//!
//! In: a [`System`] (files and a kernel) and [`Options`]. Out: a [`Report`] for people ([`std::fmt::Display`]), for
//! programs (`serde`), and for the agent itself ([`Report::choice`]). Nothing is changed but one thing that was asked
//! for: tracefs may be mounted.

mod kernel;
mod rights;
mod show;
mod system;
#[cfg(test)]
mod tests;
mod tracing;

pub use self::system::{Helper, Kernel, Running, System};
use self::tracing::{Presence, Tracing};
use crate::settings::Probes;
use serde::Serialize;

/// How good it looks. The greater, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The agent works, with less than it could do.
    Degraded,
    /// The agent can't work.
    Fatal,
}

/// One need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is needed, in a word.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, and for a bad verdict what follows from it.
    pub cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Check {
    /// A check that came out so.
    pub(crate) fn ok(name: &'static str, cause: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, cause: cause.into(), cure: None }
    }
    /// A check that came out so.
    pub(crate) fn degraded(name: &'static str, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Degraded, cause: cause.into(), cure: Some(cure.into()) }
    }
    /// A check that came out so.
    pub(crate) fn fatal(name: &'static str, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fatal, cause: cause.into(), cure: Some(cure.into()) }
    }
}

/// A way of reading sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By the sockets' own tracepoints.
    Sock,
    /// By the system calls' tracepoints.
    Syscalls,
}

/// Which way is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The way; `None` if there is none.
    pub way: Option<Way>,
    /// Why this one, or why none.
    pub why: String,
}

/// What the checks should know of the settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The way that is asked for.
    pub probes: Probes,
    /// Uprobes are wanted.
    pub uprobes: bool,
    /// Mount tracefs where it is not.
    pub mount: bool,
}

/// The whole finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// The way of reading sockets.
    pub probes: Choice,
    /// Every need, in the order in which they build on each other.
    pub checks: Vec<Check>,
}

impl Report {
    /// Adds a check that was made elsewhere.
    pub fn add(&mut self, check: Check) {
        self.verdict = self.verdict.max(check.verdict);
        self.checks.push(check);
    }

    /// The checks that keep the agent from its work.
    pub fn fatal(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Fatal)
    }
}

/// Which way of reading sockets the report allows, and why.
pub fn probes(report: &Report) -> &Choice {
    &report.probes
}

/// Makes all checks.
pub fn run(system: &System<'_>, options: Options) -> Report {
    let tracing = Tracing::find(system, options.mount);
    let ways = Ways { sock: tracing.sock(), syscalls: tracing.syscalls(), version: system.version() };
    let probes = ways.choose(options.probes);
    let checks = vec![
        kernel::machine(system),
        kernel::release(system),
        kernel::btf(system),
        rights::capabilities(system),
        rights::bpf(system),
        rights::lockdown(system),
        kernel::ring_buffer(system),
        kernel::registers(system),
        tracing.check_mount(&probes),
        tracing.check_processes(),
        ways.check(&probes),
        kernel::uprobes(system, options.uprobes),
        kernel::jit(system),
        rights::memlock(system),
        rights::pid_namespace(system),
    ];
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    Report { verdict, probes, checks }
}

/// What there is of both ways.
struct Ways {
    sock: Presence,
    syscalls: Presence,
    version: (u32, u32),
}

/// The first kernel whose sendfile passes the sockets' tracepoints.
const SENDFILE: (u32, u32) = (6, 5);

impl Ways {
    fn choose(&self, asked: Probes) -> Choice {
        let sock = self.sock.is_there();
        let complete = self.version >= SENDFILE;
        let (major, minor) = self.version;
        let choice = |way, why: String| Choice { way, why };
        match asked {
            Probes::Sock if sock && complete => choice(Some(Way::Sock), "asked for by --probes sock".into()),
            Probes::Sock if sock => choice(
                Some(Way::Sock),
                format!(
                    "asked for by --probes sock; kernel {major}.{minor} does not tell of sendfile this way"
                ),
            ),
            Probes::Sock => choice(None, format!("--probes sock is asked for, and {}", self.sock.missing())),
            Probes::Syscalls if self.syscalls.is_there() => {
                choice(Some(Way::Syscalls), "asked for by --probes syscalls".into())
            }
            Probes::Syscalls => {
                choice(None, format!("--probes syscalls is asked for, and {}", self.syscalls.missing()))
            }
            Probes::Auto if sock && complete => choice(
                Some(Way::Sock),
                "the sockets' own tracepoints are there and cost other processes next to nothing".into(),
            ),
            Probes::Auto if self.syscalls.is_there() => {
                let why = match sock {
                    true => format!(
                        "kernel {major}.{minor} does not tell of sendfile by the sockets' tracepoints"
                    ),
                    false => self.sock.missing(),
                };
                choice(Some(Way::Syscalls), why)
            }
            Probes::Auto if sock => choice(
                Some(Way::Sock),
                format!(
                    "{}; kernel {major}.{minor} does not tell of sendfile by the sockets' tracepoints",
                    self.syscalls.missing()
                ),
            ),
            Probes::Auto => choice(None, format!("{}; {}", self.sock.missing(), self.syscalls.missing())),
        }
    }

    fn check(&self, choice: &Choice) -> Check {
        let complete = self.version >= SENDFILE;
        match choice.way {
            Some(Way::Sock) if complete => Check::ok("probes", format!("sock: {}", choice.why)),
            Some(Way::Sock) => Check::degraded(
                "probes",
                format!("sock: {}; responses that are sent from files end too early", choice.why),
                "run a kernel of 6.5 or later, or --probes syscalls",
            ),
            Some(Way::Syscalls) if self.sock.is_there() && complete => Check::degraded(
                "probes",
                format!("syscalls: {}; they cost every process of the machine a little", choice.why),
                "take the cheaper way by --probes auto",
            ),
            Some(Way::Syscalls) => Check::ok("probes", format!("syscalls: {}", choice.why)),
            None => Check::fatal(
                "probes",
                format!("no way to read sockets: {}", choice.why),
                "run a kernel of 6.5 or later, or one of 5.15 or later with CONFIG_FTRACE_SYSCALLS and tracefs mounted \
                 (mount -t tracefs nodev /sys/kernel/tracing), with --probes auto",
            ),
        }
    }
}
