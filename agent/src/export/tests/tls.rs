//! Encrypted, with client certificates, over both transports; and what is said when a file is wrong.

use super::{SOON, certificates::Certificates, sample::traces, servers, settings, spans, start};
use crate::export::{Counts, Exporter, Settings};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

fn with(protocol: &str, port: u16, files: &[(&str, &str)]) -> Settings {
    let endpoint = format!("https://localhost:{port}");
    let fixed =
        [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    settings(&[&fixed, files].concat())
}

async fn delivers_only_with_the_client_certificate(protocol: &str, port: u16, pki: &Certificates) {
    let (ca, certificate, key) = (pki.path("ca.pem"), pki.path("client.pem"), pki.path("client.key"));
    let trusted = ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str());
    let identity = [
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
    ];
    let (anonymous, counts) = start(with(protocol, port, &[trusted]));
    anonymous.offer(traces(1, 1));
    assert!(anonymous.shutdown(Duration::from_millis(500)).await.is_err());
    assert_eq!(spans(&counts), [0, 0, 0, 0, 1]);
    let (known, counts) = start(with(protocol, port, &[trusted, identity[0], identity[1]]));
    known.offer(traces(1, 3));
    known.flush(SOON).await.unwrap();
    assert_eq!(spans(&counts), [3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn grpc_with_client_certificates() {
    let pki = Certificates::new("grpc");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&pki.server.0, &pki.server.1))
        .client_ca_root(Certificate::from_pem(&pki.authority));
    let server = servers::grpc(Vec::new(), Some(tls)).await;
    delivers_only_with_the_client_certificate("grpc", server.port, &pki).await;
}

/// Accepts TLS for axum.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn server_config(pki: &Certificates) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.authority.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let certificate = CertificateDer::from_pem_slice(pki.server.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pki.server.1.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

#[tokio::test]
async fn http_with_client_certificates() {
    let pki = Certificates::new("http");
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(server_config(&pki))) };
    let _server = servers::serve(port, listener, servers::http_routes(Vec::new()));
    delivers_only_with_the_client_certificate("http/protobuf", port, &pki).await;
}

#[tokio::test]
async fn files_that_are_wrong_are_named() {
    let pki = Certificates::new("wrong");
    let cases = [
        (vec![("CERTIFICATE", "no/such.pem")], "OTEL_EXPORTER_OTLP_CERTIFICATE: can't read", "No such file"),
        (vec![("CERTIFICATE", "empty.pem")], "OTEL_EXPORTER_OTLP_CERTIFICATE: ", "no PEM certificate in it"),
        (
            vec![
                ("CERTIFICATE", "ca.pem"),
                ("CLIENT_CERTIFICATE", "client.pem"),
                ("CLIENT_KEY", "empty.pem"),
            ],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY: ",
            "no PEM private key",
        ),
        (
            vec![
                ("CERTIFICATE", "ca.pem"),
                ("CLIENT_CERTIFICATE", "client.pem"),
                ("CLIENT_KEY", "other.key"),
            ],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY: ",
            "does not go with the client certificate",
        ),
    ];
    for (files, variable, reason) in cases {
        let files: Vec<_> =
            files.iter().map(|(n, file)| (format!("OTEL_EXPORTER_OTLP_{n}"), pki.path(file))).collect();
        let files: Vec<_> = files.iter().map(|(n, path)| (n.as_str(), path.as_str())).collect();
        for protocol in ["grpc", "http/protobuf"] {
            let started = Exporter::start(&with(protocol, 1, &files), Arc::new(Counts::default()));
            let text = started.expect_err("an error").to_string();
            assert!(text.starts_with(variable) && text.contains(reason), "{text}");
            assert!(files.iter().any(|(_, path)| text.contains(path)), "{text}");
        }
    }
}
