//! The last stage: finished spans leave the agent.
//!
//! In: [`Span`] values through [`Exporter::offer`], which never waits. Out: OTLP requests (gRPC or
//! http/protobuf) to one server, or waterfalls on the terminal. Between them stands one bounded queue.
//!
//! Invariants
//! - Memory is bounded: by the queue's limits, in spans and in bytes, plus one batch on its way.
//! - Nothing is lost silently: every span ends up in exactly one counter of [`Counts`]. What finds no room is
//!   dropped by whole traces.
//! - A batch that may be repeated is kept until the server takes it, refuses it, or the agent shuts down:
//!   never given up for its age. While a server is away the queue fills, new traces are dropped and
//!   counted, and what was queued arrives once the server is back.

pub(crate) mod backoff;
mod console;
mod control;
mod counts;
mod delivery;
mod encode;
mod error;
mod queue;
mod settings;
mod shared;
mod transport;
mod worker;

#[cfg(test)]
mod tests;

pub(crate) use self::transport::{channel, client, header_map, metadata};
pub use self::{
    console::{ConsoleOptions, render},
    counts::Counts,
    delivery::{Fates, Undelivered},
    encode::{SCHEMA_URL, SCOPE_NAME, encode},
    error::Error,
    settings::{
        Batch, Compression, DEFAULT_QUEUE_BYTES, Endpoint, FileSetting, Header, Otlp, Problem, Problems,
        Protocol, Retry, Secret, Settings, Signal, Target,
    },
};
use self::{
    control::Command,
    shared::Shared,
    transport::{Grpc, Http},
    worker::Worker,
};
use crate::span::Span;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

/// What requests call themselves.
const USER_AGENT: &str = concat!("sockspan/", env!("CARGO_PKG_VERSION"));
/// What the worker may take beyond the time it was given to shut down.
const GRACE: Duration = Duration::from_secs(1);

/// More than any service manager waits, and far from what a clock can't hold.
const MAX_SHUTDOWN: Duration = Duration::from_secs(86_400);

/// Spans that were not delivered in the time given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{spans} spans were not delivered in time")]
pub struct Unsent {
    /// How many: still waiting after a flush, dropped after a shutdown.
    pub spans: u64,
}

/// Takes finished spans and sees to it that they leave. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Exporter {
    /// `None` where nothing takes the spans.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Exporter {
    /// Starts the exporter's task. Must be called within a tokio runtime; the server need not be there yet.
    ///
    /// # Errors
    /// Certificates that can't be read or used, and values that the transport can't carry.
    pub fn start(settings: &Settings, counts: Arc<Counts>) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(settings, counts));
        let (commands, receiver) = mpsc::channel(8);
        let worker = match &settings.target {
            Target::None => return Ok(Self { running: None }),
            Target::Console => {
                let terminal = console::Terminal::stdout(settings.console);
                tokio::spawn(console::run(Arc::clone(&shared), receiver, terminal))
            }
            Target::Otlp(otlp) if otlp.protocol == Protocol::Grpc => {
                tokio::spawn(Worker::new(Grpc::new(otlp)?, settings, otlp, &shared, receiver).run())
            }
            Target::Otlp(otlp) => {
                tokio::spawn(Worker::new(Http::new(otlp)?, settings, otlp, &shared, receiver).run())
            }
        };
        if let Target::Otlp(otlp) = &settings.target {
            hint_at_ports(otlp);
        }
        Ok(Self { running: Some(Running { shared, commands, worker: Mutex::new(Some(worker)) }) })
    }

    /// Takes finished spans, of one trace or many. Never waits: what does not fit is dropped and counted.
    pub fn offer(&self, spans: Vec<Span>) {
        if let Some(running) = &self.running {
            running.shared.offer(spans);
        }
    }

    /// Sends what was offered before this call, without waiting for the schedule.
    ///
    /// # Errors
    /// [`Unsent`] with what still waits when `limit` is over; it is not dropped, but tried further.
    pub async fn flush(&self, limit: Duration) -> Result<(), Unsent> {
        let Some(running) = &self.running else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        let flushed = async {
            running.commands.send(Command::Flush(done)).await.ok()?;
            answer.await.ok()
        };
        match timeout(limit, flushed).await {
            Ok(Some(())) => Ok(()),
            _ => Err(Unsent { spans: running.shared.waiting() }),
        }
    }

    /// Takes no more spans, sends what waits and ends the task. At once if called a second time.
    ///
    /// # Errors
    /// [`Unsent`] with what was dropped because `limit` was over.
    pub async fn shutdown(&self, limit: Duration) -> Result<(), Unsent> {
        let Some(running) = &self.running else { return Ok(()) };
        running.shared.close();
        let worker = running.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut worker) = worker else { return Ok(()) };
        let before = running.shared.dropped_at_shutdown();
        let stop = Command::Shutdown(Instant::now() + limit.min(MAX_SHUTDOWN));
        let stopped = async {
            // A worker that is gone already has nothing to be told.
            running.commands.send(stop).await.ok();
            (&mut worker).await
        };
        if timeout(limit.saturating_add(GRACE), stopped).await.is_err() {
            worker.abort();
        }
        running.shared.abandon();
        match running.shared.dropped_at_shutdown() - before {
            0 => Ok(()),
            spans => Err(Unsent { spans }),
        }
    }
}

/// The two protocols' ports are easily confused, and the servers' answers to the wrong one are no help.
fn hint_at_ports(otlp: &Otlp) {
    let usual = match (otlp.protocol, otlp.endpoint.host_and_port().1) {
        (Protocol::Grpc, 4318) => Protocol::HttpProtobuf,
        (Protocol::HttpProtobuf, 4317) => Protocol::Grpc,
        _ => return,
    };
    let (endpoint, protocol) = (&otlp.endpoint, otlp.protocol);
    tracing::warn!(
        "export: {endpoint} is spoken to in {protocol}, but that port is usually {usual}'s \
         (OTEL_EXPORTER_OTLP_PROTOCOL)"
    );
}
