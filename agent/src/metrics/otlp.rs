//! The table pushed by OTLP, through OpenTelemetry's own SDK: observable instruments that read the same atomics.
//!
//! In: the standard variables, [`Source`], and connections made by [`crate::export`], so that certificates and
//! endpoints are understood in one place. Out: a request each interval and a last one at [`Push::shutdown`].

mod exporter;
mod instruments;
mod resource;
mod schedule;
#[cfg(test)]
mod tests;

pub use self::schedule::ScheduleError;

use self::{exporter::Told, schedule::Schedule};
use super::table::{Source, TABLE};
use crate::{
    export::{self, Otlp, Signal},
    process::{AttributesError, Host},
};
use opentelemetry::{InstrumentationScope, metrics::MeterProvider};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
};
use std::time::Duration;

/// Why the metrics can't be pushed, in words that name the variable to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of metrics alone that is not understood.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// What keeps spans from being exported too: variables of OTLP, certificates, headers.
    #[error(transparent)]
    Connection(#[from] export::Error),
    /// Attributes that are not understood.
    #[error("OTEL_RESOURCE_ATTRIBUTES: {0}")]
    Attributes(#[from] AttributesError),
    /// The library behind the transport refused.
    #[error("can't set up the OTLP export of metrics: {0}")]
    Library(String),
}

/// Everything about the export that can be wrong has been found right; nothing is sent yet.
pub struct Prepared {
    exporter: Told,
    interval: Duration,
    resource: Resource,
}

/// Prepares the export by the variables that `lookup` finds. `None` unless `OTEL_METRICS_EXPORTER` is `otlp`: the
/// agent's metrics are its operator's, and are not sent anywhere unasked. An empty value counts as unset. Must be called
/// within a tokio runtime, which drives the connection; the server need not be there yet.
///
/// # Errors
/// Values that are not understood, certificates that can't be used, headers that can't be sent.
pub fn prepare(lookup: impl Fn(&str) -> Option<String>, host: &Host) -> Result<Option<Prepared>, Error> {
    let Some(Schedule { interval, temporality }) = Schedule::parse(&lookup)? else { return Ok(None) };
    let otlp = Otlp::parse(Signal::Metrics, &lookup).map_err(export::Error::from)?;
    let resource = resource::resource(&lookup, host)?;
    let exporter = exporter::exporter(&otlp, temporality)?;
    Ok(Some(Prepared { exporter, interval, resource }))
}

/// The variables that `lookup` finds nothing of, each with what holds in its place; those without effect are left out.
///
/// # Errors
/// Values that are not understood.
pub fn defaults(lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<(&'static str, String)>, Error> {
    let is_set = |name: &str| lookup(name).is_some_and(|value| !value.trim().is_empty());
    let Some(schedule) = Schedule::parse(&lookup)? else {
        return Ok(if is_set(schedule::EXPORTER) { Vec::new() } else { vec![schedule::off()] });
    };
    let mut all = schedule.defaults(&is_set);
    let otlp = Otlp::parse(Signal::Metrics, &lookup).map_err(export::Error::from)?;
    all.extend(otlp.defaults(Signal::Metrics, &is_set));
    all.extend(resource::default_name(&lookup)?);
    Ok(all)
}

impl Prepared {
    /// Starts the export on a thread of its own. Must be called within a tokio runtime.
    pub fn start(self, source: &Source) -> Push {
        let reader = PeriodicReader::builder(self.exporter).with_interval(self.interval).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(self.resource).build();
        let scope = InstrumentationScope::builder("sockspan").with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = provider.meter_with_scope(scope);
        TABLE.iter().for_each(|row| instruments::register(&meter, row, source));
        Push(provider)
    }
}

/// The running export.
pub struct Push(SdkMeterProvider);

impl Push {
    /// Sends what there is and stops. The error is the library's word for why the last request failed.
    ///
    /// # Errors
    /// The last request could not be sent.
    pub async fn shutdown(self) -> Result<(), String> {
        // The export's thread needs this runtime for its connection, so the runtime must not wait for it.
        match tokio::task::spawn_blocking(move || self.0.shutdown()).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
