//! The exporter against real servers on loopback: gRPC by tonic, HTTP by axum, TLS with real certificates.

pub(super) mod sample;

mod certificates;
mod console;
mod delivery;
mod failures;
mod grpc;
mod http;
mod servers;
mod tls;

use super::{Batch, Counts, Exporter, Retry, Settings, Target};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Long enough for a busy machine; no test waits for it unless it fails.
const SOON: Duration = Duration::from_secs(20);

/// Settings of the given variables, with a schedule so slow that only full batches and flushes send.
fn settings(variables: &[(&str, &str)]) -> Settings {
    let lookup =
        |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let settings = Settings::parse(lookup).expect("good settings");
    let retry = Retry { initial: Duration::from_millis(10), max: Duration::from_millis(50) };
    let schedule_delay = Duration::from_secs(3600);
    Settings { batch: Batch { schedule_delay, ..settings.batch.clone() }, retry, ..settings }
}

#[expect(clippy::needless_pass_by_value, reason = "tests start from settings made on the spot")]
fn start(settings: Settings) -> (Exporter, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Exporter::start(&settings, Arc::clone(&counts)).expect("it starts"), counts)
}

/// exported, queue full, rejected, permanent, shutdown.
fn spans(counts: &Counts) -> [u64; 5] {
    [
        &counts.exported,
        &counts.dropped_queue_full,
        &counts.dropped_rejected,
        &counts.dropped_permanent,
        &counts.dropped_shutdown,
    ]
    .map(|counter| counter.load(Relaxed))
}

#[tokio::test]
async fn none_discards() {
    let (exporter, counts) = start(settings(&[("OTEL_TRACES_EXPORTER", "none")]));
    exporter.offer(vec![sample::span(1, 1)]);
    assert_eq!(exporter.flush(SOON).await, Ok(()));
    assert_eq!(exporter.shutdown(SOON).await, Ok(()));
    assert_eq!(spans(&counts), [0; 5]);
    let Settings { target, .. } = Settings::default();
    assert!(matches!(target, Target::Otlp(_)));
}
