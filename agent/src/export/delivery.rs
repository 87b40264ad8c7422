//! A known number of spans that are all to arrive, such as those of a replay: given to the exporter in portions that
//! fit its queue, each once the one before has left.

use super::{Counts, Exporter, settings::Batch};
use crate::span::{Span, TraceId};
use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The most spans of one portion.
const PORTION: usize = 512;
/// For one more attempt after patience has run out.
const LAST_TRY: Duration = Duration::from_secs(1);

/// Spans that did not arrive, though all others may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{lost} of {total} spans were not delivered ({fates}){}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
pub struct Undelivered {
    /// How many did not arrive.
    pub lost: u64,
    /// Of how many.
    pub total: u64,
    /// What became of them.
    pub fates: Fates,
    /// The last word on why.
    pub reason: Option<String>,
}

/// What became of spans that did not arrive, by the counters of [`Counts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// In requests that were refused for good.
    pub refused: u64,
    /// Refused in requests that were otherwise accepted.
    pub rejected: u64,
    /// Found no room in the queue.
    pub no_room: u64,
    /// Not taken in the time given.
    pub late: u64,
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.refused, "refused"),
            (self.rejected, "rejected from requests that were accepted"),
            (self.no_room, "without room in the queue"),
            (self.late, "not taken in time"),
        ];
        let some = all.iter().filter(|(spans, _)| *spans > 0);
        f.write_str(&some.map(|(spans, fate)| format!("{spans} {fate}")).collect::<Vec<_>>().join(", "))
    }
}

impl Exporter {
    /// Sends `spans`, the only ones that this exporter was given, and ends. `batch` is what it was started with. Each
    /// portion may take as long as `patience`; when one takes longer, the rest is not tried.
    ///
    /// # Errors
    /// [`Undelivered`] if any of them did not arrive. Where `OTEL_TRACES_EXPORTER` is `none`, none is meant to.
    pub async fn deliver(
        self,
        spans: Vec<Span>,
        batch: &Batch,
        patience: Duration,
    ) -> Result<(), Undelivered> {
        let Some(running) = &self.running else { return Ok(()) };
        let total = spans.len() as u64;
        let mut patience = patience;
        for portion in portions(spans, batch) {
            self.offer(portion);
            if self.flush(patience).await.is_err() {
                patience = LAST_TRY;
                break;
            }
        }
        // What was dropped for want of time is counted.
        self.shutdown(patience).await.ok();
        let lost = total.saturating_sub(running.shared.counts.exported.load(Relaxed));
        if lost == 0 {
            return Ok(());
        }
        let fates = fates(&running.shared.counts, lost);
        Err(Undelivered { lost, total, fates, reason: running.shared.failure() })
    }
}

fn fates(counts: &Counts, lost: u64) -> Fates {
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let refused = count(&counts.dropped_permanent);
    let rejected = count(&counts.dropped_rejected);
    let no_room = count(&counts.dropped_queue_full);
    // Those that were never offered, too.
    Fates { refused, rejected, no_room, late: lost.saturating_sub(refused + rejected + no_room) }
}

/// Portions that fit the queue of `batch`, whole traces as far as they fit: the console draws what it has of a trace when
/// it is flushed. Traces come in the order of their first spans.
fn portions(spans: Vec<Span>, batch: &Batch) -> Vec<Vec<Span>> {
    let most = batch.max_queue_size.min(PORTION);
    let fits = |spans: usize, bytes: usize| spans <= most && bytes <= batch.max_queue_bytes;
    let mut portions = Portions::default();
    for trace in traces(spans) {
        let cost = trace.iter().map(Span::cost).sum::<usize>();
        if !fits(portions.open.len() + trace.len(), portions.bytes + cost) {
            portions.close();
        }
        for span in trace {
            if !fits(portions.open.len() + 1, portions.bytes + span.cost()) {
                portions.close();
            }
            portions.bytes += span.cost();
            portions.open.push(span);
        }
    }
    portions.close();
    portions.closed
}

#[derive(Default)]
struct Portions {
    closed: Vec<Vec<Span>>,
    open: Vec<Span>,
    /// Of the open one.
    bytes: usize,
}

impl Portions {
    fn close(&mut self) {
        self.bytes = 0;
        self.closed.extend(Some(std::mem::take(&mut self.open)).filter(|portion| !portion.is_empty()));
    }
}

fn traces(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut places: HashMap<TraceId, usize> = HashMap::new();
    let mut traces: Vec<Vec<Span>> = Vec::new();
    for span in spans {
        let place = *places.entry(span.trace_id).or_insert(traces.len());
        match traces.get_mut(place) {
            Some(trace) => trace.push(span),
            None => traces.push(vec![span]),
        }
    }
    traces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::sample::span;

    fn cut(spans: Vec<Span>, max_queue_size: usize, max_queue_bytes: usize) -> Vec<Vec<u8>> {
        let batch = Batch { max_queue_size, max_queue_bytes, ..Batch::default() };
        let portions = portions(spans, &batch);
        portions.iter().map(|portion| portion.iter().map(|span| span.span_id.0[7]).collect()).collect()
    }

    #[test]
    fn portions_fit_the_queue_and_keep_traces_whole() {
        let spans = || vec![span(1, 1), span(2, 2), span(1, 3), span(3, 4), span(3, 5), span(3, 6)];
        assert_eq!(cut(spans(), 3, usize::MAX), [vec![1, 3, 2], vec![4, 5, 6]]);
        assert_eq!(cut(spans(), 2, usize::MAX), [vec![1, 3], vec![2], vec![4, 5], vec![6]]);
        let cost = span(1, 1).cost();
        assert_eq!(cut(spans(), 100, 2 * cost), [vec![1, 3], vec![2], vec![4, 5], vec![6]]);
        assert_eq!(cut(spans(), 1, 1).len(), 6);
        assert_eq!(cut((0..1025).map(|id| span(id, id)).collect(), 2048, usize::MAX).len(), 3);
    }
}
