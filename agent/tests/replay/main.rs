//! Recorded streams of the three services of `tests/services` through the pipeline: in, what the kernel told while
//! they did something known; out, the spans, which are compared with what the services did.
//!
//! `streams/README.md` says how the streams are recorded.

mod expected;
mod neutral;
mod properties;
mod stream;

use std::collections::{BTreeMap, HashMap};

use sockspan::span::{Span, SpanKind, Status, Value};

use expected::{CASES, Case, Row, TIMER_MS};

/// One millisecond in nanoseconds.
const MS: u64 = 1_000_000;
/// Both ways into the kernel tell the same.
const MODES: [&str; 2] = ["sock", "syscalls"];

fn text(span: &Span, key: &str) -> Option<String> {
    match span.attribute(key)? {
        Value::Str(text) => Some(text.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> Option<u64> {
    match span.attribute(key)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => panic!("{key} is {other:?}"),
    }
}

/// What a span says, in the words of the expectations.
fn row(depth: usize, span: &Span) -> Row {
    let (kind, target) = match span.kind {
        SpanKind::Server => ("server", "url.path"),
        SpanKind::Client => ("client", "url.full"),
    };
    Row {
        depth,
        service: span.resource.service_name.clone(),
        kind,
        method: text(span, "http.request.method").unwrap_or_default(),
        target: text(span, target).unwrap_or_default(),
        status: number(span, "http.response.status_code").unwrap_or_default(),
        sent: number(span, "http.request.body.size"),
        received: number(span, "http.response.body.size"),
        evidence: text(span, "sockspan.parent.evidence"),
    }
}

/// The spans as a forest: traces by their start, each a tree with the earlier child first.
struct Forest<'a> {
    spans: Vec<&'a Span>,
    depths: Vec<usize>,
}

impl<'a> Forest<'a> {
    fn grow(spans: &'a [Span]) -> Self {
        let mut children: BTreeMap<_, Vec<&Span>> = BTreeMap::new();
        let mut sorted: Vec<&Span> = spans.iter().collect();
        sorted.sort_by_key(|s| (s.start_ns, s.span_id));
        sorted.iter().for_each(|s| children.entry(s.parent_span_id).or_default().push(s));
        let mut forest = Self { spans: Vec::new(), depths: Vec::new() };
        for root in children.remove(&None).unwrap_or_default() {
            forest.add(root, 0, &mut children);
        }
        assert_eq!(forest.spans.len(), spans.len(), "a parent is not among the spans");
        forest
    }

    fn add(
        &mut self,
        span: &'a Span,
        depth: usize,
        children: &mut BTreeMap<Option<sockspan::span::SpanId>, Vec<&'a Span>>,
    ) {
        self.spans.push(span);
        self.depths.push(depth);
        for child in children.remove(&Some(span.span_id)).unwrap_or_default() {
            self.add(child, depth + 1, children);
        }
    }

    fn rows(&self) -> Vec<Row> {
        self.spans.iter().zip(&self.depths).map(|(span, depth)| row(*depth, span)).collect()
    }
}

fn each(check: impl Fn(&Case, &str, &[Span])) {
    for case in CASES {
        for mode in MODES {
            check(case, mode, &stream::spans(&stream::path(case.name, mode)));
        }
    }
}

#[test]
fn the_spans_tell_what_the_services_did() {
    each(|case, mode, spans| {
        let expected: Vec<Row> = case.rows();
        let found = sorted(Forest::grow(spans).rows());
        assert_eq!(show(&found), show(&sorted(expected)), "{} by {mode}", case.name);
    });
}

fn show(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Traces in the order of what they say: of concurrent ones it is chance which is first.
fn sorted(rows: Vec<Row>) -> Vec<Row> {
    let mut traces: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match traces.last_mut() {
            Some(trace) if row.depth > 0 => trace.push(row),
            _ => traces.push(vec![row]),
        }
    }
    traces.sort_by_key(|trace| show(trace));
    traces.into_iter().flatten().collect()
}

/// Whether `span` tells of an exchange of `whole`, nothing that was not so, and has its true parent or none.
fn is_part_of(span: &Span, spans: &[Span], whole: &[Span]) -> bool {
    let same = |a: &Span, b: &Span| {
        let (a, b) = (row(0, a), row(0, b));
        (a.service, a.kind, a.target) == (b.service, b.kind, b.target)
    };
    let parent = |span: &Span, spans: &[Span]| {
        let id = span.parent_span_id?;
        Some(spans.iter().find(|s| s.span_id == id).expect("a parent that is among the spans").clone())
    };
    let Some(mut above) = whole.iter().find(|s| same(s, span)).cloned() else { return false };
    let (told, truth) = (row(0, span), row(0, &above));
    let fits = |told: Option<u64>, known| told.is_none() || told == known;
    let status_fits = told.status == 0 || told.status == truth.status;
    if !status_fits || !fits(told.sent, truth.sent) || !fits(told.received, truth.received) {
        return false;
    }
    let Some(found) = parent(span, spans) else { return true };
    // What is lost between the two is passed over.
    while let Some(next) = parent(&above, whole) {
        if same(&next, &found) {
            return true;
        }
        above = next;
    }
    false
}

#[test]
fn every_trace_has_an_id_of_its_own_and_every_span() {
    each(|case, mode, spans| {
        let forest = Forest::grow(spans);
        let mut root = None;
        let mut traces = HashMap::new();
        for (span, depth) in forest.spans.iter().zip(&forest.depths) {
            if *depth == 0 {
                root = Some(span.trace_id);
                assert!(traces.insert(span.trace_id, ()).is_none(), "{} by {mode}", case.name);
            }
            assert_eq!(Some(span.trace_id), root, "{} by {mode}", case.name);
        }
        let ids: HashMap<_, _> = spans.iter().map(|s| (s.span_id, ())).collect();
        assert_eq!(ids.len(), spans.len());
    });
}

#[test]
fn statuses_are_errors_where_the_conventions_say_so() {
    each(|case, mode, spans| {
        for span in spans {
            let failed = number(span, "http.response.status_code") == Some(500);
            let status = if failed { Status::Error } else { Status::Unset };
            assert_eq!(span.status, status, "{} by {mode}", case.name);
            assert_eq!(text(span, "error.type"), failed.then(|| "500".to_owned()));
            assert_eq!(text(span, "network.protocol.version").as_deref(), Some("1.1"));
        }
    });
}

#[test]
fn times_are_those_of_the_work_and_children_lie_inside() {
    each(|case, mode, spans| {
        let by_id: HashMap<_, _> = spans.iter().map(|s| (s.span_id, s)).collect();
        for span in spans {
            let what = format!("{} by {mode}: {}", case.name, row(0, span));
            let took = span.end_ns - span.start_ns;
            assert!(took >= case.least_ms(span) * MS, "{what} took {took} ns");
            assert!(took <= case.most_ms * MS, "{what} took {took} ns");
            if let Some(parent) = span.parent_span_id.map(|id| by_id[&id]) {
                assert!(
                    parent.start_ns <= span.start_ns && span.end_ns <= parent.end_ns,
                    "{what} sticks out"
                );
            }
        }
    });
}

#[test]
fn a_call_after_a_timer_comes_after_the_timer() {
    for mode in MODES {
        let spans = stream::spans(&stream::path("timer", mode));
        let start = |kind| spans.iter().find(|s| s.kind == kind && s.resource.service_name == "frontend");
        let (served, called) = (start(SpanKind::Server).unwrap(), start(SpanKind::Client).unwrap());
        assert!(called.start_ns - served.start_ns >= TIMER_MS * MS);
        assert!(called.end_ns <= served.end_ns);
    }
}
