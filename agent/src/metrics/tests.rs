use super::{table::*, *};
use std::{collections::HashSet, sync::Arc};

pub(crate) struct Fixed;

impl Gauges for Fixed {
    fn queue(&self) -> Queue {
        Queue { spans: 3, bytes: 4096 }
    }
    fn maps(&self) -> Vec<MapFill> {
        vec![MapFill { name: "CONNECTIONS", entries: 5, capacity: 16384 }]
    }
    fn processes(&self, state: ProcessState) -> u64 {
        if state == ProcessState::Traced { 2 } else { 0 }
    }
    fn refresh(&self, metrics: &Metrics) {
        metrics.dropped.raise_to(DropReason::RingBufferFull, 9);
    }
}

pub(crate) fn source() -> Source {
    Source { metrics: Arc::default(), gauges: Arc::new(Fixed) }
}

#[test]
fn a_family_counts_each_label_apart() {
    let metrics = Metrics::default();
    metrics.dropped.inc(DropReason::QueueFull);
    metrics.dropped.add(DropReason::Sampled, 4);
    metrics.dropped.raise_to(DropReason::Sampled, 2);
    metrics.dropped.raise_to(DropReason::RingBufferFull, 7);
    let counted: Vec<_> = metrics.dropped.each().filter(|(_, n)| *n > 0).collect();
    assert_eq!(
        counted,
        [(DropReason::RingBufferFull, 7), (DropReason::Sampled, 4), (DropReason::QueueFull, 1)]
    );
    assert_eq!(metrics.dropped.sum(), 12);
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
    check::<DropReason>();
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
        "sockspan_dropped_total{reason=\"ring_buffer_full\"} 9",
        "sockspan_links_total{evidence=\"wire\"} 1",
        "sockspan_unreadable_total 1",
        "sockspan_queue_spans 3",
        "# UNIT sockspan_queue_bytes bytes",
        "sockspan_queue_bytes 4096",
        "sockspan_export_requests_total{result=\"success\"} 1",
        "sockspan_export_spans_total{result=\"success\"} 2",
        "sockspan_map_entries{map=\"CONNECTIONS\"} 5",
        "sockspan_map_capacity{map=\"CONNECTIONS\"} 16384",
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
