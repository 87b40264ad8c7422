//! Spans that wait for export, trace by trace, bounded in number and in bytes.
//!
//! In: finished spans. Out: batches, oldest trace first. What does not fit is dropped by whole traces: the
//! trace's waiting spans go too, and those that come later until it is forgotten. Half a trace misleads.

use super::settings::Batch;
use crate::span::{Span, TraceId};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// How long spans of a dropped trace are still dropped.
const REMEMBER_DROPPED: Duration = Duration::from_secs(60);
/// How many dropped traces are remembered; the oldest are forgotten first (about 64 bytes each).
const MAX_REMEMBERED: usize = 16_384;

/// The spans of one trace that wait.
#[derive(Debug)]
struct Group {
    spans: VecDeque<Span>,
    bytes: usize,
}

impl Default for Group {
    /// Most have one span.
    fn default() -> Self {
        Self { spans: VecDeque::with_capacity(1), bytes: 0 }
    }
}

/// The queue; its owner locks it and keeps the counters.
#[derive(Debug)]
pub(super) struct Queue {
    max_spans: usize,
    max_bytes: usize,
    spans: usize,
    bytes: usize,
    /// By arrival of the trace's first span.
    groups: BTreeMap<u64, Group>,
    arrivals: HashMap<TraceId, u64>,
    next_arrival: u64,
    dropped: Dropped,
}

impl Queue {
    pub(super) fn new(batch: &Batch) -> Self {
        Self {
            max_spans: batch.max_queue_size,
            max_bytes: batch.max_queue_bytes,
            spans: 0,
            bytes: 0,
            groups: BTreeMap::new(),
            arrivals: HashMap::new(),
            next_arrival: 0,
            dropped: Dropped::default(),
        }
    }

    /// Spans waiting.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes waiting, by [`Span::cost`].
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `span` in, or drops it with its trace; returns how many spans were dropped.
    pub(super) fn push(&mut self, span: Span, now: Instant) -> usize {
        if self.dropped.contains(span.trace_id, now) {
            return 1;
        }
        let cost = span.cost();
        if self.spans >= self.max_spans || self.bytes.saturating_add(cost) > self.max_bytes {
            self.dropped.insert(span.trace_id, now);
            return 1 + self.remove(span.trace_id);
        }
        let arrival = *self.arrivals.entry(span.trace_id).or_insert_with(|| {
            self.next_arrival += 1;
            self.next_arrival
        });
        let group = self.groups.entry(arrival).or_default();
        group.spans.push_back(span);
        group.bytes += cost;
        self.spans += 1;
        self.bytes += cost;
        0
    }

    /// Removes a trace; returns how many of its spans waited.
    fn remove(&mut self, trace: TraceId) -> usize {
        let group = self.arrivals.remove(&trace).and_then(|arrival| self.groups.remove(&arrival));
        let group = group.unwrap_or_default();
        self.spans -= group.spans.len();
        self.bytes -= group.bytes;
        group.spans.len()
    }

    /// The next batch within both limits, whole traces as far as they fit; empty if nothing waits. A first
    /// span that is over `max_bytes` alone is taken all the same.
    pub(super) fn take(&mut self, max_spans: usize, max_bytes: usize) -> Vec<Span> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(mut entry) = self.groups.first_entry() {
            let group = entry.get_mut();
            let fits = batch.len() + group.spans.len() <= max_spans && bytes + group.bytes <= max_bytes;
            if !fits && !batch.is_empty() {
                break;
            }
            while let Some(span) = group.spans.front() {
                let cost = span.cost();
                let full = batch.len() >= max_spans || bytes + cost > max_bytes;
                if full && !batch.is_empty() {
                    break;
                }
                bytes += cost;
                group.bytes -= cost;
                batch.extend(group.spans.pop_front());
            }
            if !group.spans.is_empty() {
                break;
            }
            entry.remove();
        }
        self.forget_taken(&batch);
        self.spans -= batch.len();
        self.bytes -= bytes;
        batch
    }

    /// Drops the index entries of traces that `batch` took whole.
    fn forget_taken(&mut self, batch: &[Span]) {
        for span in batch {
            let gone = self.arrivals.get(&span.trace_id).is_some_and(|at| !self.groups.contains_key(at));
            if gone {
                self.arrivals.remove(&span.trace_id);
            }
        }
    }

    /// A mark that [`Self::passed`] is asked about.
    pub(super) fn mark(&self) -> u64 {
        self.next_arrival
    }

    /// Everything that waited when `mark` was made has been taken.
    pub(super) fn passed(&self, mark: u64) -> bool {
        self.groups.first_key_value().is_none_or(|(arrival, _)| *arrival > mark)
    }
}

