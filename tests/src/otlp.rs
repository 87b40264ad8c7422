//! A real OTLP receiver: the service that OpenTelemetry generates, over gRPC and over HTTP on the same port.
//!
//! In: the agent's exports. Out: all spans that arrived. It can refuse, be slow, or go away and come back.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::{codec::CompressionEncoding, service::Routes};

use crate::{
    span::{Span, from_otlp},
    wait_until,
};

/// Spans come in portions: a pause of this length after the last means that no more are to be waited for.
const QUIET: Duration = Duration::from_millis(700);

/// What the receiver has and does.
#[derive(Debug, Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    grpc: AtomicUsize,
    http: AtomicUsize,
    /// Requests that are still to be refused.
    refusals: AtomicUsize,
    /// Milliseconds before each answer.
    delay: AtomicU64,
}

impl Shared {
    fn spans(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request, or refuses it.
    async fn take(&self, request: ExportTraceServiceRequest) -> bool {
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return false;
        }
        self.spans().extend(from_otlp(request));
        true
    }
}

/// The receiver; gone when dropped.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Collector {
    /// Listens on a free port of loopback.
    pub fn start() -> Self {
        let mut collector = Self { port: 0, shared: Arc::default(), runtime: None };
        collector.come_back();
        collector
    }

    /// The port; it stays the same while the receiver is away.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends all connections and listens no more.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }

    /// Listens again.
    ///
    /// # Panics
    /// If the port was taken by somebody else meanwhile.
    pub fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener =
            runtime.block_on(TcpListener::bind(("127.0.0.1", self.port))).expect("the port is free");
        self.port = listener.local_addr().expect("a bound socket has an address").port();
        let router = router(self.shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.runtime = Some(runtime);
    }

    /// Refuses the next `requests` with an error that may be repeated.
    pub fn refuse(&self, requests: usize) {
        self.shared.refusals.store(requests, Ordering::Relaxed);
    }

    /// Answers so late from now on.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests by gRPC and by HTTP so far.
    pub fn requests(&self) -> (usize, usize) {
        (self.shared.grpc.load(Ordering::Relaxed), self.shared.http.load(Ordering::Relaxed))
    }

    /// How many spans arrived.
    pub fn len(&self) -> usize {
        self.shared.spans().len()
    }

    /// Whether none arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All spans that arrived.
    pub fn spans(&self) -> Vec<Span> {
        self.shared.spans().clone()
    }

    /// Takes all spans out.
    pub fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.shared.spans())
    }

    /// Waits until `expected` spans arrived, and a little longer for any that nobody expects; each at most for
    /// `limit`.
    pub fn settle(&self, expected: usize, limit: Duration) {
        wait_until(limit, || self.len() >= expected);
        let mut before = usize::MAX;
        wait_until(limit, || {
            let settled = before == self.len();
            before = self.len();
            if !settled {
                std::thread::sleep(QUIET);
            }
            settled
        });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let grpc = TraceServiceServer::new(Grpc(shared.clone())).accept_compressed(CompressionEncoding::Gzip);
    let http = Router::new().route("/v1/traces", post(receive)).with_state(shared);
    Routes::new(grpc).into_axum_router().merge(http)
}

struct Grpc(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.grpc.fetch_add(1, Ordering::Relaxed);
        match self.0.take(request.into_inner()).await {
            true => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
            false => Err(tonic::Status::unavailable("refused, as the test wants it")),
        }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.http.fetch_add(1, Ordering::Relaxed);
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match shared.take(request).await {
        true => {
            let answer = ExportTraceServiceResponse::default().encode_to_vec();
            ([(CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
        }
        false => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn it_goes_away_and_comes_back_to_the_same_port() {
        let mut collector = Collector::start();
        let port = collector.port();
        assert_eq!(http::get(port, "/v1/traces").unwrap().status, 405);
        collector.go_away();
        assert!(http::get(port, "/").is_err());
        collector.come_back();
        assert_eq!(collector.port(), port);
        assert_eq!(http::get(port, "/v1/traces").unwrap().status, 405);
        assert!(collector.is_empty());
    }
}
