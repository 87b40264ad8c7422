//! A running agent under our eyes.
//!
//! In: the program, whom to trace, its environment. Out: readiness, counters from its admin port, CPU and memory from
//! /proc, and its output in files.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    http,
    process::{self, Group},
    services, ui, usage, workspace,
};

/// Time to send what is queued and to let the kernel go of many probes, at the end: as long as Kubernetes gives.
const GRACE: Duration = Duration::from_secs(30);

/// An agent that was started; it gets SIGTERM when dropped.
pub struct Agent {
    group: Group,
    admin_port: u16,
    started: Instant,
    log: PathBuf,
    /// What it wrote to standard output.
    pub output: PathBuf,
}

/// What the agent has cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// How long it has been running, in seconds.
    pub elapsed_s: f64,
    /// The most memory it had at a time (RSS), in MiB.
    pub peak_mib: f64,
}

impl Agent {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// Starts `program` to trace `pids`.
    pub fn start(program: &Path, pids: &[u32], environment: &[(&str, String)]) -> Result<Self> {
        let [admin_port] = services::free_ports()?;
        let log = workspace::log("agent");
        let output = workspace::output().join("agent.out");
        process::start_log(&log)?;
        let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(program);
        command.args(["run", "--pid", &pids, "--admin-address", &format!("127.0.0.1:{admin_port}")]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        process::log_to(&mut command, &log)?;
        command.stdout(Stdio::from(File::create(&output)?));
        let group = Group::spawn(&mut command)?.grace(GRACE);
        Ok(Self { group, admin_port, started: Instant::now(), log, output })
    }

    /// Waits until it says that it traces; returns how long that took from its start.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Duration> {
        loop {
            if http::get(self.admin_port, "/readyz").is_ok() {
                return Ok(self.started.elapsed());
            }
            process::check_interrupted()?;
            if let Some(status) = self.group.poll()? {
                bail!("the agent ended at its start ({status}); {}", ui::excerpt(&self.log));
            }
            if self.started.elapsed() > limit {
                bail!("the agent is not ready after {}; {}", ui::seconds(limit), ui::excerpt(&self.log));
            }
            process::sleep(Duration::from_millis(5));
        }
    }

    /// The sum of all series of the counter or gauge `name`; 0 where it has none yet.
    pub fn metric(&self, name: &str) -> Result<f64> {
        Ok(sum(&http::get(self.admin_port, "/metrics")?, name))
    }

    /// Exchanges and spans that it lost.
    pub fn lost(&self) -> Result<f64> {
        Ok(lost(&http::get(self.admin_port, "/metrics")?))
    }

    /// What it says of itself.
    pub fn status(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&http::get(self.admin_port, "/status")?).context("/status is not JSON")
    }

    /// CPU time and memory so far.
    pub fn cost(&self) -> Result<Cost> {
        let pid = self.group.pid();
        Ok(Cost {
            cpu_s: usage::of(pid)?,
            elapsed_s: self.started.elapsed().as_secs_f64(),
            peak_mib: usage::memory_mib(pid, "VmHWM")?,
        })
    }

    /// Whether it still runs; its end before we ask for it is an error.
    pub fn check(&mut self) -> Result<()> {
        match self.group.poll()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended by itself ({status}); {}", ui::excerpt(&self.log)),
        }
    }

    /// SIGTERM, and its end; an end other than by itself with code 0 is an error.
    pub fn stop(&mut self) -> Result<()> {
        match self.group.stop().filter(|status| !ExitStatus::success(status)) {
            None => Ok(()),
            Some(status) => bail!("the agent did not stop cleanly ({status}); {}", ui::excerpt(&self.log)),
        }
    }
}

/// The sum of all series of `name` in the Prometheus text format.
pub fn sum(text: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let ours = rest.starts_with(['{', ' ']);
        ours.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    text.lines().filter_map(value).fold(0.0, |sum, value| sum + value)
}

/// Exchanges and spans that were lost, in the Prometheus text format: what a rule left out was not.
pub fn lost(text: &str) -> f64 {
    let by_rule = |line: &&str| {
        ["excluded", "sampled", "not_selected"].iter().any(|r| line.contains(&format!("reason=\"{r}\"")))
    };
    let rest: Vec<&str> = text.lines().filter(|line| !by_rule(line)).collect();
    let rest = rest.join("\n");
    sum(&rest, "sockspan_exchanges_dropped_total") + sum(&rest, "sockspan_spans_dropped_total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_left_out_is_not_lost() {
        let series = |name: &str, reason: &str| {
            format!("sockspan_{name}_dropped_total{{kind=\"server\",reason=\"{reason}\"}} 1\n")
        };
        let text = series("exchanges", "excluded")
            + &series("exchanges", "stream_gap")
            + &series("spans", "queue_full");
        assert_eq!(lost(&text), 2.0);
    }

    #[test]
    fn series_of_one_name_are_summed() {
        let text =
            "# TYPE a_total counter\na_total{kind=\"x y\"} 3\na_total{kind=\"z\"} 4\na_total_more 9\nb 2.5\n";
        assert_eq!(sum(text, "a_total"), 7.0);
        assert_eq!(sum(text, "b"), 2.5);
        assert_eq!(sum(text, "c"), 0.0);
    }
}
