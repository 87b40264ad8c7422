//! The push of metrics: the variables that ask for it, what receivers get, and what becomes of it without one.

use super::*;
use crate::metrics::{EventKind, tests::source};
use axum::{Router, body::to_bytes, extract::Request as HttpRequest, routing::post};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest as Export, ExportMetricsServiceResponse as Exported,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    common::v1::any_value::Value,
    metrics::v1::{AggregationTemporality, metric::Data, number_data_point::Value as Number},
};
use opentelemetry_sdk::metrics::Temporality;
use prost::Message;
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{net::TcpListener, sync::mpsc};

const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

fn lookup<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
}

fn parse(variables: &[(&str, &str)]) -> Result<Option<Schedule>, String> {
    Schedule::parse(lookup(variables)).map_err(|error| error.to_string())
}

fn prepared(variables: &[(&str, &str)]) -> Result<Option<Prepared>, Error> {
    prepare(lookup(variables), &Host { name: Some("node-1".into()), id: None, arch: "amd64" })
}

fn start(source: &Source, variables: &[(&str, &str)]) -> Push {
    // An interval so long that only the flush at the end sends.
    let once = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRIC_EXPORT_INTERVAL", "3600000")];
    prepared(&[&once, variables].concat()).unwrap().unwrap().start(source)
}

#[test]
fn metrics_stay_here_unless_they_are_asked_for() {
    assert_eq!(parse(&[]), Ok(None));
    assert_eq!(parse(&[("OTEL_METRICS_EXPORTER", "none")]), Ok(None));
    assert_eq!(parse(&[("OTEL_METRICS_EXPORTER", " ")]), Ok(None));
    let default = Schedule { interval: Duration::from_secs(60), temporality: Temporality::Cumulative };
    assert_eq!(parse(&[("OTEL_METRICS_EXPORTER", "otlp")]), Ok(Some(default)));
}

#[test]
fn errors_name_the_variable_and_what_is_accepted() {
    assert_eq!(
        parse(&[("OTEL_METRICS_EXPORTER", "prometheus")]).unwrap_err(),
        "OTEL_METRICS_EXPORTER=\"prometheus\": accepted are otlp and none; Prometheus text is always at /metrics"
    );
    let otlp = ("OTEL_METRICS_EXPORTER", "otlp");
    assert_eq!(
        parse(&[otlp, ("OTEL_METRIC_EXPORT_INTERVAL", "1m")]).unwrap_err(),
        "OTEL_METRIC_EXPORT_INTERVAL=\"1m\": a whole number of milliseconds is accepted, e.g. 60000"
    );
    let temporality = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum");
    assert!(parse(&[otlp, temporality]).unwrap_err().ends_with("cumulative, delta and lowmemory"));
}

#[test]
fn what_holds_where_nobody_said_anything_is_told() {
    let told = |variables: &[(&str, &str)]| {
        let told = defaults(lookup(variables)).unwrap();
        told.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(told(&[]), ["OTEL_METRICS_EXPORTER=none"]);
    assert!(told(&[("OTEL_METRICS_EXPORTER", "none")]).is_empty());
    let otlp = ("OTEL_METRICS_EXPORTER", "otlp");
    assert_eq!(
        told(&[otlp, HTTP]),
        [
            "OTEL_METRIC_EXPORT_INTERVAL=60000",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://localhost:4318/v1/metrics",
            "OTEL_EXPORTER_OTLP_COMPRESSION=none",
            "OTEL_EXPORTER_OTLP_INSECURE=false",
            "OTEL_EXPORTER_OTLP_TIMEOUT=10000",
            "OTEL_SERVICE_NAME=sockspan",
        ]
    );
    let named = told(&[otlp, ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")]);
    assert!(!named.iter().any(|line| line.starts_with("OTEL_SERVICE_NAME")), "{named:?}");
}

/// A receiver of OTLP/gRPC that hands on what it gets.
struct Receiver(mpsc::UnboundedSender<(Option<String>, Export)>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<Export>,
    ) -> Result<tonic::Response<Exported>, tonic::Status> {
        let key = request.metadata().get("x-key").and_then(|v| v.to_str().ok()).map(str::to_owned);
        self.0.send((key, request.into_inner())).unwrap();
        Ok(tonic::Response::new(Exported::default()))
    }
}

/// What both protocols are given beside their endpoint.
const COMMON: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=k"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=o"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
];

fn judge(export: &Export) {
    let resource = &export.resource_metrics[0].resource.as_ref().unwrap().attributes;
    let value =
        |key: &str| resource.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()?.value.clone());
    assert_eq!(value("service.name"), Some(Value::StringValue("sockspan".into())));
    assert_eq!(value("host.name"), Some(Value::StringValue("node-1".into())));
    assert_eq!(value("deployment.environment"), Some(Value::StringValue("test".into())));
    let metrics = &export.resource_metrics[0].scope_metrics[0].metrics;
    let names: Vec<_> = metrics.iter().map(|m| m.name.as_str()).collect();
    for row in TABLE {
        assert!(names.contains(&row.otel), "{} is missing of {names:?}", row.otel);
    }
    let events = metrics.iter().find(|m| m.name == "sockspan.events").unwrap();
    assert_eq!((events.unit.as_str(), events.description.as_str()), ("{event}", TABLE[0].help));
    let Some(Data::Sum(sum)) = &events.data else { panic!("{:?}", events.data) };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let data = sum.data_points.iter().find(|p| {
        p.attributes
            .iter()
            .any(|a| a.value.as_ref().unwrap().value == Some(Value::StringValue("data".into())))
    });
    assert_eq!(data.unwrap().value, Some(Number::AsInt(12)));
}