/// The traces that lost spans lately.
#[derive(Debug, Default)]
struct Dropped {
    set: HashSet<TraceId>,
    order: VecDeque<(Instant, TraceId)>,
}

impl Dropped {
    fn contains(&mut self, trace: TraceId, now: Instant) -> bool {
        while let Some((since, oldest)) = self.order.front() {
            let expired = now.saturating_duration_since(*since) >= REMEMBER_DROPPED;
            if !expired && self.order.len() <= MAX_REMEMBERED {
                break;
            }
            self.set.remove(oldest);
            self.order.pop_front();
        }
        self.set.contains(&trace)
    }

    fn insert(&mut self, trace: TraceId, now: Instant) {
        if self.set.insert(trace) {
            self.order.push_back((now, trace));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::sample::span;

    fn queue(max_queue_size: usize, max_queue_bytes: usize) -> Queue {
        Queue::new(&Batch { max_queue_size, max_queue_bytes, ..Batch::default() })
    }

    #[test]
    fn batches_keep_traces_together_oldest_first() {
        let mut queue = queue(100, usize::MAX);
        let now = Instant::now();
        for (trace, id) in [(1, 1), (2, 2), (1, 3), (3, 4), (2, 5)] {
            assert_eq!(queue.push(span(trace, id), now), 0);
        }
        let ids = |batch: Vec<Span>| batch.iter().map(|s| s.span_id.0[7]).collect::<Vec<_>>();
        assert_eq!(ids(queue.take(3, usize::MAX)), [1, 3], "trace 2 would be cut");
        assert_eq!(ids(queue.take(3, usize::MAX)), [2, 5, 4]);
        assert_eq!((queue.spans(), queue.bytes()), (0, 0));
        assert!(queue.take(3, usize::MAX).is_empty() && queue.arrivals.is_empty());
    }

    #[test]
    fn a_trace_over_the_batch_size_is_split() {
        let mut queue = queue(100, usize::MAX);
        (1..=5).for_each(|id| assert_eq!(queue.push(span(1, id), Instant::now()), 0));
        let mark = queue.mark();
        assert_eq!(queue.take(3, usize::MAX).len(), 3);
        assert!(!queue.passed(mark));
        assert_eq!(queue.take(3, usize::MAX).len(), 2);
        assert!(queue.passed(mark));
    }

    #[test]
    fn batches_are_bounded_in_bytes_too() {
        let mut queue = queue(100, usize::MAX);
        let cost = span(1, 1).cost();
        (1..=4).for_each(|id| assert_eq!(queue.push(span(id, id), Instant::now()), 0));
        assert_eq!(queue.take(100, 2 * cost).len(), 2);
        assert_eq!(queue.take(100, 1).len(), 1, "one span is always taken");
    }

    #[test]
    fn what_does_not_fit_goes_with_its_whole_trace() {
        let mut queue = queue(3, usize::MAX);
        let now = Instant::now();
        assert_eq!(queue.push(span(1, 1), now), 0);
        assert_eq!(queue.push(span(2, 2), now), 0);
        assert_eq!(queue.push(span(1, 3), now), 0);
        assert_eq!(queue.push(span(1, 4), now), 3, "it and the two that waited");
        assert_eq!(queue.push(span(1, 5), now), 1, "room again, but the trace is lost");
        assert_eq!(queue.push(span(3, 6), now), 0);
        assert_eq!(queue.spans(), 2);
        let later = now + REMEMBER_DROPPED;
        assert_eq!(queue.push(span(1, 7), later), 0, "forgotten after a while");
    }

    #[test]
    fn bytes_bound_the_queue() {
        let cost = span(1, 1).cost();
        let mut queue = queue(100, 2 * cost);
        let dropped: usize = (1..=10).map(|id| queue.push(span(id, id), Instant::now())).sum();
        assert_eq!((queue.spans(), dropped), (2, 8));
        assert!(queue.bytes() <= 2 * cost);
    }

    #[test]
    fn the_memory_of_dropped_traces_is_bounded() {
        let mut dropped = Dropped::default();
        let now = Instant::now();
        for n in 0..2 * MAX_REMEMBERED as u128 {
            dropped.contains(TraceId(n.to_be_bytes()), now);
            dropped.insert(TraceId(n.to_be_bytes()), now);
        }
        assert!(dropped.set.len() <= MAX_REMEMBERED + 1);
        assert_eq!(dropped.set.len(), dropped.order.len());
    }
}
