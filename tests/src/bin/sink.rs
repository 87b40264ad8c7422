//! A receiver of OTLP that costs next to nothing: it takes what it is sent, by gRPC or HTTP, and counts the spans. On the
//! machine that is measured, a receiver that also understood them would be most of what is measured.
//!
//! In: nothing. Out: the port as a line of JSON; `GET /count` answers `{"requests", "spans", "bytes"}`.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    routing::{get, post},
};
use serde_json::json;
use sockspan_tests::raw;
use tokio::net::TcpListener;

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    spans: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    fn take(&self, request: &Bytes) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(request.len() as u64, Relaxed);
        self.spans.fetch_add(raw::spans(request), Relaxed);
    }

    fn to_json(&self) -> String {
        let of = |count: &AtomicU64| count.load(Relaxed);
        json!({ "requests": of(&self.requests), "spans": of(&self.spans), "bytes": of(&self.bytes) })
            .to_string()
    }
}

type Shared = State<Arc<Counts>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let counts = Arc::new(Counts::default());
    let by_grpc = |State(counts): Shared, request: Request| async move {
        raw::call(request, |message| counts.take(&message)).await
    };
    let by_http = |State(counts): Shared, request: Bytes| async move { counts.take(&request) };
    let router = Router::new()
        .route("/v1/traces", post(by_http))
        .route(raw::PATH, post(by_grpc))
        .route("/count", get(|State(counts): Shared| async move { counts.to_json() }))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(counts);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on loopback")?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    std::io::stdout().flush()?;
    axum::serve(listener, router).await.context("the receiver")
}
