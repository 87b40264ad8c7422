//! What a stranger reads when nothing arrives: the reason names the cause, whatever library said it.

use super::{SOON, certificates::Certificates, servers, settings};
use crate::export::{
    FileSetting, Otlp, Target,
    transport::{Grpc, Http, Outcome, Transport},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tonic::transport::{Identity, ServerTlsConfig};

fn otlp(protocol: &str, endpoint: &str) -> Otlp {
    let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
    match settings(&variables).target {
        Target::Otlp(otlp) => *otlp,
        other => panic!("{other:?}"),
    }
}

/// The outcome of an empty request in both protocols.
async fn outcomes(endpoint: &str) -> [Outcome; 2] {
    outcomes_with(otlp("grpc", endpoint), otlp("http/protobuf", endpoint)).await
}

async fn outcomes_with(grpc: Otlp, http: Otlp) -> [Outcome; 2] {
    let grpc = Grpc::new(&grpc).unwrap().send(Vec::new().into(), SOON).await;
    [grpc, Http::new(&http).unwrap().send(Vec::new().into(), SOON).await]
}

fn assert_retry(outcome: &Outcome, words: &str) {
    assert!(matches!(outcome, Outcome::Retry { reason, .. } if reason.contains(words)), "{outcome:?}");
}

#[tokio::test]
async fn nobody_listens() {
    for outcome in outcomes("http://127.0.0.1:1").await {
        assert_retry(&outcome, "Connection refused");
    }
}

#[tokio::test]
async fn the_name_is_unknown() {
    for outcome in outcomes("http://collector.invalid:4317").await {
        assert_retry(&outcome, "dns error");
    }
}

/// The reasons are the libraries' own and say little; a mistaken port is what the exporter warns of at its start.
#[tokio::test]
async fn the_server_speaks_another_protocol() {
    let grpc = servers::grpc(Vec::new(), None).await;
    let [_, to_grpc] = outcomes(&format!("http://127.0.0.1:{}", grpc.port)).await;
    assert_retry(&to_grpc, "unexpected message from connection");
    let plain = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = plain.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    let target = otlp("grpc", &format!("http://127.0.0.1:{port}"));
    assert_retry(&Grpc::new(&target).unwrap().send(Vec::new().into(), SOON).await, "transport error");
    server.abort();
}

#[tokio::test]
async fn the_servers_authority_is_not_trusted() {
    let (theirs, ours) = (Certificates::new("theirs"), Certificates::new("ours"));
    let identity = Identity::from_pem(&theirs.server.0, &theirs.server.1);
    let server = servers::grpc(Vec::new(), Some(ServerTlsConfig::new().identity(identity))).await;
    let endpoint = format!("https://localhost:{}", server.port);
    let trusting = |protocol| Otlp {
        certificate: Some(FileSetting { variable: "CA", path: ours.path("ca.pem").into() }),
        ..otlp(protocol, &endpoint)
    };
    for outcome in outcomes_with(trusting("grpc"), trusting("http/protobuf")).await {
        assert_retry(&outcome, "invalid peer certificate");
    }
}
