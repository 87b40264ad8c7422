//! The agent as a child process, ready to trace.
//!
//! In: flags, variables, a receiver. Out: [`Agent`], with what its admin port says; stopped in good order or killed.

use std::{
    env,
    path::Path,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{child::Running, given, given::Mode, http, otlp::Collector, services::free_port, wait_until};

/// A command of the agent that is still to be started.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    port: u16,
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Running,
    port: u16,
    /// From its start until its probes were attached.
    pub ready_after: Duration,
}

/// How an agent ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub took: Duration,
    /// Its log.
    pub log: String,
}

/// The agent's command, with nothing inherited that is a setting to it. Spans wait a fifth of a second only.
pub fn command() -> Command {
    command_of(&given::agent())
}

/// Likewise, of a copy of the agent.
pub fn command_of(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    let ours = |name: &str| name.starts_with("OTEL_") || name.starts_with("SOCKSPAN_");
    env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env("OTEL_BSP_SCHEDULE_DELAY", "200").env("RUST_BACKTRACE", "1");
    command
}

impl Launch {
    /// `sockspan run` in this mode.
    pub fn run(mode: Mode) -> Self {
        Self::verb(mode, &["run"])
    }

    /// Any verb that traces, in this mode.
    pub fn verb(mode: Mode, verb: &[&str]) -> Self {
        let port = free_port();
        let mut command = command();
        command.args(verb).args(["--probes", mode.text(), "--admin-address", &format!("127.0.0.1:{port}")]);
        Self { command, port }
    }

    /// Traces these processes.
    #[must_use]
    pub fn pids(self, pids: &[u32]) -> Self {
        let list: Vec<_> = pids.iter().map(u32::to_string).collect();
        self.args(&["--pid", &list.join(",")])
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// One more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sends spans there by gRPC.
    #[must_use]
    pub fn export(self, collector: &Collector) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
    }

    /// Starts it and waits until it traces.
    ///
    /// # Panics
    /// If it ends, or does not come to trace in time.
    pub fn start(mut self) -> Agent {
        let started = Instant::now();
        let mut process = Running::spawn("sockspan", &mut self.command);
        let port = self.port;
        let ready = wait_until(given::limit(Duration::from_secs(20)), || {
            assert!(process.ended().is_none(), "the agent ended at its start\n{}", process.show());
            http::get(port, "/readyz").is_ok_and(|response| response.status == 200)
        });
        assert!(ready, "the agent was not ready within {:?}\n{}", started.elapsed(), process.show());
        Agent { process, port, ready_after: started.elapsed() }
    }

    /// Runs it to its end; for verbs that end, and for settings that make it refuse.
    ///
    /// # Panics
    /// If it goes on for longer than `limit`.
    pub fn finish(mut self, limit: Duration) -> Stopped {
        finish(&mut self.command, limit)
    }
}

/// Runs a command of the agent to its end.
///
/// # Panics
/// If it goes on for longer than `limit`.
pub fn finish(command: &mut Command, limit: Duration) -> Stopped {
    let started = Instant::now();
    let mut process = Running::spawn("sockspan", command);
    let status = process.wait(given::limit(limit));
    Stopped { status, took: started.elapsed(), log: process.output() + &process.errors() }
}

impl Agent {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.errors()
    }

    /// A page of the admin port: status code and text.
    ///
    /// # Panics
    /// If the port does not answer.
    pub fn page(&self, path: &str) -> (u16, String) {
        let response = http::get(self.port, path).expect("the admin port answers");
        (response.status, String::from_utf8_lossy(&response.body).into_owned())
    }

    /// `/status`.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.page("/status").1).expect("/status is JSON")
    }

    /// The sum of a metric's samples that have all these labels, such as `reason="queue_full"`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum(&self.page("/metrics").1, name, labels)
    }

    /// All samples of a metric that are not zero, for people.
    pub fn samples(&self, name: &str) -> String {
        let text = self.page("/metrics").1;
        let lines = text.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0"));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// What it counted as lost, for people.
    pub fn drops(&self) -> String {
        let counters = ["events_lost", "untracked", "exchanges_dropped", "spans_dropped"];
        let drops = counters.map(|name| self.samples(&format!("sockspan_{name}_total")));
        let drops = drops.into_iter().filter(|samples| !samples.is_empty()).collect::<Vec<_>>().join(", ");
        if drops.is_empty() { "nothing dropped".to_owned() } else { drops }
    }

    /// Resident memory in bytes, by the kernel's account.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
    }

    /// Keeps it from doing anything for a while.
    pub fn freeze(&self, time: Duration) {
        self.freeze_while(|| std::thread::sleep(time));
    }

    /// Keeps it from doing anything meanwhile.
    pub fn freeze_while(&self, meanwhile: impl FnOnce()) {
        self.process.signal(Signal::SIGSTOP);
        meanwhile();
        self.process.signal(Signal::SIGCONT);
    }

    /// Has it read its settings file again, by SIGHUP.
    pub fn hang_up(&self) {
        self.process.signal(Signal::SIGHUP);
    }

    /// Stops it by SIGTERM.
    ///
    /// # Panics
    /// If it goes on, or fails.
    pub fn stop(mut self) -> Stopped {
        let started = Instant::now();
        self.process.signal(Signal::SIGTERM);
        let status = self.process.wait(given::limit(Duration::from_secs(30)));
        let log = self.process.errors();
        assert!(status.success(), "the agent ended with {status}\n{}", self.process.show());
        Stopped { status, took: started.elapsed(), log }
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// Sums samples of the Prometheus text format.
pub fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with([' ', '{']) && labels.iter().all(|label| rest.contains(label)));
    samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed() {
        let text = "# HELP a x\na{r=\"b\",s=\"1\"} 3\na{r=\"c\"} 4\na_total 9\nz 5\n";
        assert!((sum(text, "a", &[]) - 7.0).abs() < f64::EPSILON);
        assert!((sum(text, "a", &["r=\"b\""]) - 3.0).abs() < f64::EPSILON);
        assert!((sum(text, "z", &[]) - 5.0).abs() < f64::EPSILON);
    }
}
