//! Counters and their labels, the names in the table, and the text that Prometheus gets of it.

use super::{table::*, *};
use std::{collections::HashSet, sync::Arc};

pub(crate) struct Fixed;

impl Gauges for Fixed {
    fn queue(&self) -> Queue {
        Queue { spans: 3, bytes: 4096 }
    }
    fn maps(&self) -> Vec<MapFill> {
        vec![MapFill { name: "connections".into(), entries: 5, capacity: 16384 }]
    }
    fn tracked(&self, what: Tracked) -> u64 {
        if what == Tracked::Exchanges { 7 } else { 4 }
    }
    fn processes(&self, state: ProcessState) -> u64 {
        if state == ProcessState::Traced { 2 } else { 0 }
    }
    fn watched(&self, what: Watched) -> Option<WatchLevel> {
        Some(WatchLevel { synced: what == Watched::Pods, objects: 6, answers: 8 })
    }
    fn refresh(&self, metrics: &Metrics) {
        metrics.events_lost.raise_to(EventLoss::RingBufferFull, 9);
    }
}

pub(crate) fn source() -> Source {
    Source { metrics: Arc::default(), gauges: Arc::new(Fixed) }
}

#[test]
fn a_family_counts_each_label_apart() {
    let metrics = Metrics::default();
    metrics.spans_dropped.inc(SpanLoss::Shutdown);
    metrics.spans_dropped.add(SpanLoss::Rejected, 4);
    metrics.spans_dropped.raise_to(SpanLoss::Rejected, 2);
    metrics.spans_dropped.raise_to(SpanLoss::QueueFull, 7);
    let counted: Vec<_> = metrics.spans_dropped.each().filter(|(_, n)| *n > 0).collect();
    assert_eq!(counted, [(SpanLoss::QueueFull, 7), (SpanLoss::Rejected, 4), (SpanLoss::Shutdown, 1)]);
    assert_eq!(metrics.spans_dropped.sum(), 12);
}

#[test]
fn every_exchange_is_a_span_or_a_drop_of_its_side() {
    let metrics = Metrics::default();
    metrics.exchange(Side::Server, Ok(()));
    metrics.exchange(Side::Server, Err(DropReason::Sampled));
    metrics.exchange(Side::Client, Err(DropReason::Sampled));
    metrics.exchange(Side::Client, Err(DropReason::Excluded));
    for (side, dropped) in metrics.exchanges_dropped.rows() {
        assert_eq!(metrics.exchanges.get(side), metrics.spans.get(side) + dropped.sum());
    }
    assert_eq!(metrics.exchanges.sum(), 4);
    assert_eq!(metrics.exchanges_dropped.get(Side::Client, DropReason::Excluded), 1);
    assert_eq!(metrics.exchanges_dropped.get(Side::Server, DropReason::Excluded), 0);
}

#[test]
fn counters_lose_nothing_between_threads() {
    let metrics = Metrics::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| metrics.events.inc(EventKind::Data)));
        }
    });
    assert_eq!(metrics.events.get(EventKind::Data), 40_000);
}

#[test]
fn labels_are_unique_and_indexed_in_order() {
    fn check<L: Label>() {
        let texts: HashSet<_> = L::ALL.iter().map(|label| label.text()).collect();
        assert_eq!(texts.len(), L::ALL.len());
        assert!(L::ALL.iter().enumerate().all(|(index, label)| label.index() == index));
    }
    check::<EventKind>();
    check::<Side>();
    check::<EventLoss>();
    check::<Untracked>();
    check::<Tracked>();
    check::<DropReason>();
    check::<SpanLoss>();
    check::<LinkEvidence>();
    check::<RequestResult>();
    check::<SpanResult>();
    check::<ProcessState>();
}

#[test]
fn the_table_follows_the_naming_conventions() {
    let mut names = HashSet::new();
    for row in TABLE {
        assert!(names.insert(row.name) && names.insert(row.otel), "{} is there twice", row.name);
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(row.name.chars().all(plain), "{}", row.name);
        assert!(row.otel.chars().all(|c| plain(c) || c == '.'), "{}", row.otel);
        for suffix in ["_total", "_bytes", "_seconds"] {
            assert!(!row.name.ends_with(suffix), "{}: {suffix} is added by unit and kind", row.name);
        }
        assert!(!row.help.ends_with('.'), "{}: a help text has no full stop", row.name);
    }
}

#[test]
fn prometheus_gets_every_metric_with_its_labels() {
    let source = source();
    source.metrics.events.add(EventKind::Data, 12);
    source.metrics.exchanges.inc(Side::Server);
    source.metrics.spans.inc(Side::Client);
    source.metrics.exchanges_dropped.inc(Side::Server, DropReason::StreamGap);
    source.metrics.spans_dropped.inc(SpanLoss::QueueFull);
    source.metrics.untracked.inc(Untracked::Processes);
    source.metrics.export_retries.inc();
    source.metrics.links.inc(LinkEvidence::Wire);
    source.metrics.unreadable.inc();
    source.metrics.export_requests.inc(RequestResult::Success);
    source.metrics.export_spans.add(SpanResult::Success, 2);
    let text = prometheus::render(&source).unwrap();
    for line in [
        "# TYPE sockspan_events counter",
        "# HELP sockspan_events Events that arrived from the kernel",
        "sockspan_events_total{kind=\"data\"} 12",
        "sockspan_events_total{kind=\"closed\"} 0",
        "sockspan_exchanges_total{kind=\"server\"} 1",
        "sockspan_spans_total{kind=\"client\"} 1",
        "sockspan_events_lost_total{reason=\"ring_buffer_full\"} 9",
        "sockspan_untracked_total{what=\"processes\"} 1",
        "sockspan_exchanges_dropped_total{kind=\"server\",reason=\"stream_gap\"} 1",
        "sockspan_exchanges_dropped_total{kind=\"client\",reason=\"stream_gap\"} 0",
        "sockspan_spans_dropped_total{reason=\"queue_full\"} 1",
        "sockspan_links_total{evidence=\"wire\"} 1",
        "sockspan_unreadable_total 1",
        "sockspan_queue_spans 3",
        "# UNIT sockspan_queue_bytes bytes",
        "sockspan_queue_bytes 4096",
        "sockspan_export_requests_total{result=\"success\"} 1",
        "sockspan_export_retries_total 1",
        "sockspan_export_spans_total{result=\"success\"} 2",
        "sockspan_map_entries{map=\"connections\"} 5",
        "sockspan_map_capacity{map=\"connections\"} 16384",
        "sockspan_tracked{what=\"connections\"} 4",
        "sockspan_tracked{what=\"exchanges\"} 7",
        "sockspan_processes{state=\"traced\"} 2",
        "# TYPE process_cpu_seconds counter",
        "# TYPE process_resident_memory_bytes gauge",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
    }
    assert!(text.contains(&format!("sockspan_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION"))));
    assert!(text.contains("process_cpu_seconds_total "), "{text}");
}
