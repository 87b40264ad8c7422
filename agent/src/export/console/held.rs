//! Traces that wait for their last spans: bounded, and drawn early rather than dropped.

use crate::span::{Span, TraceId};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// A trace is drawn when no span of it has come for this long.
const SETTLE: Duration = Duration::from_secs(1);
/// A trace that never rests is drawn in parts of this length.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The most traces held; the oldest are drawn early.
const MAX_TRACES: usize = 1000;
/// The most bytes of spans held, likewise.
const MAX_BYTES: usize = 16 << 20;

/// One trace so far.
#[derive(Debug)]
struct Trace {
    first: Instant,
    last: Instant,
    bytes: usize,
    spans: Vec<Span>,
}

/// The traces held, by order of arrival.
#[derive(Debug, Default)]
pub(super) struct Held {
    traces: BTreeMap<u64, Trace>,
    arrivals: HashMap<TraceId, u64>,
    next: u64,
    bytes: usize,
}

impl Held {
    /// Adds spans that came at `now`.
    pub(super) fn add(&mut self, spans: Vec<Span>, now: Instant) {
        for span in spans {
            let arrival = *self.arrivals.entry(span.trace_id).or_insert_with(|| {
                self.next += 1;
                self.next
            });
            let cost = span.cost();
            let trace = self.traces.entry(arrival).or_insert_with(|| Trace {
                first: now,
                last: now,
                bytes: 0,
                spans: Vec::new(),
            });
            trace.last = now;
            trace.bytes += cost;
            trace.spans.push(span);
            self.bytes += cost;
        }
    }

    /// Takes out the traces to draw at `now`, oldest first: those at rest, those over the bounds, or `all`.
    pub(super) fn settled(&mut self, now: Instant, all: bool) -> Vec<Vec<Span>> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let mut taken: Vec<u64> = Vec::new();
        let (mut traces, mut bytes) = (self.traces.len(), self.bytes);
        for (arrival, trace) in &self.traces {
            let over = traces > MAX_TRACES || bytes > MAX_BYTES;
            if all || over || since(trace.last) >= SETTLE || since(trace.first) >= MAX_WAIT {
                taken.push(*arrival);
                traces -= 1;
                bytes -= trace.bytes;
            }
        }
        taken.into_iter().filter_map(|arrival| self.remove(arrival)).collect()
    }

    fn remove(&mut self, arrival: u64) -> Option<Vec<Span>> {
        let trace = self.traces.remove(&arrival)?;
        self.bytes -= trace.bytes;
        if let Some(span) = trace.spans.first() {
            self.arrivals.remove(&span.trace_id);
        }
        Some(trace.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::sample::span;

    #[test]
    fn a_trace_is_drawn_once_it_rests() {
        let (mut held, start) = (Held::default(), Instant::now());
        held.add(vec![span(1, 1), span(2, 2)], start);
        held.add(vec![span(1, 3)], start + SETTLE / 2);
        assert!(held.settled(start + SETTLE / 2, false).is_empty());
        assert_eq!(held.settled(start + SETTLE, false), [[span(2, 2)]]);
        assert_eq!(held.settled(start + SETTLE * 2, false), [[span(1, 1), span(1, 3)]]);
        assert_eq!((held.bytes, held.arrivals.len()), (0, 0));
    }

    #[test]
    fn a_trace_without_rest_and_too_many_traces_are_drawn_early() {
        let (mut held, start) = (Held::default(), Instant::now());
        (0..32).for_each(|n| held.add(vec![span(1, n)], start + SETTLE * n as u32 / 2));
        assert!(held.settled(start + SETTLE * 16, false).is_empty());
        held.add(vec![span(1, 99)], start + MAX_WAIT);
        assert_eq!(held.settled(start + MAX_WAIT, false).len(), 1);
        (0..MAX_TRACES as u64 + 5).for_each(|n| held.add(vec![span(n + 10, 1)], start));
        assert_eq!(held.settled(start, false).len(), 5);
        assert_eq!(held.settled(start, true).len(), MAX_TRACES);
    }
}
