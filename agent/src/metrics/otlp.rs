//! The table pushed by OTLP, through OpenTelemetry's own SDK: observable instruments that read the same atomics.
//!
//! In: [`Source`], a [`Schedule`] by the standard variables, and a [`Transport`] that the exporter of spans has
//! prepared, so that certificates and endpoints are understood in one place. Out: a request each interval and a
//! last one at [`Push::shutdown`].

#[cfg(test)]
mod tests;

use super::table::{Kind, Out, Read, Row, Source, TABLE};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    metrics::{AsyncInstrumentBuilder, Meter, MeterProvider},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, Protocol, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality},
};
use std::{collections::HashMap, time::Duration};
use tokio::runtime::Handle;
use tonic::{
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
    transport::Channel,
};

const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// How often, and in which form.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Between two requests.
    pub interval: Duration,
    /// Totals since the start, or differences since the last request.
    pub temporality: Temporality,
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

impl Schedule {
    /// `None` unless `OTEL_METRICS_EXPORTER` is `otlp`: the agent's metrics are its operator's, and are not sent
    /// anywhere unasked. An empty value counts as unset.
    ///
    /// # Errors
    /// The first value that is not understood.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ScheduleError> {
        let text = |name| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let wrong = |variable, value, accepted| Err(ScheduleError { variable, value, accepted });
        match text(EXPORTER).as_deref() {
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

/// A connection to the receiver, certificates included.
pub enum Transport {
    /// OTLP over gRPC.
    Grpc(Channel),
    /// OTLP over HTTP: a client and the whole URL, `/v1/metrics` included.
    Http(reqwest::Client, String),
}

/// Where the metrics go and whose they are.
pub struct Target {
    /// The connection.
    pub transport: Transport,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// Compress requests with gzip.
    pub gzip: bool,
    /// The limit of one request, repetitions included.
    pub timeout: Duration,
    /// Describes the agent itself: its `service.name` and `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
}

/// Why the metrics can't be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A header that the protocol can't carry. Its value is not shown.
    #[error("OTEL_EXPORTER_OTLP_HEADERS: the header {0:?} can't be sent with metrics")]
    Header(String),
    /// The library behind the transport refused.
    #[error("can't set up the OTLP export of metrics: {0}")]
    Transport(#[from] ExporterBuildError),
}

/// The running export.
pub struct Push(SdkMeterProvider);

impl Push {
    /// Starts it on a thread of its own. Must be called within a tokio runtime, which drives the connection.
    ///
    /// # Errors
    /// A header that can't be sent, or a setting that the library refuses.
    pub fn start(source: &Source, schedule: &Schedule, target: Target) -> Result<Self, PushError> {
        let resource = Resource::builder_empty()
            .with_attributes(target.resource.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())))
            .build();
        let exporter = exporter(target, schedule.temporality)?;
        let reader = PeriodicReader::builder(exporter).with_interval(schedule.interval).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        let scope = InstrumentationScope::builder("sockspan").with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = provider.meter_with_scope(scope);
        TABLE.iter().for_each(|row| register(&meter, row, source));
        Ok(Self(provider))
    }

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

fn exporter(target: Target, temporality: Temporality) -> Result<MetricExporter, PushError> {
    let builder = MetricExporter::builder().with_temporality(temporality);
    let exporter = match target.transport {
        Transport::Grpc(channel) => {
            let mut builder = builder.with_tonic().with_channel(channel).with_timeout(target.timeout);
            builder = builder.with_metadata(metadata(&target.headers)?);
            if target.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()?
        }
        Transport::Http(client, url) => {
            let client = OnRuntime { client, runtime: Handle::current(), timeout: target.timeout };
            let headers: HashMap<String, String> = target.headers.into_iter().collect();
            let mut builder = builder.with_http().with_http_client(client).with_timeout(target.timeout);
            builder = builder.with_protocol(Protocol::HttpBinary).with_endpoint(url).with_headers(headers);
            if target.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()?
        }
    };
    Ok(exporter)
}

fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, PushError> {
    let mut map = MetadataMap::new();
    for (name, value) in headers {
        let key = MetadataKey::<Ascii>::from_bytes(name.as_bytes());
        match (key, MetadataValue::<Ascii>::try_from(value)) {
            (Ok(key), Ok(value)) => map.insert(key, value),
            _ => return Err(PushError::Header(name.clone())),
        };
    }
    Ok(map)
}

/// The SDK exports on a thread without a runtime; the client needs one.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
    timeout: Duration,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let sent = async move { tokio::time::timeout(timeout, client.send_bytes(request)).await };
        self.runtime.spawn(sent).await??
    }
}

fn register(meter: &Meter, row: &'static Row, source: &Source) {
    let source = source.clone();
    match (row.kind, row.read) {
        (Kind::Counter, Read::Integer(read)) => {
            describe(meter.u64_observable_counter(row.otel), row)
                .with_callback(move |out| observe(&source, read, |value, labels| out.observe(value, labels)))
                .build();
        }
        (Kind::Gauge, Read::Integer(read)) => {
            describe(meter.u64_observable_gauge(row.otel), row)
                .with_callback(move |out| observe(&source, read, |value, labels| out.observe(value, labels)))
                .build();
        }
        (Kind::Counter, Read::Float(read)) => {
            describe(meter.f64_observable_counter(row.otel), row)
                .with_callback(move |out| out.observe(read(&source), &[]))
                .build();
        }
        (Kind::Gauge, Read::Float(read)) => {
            describe(meter.f64_observable_gauge(row.otel), row)
                .with_callback(move |out| out.observe(read(&source), &[]))
                .build();
        }
    }
}

fn describe<'a, I, M>(
    builder: AsyncInstrumentBuilder<'a, I, M>,
    row: &Row,
) -> AsyncInstrumentBuilder<'a, I, M> {
    builder.with_description(row.help).with_unit(row.unit.ucum())
}

fn observe(source: &Source, read: fn(&Source, Out<'_>), mut out: impl FnMut(u64, &[KeyValue])) {
    source.gauges.refresh(&source.metrics);
    read(source, &mut |labels, value| {
        let labels: Vec<KeyValue> =
            labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect();
        out(value, &labels);
    });
}
