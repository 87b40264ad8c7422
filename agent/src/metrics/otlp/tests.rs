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
use prost::Message;
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::transport::Endpoint;

fn parse(variables: &[(&str, &str)]) -> Result<Option<Schedule>, String> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    Schedule::parse(lookup).map_err(|error| error.to_string())
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

fn target(transport: Transport) -> Target {
    Target {
        transport,
        headers: vec![("x-key".into(), "k".into())],
        gzip: true,
        timeout: Duration::from_secs(5),
        resource: vec![
            ("service.name".into(), "sockspan".into()),
            ("deployment.environment".into(), "test".into()),
        ],
    }
}

/// Long enough that only the flush at the end sends.
const ONCE: Schedule = Schedule { interval: Duration::from_secs(3600), temporality: Temporality::Cumulative };

fn judge(export: &Export) {
    let resource = &export.resource_metrics[0].resource.as_ref().unwrap().attributes;
    let value = |key| resource.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()?.value.clone());
    assert_eq!(value("service.name"), Some(Value::StringValue("sockspan".into())));
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

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let source = source();
    let push = Push::start(&source, &ONCE, target(Transport::Grpc(channel))).unwrap();
    source.metrics.events.add(EventKind::Data, 12);
    push.shutdown().await.unwrap();
    let (key, export) = received.recv().await.unwrap();
    assert_eq!(key.as_deref(), Some("k"));
    judge(&export);
}

#[tokio::test]
async fn http_gets_the_same_table() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let handler = move |request: HttpRequest| async move {
        let (head, body) = request.into_parts();
        let about =
            ["content-type", "content-encoding", "x-key"].map(|name| head.headers[name].to_str().unwrap());
        let about = about.join(" ");
        let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
        keep.lock().unwrap().push((about, body));
    };
    let router = Router::new().route("/v1/metrics", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let source = source();
    let push = Push::start(&source, &ONCE, target(Transport::Http(client(), url))).unwrap();
    source.metrics.events.add(EventKind::Data, 12);
    push.shutdown().await.unwrap();
    let (about, body) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(about, "application/x-protobuf gzip k");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body.as_slice()), &mut plain).unwrap();
    judge(&Export::decode(plain.as_slice()).unwrap());
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_an_error_at_the_end_and_nothing_worse() {
    let url = "http://127.0.0.1:9/v1/metrics".to_owned();
    let mut target = target(Transport::Http(client(), url));
    target.timeout = Duration::from_millis(200);
    let push = Push::start(&source(), &ONCE, target).unwrap();
    assert!(push.shutdown().await.is_err());
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named_without_its_value() {
    let channel = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
    let mut target = target(Transport::Grpc(channel));
    target.headers = vec![("authorization".into(), "secret\n".into())];
    let Err(error) = Push::start(&source(), &ONCE, target) else { panic!("must fail") };
    assert_eq!(
        error.to_string(),
        "OTEL_EXPORTER_OTLP_HEADERS: the header \"authorization\" can't be sent with metrics"
    );
}

/// A client without TLS that never looks for certificates.
fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}
