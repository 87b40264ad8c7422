//! Servers that take OTLP, answer as a script says and report what they got.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message;
use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex},
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Status,
    codec::CompressionEncoding,
    transport::{Server, ServerTlsConfig},
};

/// A request as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) request: ExportTraceServiceRequest,
    pub(super) headers: HeaderMap,
    pub(super) path: String,
    /// The client's address: the same for requests on the same connection.
    pub(super) peer: Option<std::net::SocketAddr>,
}

impl Received {
    /// The spans' ids, resource by resource.
    pub(super) fn ids(&self) -> Vec<u64> {
        let scopes = self.request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans);
        spans.map(|span| u64::from_be_bytes(span.span_id.clone().try_into().unwrap())).collect()
    }
}

/// A running server; ends when dropped.
pub(super) struct Running {
    pub(super) port: u16,
    pub(super) received: UnboundedReceiver<Received>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// The next request.
    pub(super) async fn next(&mut self) -> Received {
        tokio::time::timeout(super::SOON, self.received.recv()).await.expect("in time").expect("a request")
    }
}

/// A port that nobody listens on yet.
pub(super) fn unused_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A whole acceptance, or one of all but `rejected` spans.
pub(super) fn answer(rejected: i64) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "too old".into() };
    ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }
}

struct Grpc {
    script: Mutex<VecDeque<Result<ExportTraceServiceResponse, Status>>>,
    received: UnboundedSender<Received>,
}

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let peer = request.remote_addr();
        let request = request.into_inner();
        self.received.send(Received { request, headers, path: String::new(), peer }).ok();
        let scripted = self.script.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| Ok(answer(0))).map(tonic::Response::new)
    }
}

/// A gRPC server that gives the scripted answers first, then accepts everything.
pub(super) async fn grpc(
    script: Vec<Result<ExportTraceServiceResponse, Status>>,
    tls: Option<ServerTlsConfig>,
) -> Running {
    grpc_at(0, script, tls).await
}

/// Likewise on a port of choice.
pub(super) async fn grpc_at(
    port: u16,
    script: Vec<Result<ExportTraceServiceResponse, Status>>,
    tls: Option<ServerTlsConfig>,
) -> Running {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = unbounded_channel();
    let service = TraceServiceServer::new(Grpc { script: Mutex::new(script.into()), received: sender })
        .accept_compressed(CompressionEncoding::Gzip);
    let mut builder = Server::builder();
    if let Some(tls) = tls {
        builder = builder.tls_config(tls).unwrap();
    }
    let server = builder.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async move { server.await.unwrap() });
    Running { port, received, task }
}

/// What an HTTP server answers.
pub(super) type Answer = (StatusCode, &'static [(&'static str, &'static str)], Vec<u8>);

/// An acceptance over HTTP.
pub(super) fn http_answer(rejected: i64) -> Answer {
    (StatusCode::OK, &[("content-type", "application/x-protobuf")], answer(rejected).encode_to_vec())
}

struct Http {
    script: Mutex<VecDeque<Answer>>,
    received: UnboundedSender<Received>,
}

async fn handle(State(server): State<Arc<Http>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut plain = Vec::new();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
    } else {
        plain.extend_from_slice(&body);
    }
    let request = ExportTraceServiceRequest::decode(plain.as_slice()).unwrap();
    server.received.send(Received { request, headers, path: uri.to_string(), peer: None }).ok();
    let scripted = server.script.lock().unwrap().pop_front();
    let (status, headers, body) = scripted.unwrap_or_else(|| http_answer(0));
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// The routes of an HTTP server that gives the scripted answers first, then accepts everything.
pub(super) fn http_routes(script: Vec<Answer>) -> (Router, UnboundedReceiver<Received>) {
    let (sender, received) = unbounded_channel();
    let state = Arc::new(Http { script: Mutex::new(script.into()), received: sender });
    (Router::new().fallback(handle).with_state(state), received)
}

/// Those routes on a listener of choice (plain or TLS).
pub(super) fn serve<L>(port: u16, listener: L, routes: (Router, UnboundedReceiver<Received>)) -> Running
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let (router, received) = routes;
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Running { port, received, task }
}

/// An HTTP server on a port of its own.
pub(super) async fn http(script: Vec<Answer>) -> Running {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    serve(listener.local_addr().unwrap().port(), listener, http_routes(script))
}
