//! The levels and the kernel's counts, read when somebody looks.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::{Map, Value};
use sockspan_ebpf::Counter;

use crate::{
    capture::Counters,
    census::{Entries, Entry},
    export::Counts,
    kubernetes::Kubernetes,
    metrics::{
        self, EventLoss, MapFill, Metrics, ProcessState, Queue, RequestResult, SpanLoss, SpanResult, Tracked,
        Untracked, WatchLevel, Watched,
    },
};

/// Where the levels are.
pub struct Gauges {
    counters: Counters,
    entries: Entries,
    counts: Arc<Counts>,
    kubernetes: Option<Kubernetes>,
    connections: AtomicU64,
    exchanges: AtomicU64,
}

impl Gauges {
    /// The levels of an agent with these parts.
    pub fn new(
        counters: Counters,
        entries: Entries,
        counts: Arc<Counts>,
        kubernetes: Option<Kubernetes>,
    ) -> Arc<Self> {
        Arc::new(Self {
            counters,
            entries,
            counts,
            kubernetes,
            connections: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
        })
    }

    /// The pipeline holds so many connections and exchanges.
    pub fn hold(&self, (connections, exchanges): (usize, usize)) {
        self.connections.store(connections as u64, Relaxed);
        self.exchanges.store(exchanges as u64, Relaxed);
    }

    /// What the kernel side counted, by name.
    pub fn kernel(&self) -> Value {
        let counts = Counter::ALL.iter().filter(|c| **c != Counter::NextId);
        let named = counts.map(|c| (snake(&format!("{c:?}")), self.counters.get(*c).into()));
        Value::Object(named.collect::<Map<_, _>>())
    }

    /// Connections and exchanges that the pipeline holds.
    pub fn held(&self) -> (u64, u64) {
        (self.connections.load(Relaxed), self.exchanges.load(Relaxed))
    }

    fn count(&self, is: impl Fn(&Entry) -> bool) -> u64 {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().filter(|entry| is(entry)).count() as u64
    }
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

impl metrics::Gauges for Gauges {
    fn queue(&self) -> Queue {
        let counts = &self.counts;
        Queue { spans: counts.queue_spans.load(Relaxed), bytes: counts.queue_bytes.load(Relaxed) }
    }

    fn maps(&self) -> Vec<MapFill> {
        self.counters.fills()
    }

    fn tracked(&self, what: Tracked) -> u64 {
        match what {
            Tracked::Connections => self.held().0,
            Tracked::Exchanges => self.held().1,
        }
    }

    fn processes(&self, state: ProcessState) -> u64 {
        match state {
            ProcessState::Traced => self.count(|e| e.traced),
            ProcessState::NotSelected => self.count(|e| !e.traced && !e.instrumented),
            ProcessState::Instrumented => self.count(|e| e.instrumented),
            ProcessState::Failed => 0,
        }
    }

    fn watched(&self, what: Watched) -> Option<WatchLevel> {
        let cache = &self.kubernetes.as_ref()?.cache;
        let health = cache.health(what);
        let synced = health.synced.is_some() && health.trouble.is_none();
        Some(WatchLevel { synced, objects: cache.len(what) as u64, answers: health.answers })
    }

    fn refresh(&self, metrics: &Metrics) {
        let kernel = |counter| self.counters.get(counter);
        let export = |count: &AtomicU64| count.load(Relaxed);
        let c = &self.counts;
        metrics.events_lost.raise_to(EventLoss::RingBufferFull, kernel(Counter::RingFull));
        metrics.untracked.raise_to(Untracked::Connections, kernel(Counter::ConnectionsFull));
        metrics.untracked.raise_to(Untracked::Processes, kernel(Counter::ProcessesFull));
        metrics.untracked.raise_to(Untracked::Calls, kernel(Counter::CallsFull));
        metrics.unreadable.raise_to(kernel(Counter::Unreadable));
        metrics.export_requests.raise_to(RequestResult::Success, export(&c.requests_ok));
        metrics.export_requests.raise_to(RequestResult::Failure, export(&c.requests_failed));
        metrics.export_retries.raise_to(export(&c.retries));
        metrics.export_spans.raise_to(SpanResult::Success, export(&c.exported));
        metrics.export_spans.raise_to(SpanResult::Rejected, export(&c.dropped_rejected));
        metrics.export_spans.raise_to(SpanResult::Failure, export(&c.dropped_permanent));
        metrics.spans_dropped.raise_to(SpanLoss::QueueFull, export(&c.dropped_queue_full));
        metrics.spans_dropped.raise_to(SpanLoss::Rejected, export(&c.dropped_rejected));
        metrics.spans_dropped.raise_to(SpanLoss::ExportFailed, export(&c.dropped_permanent));
        metrics.spans_dropped.raise_to(SpanLoss::Shutdown, export(&c.dropped_shutdown));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_named_as_prometheus_would() {
        assert_eq!(super::snake("ForeignRegisters"), "foreign_registers");
    }
}
