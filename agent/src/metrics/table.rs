//! The one table of metrics: name, help, unit, kind, and where the numbers are read.
//!
//! In: [`Source`], the counters and the gauges. Out: samples, for whichever exporter asks.

use super::{
    Counter, Family, Gauges, Grid, Label, Metrics, ProcessState, Tracked, WatchLevel, Watched, process,
};
use std::{fmt, sync::Arc};

/// Where every number comes from.
#[derive(Clone)]
pub struct Source {
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// The levels.
    pub gauges: Arc<dyn Gauges>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

/// Grows only, or goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows only.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, UCUM's annotation in braces.
    Things(&'static str),
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The unit as OpenTelemetry writes it (UCUM).
    pub fn ucum(self) -> &'static str {
        match self {
            Self::Things(annotation) => annotation,
            Self::Bytes => "By",
            Self::Seconds => "s",
        }
    }
}

/// Labels of one sample: name and value.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes one sample.
pub type Out<'a> = &'a mut dyn FnMut(Labels<'_>, u64);

/// How a row's samples are read.
#[derive(Clone, Copy)]
pub enum Read {
    /// Whole numbers.
    Integer(fn(&Source, Out<'_>)),
    /// Numbers with a fraction, without labels.
    Float(fn(&Source) -> f64),
}

/// One metric.
#[derive(Clone, Copy)]
pub struct Row {
    /// The Prometheus name without the suffixes that follow from unit and kind (`_bytes`, `_seconds`, `_total`).
    pub name: &'static str,
    /// The OpenTelemetry name.
    pub otel: &'static str,
    /// What it tells, a sentence without its full stop.
    pub help: &'static str,
    /// What is measured.
    pub unit: Unit,
    /// Counter or gauge.
    pub kind: Kind,
    /// Where the numbers are.
    pub read: Read,
}

const fn counter(
    name: &'static str,
    otel: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&Source, Out<'_>),
) -> Row {
    Row { name, otel, help, unit: Unit::Things(unit), kind: Kind::Counter, read: Read::Integer(read) }
}

const fn gauge(
    name: &'static str,
    otel: &'static str,
    unit: Unit,
    help: &'static str,
    read: fn(&Source, Out<'_>),
) -> Row {
    Row { name, otel, help, unit, kind: Kind::Gauge, read: Read::Integer(read) }
}

/// Every metric of the agent.
pub const TABLE: &[Row] = &[
    counter(
        "sockspan_events",
        "sockspan.events",
        "{event}",
        "Events that arrived from the kernel",
        |s, out| {
            family("kind", &s.metrics.events, out);
        },
    ),
    counter(
        "sockspan_events_lost",
        "sockspan.events.lost",
        "{event}",
        "Events that did not arrive from the kernel, or were not understood",
        |s, out| family("reason", &s.metrics.events_lost, out),
    ),
    counter(
        "sockspan_untracked",
        "sockspan.untracked",
        "{item}",
        "Connections, processes and calls that were not followed, for want of room in the kernel",
        |s, out| family("what", &s.metrics.untracked, out),
    ),
    counter(
        "sockspan_exchanges",
        "sockspan.exchanges",
        "{exchange}",
        "HTTP exchanges that ended: each became a span or was dropped",
        |s, out| family("kind", &s.metrics.exchanges, out),
    ),
    counter("sockspan_spans", "sockspan.spans", "{span}", "Spans that were made", |s, out| {
        family("kind", &s.metrics.spans, out);
    }),
    counter(
        "sockspan_exchanges_dropped",
        "sockspan.exchanges.dropped",
        "{exchange}",
        "HTTP exchanges that did not become spans, by the reason",
        |s, out| grid(["kind", "reason"], &s.metrics.exchanges_dropped, out),
    ),
    counter(
        "sockspan_spans_dropped",
        "sockspan.spans.dropped",
        "{span}",
        "Spans that were made and not delivered, by the reason",
        |s, out| family("reason", &s.metrics.spans_dropped, out),
    ),
    counter(
        "sockspan_links",
        "sockspan.links",
        "{span}",
        "Spans by the evidence on which their parent was known",
        |s, out| family("evidence", &s.metrics.links, out),
    ),
    counter(
        "sockspan_links_overruled",
        "sockspan.links.overruled",
        "{span}",
        "Evidence for a parent that was not believed, because stronger evidence named another",
        |s, out| family("evidence", &s.metrics.overruled, out),
    ),
    counter(
        "sockspan_links_withdrawn",
        "sockspan.links.withdrawn",
        "{span}",
        "Spans whose parent an event loop seemed to show, and that may be another request's",
        |s, out| family("reason", &s.metrics.links_withdrawn, out),
    ),
    counter(
        "sockspan_unreadable",
        "sockspan.unreadable",
        "{call}",
        "Socket calls whose bytes could not be proven to be the message's own, and so were not read",
        |s, out| single(&s.metrics.unreadable, out),
    ),
    counter(
        "sockspan_export_requests",
        "sockspan.export.requests",
        "{request}",
        "Export requests by result, repetitions included",
        |s, out| family("result", &s.metrics.export_requests, out),
    ),
    counter(
        "sockspan_export_retries",
        "sockspan.export.retries",
        "{request}",
        "Export requests that repeated one that had failed",
        |s, out| single(&s.metrics.export_retries, out),
    ),
    counter(
        "sockspan_export_spans",
        "sockspan.export.spans",
        "{span}",
        "Spans by what the export made of them",
        |s, out| family("result", &s.metrics.export_spans, out),
    ),
    counter(
        "sockspan_settings_reloads",
        "sockspan.settings.reloads",
        "{reload}",
        "Changes of the settings file, and requests to read it again, by whether they took effect",
        |s, out| family("result", &s.metrics.settings_reloads, out),
    ),
    gauge(
        "sockspan_queue_spans",
        "sockspan.queue.spans",
        Unit::Things("{span}"),
        "Spans that wait for export",
        |s, out| out(&[], s.gauges.queue().spans),
    ),
    gauge(
        "sockspan_queue",
        "sockspan.queue.size",
        Unit::Bytes,
        "Memory held by the spans that wait for export",
        |s, out| out(&[], s.gauges.queue().bytes),
    ),
    gauge(
        "sockspan_map_entries",
        "sockspan.map.entries",
        Unit::Things("{entry}"),
        "Entries in use in a BPF map, when they were last counted",
        |s, out| s.gauges.maps().iter().for_each(|m| out(&[("map", &m.name)], m.entries)),
    ),
    gauge(
        "sockspan_map_capacity",
        "sockspan.map.capacity",
        Unit::Things("{entry}"),
        "Entries that a BPF map can hold",
        |s, out| s.gauges.maps().iter().for_each(|m| out(&[("map", &m.name)], m.capacity)),
    ),
    gauge(
        "sockspan_tracked",
        "sockspan.tracked",
        Unit::Things("{item}"),
        "Connections and exchanges that the agent itself holds",
        |s, out| Tracked::ALL.iter().for_each(|what| out(&[("what", what.text())], s.gauges.tracked(*what))),
    ),
    gauge(
        "sockspan_processes",
        "sockspan.processes",
        Unit::Things("{process}"),
        "Processes by how the agent treats them",
        |s, out| {
            let states = ProcessState::ALL.iter();
            states.for_each(|state| out(&[("state", state.text())], s.gauges.processes(*state)));
        },
    ),
    gauge(
        "sockspan_kubernetes_synced",
        "sockspan.kubernetes.synced",
        Unit::Things("1"),
        "1 while everything is known and the watch works, 0 while the cache may be stale",
        |s, out| watched(s, |level| u64::from(level.synced), out),
    ),
    gauge(
        "sockspan_kubernetes_objects",
        "sockspan.kubernetes.objects",
        Unit::Things("{object}"),
        "Objects that are known from the Kubernetes API",
        |s, out| watched(s, |level| level.objects, out),
    ),
    counter(
        "sockspan_kubernetes_answers",
        "sockspan.kubernetes.answers",
        "{answer}",
        "Answers of the Kubernetes API: pages of first lists, and watches that began",
        |s, out| watched(s, |level| level.answers, out),
    ),
    counter(
        "sockspan_kubernetes_watch_errors",
        "sockspan.kubernetes.watch.errors",
        "{error}",
        "Failed lists and watches of the Kubernetes API, by the reason",
        |s, out| family("reason", &s.metrics.watch_errors, out),
    ),
    counter(
        "sockspan_kubernetes_incomplete_spans",
        "sockspan.kubernetes.incomplete_spans",
        "{span}",
        "Spans that went without what their pod's status had not told in time",
        |s, out| single(&s.metrics.spans_incomplete, out),
    ),
    Row {
        name: "process_cpu",
        otel: "process.cpu.time",
        help: "CPU time of the agent, user and system",
        unit: Unit::Seconds,
        kind: Kind::Counter,
        read: Read::Float(|_| process::cpu_seconds()),
    },
    gauge(
        "process_resident_memory",
        "process.memory.usage",
        Unit::Bytes,
        "Resident memory of the agent",
        |_, out| {
            out(&[], process::resident_bytes());
        },
    ),
    gauge(
        "sockspan_build_info",
        "sockspan.build.info",
        Unit::Things("1"),
        "Always 1; the labels tell the agent's version and the processor it was built for",
        |_, out| out(&[("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)], 1),
    ),
];

fn family<L: Label>(label: &'static str, family: &Family<L>, out: Out<'_>) {
    family.each().for_each(|(value, n)| out(&[(label, value.text())], n));
}

fn watched(source: &Source, read: fn(WatchLevel) -> u64, out: Out<'_>) {
    for what in Watched::ALL {
        if let Some(level) = source.gauges.watched(*what) {
            out(&[("resource", what.text())], read(level));
        }
    }
}

fn grid<A: Label, B: Label>([first, second]: [&'static str; 2], grid: &Grid<A, B>, out: Out<'_>) {
    for (row, family) in grid.rows() {
        family.each().for_each(|(column, n)| out(&[(first, row.text()), (second, column.text())], n));
    }
}

fn single(counter: &Counter, out: Out<'_>) {
    out(&[], counter.get());
}
