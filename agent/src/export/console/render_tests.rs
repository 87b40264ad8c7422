//! Traces as waterfalls, compared as text.

use super::*;
use crate::{
    export::tests::sample::{resource, span},
    span::{Attribute, SpanId},
};

const MS: u64 = 1_000_000;
const START: u64 = 1_795_366_991_123 * MS;

/// A span of trace 1: id, parent (0: none), service, kind, name, start and end in tenths of a ms, status code.
fn s(
    id: u64,
    parent: u64,
    service: &str,
    kind: SpanKind,
    name: &str,
    (from, to): (u64, u64),
    code: i64,
) -> Span {
    Span {
        parent_span_id: (parent > 0).then(|| SpanId(parent.to_be_bytes())),
        kind,
        name: name.to_owned().into(),
        start_ns: START + from * MS / 10,
        end_ns: START + to * MS / 10,
        status: if code >= 500 { Status::Error } else { Status::Unset },
        attributes: vec![Attribute::int("http.response.status_code", code)],
        resource: resource(service),
        ..span(1, id)
    }
}

fn checkout() -> Vec<Span> {
    use SpanKind::{Client, Server};
    vec![
        s(1, 0, "frontend", Server, "POST /checkout", (0, 1782), 201),
        s(2, 1, "frontend", Client, "GET", (12, 531), 200),
        s(3, 2, "product", Server, "GET /products", (19, 522), 200),
        s(4, 1, "frontend", Client, "POST", (550, 1769), 500),
        s(5, 4, "order", Server, "POST /orders", (556, 1762), 500),
    ]
}

fn assert_fits(text: &str, width: usize) {
    text.lines().for_each(|line| assert!(columns(line) <= width, "{} > {width}: {line}", columns(line)));
}

#[test]
fn evidence_stands_with_the_kind() {
    let mut spans = checkout();
    spans[1].attributes.push(Attribute::str(EVIDENCE, "task"));
    let text = render(&spans, 110, false);
    assert!(text.contains("client (task)") && text.contains("server "), "{text}");
    assert_fits(&text, 110);
}

#[test]
fn a_checkout() {
    let text = render(&checkout(), 110, false);
    assert_eq!(text, include_str!("snapshots/checkout.txt"));
    assert_fits(&text, 110);
}

#[test]
fn a_checkout_in_colour_has_the_same_text() {
    let coloured = render(&checkout(), 110, true);
    assert_eq!(coloured.lines().count(), 8);
    let mut plain = String::new();
    let mut escaped = false;
    for c in coloured.chars() {
        match (escaped, c) {
            (false, '\x1b') => escaped = true,
            (true, 'm') => escaped = false,
            (false, c) => plain.push(c),
            _ => {}
        }
    }
    let trimmed: String = plain.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(trimmed, render(&checkout(), 110, false));
}

#[test]
fn orphans_roots_long_names_and_other_scripts() {
    use SpanKind::{Client, Server};
    let mut lost = s(9, 77, "order", Server, "POST /orders", (30, 40), 200);
    lost.attributes = vec![Attribute::str("error.type", "connection_reset")];
    lost.status = Status::Error;
    let spans = [
        s(
            1,
            0,
            "shop",
            Server,
            "GET /a/very/long/route/that/nobody/would/read/to/its/end/:id",
            (0, 100),
            200,
        ),
        s(2, 1, "shop", Client, "GET", (10, 20), 404),
        s(3, 0, "倉庫サービス", Server, "GET /商品/:id", (50, 60), 200),
        s(4, 3, "倉庫サービス", Client, "PUT\x1b[2J", (51, 52), 200),
        lost,
    ];
    let text = render(&spans, 100, false);
    assert_eq!(text, include_str!("snapshots/odd.txt"));
    assert_fits(&text, 100);
}

#[test]
fn every_width_is_kept() {
    let mut deep: Vec<Span> = (2..200)
        .map(|id| s(id, id - 1, "a-service-with-a-long-name", SpanKind::Server, "GET", (id, 400), 200))
        .collect();
    deep.push(s(1, 0, "frontend", SpanKind::Server, "GET /", (0, 400), 503));
    for width in 60..160 {
        assert_fits(&render(&checkout(), width, false), width);
        assert_fits(&render(&deep, width, false), width);
    }
    let narrow = render(&checkout(), 60, false);
    let deepest = render(&deep, 80, false).lines().nth(150).unwrap_or_default().to_owned();
    assert!(deepest.starts_with("⋯           └─ GET  a-service"), "the name stays: {deepest}");
    assert_eq!(narrow, include_str!("snapshots/narrow.txt"));
}

#[test]
fn traces_are_drawn_apart_and_nothing_is_nothing() {
    assert_eq!(render(&[], 80, false), "");
    let two = render(&[span(1, 1), span(2, 1), span(1, 2)], 80, true);
    assert_eq!(two.matches("Trace ").count(), 2);
}
