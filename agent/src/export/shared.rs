//! The queue and the counters, between the side that offers spans and the task that sends them.

use super::{
    counts::{Counts, add},
    queue::Queue,
    settings::Settings,
};
use crate::span::Span;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::{sync::Notify, time::Instant};

/// The most bytes of spans in one request: gRPC servers take 4 MiB by default, and resources come on top.
pub(super) const MAX_REQUEST_BYTES: usize = 2 << 20;

/// Shared by the exporter's handle and its task.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    pub(super) counts: Arc<Counts>,
    /// Told when a batch is full.
    pub(super) full: Notify,
    closed: AtomicBool,
    batch_spans: usize,
    /// Why spans did not leave, the last time that they did not.
    failure: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(settings: &Settings, counts: Arc<Counts>) -> Self {
        Self {
            queue: Mutex::new(Queue::new(&settings.batch)),
            counts,
            full: Notify::new(),
            closed: AtomicBool::new(false),
            batch_spans: settings.batch.max_export_batch_size,
            failure: Mutex::default(),
        }
    }

    /// Remembers why spans did not leave.
    pub(super) fn failed(&self, reason: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// The last reason of [`Self::failed`].
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The queue is whole after any panic: each of its methods leaves it consistent.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts spans into the queue, or counts why not.
    pub(super) fn offer(&self, spans: Vec<Span>) {
        let now = Instant::now();
        let mut queue = self.queue();
        if self.closed.load(Relaxed) {
            return add(&self.counts.dropped_shutdown, spans.len());
        }
        let dropped = spans.into_iter().map(|span| queue.push(span, now)).sum();
        add(&self.counts.dropped_queue_full, dropped);
        self.publish(&queue);
        if self.is_full(&queue) {
            self.full.notify_one();
        }
    }

    /// The next batch: a full one, or with `partial` whatever there is. Empty if there is none.
    pub(super) fn take(&self, partial: bool) -> Vec<Span> {
        let mut queue = self.queue();
        if !partial && !self.is_full(&queue) {
            return Vec::new();
        }
        let batch = queue.take(self.batch_spans, MAX_REQUEST_BYTES);
        self.publish(&queue);
        batch
    }

    /// Takes no more spans. Under the queue's lock, so that an offer is either before it or refused.
    pub(super) fn close(&self) {
        let _queue = self.queue();
        self.closed.store(true, Relaxed);
    }

    /// Drops all that waits, for the shutdown is over.
    pub(super) fn abandon(&self) {
        self.close();
        loop {
            let batch = self.take(true);
            if batch.is_empty() {
                break;
            }
            add(&self.counts.dropped_shutdown, batch.len());
        }
    }

    /// Spans that wait, without those on their way.
    pub(super) fn waiting(&self) -> u64 {
        self.queue().spans() as u64
    }

    /// See [`Queue::mark`].
    pub(super) fn mark(&self) -> u64 {
        self.queue().mark()
    }

    /// See [`Queue::passed`].
    pub(super) fn passed(&self, mark: u64) -> bool {
        self.queue().passed(mark)
    }

    pub(super) fn dropped_at_shutdown(&self) -> u64 {
        self.counts.dropped_shutdown.load(Relaxed)
    }

    fn is_full(&self, queue: &Queue) -> bool {
        queue.spans() >= self.batch_spans || queue.bytes() >= MAX_REQUEST_BYTES
    }

    fn publish(&self, queue: &Queue) {
        self.counts.queue_spans.store(queue.spans() as u64, Relaxed);
        self.counts.queue_bytes.store(queue.bytes() as u64, Relaxed);
    }
}
