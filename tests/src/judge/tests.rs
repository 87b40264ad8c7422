//! The judge on made-up traffic of which everything is known.

use super::*;
use crate::{shop, span::tests::span};

/// Five spans of trace `t` (1 to 9), their ids `t` times ten and 1 to 5.
fn checkout(t: u8, id: &str) -> Vec<Span> {
    let of = |service, kind, route: &str, n: u8, parent: u8| {
        let parent = if parent == 0 { 0 } else { 10 * t + parent };
        span(service, kind, &format!("/{route}/{id}"), 200, [t, 10 * t + n, parent])
    };
    vec![
        of("frontend", Kind::Server, "checkout", 1, 0),
        of("frontend", Kind::Client, "products", 2, 1),
        of("product", Kind::Server, "products", 3, 2),
        of("frontend", Kind::Client, "orders", 4, 1),
        of("order", Kind::Server, "orders", 5, 4),
    ]
}

fn two() -> Vec<Span> {
    checkout(1, "a").into_iter().chain(checkout(2, "b")).collect()
}

fn verdict(spans: &[Span]) -> Verdict {
    judge(&[shop::checkout("a", 200), shop::checkout("b", 200)], spans)
}

#[test]
fn what_happened_is_perfect() {
    let verdict = verdict(&two());
    assert!(verdict.is_perfect(), "{verdict}");
    assert_eq!(
        (verdict.complete, verdict.right, verdict.nesting.pairs, verdict.nesting.inside),
        (2, 10, 4, 4)
    );
}

#[test]
fn each_fault_is_told_apart() {
    type Fault = fn(&mut Vec<Span>);
    let faults: [(Fault, [usize; 6]); 8] = [
        (|s| s[1].parent.clear(), [1, 0, 0, 0, 0, 0]),
        (|s| s[1].parent = vec![14; 8], [0, 1, 0, 0, 0, 0]),
        (|s| s[2].trace = vec![2; 16], [0, 1, 0, 0, 0, 0]),
        (|s| s[0].parent = vec![7; 8], [0, 0, 1, 0, 0, 0]),
        (|s| drop(s.remove(4)), [0, 0, 0, 1, 0, 0]),
        (|s| s.push(s[4].clone()), [0, 0, 0, 0, 1, 0]),
        (|s| s.push(span("order", Kind::Server, "/orders/zzz", 200, [1, 99, 14])), [0, 0, 0, 0, 1, 0]),
        (|s| s[3].error = true, [0, 0, 0, 0, 0, 1]),
    ];
    for (number, (fault, expected)) in faults.into_iter().enumerate() {
        let mut spans = two();
        fault(&mut spans);
        let v = verdict(&spans);
        let found = [v.unlinked, v.wrong, v.dangling, v.missing, v.extra, v.misstated];
        assert_eq!(found, expected, "fault {number}: {v}");
        // A span too many spoils the whole, and no request of its own.
        assert_eq!(v.complete, if v.extra > 0 { 2 } else { 1 }, "fault {number}: {v}");
        assert!(!v.is_perfect() || v.misstated > 0, "fault {number}: {v}");
    }
}

#[test]
fn a_missing_parent_is_no_excuse_for_another() {
    let mut spans = two();
    spans.remove(1);
    let v = verdict(&spans);
    assert_eq!((v.missing, v.dangling, v.wrong), (1, 1, 0), "{v}");
    spans[1].parent = spans[2].id.clone();
    let v = verdict(&spans);
    assert_eq!((v.missing, v.dangling, v.wrong), (1, 0, 1), "{v}");
    // What is above the missing one is above it, too.
    spans[1].parent = spans[0].id.clone();
    let v = verdict(&spans);
    assert_eq!((v.missing, v.dangling, v.wrong, v.complete, v.adopted), (1, 0, 0, 1, 1), "{v}");
}

#[test]
fn remote_parents_and_failed_products() {
    let context = (vec![5; 16], vec![0xcd; 8]);
    let mut spans = checkout(5, "a");
    spans.truncate(3);
    spans[0].parent = context.1.clone();
    for span in &mut spans {
        span.attributes.insert("http.response.status_code".into(), "500".into());
        span.error = true;
    }
    let verdict = judge(&[shop::checkout("a", 500).under(&context)], &spans);
    assert!(verdict.is_perfect(), "{verdict}");
}

#[test]
fn a_server_outside_of_its_client_is_seen() {
    let mut spans = two();
    spans[2].start = 0;
    spans[1].start = TOLERANCE + 1;
    let nesting = verdict(&spans).nesting;
    assert_eq!((nesting.inside, nesting.outside, nesting.farthest), (3, 1, TOLERANCE + 1));
}

#[test]
fn groups_are_judged_apart() {
    let (a, b) = (vec![shop::checkout("a", 200)], vec![shop::checkout("b", 200)]);
    let mut spans = two();
    // A link to another group's span is wrong, not dangling.
    spans[1].parent = spans[5].id.clone();
    spans.push(spans[9].clone());
    spans.push(span("order", Kind::Server, "/orders/zzz", 200, [1, 99, 14]));
    let (verdicts, rest) = judge_groups(&[&a, &b], &spans);
    assert_eq!((verdicts[0].wrong, verdicts[0].complete, verdicts[0].extra), (1, 0, 0));
    assert_eq!((verdicts[1].wrong, verdicts[1].complete, verdicts[1].extra), (0, 1, 1));
    assert_eq!((rest.requests, rest.extra), (0, 1));
}

#[test]
fn what_several_wait_for_may_hang_under_any_or_none() {
    let lookup = |weight| Request {
        weight,
        expected: vec![Expected {
            service: "frontend",
            kind: Kind::Client,
            path: "/shared".to_owned(),
            status: 200,
            parent: Parent::Any,
        }],
    };
    let verdict = |parent, weight| {
        let mut spans = checkout(1, "a");
        spans.push(span("frontend", Kind::Client, "/shared", 200, [1, 99, parent]));
        judge(&[shop::checkout("a", 200), lookup(weight)], &spans)
    };
    for parent in [0, 11] {
        let verdict = verdict(parent, Weight::Beside);
        assert!(verdict.is_perfect() && verdict.requests == 1, "{verdict}");
    }
    assert_eq!(verdict(12, Weight::Beside).wrong, 1, "a CLIENT is nobody's parent here");
    assert_eq!(verdict(13, Weight::Optional).wrong, 1, "nor is another service's SERVER");
    let missing = |weight| judge(&[shop::checkout("a", 200), lookup(weight)], &checkout(1, "a")).missing;
    assert_eq!((missing(Weight::Beside), missing(Weight::Optional)), (1, 0));
}

#[test]
fn a_request_without_an_answer_has_no_status_and_is_an_error() {
    let asked = Expected {
        service: "frontend",
        kind: Kind::Server,
        path: "/slow".to_owned(),
        status: 0,
        parent: Parent::Nobody,
    };
    let mut served = span("frontend", Kind::Server, "/slow", 200, [1, 1, 0]);
    let misstated =
        |served: &Span| judge(&[Request::of(vec![asked.clone()])], std::slice::from_ref(served)).misstated;
    assert_eq!(misstated(&served), 1);
    served.attributes.remove("http.response.status_code");
    assert_eq!(misstated(&served), 1);
    served.error = true;
    assert_eq!(misstated(&served), 0);
}
