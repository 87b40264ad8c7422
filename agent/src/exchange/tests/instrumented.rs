//! Processes that show a tracer of their own, and those that only hand headers on.

use super::*;

/// A span of the process's own, in the trace of `T`.
const OWN: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-1111111111111111-01";
const B3: &str = "b3: 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1";
const B3_OWN: &str = "b3: 0af7651916cd43dd8448eb211c80319c-1111111111111111-1";

fn export(tgid: u32, connection: u64, path: &str) -> Ask {
    let mut ask = client(tgid, connection).path(path);
    ask.method = "POST";
    ask
}

/// What a call that carries `sent` shows, made in the context of a request that carries `received`.
fn shown(received: &str, sent: &str) -> Vec<(u32, Sign)> {
    let web = Web::new()
        .calling(&server(FRONTEND, 1).kernel(70).says(received), &client(FRONTEND, 2).thread(70).says(sent));
    web.exchanges.signs
}

#[test]
fn who_puts_spans_of_its_own_into_traces_has_a_tracer() {
    let own = vec![(FRONTEND, Sign::OwnSpans)];
    assert_eq!(shown(T, OWN), own, "a span of its own in a trace that it received");
    assert_eq!(shown(B3, B3_OWN), own);
    assert_eq!(shown("a: b", T), own, "a trace of its own for a request that brought none");
}

#[test]
fn who_hands_on_what_it_got_has_none() {
    for (received, sent) in [
        (T, T),
        (B3, B3),
        ("a: b", "a: b"),
        (T, "a: b"),
        // It got two kinds of headers, and hands on one.
        (&format!("{T}\r\n{B3_OWN}"), B3_OWN),
        // Where another trace came from is not known.
        (T, OTHER),
    ] {
        assert_eq!(shown(received, sent), [], "{received} {sent}");
    }
    // Two requests of one trace, the second of which brought what is handed on.
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 3).says(OWN));
    let web = web.calling(&server(FRONTEND, 1).kernel(70).says(T), &client(FRONTEND, 2).thread(70).says(OWN));
    assert_eq!(web.exchanges.signs, []);
}

#[test]
fn a_head_that_was_cut_may_have_brought_the_trace() {
    let mut web = Web::new();
    let served = server(FRONTEND, 1).kernel(70);
    web.began(MS, &served);
    let head = RequestHead { truncated: true, ..served.head() };
    web.finds(&served, Signal::RequestHead { n: 0, head }, None);
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).says(T));
    assert_eq!(web.exchanges.signs, []);
}

#[test]
fn who_sends_spans_away_has_a_tracer_but_not_who_passes_them_on() {
    for path in ["v1/traces", "otlp/v1/traces?x=1", "api/v2/spans"] {
        let mut web = Web::new();
        web.asks(MS, &export(FRONTEND, 1, path));
        assert_eq!(web.exchanges.signs, [(FRONTEND, Sign::Exports)], "{path}");
    }
    let mut web = Web::new();
    let mut received = server(FRONTEND, 1).path("v1/traces");
    received.method = "POST";
    web.asks(MS, &received);
    web.asks(2 * MS, &export(FRONTEND, 2, "v1/traces"));
    web.asks(2 * MS, &client(PRODUCT, 3).path("v1/traces"));
    web.asks(2 * MS, &export(PRODUCT, 4, "v1/metrics"));
    assert_eq!(web.exchanges.signs, [], "a collector; one that reads; one that sends metrics");
}

#[test]
fn what_runs_on_dotnet_sends_ids_untraced_but_no_spans() {
    let mut web = Web::new();
    web.exchanges.meet(FRONTEND, true);
    web.asks(MS, &server(FRONTEND, 1).says(T));
    web.asks(2 * MS, &client(FRONTEND, 2).says(OWN));
    assert_eq!(web.exchanges.signs, []);
    web.asks(3 * MS, &export(FRONTEND, 3, "v1/traces"));
    assert_eq!(web.exchanges.signs, [(FRONTEND, Sign::Exports)]);
}

/// A process between two others shows itself by its first call: nothing of it is told, and who it asks belongs to the span
/// that it named.
#[test]
fn what_a_left_process_did_becomes_no_span_and_nobodys_parent() {
    let mut web = Web::new();
    web.asks(MS, &client(PRODUCT, 1).wire(1).says(T));
    web.asks(2 * MS, &server(FRONTEND, 2).kernel(70).wire(1).says(T));
    web.asks(3 * MS, &client(FRONTEND, 3).thread(70).wire(2));
    web.asks(3 * MS, &server(30, 4).wire(2));
    web.asks(4 * MS, &client(FRONTEND, 5).thread(70).wire(3).says(OWN));
    web.asks(4 * MS, &server(30, 6).wire(3).says(OWN));
    web.asks(5 * MS, &server(FRONTEND, 7));
    web.answers_all(6 * MS, [6, 5, 4, 3, 2, 1]);
    web.settles(1_000 * MS);
    assert_eq!([2, 3, 5, 7].map(|connection| web.is_told(connection)), [false; 4]);
    assert_eq!(web.parent(4), None, "its call carried no trace: who answers begins one");
    assert_eq!(web.of(6).parent.as_ref().map(|p| p.span_id.to_string()), Some("1111111111111111".into()));
    assert_eq!((web.trace(1), web.trace(6)), (TRACE, TRACE));
    let kinds: Vec<_> = web.exchanges.losses.iter().map(|loss| (loss.kind, loss.reason)).collect();
    let left = |kind| kinds.iter().filter(|one| **one == (kind, LossReason::Instrumented)).count();
    assert_eq!((left(SpanKind::Server), left(SpanKind::Client), kinds.len()), (2, 2, 4));
    assert!(web.exchanges.is_empty());
}

#[test]
fn what_was_named_as_a_parent_is_told_all_the_same() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.asks(3 * MS, &server(PRODUCT, 3).wire(5));
    web.answers(4 * MS, 3);
    (0..30).for_each(|n| web.settles(n * PATIENCE / 10));
    assert!(web.is_told(3));
    web.asks(3 * PATIENCE, &export(FRONTEND, 4, "v1/traces"));
    web.answers_all(3 * PATIENCE + MS, [2, 1]);
    web.settles(5 * PATIENCE);
    assert_eq!(web.parent(3), Some((2, LinkEvidence::Wire)));
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
}

#[test]
fn it_can_be_turned_off_and_another_process_is_met_anew() {
    let mut web = Web::new();
    web.exchanges.leave_instrumented(false);
    web.asks(MS, &export(FRONTEND, 1, "v1/traces"));
    assert_eq!(web.exchanges.signs, []);
    web.exchanges.leave_instrumented(true);
    web.asks(2 * MS, &export(FRONTEND, 2, "v1/traces"));
    web.asks(3 * MS, &server(FRONTEND, 3));
    web.exchanges.meet(FRONTEND, false);
    web.asks(4 * MS, &server(FRONTEND, 4));
    web.answers_all(5 * MS, [3, 4]);
    web.settles(1_000 * MS);
    assert_eq!((web.is_told(3), web.is_told(4)), (false, true));
}
