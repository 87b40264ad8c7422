//! The SDK's OTLP exporter, on the connection that the exporter of spans would make of the same settings.
//!
//! The library would read the environment itself, which is not where all settings come from; what it adds to the
//! headers is therefore taken out again.

use crate::export::{self, Compression, Otlp, Protocol};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::runtime::Handle;

/// Prepares the connection; nothing is sent yet. Must be called within a tokio runtime, which drives it.
///
/// # Errors
/// Certificates that can't be read or used, headers that can't be sent, what the library refuses.
pub(super) fn exporter(otlp: &Otlp, temporality: Temporality) -> Result<Told, super::Error> {
    let exporter = match otlp.protocol {
        Protocol::Grpc => grpc(otlp, temporality)?,
        Protocol::HttpProtobuf => http(otlp, temporality)?,
    };
    Ok(Told { exporter, endpoint: otlp.endpoint.to_string(), failing: AtomicBool::new(false) })
}

fn gzip(otlp: &Otlp) -> Option<opentelemetry_otlp::Compression> {
    (otlp.compression == Compression::Gzip).then_some(opentelemetry_otlp::Compression::Gzip)
}

fn grpc(otlp: &Otlp, temporality: Temporality) -> Result<MetricExporter, super::Error> {
    let metadata = export::metadata(&otlp.headers)?;
    let mut builder = MetricExporter::builder()
        .with_temporality(temporality)
        .with_tonic()
        .with_channel(export::channel(otlp)?)
        .with_timeout(otlp.timeout)
        .with_interceptor(move |mut request: tonic::Request<()>| {
            request.metadata_mut().clone_from(&metadata);
            Ok(request)
        });
    if let Some(gzip) = gzip(otlp) {
        builder = builder.with_compression(gzip);
    }
    Ok(builder.build()?)
}

fn http(otlp: &Otlp, temporality: Temporality) -> Result<MetricExporter, super::Error> {
    let client = OnRuntime {
        client: export::client(otlp)?,
        headers: export::header_map(&otlp.headers)?,
        runtime: Handle::current(),
        timeout: otlp.timeout,
    };
    let mut builder = MetricExporter::builder()
        .with_temporality(temporality)
        .with_http()
        .with_http_client(client)
        .with_timeout(otlp.timeout)
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(otlp.endpoint.url().as_str());
    if let Some(gzip) = gzip(otlp) {
        builder = builder.with_compression(gzip);
    }
    Ok(builder.build()?)
}

impl From<ExporterBuildError> for super::Error {
    fn from(error: ExporterBuildError) -> Self {
        Self::Library(error.to_string())
    }
}

/// The SDK exports on a thread without a runtime; the client needs one.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    headers: HeaderMap,
    runtime: Handle,
    timeout: Duration,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let made = std::mem::replace(request.headers_mut(), self.headers.clone());
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            if let Some(value) = made.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let (client, timeout) = (self.client.clone(), self.timeout);
        let sent = async move { tokio::time::timeout(timeout, client.send_bytes(request)).await };
        self.runtime.spawn(sent).await??
    }
}

/// An exporter that tells the log when it begins to fail and when it works again.
#[derive(Debug)]
pub(super) struct Told {
    exporter: MetricExporter,
    endpoint: String,
    failing: AtomicBool,
}

impl PushMetricExporter for Told {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        let failed_before = self.failing.swap(result.is_err(), Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!("metrics: can't push to {}, trying on: {error}", self.endpoint);
            }
            Ok(()) if failed_before => tracing::info!("metrics: pushed to {} again", self.endpoint),
            _ => {}
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
