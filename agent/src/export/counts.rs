//! What became of the spans, as numbers that other parts of the agent may read at any time.
//!
//! Every span that was offered is, once the exporter has shut down, in exactly one of `exported` and the
//! `dropped_*` counters; before that it may also be waiting (`queue_spans`) or in the batch on its way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Totals since the start, and the queue's present fill. Written by the exporter only.
#[derive(Debug, Default)]
pub struct Counts {
    /// Spans that the server accepted, or that were drawn on the console.
    pub exported: AtomicU64,
    /// Spans that found no room, with the rest of their traces.
    pub dropped_queue_full: AtomicU64,
    /// Spans that the server refused in a request it otherwise accepted (OTLP's partial success).
    pub dropped_rejected: AtomicU64,
    /// Spans of requests that were refused for good.
    pub dropped_permanent: AtomicU64,
    /// Spans that were left, or came, when the time to shut down was over.
    pub dropped_shutdown: AtomicU64,
    /// Requests repeated after a failure that allows it.
    pub retries: AtomicU64,
    /// Requests that were accepted, in whole or in part.
    pub requests_ok: AtomicU64,
    /// Requests that failed, each repetition counted.
    pub requests_failed: AtomicU64,
    /// Spans waiting now.
    pub queue_spans: AtomicU64,
    /// Their bytes, by [`crate::span::Span::cost`].
    pub queue_bytes: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

impl Counts {
    /// All spans dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        [&self.dropped_queue_full, &self.dropped_rejected, &self.dropped_permanent, &self.dropped_shutdown]
            .iter()
            .map(|counter| counter.load(Relaxed))
            .sum()
    }
}
