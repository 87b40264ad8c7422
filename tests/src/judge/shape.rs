//! Traces of the sample application, whose paths carry no ids: judged by their shape.
//!
//! In: spans. Out: how many traces have the five spans of a checkout, how many the three of one whose products failed,
//! and what else there is.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use crate::span::{Kind, Span};

/// Traces by shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes {
    /// Checkouts that went well.
    pub five: usize,
    /// Checkouts whose products failed.
    pub three: usize,
    /// Whatever else arrived, a line for each span.
    pub other: Vec<String>,
}

impl fmt::Display for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { five, three, other } = self;
        write!(f, "{five} checkouts of five spans, {three} of three, {} spans in other traces", other.len())?;
        other.iter().take(12).try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A span as its trace shows it: its kind, service, path, status, error, and the same of its parent.
type Line<'a> = (Kind, &'a str, &'a str, u16, bool, Option<(Kind, &'a str, &'a str)>);

const FRONT: (Kind, &str, &str) = (Kind::Server, "frontend", "/checkout");
const TO_PRODUCT: (Kind, &str, &str) = (Kind::Client, "frontend", "/products");
const TO_ORDER: (Kind, &str, &str) = (Kind::Client, "frontend", "/orders");

const FIVE: [Line<'static>; 5] = [
    (Kind::Server, "frontend", "/checkout", 200, false, None),
    (Kind::Server, "order", "/orders", 200, false, Some(TO_ORDER)),
    (Kind::Server, "product", "/products", 200, false, Some(TO_PRODUCT)),
    (Kind::Client, "frontend", "/orders", 200, false, Some(FRONT)),
    (Kind::Client, "frontend", "/products", 200, false, Some(FRONT)),
];
const THREE: [Line<'static>; 3] = [
    (Kind::Server, "frontend", "/checkout", 500, true, None),
    (Kind::Server, "product", "/products", 500, true, Some(TO_PRODUCT)),
    (Kind::Client, "frontend", "/products", 500, true, Some(FRONT)),
];

/// Sorts traces by their shape.
pub fn shapes(spans: &[Span]) -> Shapes {
    let mut traces: BTreeMap<&[u8], Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(&span.trace).or_default().push(span);
    }
    let mut shapes = Shapes::default();
    for trace in traces.values() {
        match lines(trace) {
            Some(lines) if lines == FIVE => shapes.five += 1,
            Some(lines) if lines == THREE => shapes.three += 1,
            _ => shapes.other.extend(trace.iter().map(|span| span.line())),
        }
    }
    shapes
}

/// The trace's spans in the order of kind, service, path; `None` if a parent is missing or an id occurs twice.
fn lines<'a>(trace: &[&'a Span]) -> Option<Vec<Line<'a>>> {
    let by_id: HashMap<&[u8], &Span> = trace.iter().map(|span| (span.id.as_slice(), *span)).collect();
    if by_id.len() != trace.len() {
        return None;
    }
    let mut lines = Vec::new();
    for span in trace {
        let parent = match span.is_root() {
            true => None,
            false => Some(by_id.get(span.parent.as_slice()).map(|p| (p.kind, p.service(), p.path()))?),
        };
        lines.push((span.kind, span.service(), span.path(), span.status().unwrap_or(0), span.error, parent));
    }
    lines.sort_unstable();
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::tests::span;

    #[test]
    fn a_checkout_is_known_by_its_shape() {
        let five = |t: u8| {
            [
                span("frontend", Kind::Server, "/checkout", 200, [t, 1, 0]),
                span("frontend", Kind::Client, "/products", 200, [t, 2, 1]),
                span("product", Kind::Server, "/products", 200, [t, 3, 2]),
                span("frontend", Kind::Client, "/orders", 200, [t, 4, 1]),
                span("order", Kind::Server, "/orders", 200, [t, 5, 4]),
            ]
        };
        let three = [
            span("frontend", Kind::Server, "/checkout", 500, [9, 1, 0]),
            span("frontend", Kind::Client, "/products", 500, [9, 2, 1]),
            span("product", Kind::Server, "/products", 500, [9, 3, 2]),
        ];
        let all: Vec<Span> = five(1).into_iter().chain(five(2)).chain(three).collect();
        assert_eq!(shapes(&all), Shapes { five: 2, three: 1, other: Vec::new() });
        let mut crossed = five(1);
        crossed[4].parent = crossed[1].id.clone();
        assert_eq!(shapes(&crossed).other.len(), 5);
        assert_eq!(shapes(&five(1)[..4]).other.len(), 4);
    }
}
