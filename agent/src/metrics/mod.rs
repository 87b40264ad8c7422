//! What the agent counts about itself.
//!
//! In: every stage bumps a [`Counter`] of [`Metrics`], one relaxed atomic addition. Out: one [`table`] that is
//! rendered as Prometheus text ([`prometheus`]) and pushed by OTLP ([`otlp`]); both read the same atomics.
//! What is a level and not a count is asked of [`Gauges`] when somebody looks.

pub mod labels;
pub mod otlp;
pub mod process;
pub mod prometheus;
pub mod table;
#[cfg(test)]
mod tests;

pub use self::{
    labels::{
        DropReason, EventKind, EventLoss, Label, LinkEvidence, ProcessState, ReloadResult, RequestResult,
        Side, SpanLoss, SpanResult, Tracked, Untracked, WatchError, Watched, Withdrawal,
    },
    table::Source,
};

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }
    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Takes over a total that is counted elsewhere (a BPF map); a smaller total changes nothing.
    pub fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Relaxed);
    }
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One [`Counter`] for each value of a label.
#[derive(Debug)]
pub struct Family<L>(Box<[Counter]>, PhantomData<L>);

impl<L: Label> Default for Family<L> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|_| Counter::default()).collect(), PhantomData)
    }
}

impl<L: Label> Family<L> {
    /// One more of `label`.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }
    /// `n` more of `label`.
    pub fn add(&self, label: L, n: u64) {
        if let Some(counter) = self.0.get(label.index()) {
            counter.add(n);
        }
    }
    /// Takes over a total that is counted elsewhere; a smaller total changes nothing.
    pub fn raise_to(&self, label: L, total: u64) {
        if let Some(counter) = self.0.get(label.index()) {
            counter.raise_to(total);
        }
    }
    /// The count so far.
    pub fn get(&self, label: L) -> u64 {
        self.0.get(label.index()).map_or(0, Counter::get)
    }
    /// Every value with its count.
    pub fn each(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().copied().zip(self.0.iter().map(Counter::get))
    }
    /// The sum over all values.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// One [`Counter`] for each pair of two labels' values.
#[derive(Debug)]
pub struct Grid<A, B>(Box<[Family<B>]>, PhantomData<A>);

impl<A: Label, B: Label> Default for Grid<A, B> {
    fn default() -> Self {
        Self(A::ALL.iter().map(|_| Family::default()).collect(), PhantomData)
    }
}

impl<A: Label, B: Label> Grid<A, B> {
    /// One more of `row` and `column`.
    pub fn inc(&self, row: A, column: B) {
        if let Some(family) = self.0.get(row.index()) {
            family.inc(column);
        }
    }
    /// Every row.
    pub fn rows(&self) -> impl Iterator<Item = (A, &Family<B>)> + '_ {
        A::ALL.iter().copied().zip(self.0.iter())
    }
    /// The count so far.
    pub fn get(&self, row: A, column: B) -> u64 {
        self.0.get(row.index()).map_or(0, |family| family.get(column))
    }
}

/// Everything that is counted. Shared by reference; nothing in it locks or allocates after its creation.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Events that arrived from the kernel.
    pub events: Family<EventKind>,
    /// Events that did not arrive, or were not understood.
    pub events_lost: Family<EventLoss>,
    /// What the kernel side could not follow.
    pub untracked: Family<Untracked>,
    /// Exchanges that ended, whatever became of them: each is a span or a drop.
    pub exchanges: Family<Side>,
    /// Spans that were made.
    pub spans: Family<Side>,
    /// Exchanges that did not become spans.
    pub exchanges_dropped: Grid<Side, DropReason>,
    /// Spans that were made and not delivered.
    pub spans_dropped: Family<SpanLoss>,
    /// Spans by what their parent was known on.
    pub links: Family<LinkEvidence>,
    /// Evidence that was not believed.
    pub overruled: Family<LinkEvidence>,
    /// Links that were taken back before their spans were told: an event loop's, which may be another exchange's.
    pub links_withdrawn: Family<Withdrawal>,
    /// Socket calls whose bytes could not be proven to be the message's own; counted, not read.
    pub unreadable: Counter,
    /// Export requests by result.
    pub export_requests: Family<RequestResult>,
    /// Those of them that repeated one that failed.
    pub export_retries: Counter,
    /// Spans by what the export made of them.
    pub export_spans: Family<SpanResult>,
    /// Failed requests and watches of the Kubernetes API.
    pub watch_errors: Family<WatchError>,
    /// Spans that went without what their pod's status had not told in time.
    pub spans_incomplete: Counter,
    /// Looks at the settings file after it changed.
    pub settings_reloads: Family<ReloadResult>,
}

impl Metrics {
    /// An exchange ended: in a span, or without one for a reason.
    pub fn exchange(&self, side: Side, outcome: Result<(), DropReason>) {
        self.exchanges.inc(side);
        match outcome {
            Ok(()) => self.spans.inc(side),
            Err(reason) => self.exchanges_dropped.inc(side, reason),
        }
    }
}

/// What waits for export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Spans.
    pub spans: u64,
    /// Bytes they hold.
    pub bytes: u64,
}

/// How a watch of the Kubernetes API does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLevel {
    /// Everything there is is known, and nothing has failed since.
    pub synced: bool,
    /// Objects that are known.
    pub objects: u64,
    /// Answers of the API server: pages of lists, and watches that began.
    pub answers: u64,
}

/// How full a BPF map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// The map's name, in lower case.
    pub name: String,
    /// Entries in use, when they were last counted.
    pub entries: u64,
    /// Entries it can hold.
    pub capacity: u64,
}

/// Levels, read when somebody looks; the implementation may take its time but must not block on the pipeline.
pub trait Gauges: Send + Sync + 'static {
    /// What waits for export.
    fn queue(&self) -> Queue;
    /// The BPF maps that have room for so many entries, and how full they are.
    fn maps(&self) -> Vec<MapFill>;
    /// How much of `what` the pipeline holds.
    fn tracked(&self, what: Tracked) -> u64;
    /// The number of processes in `state`.
    fn processes(&self, state: ProcessState) -> u64;
    /// Of Kubernetes; `None` where it is off.
    fn watched(&self, what: Watched) -> Option<WatchLevel> {
        let _ = what;
        None
    }
    /// Called before a reading, for counts that live in the kernel ([`Counter::raise_to`]).
    fn refresh(&self, metrics: &Metrics) {
        let _ = metrics;
    }
}
