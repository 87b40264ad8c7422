//! One HTTP port for whoever operates the agent: `/healthz`, `/readyz`, `/status` and `/metrics`.
//!
//! In: a [`Ready`] flag, a [`StatusSource`] and the metrics' [`Source`]. Out: answers, at most
//! [`MAX_CONNECTIONS`] at once, each connection for one request and [`CONNECTION_LIMIT`] at the longest, so that
//! no client can hold memory. What panics while it answers becomes a 500; the server goes on.

#[cfg(test)]
mod tests;

use crate::metrics::{Source, prometheus};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections that are served at the same time; further ones wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 16;
/// The longest that one connection is served.
pub const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// True from the moment the probes are attached and all processes have been looked at once, until the agent stops.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so at `/readyz`.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }
    /// What `/readyz` says.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What `/status` shows. Called on a thread that may block.
pub trait StatusSource: Send + Sync + 'static {
    /// The state of the agent as JSON, without secrets.
    fn status(&self) -> serde_json::Value;
}

impl<F: Fn() -> serde_json::Value + Send + Sync + 'static> StatusSource for F {
    fn status(&self) -> serde_json::Value {
        self()
    }
}

/// What the answers are made of.
#[derive(Clone)]
pub struct Answers {
    /// `/readyz`.
    pub ready: Ready,
    /// `/status`.
    pub status: Arc<dyn StatusSource>,
    /// `/metrics`.
    pub metrics: Source,
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't listen on {address} for /healthz, /readyz, /status and /metrics: {source}; {}",
    cure(.address, .source)
)]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

fn cure(address: &SocketAddr, error: &io::Error) -> String {
    let settings = "set another by --admin-address, SOCKSPAN_ADMIN_ADDRESS or admin-address: in the file, \
                    or `off` to do without";
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "something else (another sockspan?) listens on port {} already; {settings}",
                address.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is no address of this machine; {settings}", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {} needs a privilege (CAP_NET_BIND_SERVICE); {settings}", address.port())
        }
        _ => settings.to_owned(),
    }
}

/// The listening port.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Listens on `address`; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source| BindError { address, source })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, answers: Answers) {
        let service = TowerToHyperService::new(router(answers));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = accept(&self.listener).await;
            let service = service.clone();
            tokio::spawn(async move {
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .max_buf_size(16 << 10)
                    .serve_connection(TokioIo::new(stream), service);
                match timeout(CONNECTION_LIMIT, served).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
                    Err(_) => tracing::debug!("admin connection took too long"),
                }
                drop(place);
            });
        }
    }
}

/// The next connection; errors such as too many open files pass, so they are waited out.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "the admin port can't accept a connection");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn router(answers: Answers) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "here are /healthz, /readyz, /status and /metrics\n") })
        .with_state(answers)
}

/// The port is open before the probes are attached, and still when they are not any more.
const NOT_READY: &str =
    "not ready: starting (probes are attached, then all processes looked at) or stopping\n";

async fn ready(State(answers): State<Answers>) -> Response {
    match answers.ready.get() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, NOT_READY).into_response(),
    }
}

async fn status(State(answers): State<Answers>) -> Response {
    blocking("application/json", move || {
        let mut text =
            serde_json::to_string_pretty(&answers.status.status()).map_err(|error| error.to_string())?;
        text.push('\n');
        Ok(text)
    })
    .await
}

async fn metrics(State(answers): State<Answers>) -> Response {
    blocking(prometheus::CONTENT_TYPE, move || {
        prometheus::render(&answers.metrics).map_err(|error| error.to_string())
    })
    .await
}

/// The text that `make` makes, or a 500 if it fails or panics.
async fn blocking(
    content_type: &'static str,
    make: impl FnOnce() -> Result<String, String> + Send + 'static,
) -> Response {
    let made = tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(error.to_string()));
    match made {
        Ok(text) => ([(CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "an admin answer failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "this answer failed; see the agent's log\n").into_response()
        }
    }
}
