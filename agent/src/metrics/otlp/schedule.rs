//! Whether, how often and in which form the metrics are pushed.

use opentelemetry_sdk::metrics::Temporality;
use std::time::Duration;

pub(super) const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// How often, and in which form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    /// Between two requests.
    pub(super) interval: Duration,
    /// Totals since the start, or differences since the last request.
    pub(super) temporality: Temporality,
}

/// A variable that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?}: {accepted}")]
pub struct ScheduleError {
    /// The variable.
    pub variable: &'static str,
    /// What it holds.
    pub value: String,
    /// What would be understood.
    pub accepted: &'static str,
}

/// What holds where `OTEL_METRICS_EXPORTER` says nothing.
pub(super) fn off() -> (&'static str, String) {
    (EXPORTER, "none".to_owned())
}

impl Schedule {
    /// The variables that are not set, each with what holds in its place.
    pub(super) fn defaults(&self, is_set: &dyn Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let temporality = match self.temporality {
            Temporality::Delta => "delta",
            Temporality::LowMemory => "lowmemory",
            _ => "cumulative",
        };
        let all = [(INTERVAL, self.interval.as_millis().to_string()), (TEMPORALITY, temporality.to_owned())];
        all.into_iter().filter(|(name, _)| !is_set(name)).collect()
    }

    /// `None` unless `OTEL_METRICS_EXPORTER` is `otlp`: the agent's metrics are its operator's, and are not sent
    /// anywhere unasked. An empty value counts as unset.
    ///
    /// # Errors
    /// The first value that is not understood.
    pub(super) fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ScheduleError> {
        let text = |name| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let wrong = |variable, value, accepted| Err(ScheduleError { variable, value, accepted });
        match text(EXPORTER).map(|v| v.to_ascii_lowercase()).as_deref() {
            None | Some("none") => return Ok(None),
            Some("otlp") => {}
            Some(other) => {
                let accepted = "accepted are otlp and none; Prometheus text is always at /metrics";
                return wrong(EXPORTER, other.to_owned(), accepted);
            }
        }
        let interval = match text(INTERVAL) {
            None => Duration::from_secs(60),
            Some(value) => match value.parse() {
                Ok(milliseconds) if milliseconds > 0 => Duration::from_millis(milliseconds),
                _ => return wrong(INTERVAL, value, "a whole number of milliseconds is accepted, e.g. 60000"),
            },
        };
        let temporality = match text(TEMPORALITY).map(|v| v.to_ascii_lowercase()).as_deref() {
            None | Some("cumulative") => Temporality::Cumulative,
            Some("delta") => Temporality::Delta,
            Some("lowmemory") => Temporality::LowMemory,
            Some(other) => {
                return wrong(TEMPORALITY, other.to_owned(), "accepted are cumulative, delta and lowmemory");
            }
        };
        Ok(Some(Self { interval, temporality }))
    }
}
