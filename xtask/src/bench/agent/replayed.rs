//! Recorded streams through the pipeline and the exporter, at a rate.
//!
//! In: the benchmark, a receiver, a rate. Out: what was delivered and what it took.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::sink::Sink;
use crate::{process, ui, workspace};

/// How long each rate is kept, in seconds.
const SECONDS: u64 = 8;
const LIMIT: Duration = Duration::from_secs(120);
/// Told later than this after its time, an event would have waited in the kernel's buffer; at 50,000 spans a second that
/// holds half a second.
const BEHIND_MS: f64 = 400.0;

/// A rate that was kept, or not.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Spans a second that were asked for.
    pub rate: u64,
    /// Spans offered, and those that the receiver has.
    pub offered: f64,
    pub arrived: f64,
    /// The longest that an event was told after its time, in milliseconds.
    pub behind_ms: f64,
    /// CPU time of the pipeline and of the exporter for a span, in microseconds.
    pub pipeline_us: f64,
    pub export_us: f64,
    /// The most memory, in MiB; the benchmark has no kernel's maps.
    pub rss_mib: f64,
}

impl Replayed {
    /// Whether every span arrived, in time.
    pub fn kept(&self) -> bool {
        self.arrived == self.offered && self.behind_ms <= BEHIND_MS
    }

    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "spans_per_second": self.rate, "offered": self.offered, "arrived": self.arrived, "kept": self.kept(),
            "behind_ms": self.behind_ms, "pipeline_us_per_span": self.pipeline_us,
            "export_us_per_span": self.export_us, "rss_mib": self.rss_mib,
        })
    }
}

/// Replays at `rate` spans a second.
pub fn run(program: &Path, sink: &Sink, rate: u64) -> Result<Replayed> {
    let log = workspace::log("replayed");
    process::start_log(&log)?;
    let before = sink.spans()?;
    let mut command = Command::new(program);
    command.args(["rate", &rate.to_string(), &SECONDS.to_string()]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint());
    // At such rates a queue of the default size is full within a moment.
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "65536");
    process::run(&mut command, &log, LIMIT)?;
    let arrived = sink.spans()? - before;
    let said = process::read_log(&log)?;
    let line = said.lines().rfind(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("the benchmark said nothing; {}", ui::excerpt(&log)))?;
    let said: Value = serde_json::from_str(line)?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("the benchmark says no {key}"));
    let offered = number("offered")?;
    let each = |seconds: f64| seconds / offered.max(1.0) * 1e6;
    Ok(Replayed {
        rate,
        offered,
        arrived,
        behind_ms: number("behind_ms")?,
        pipeline_us: each(number("pipeline_s")?),
        export_us: each(number("export_s")?),
        rss_mib: number("rss_mib")?,
    })
}

/// The highest rate that is kept, to a tenth: from one that is.
pub fn highest(program: &Path, sink: &Sink, from: u64) -> Result<Option<Replayed>> {
    let mut best = None;
    let mut rate = from;
    loop {
        process::check_interrupted()?;
        let replayed = run(program, sink, rate)?;
        if !replayed.kept() {
            return Ok(best);
        }
        best = Some(replayed);
        rate = rate * 11 / 10;
    }
}
