//! Reads the waterfalls that the agent's console exporter draws.
//!
//! In: the agent's standard output. Out: traces with their pictures.
//!
//! A picture is a head line `Trace ID …`, a line of column titles, a line a span whose cells stand below the titles, and an
//! empty line. A span's parent is the nearest line above it that is indented less.

use crate::trace::{Span, Trace};

/// Characters that draw the tree before a span's name.
const TREE: [char; 7] = ['│', '├', '└', '─', '┬', '◌', ' '];

/// All complete pictures in `text`; what the agent is still writing at the end is left out.
pub fn traces(text: &str) -> Vec<Trace> {
    let finished = text.rfind("\n\n").map_or("", |end| &text[..end]);
    finished.split("\n\n").filter_map(trace).collect()
}

fn trace(text: &str) -> Option<Trace> {
    // What else was written to the output stands before the head line.
    let head = if text.starts_with("Trace ") { 0 } else { text.find("\nTrace ")? + 1 };
    let picture = &text[head..];
    let mut lines = picture.lines();
    let id = lines.next()?.split_whitespace().nth(1)?.to_owned();
    let columns = Columns::new(lines.next()?)?;
    let mut spans: Vec<Span> = Vec::new();
    // The indentation of each span up to here, to find the parents of those below.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        let Some((indent, mut span)) = columns.read(line) else { continue };
        open.retain(|(above, _)| *above < indent);
        span.parent = open.last().map(|(_, index)| *index);
        open.push((indent, spans.len()));
        spans.push(span);
    }
    Some(Trace { id, spans, picture: Some(picture.to_owned()) })
}

/// Where cells begin and end, in characters.
struct Columns {
    label: (usize, usize),
    service: (usize, usize),
    kind: (usize, usize),
    status: (usize, usize),
}

impl Columns {
    fn new(titles: &str) -> Option<Self> {
        let at = |title: &str| titles.find(title).map(|byte| titles[..byte].chars().count());
        let (service, kind, status) = (at("SERVICE")?, at("KIND")?, at("STATUS")?);
        // The status stands right-aligned under its title; the other cells begin with theirs.
        let kind_end = kind + "server".len();
        let status_end = status + "STATUS".len();
        titles.starts_with("SPAN").then_some(Self {
            label: (0, service),
            service: (service, kind),
            kind: (kind, kind_end),
            status: (kind_end, status_end),
        })
    }

    fn read(&self, line: &str) -> Option<(usize, Span)> {
        let cell = |(from, to): (usize, usize)| line.chars().skip(from).take(to - from).collect::<String>();
        let label = cell(self.label);
        let name = label.trim_start_matches(TREE);
        // A span whose parent is missing is marked, and stands at the tree's edge all the same.
        let orphan = label.contains('◌');
        let indent = if orphan { 0 } else { label.chars().count() - name.chars().count() };
        let kind = cell(self.kind).trim().to_owned();
        if kind != "server" && kind != "client" {
            return None;
        }
        let status = cell(self.status).chars().filter(char::is_ascii_digit).collect::<String>();
        let span = Span {
            service: cell(self.service).trim().to_owned(),
            name: name.trim().to_owned(),
            kind,
            status: status.parse().unwrap_or(0),
            parent: None,
            time_us: None,
        };
        Some((indent, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &str = "\
Trace 0af7651916cd43dd8448eb211c80319c  812.3ms · 5 spans · 3 services · no errors · 2026-11-22 17:00:00
SPAN                SERVICE   KIND    STATUS    START  DURATION  0         406.1ms      812.3ms
POST /checkout      frontend  server     200      0ms   812.3ms  ██████████████████████████████
├─ GET              frontend  client     200    1.2ms   120.0ms  ████
│  └─ GET /products product   server     200    1.9ms   119.0ms  ████
└─ POST             frontend  client     200  122.0ms   690.0ms      ██████████████████████████
   └─ POST /orders  order     server   ✗ 500  122.6ms   689.0ms      ██████████████████████████

Trace 1af7651916cd43dd8448eb211c80319c  8";

    #[test]
    fn a_picture_becomes_a_tree() {
        let traces = traces(PICTURE);
        assert_eq!(traces.len(), 1, "the second is not finished");
        let spans = &traces[0].spans;
        let parents: Vec<_> = spans.iter().map(|s| s.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1), Some(0), Some(3)]);
        assert_eq!(spans[4].name, "POST /orders");
        assert_eq!(
            (spans[4].service.as_str(), spans[4].kind.as_str(), spans[4].status),
            ("order", "server", 500)
        );
        assert_eq!(traces[0].id, "0af7651916cd43dd8448eb211c80319c");
        assert!(traces[0].picture.as_ref().is_some_and(|p| p.ends_with('█')));
    }

    #[test]
    fn an_orphan_is_nobodys_child() {
        let orphan = PICTURE.replace("└─ POST             frontend", "◌ POST              frontend");
        let traces = traces(&orphan);
        assert_eq!(traces[0].spans[3].parent, None);
    }

    #[test]
    fn other_text_is_no_trace() {
        assert!(traces("hello\n\nworld\n\n").is_empty());
    }
}
