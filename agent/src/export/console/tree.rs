//! Spans in the order of their tree, with the lines that show it.

use crate::span::{Span, SpanId};
use std::collections::{HashMap, HashSet};

/// Deeper levels are drawn at this one.
const MAX_DEPTH: usize = 24;

/// A span's place.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) span: &'a Span,
    /// Tree lines before its name.
    pub(super) lines: String,
    /// It names a parent that is not here (or that is below itself).
    pub(super) orphan: bool,
}

/// What is left to visit.
struct Visit {
    index: usize,
    /// Lines before the children of its parent.
    inherited: String,
    depth: usize,
    last: bool,
}

/// One trace's spans, parents before children, siblings by their start. Any graph of parents is walked once.
pub(super) fn rows<'a>(spans: &[&'a Span]) -> Vec<Row<'a>> {
    let mut ordered = spans.to_vec();
    ordered.sort_by_key(|span| (span.start_ns, std::cmp::Reverse(span.end_ns)));
    let here: HashSet<SpanId> = ordered.iter().map(|span| span.span_id).collect();
    let mut children: HashMap<SpanId, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (index, span) in ordered.iter().enumerate() {
        match span.parent_span_id {
            Some(parent) if here.contains(&parent) && parent != span.span_id => {
                children.entry(parent).or_default().push(index);
            }
            _ => roots.push(index),
        }
    }
    let mut walk = Walk { ordered: &ordered, children, seen: vec![false; ordered.len()], rows: Vec::new() };
    // What no root reaches is a circle: it is entered at its first span.
    roots.into_iter().chain(0..ordered.len()).for_each(|root| walk.descend(root));
    walk.rows
}

struct Walk<'s, 'a> {
    ordered: &'s [&'a Span],
    children: HashMap<SpanId, Vec<usize>>,
    seen: Vec<bool>,
    rows: Vec<Row<'a>>,
}

impl Walk<'_, '_> {
    /// Without recursion: traces can be deeper than a stack.
    fn descend(&mut self, root: usize) {
        let mut stack = vec![Visit { index: root, inherited: String::new(), depth: 0, last: true }];
        while let Some(visit) = stack.pop() {
            let (Some(span), Some(seen)) = (self.ordered.get(visit.index), self.seen.get_mut(visit.index))
            else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            let orphan = visit.depth == 0 && span.parent_span_id.is_some();
            self.rows.push(Row { span, lines: visit.lines(), orphan });
            let inherited = visit.below();
            let children = self.children.remove(&span.span_id).unwrap_or_default();
            for (place, index) in children.into_iter().rev().enumerate() {
                let (inherited, depth) = (inherited.clone(), visit.depth + 1);
                stack.push(Visit { index, inherited, depth, last: place == 0 });
            }
        }
    }
}

impl Visit {
    fn lines(&self) -> String {
        match (self.depth, self.last) {
            (0, _) => String::new(),
            (_, true) => format!("{}└─ ", self.inherited),
            (_, false) => format!("{}├─ ", self.inherited),
        }
    }

    /// The lines before its children.
    fn below(&self) -> String {
        match (self.depth, self.last) {
            (0, _) => String::new(),
            (MAX_DEPTH.., _) => self.inherited.clone(),
            (_, true) => format!("{}   ", self.inherited),
            (_, false) => format!("{}│  ", self.inherited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::sample::span;

    fn child(id: u64, parent: u64) -> Span {
        Span { parent_span_id: Some(SpanId(parent.to_be_bytes())), start_ns: id, ..span(1, id) }
    }

    fn drawn(spans: &[Span]) -> Vec<String> {
        let spans: Vec<&Span> = spans.iter().collect();
        let mark = |row: &Row<'_>| if row.orphan { "?" } else { "" };
        rows(&spans)
            .iter()
            .map(|row| format!("{}{}{}", row.lines, mark(row), row.span.span_id.0[7]))
            .collect()
    }

    #[test]
    fn lines_show_the_tree() {
        let spans = [child(5, 3), span(1, 1), child(2, 1), child(3, 1), child(4, 2)];
        assert_eq!(drawn(&spans), ["1", "├─ 2", "│  └─ 4", "└─ 3", "   └─ 5"]);
    }

    #[test]
    fn orphans_circles_and_twins_are_each_drawn_once() {
        assert_eq!(drawn(&[span(1, 1), child(3, 77)]), ["1", "?3"]);
        assert_eq!(drawn(&[child(2, 3), child(3, 2)]), ["?2", "└─ 3"]);
        assert_eq!(drawn(&[child(2, 2)]), ["?2"]);
        assert_eq!(drawn(&[span(1, 1), span(1, 1), child(2, 1)]), ["1", "└─ 2", "1"]);
    }

    #[test]
    fn the_deepest_trees_cost_no_stack_and_little_memory() {
        let mut spans: Vec<Span> = (2..50_000).map(|id| child(id, id - 1)).collect();
        spans.push(span(1, 1));
        let refs: Vec<&Span> = spans.iter().collect();
        let rows = rows(&refs);
        assert_eq!(rows.len(), spans.len());
        assert!(rows.iter().all(|row| row.lines.chars().count() <= 3 * (MAX_DEPTH + 1)));
    }
}
