//! What the standard OpenTelemetry variables say about the export of spans, and of the agent's own metrics.
//!
//! In: a lookup from a variable's name to its value (the environment, or anything layered above it).
//! Out: [`Settings`] for spans, [`Otlp`] alone for metrics, or every [`Problem`] at once. Nothing here reads the environment or a file:
//! certificates are named here and read by the transport when the exporter starts.

mod endpoint;
mod header;
mod otlp;
mod reader;
#[cfg(test)]
mod tests;

use self::reader::Reader;
pub use self::{
    endpoint::Endpoint,
    header::{Header, Secret},
    otlp::{Compression, FileSetting, Otlp, Protocol, Signal},
    reader::{Problem, Problems},
};
use super::console::ConsoleOptions;
use std::{fmt, time::Duration};

/// The most bytes of spans that wait for export, where nothing else is said.
pub const DEFAULT_QUEUE_BYTES: usize = 32 << 20;

/// Where finished spans go, and in what portions.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `OTEL_TRACES_EXPORTER`.
    pub target: Target,
    /// `OTEL_BSP_*`.
    pub batch: Batch,
    /// How long to wait after an attempt that may be repeated.
    pub retry: Retry,
    /// How the console draws. No variables of the specification: the agent's own settings say it.
    pub console: ConsoleOptions,
}

/// What takes the spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A server that speaks OTLP.
    Otlp(Box<Otlp>),
    /// The terminal.
    Console,
    /// Nothing: spans are discarded, uncounted.
    None,
}

/// How spans wait, by `OTEL_BSP_*` (the batch span processor's variables).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The longest that a span waits for others to be sent with.
    pub schedule_delay: Duration,
    /// A second limit of one attempt beside [`Otlp::timeout`]: the smaller holds.
    pub export_timeout: Duration,
    /// The most spans that wait; one more batch can be on its way.
    pub max_queue_size: usize,
    /// The most spans of one request.
    pub max_export_batch_size: usize,
    /// The most bytes of waiting spans, by [`crate::span::Span::cost`]. No variable of its own.
    pub max_queue_bytes: usize,
}

/// Exponential backoff. No variable of its own: the specification leaves it to the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the first repetition.
    pub initial: Duration,
    /// The most, before jitter takes some of it.
    pub max: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 2048,
            max_export_batch_size: 512,
            max_queue_bytes: DEFAULT_QUEUE_BYTES,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(15) }
    }
}

impl Default for Settings {
    /// What no variable at all means: OTLP over gRPC to `http://localhost:4317`.
    fn default() -> Self {
        Self {
            target: Target::Otlp(Box::new(Otlp::default_of(Signal::Traces))),
            batch: Batch::default(),
            retry: Retry::default(),
            console: ConsoleOptions::default(),
        }
    }
}

impl Settings {
    /// Reads the settings through `lookup`. An empty value counts as unset, as the specification has it.
    ///
    /// # Errors
    /// Every value that is not understood, with its variable and what is accepted. The specification would
    /// have most of them ignored with a warning; spans sent to the wrong place are worse than a refusal.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(&lookup);
        let batch = batch(&mut reader);
        let target = match reader.choice(&["OTEL_TRACES_EXPORTER"], &["otlp", "console", "none"]) {
            Some("console") => Target::Console,
            Some("none") => Target::None,
            _ => Target::Otlp(Box::new(Otlp::read(&mut reader, Signal::Traces))),
        };
        reader.finish(Self { target, batch, ..Self::default() })
    }

    /// The variables that are not set, each with what holds in its place; those without effect are left out.
    pub fn defaults(&self, is_set: &dyn Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let batch = &self.batch;
        let mut all = vec![
            ("OTEL_TRACES_EXPORTER", self.target.to_string()),
            ("OTEL_BSP_SCHEDULE_DELAY", batch.schedule_delay.as_millis().to_string()),
            ("OTEL_BSP_EXPORT_TIMEOUT", batch.export_timeout.as_millis().to_string()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", batch.max_queue_size.to_string()),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch.max_export_batch_size.to_string()),
        ];
        all.retain(|(name, _)| !is_set(name));
        if let Target::Otlp(otlp) = &self.target {
            all.extend(otlp.defaults(Signal::Traces, is_set));
        }
        all
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Otlp(_) => "otlp",
            Self::Console => "console",
            Self::None => "none",
        })
    }
}

fn batch(reader: &mut Reader<'_>) -> Batch {
    let default = Batch::default();
    let queue = reader.count("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(default.max_queue_size);
    let size = reader.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
    if let Some(size) = size.filter(|size| *size > queue) {
        let accepted = format!("at most the queue's size (OTEL_BSP_MAX_QUEUE_SIZE), {queue}");
        reader.problem("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Some(size.to_string()), &accepted);
    }
    Batch {
        schedule_delay: reader
            .milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"])
            .map_or(default.schedule_delay, |(_, delay)| delay),
        export_timeout: reader.timeout(&["OTEL_BSP_EXPORT_TIMEOUT"], default.export_timeout),
        max_queue_size: queue,
        max_export_batch_size: size.unwrap_or(default.max_export_batch_size).min(queue),
        max_queue_bytes: default.max_queue_bytes,
    }
}