#[tokio::test]
async fn grpc_gets_the_whole_table_with_headers_and_resource() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let service = MetricsServiceServer::new(Receiver(sender))
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

    let endpoint = format!("http://{address}");
    let source = source();
    let push = start(&source, &[&COMMON[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat());
    source.metrics.events.add(EventKind::Data, 12);
    push.shutdown().await.unwrap();
    let (key, export) = received.recv().await.unwrap();
    assert_eq!(key.as_deref(), Some("k"));
    judge(&export);
}

#[tokio::test]
async fn http_gets_the_same_table() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let handler = move |request: HttpRequest| async move {
        let (head, body) = request.into_parts();
        let about = ["content-type", "content-encoding", "user-agent", "x-key", "x-other"];
        let about = about.map(|name| head.headers.get(name).map_or("", |value| value.to_str().unwrap()));
        let about = about.join(" ");
        let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
        keep.lock().unwrap().push((about, body));
    };
    let router = Router::new().route("/v1/metrics", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let source = source();
    let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), HTTP];
    let push = start(&source, &[&COMMON[..], &own].concat());
    source.metrics.events.add(EventKind::Data, 12);
    push.shutdown().await.unwrap();
    let (about, body) = seen.lock().unwrap().pop().unwrap();
    let agent = concat!("sockspan/", env!("CARGO_PKG_VERSION"));
    assert_eq!(about, format!("application/x-protobuf gzip {agent} k "));
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body.as_slice()), &mut plain).unwrap();
    judge(&Export::decode(plain.as_slice()).unwrap());
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_an_error_at_the_end_and_nothing_worse() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    for more in [HTTP, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
        let push = start(&source(), &[endpoint, more, ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
        assert!(push.shutdown().await.is_err());
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_no_more_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // The library gives up on its exporter after 5 s; the exporter itself must have ended before.
    for more in [HTTP, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
        let endpoint = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str());
        let begun = Instant::now();
        let push = start(&source(), &[endpoint, more, ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "200")]);
        assert!(push.shutdown().await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_server_must_show_a_certificate_of_the_named_authority() {
    let issued = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (trusted, other) = (issued("localhost"), issued("localhost"));
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    let path = certificate.to_str().unwrap();
    let https = |endpoint: &str, protocol, pem: String| {
        std::fs::write(&certificate, pem).unwrap();
        let mut variables = COMMON.to_vec();
        let authority = ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", path);
        variables.extend([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), authority, protocol]);
        start(&source(), &variables)
    };
    let address = tls_receiver(&trusted).await;
    let endpoint = format!("https://localhost:{}", address.port());
    assert_eq!(https(&endpoint, HTTP, trusted.cert.pem()).shutdown().await, Ok(()));
    assert!(https(&endpoint, HTTP, other.cert.pem()).shutdown().await.is_err());
}

/// Answers every request over TLS with success.
async fn tls_receiver(issued: &rcgen::CertifiedKey<rcgen::KeyPair>) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await.is_ok_and(|n| bytes[..n].starts_with(b"POST /v1/metrics ")) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok();
                // The rest of the request is read before the connection is closed.
                while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
            }
        }
    });
    address
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_starts() {
    let otlp = ("OTEL_METRICS_EXPORTER", "otlp");
    let error = |more| prepared(&[otlp, more]).err().map(|error| error.to_string()).unwrap_or_default();
    let cases = [
        (
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=\"http/json\": JSON is not supported",
        ),
        (("OTEL_RESOURCE_ATTRIBUTES", "x"), "OTEL_RESOURCE_ATTRIBUTES: resource attribute `x`"),
        (
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=hunter2%0a"),
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS: the value of authorization",
        ),
    ];
    for (variable, message) in cases {
        let text = error(variable);
        assert!(text.starts_with(message) && !text.contains("hunter2"), "{text}");
    }
    let certificate = [
        otlp,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
    ];
    let text = prepared(&certificate).err().unwrap().to_string();
    assert!(text.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: can't read /nowhere/ca.pem"), "{text}");
    assert!(prepared(&certificate[1..]).unwrap().is_none(), "nobody asked for metrics");
}
