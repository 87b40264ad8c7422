//! The whole agent beside a real server under load: which of its threads take how much for a span, and the programs in the
//! kernel.
//!
//! In: a server that runs, a receiver. Out: CPU time for a span, by thread, and memory.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::{app, sink::Sink, watch::Watch};
use crate::{process, usage};

const DRAIN: Duration = Duration::from_millis(1500);
/// The kernel counts what programs take only if it is told to; that costs some 20 ns a run.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// A mode's figures.
#[derive(Clone, Debug)]
pub struct Live {
    /// The probes.
    pub probes: &'static str,
    /// Spans that arrived, a second, and how many did not.
    pub rate: f64,
    pub lost: f64,
    /// CPU time for a span in microseconds, by the agent's threads.
    pub threads: BTreeMap<String, f64>,
    /// The kernel programs' own, which the traced processes pay.
    pub kernel_us: f64,
    /// Events of the kernel for a span.
    pub events: f64,
    /// The most memory (RSS), in MiB.
    pub peak_mib: f64,
}

impl Live {
    /// CPU time of the agent for a span, in microseconds.
    pub fn agent_us(&self) -> f64 {
        self.threads.values().sum()
    }

    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "probes": self.probes, "spans_per_second": self.rate, "lost": self.lost, "us_per_span": self.threads,
            "agent_us_per_span": self.agent_us(), "kernel_us_per_span": self.kernel_us,
            "events_per_span": self.events, "peak_mib": self.peak_mib,
        })
    }
}

/// Counts what programs take, until dropped.
struct Stats(String);

impl Stats {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(STATS).with_context(|| format!("cannot read {STATS}"))?;
        fs::write(STATS, "1").with_context(|| format!("cannot write {STATS}"))?;
        Ok(Self(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        // What was there before was accepted before.
        let _ = fs::write(STATS, self.0.trim());
    }
}

/// What the programs that `pid` holds have taken, in seconds.
fn programs(pid: u32) -> f64 {
    usage::descriptors(pid).filter_map(|info| run_time(&info)).sum::<f64>() / 1e9
}

/// Links tell of programs too, but not this.
fn run_time(info: &str) -> Option<f64> {
    info.lines().find_map(|line| line.strip_prefix("run_time_ns:"))?.trim().parse().ok()
}

/// Measures the agent with these probes while the server on `port` answers as fast as it can.
pub fn run(
    agent: &Path,
    sink: &Sink,
    server: &app::Running,
    probes: &'static str,
    duration: Duration,
) -> Result<Live> {
    let _stats = Stats::on()?;
    let watch = Watch { program: agent, sink, environment: Vec::new() };
    let mut agent = watch.start_with(probes, true, &server.pids())?;
    process::sleep(Duration::from_millis(300));
    let pid = agent.pid();
    let (spans, threads, kernel) = (sink.spans()?, usage::by_thread(pid), programs(pid));
    let events = agent.metric("sockspan_events_total")?;
    app::load(server.port, duration)?;
    process::sleep(DRAIN);
    let spans = (sink.spans()? - spans).max(1.0);
    let mut after = usage::by_thread(pid);
    for (name, seconds) in &mut after {
        *seconds = (*seconds - threads.get(name).copied().unwrap_or(0.0)) / spans * 1e6;
    }
    let live = Live {
        probes,
        rate: spans / duration.as_secs_f64(),
        lost: agent.lost()?,
        threads: after,
        kernel_us: (programs(pid) - kernel) / spans * 1e6,
        events: (agent.metric("sockspan_events_total")? - events) / spans,
        peak_mib: agent.cost()?.peak_mib,
    };
    agent.stop()?;
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_tell_their_time() {
        assert_eq!(run_time("pos:\t0\nprog_type:\t17\nrun_time_ns:\t1234\nrun_cnt:\t2\n"), Some(1234.0));
        assert_eq!(run_time("link_type:\traw_tracepoint\nprog_id:\t7\n"), None);
    }
}
