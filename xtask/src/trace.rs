//! The judge: traces of the sample application as trees, and which of them are complete and right.
//!
//! In: spans with their parents, from the console's waterfalls or from Jaeger. Out: what a trace tells of, if it is one of
//! the trees that the application can produce; nothing else counts as complete.

use crate::load::{Answers, Route};

/// A span, as much of it as the judge needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// `service.name`.
    pub service: String,
    /// The span's name; its first word is the request's method.
    pub name: String,
    /// `server` or `client`.
    pub kind: String,
    /// The response's status code; 0 where none was seen.
    pub status: u16,
    /// The index of its parent in the trace.
    pub parent: Option<usize>,
    /// Start and duration in microseconds, where the source tells them; the start on any clock.
    pub time_us: Option<(u64, u64)>,
}

/// All spans of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The trace id in hexadecimal.
    pub id: String,
    /// Its spans, in the order the source gave them.
    pub spans: Vec<Span>,
    /// The waterfall as the agent drew it, where it did.
    pub picture: Option<String>,
}

/// What a complete trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Story {
    /// What the customer asked.
    pub route: Route,
    /// What the customer was answered.
    pub status: u16,
}

impl Trace {
    /// The story of a complete trace: exactly the spans that happened, each below its right parent.
    pub fn story(&self) -> Option<Story> {
        let root = self.only_child(None)?;
        let root_span = self.spans.get(root)?;
        let calls = self.children(Some(root));
        let status = root_span.status;
        if !is(root_span, "frontend", "server") {
            return None;
        }
        match (root_span.method(), status, calls.as_slice()) {
            ("GET", 200 | 500, [asked]) if self.call(*asked, "GET", "product") == Some(status) => {
                Some((Route::Products, 3))
            }
            ("POST", 500, [asked]) if self.call(*asked, "GET", "product") == Some(500) => {
                Some((Route::Checkout, 3))
            }
            ("POST", 200, [one, other]) => self.checkout(*one, *other).then_some((Route::Checkout, 5)),
            _ => None,
        }
        .filter(|(_, spans)| self.spans.len() == *spans)
        .map(|(route, _)| Story { route, status })
    }

    /// Both calls of a checkout that went well, in whatever order the source names them.
    fn checkout(&self, one: usize, other: usize) -> bool {
        let right = |product, order| {
            self.call(product, "GET", "product") == Some(200)
                && self.call(order, "POST", "order") == Some(200)
        };
        right(one, other) || right(other, one)
    }

    /// The status of the call `client`, if its one child is the server of `service` and both agree.
    fn call(&self, client: usize, method: &str, service: &str) -> Option<u16> {
        let server = self.spans.get(self.only_child(Some(client))?)?;
        let client = self.spans.get(client)?;
        let right = is(client, "frontend", "client")
            && is(server, service, "server")
            && client.method() == method
            && server.method() == method
            && client.status == server.status;
        right.then_some(client.status)
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        self.spans.iter().enumerate().filter(|(_, s)| s.parent == parent).map(|(index, _)| index).collect()
    }

    fn only_child(&self, parent: Option<usize>) -> Option<usize> {
        match self.children(parent).as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// The trace as an indented list, for sources without a picture.
    pub fn list(&self) -> String {
        let start = self.spans.iter().filter_map(|s| s.time_us).map(|(start, _)| start).min().unwrap_or(0);
        let mut lines = vec![format!("Trace {}", self.id)];
        self.list_below(None, 0, start, &mut lines);
        lines.join("\n")
    }

    fn list_below(&self, parent: Option<usize>, depth: usize, trace_start: u64, lines: &mut Vec<String>) {
        let mut children = self.children(parent);
        children.sort_by_key(|index| self.spans[*index].time_us);
        for index in children {
            let span = &self.spans[index];
            let label = format!("{:indent$}{}", "", span.name, indent = depth * 2);
            let (start, duration) = span.time_us.unwrap_or((trace_start, 0));
            let ms = |us: u64| us as f64 / 1000.0;
            lines.push(format!(
                "{label:<28} {:<10} {:<6} {:>3} {:>9.1} ms {:>9.1} ms",
                span.service,
                span.kind,
                span.status,
                ms(start.saturating_sub(trace_start)),
                ms(duration)
            ));
            self.list_below(Some(index), depth + 1, trace_start, lines);
        }
    }
}

impl Span {
    fn method(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }
}

fn is(span: &Span, service: &str, kind: &str) -> bool {
    span.service == service && span.kind == kind
}

/// How many requests have their complete trace: by route and status no more than were answered so.
pub fn complete(traces: &[Trace], answers: &Answers) -> u64 {
    let stories: Vec<_> = traces.iter().filter_map(Trace::story).collect();
    let of = |route, status| {
        let told = stories.iter().filter(|story| **story == Story { route, status }).count() as u64;
        told.min(answers.count(|r, s| (r, s) == (route, status)))
    };
    [Route::Products, Route::Checkout].iter().map(|route| of(*route, 200) + of(*route, 500)).sum()
}

/// The trace to show: a checkout that went well, else any complete one.
pub fn best(traces: &[Trace]) -> Option<&Trace> {
    let checkout = Story { route: Route::Checkout, status: 200 };
    let shown = traces.iter().find(|trace| trace.story() == Some(checkout));
    shown.or_else(|| traces.iter().find(|trace| trace.story().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(service: &str, kind: &str, name: &str, status: u16, parent: Option<usize>) -> Span {
        let (service, kind, name) = (service.into(), kind.into(), name.into());
        Span { service, name, kind, status, parent, time_us: None }
    }

    fn checkout() -> Trace {
        let spans = vec![
            span("frontend", "server", "POST /checkout", 200, None),
            span("frontend", "client", "GET", 200, Some(0)),
            span("product", "server", "GET /products", 200, Some(1)),
            span("frontend", "client", "POST", 200, Some(0)),
            span("order", "server", "POST /orders", 200, Some(3)),
        ];
        Trace { spans, ..Trace::default() }
    }

    #[test]
    fn a_checkout_is_five_spans_each_below_its_parent() {
        let right = checkout();
        assert_eq!(right.story(), Some(Story { route: Route::Checkout, status: 200 }));
        assert!(right.list().contains("\n    POST /orders"));
        let mut wrong = checkout();
        wrong.spans[2].parent = Some(3);
        wrong.spans[4].parent = Some(1);
        assert_eq!(wrong.story(), None, "crossed parents");
        let mut short = checkout();
        short.spans.pop();
        assert_eq!(short.story(), None, "order's span is missing");
        let mut two = checkout();
        two.spans.push(span("frontend", "client", "GET", 200, None));
        assert_eq!(two.story(), None, "a second root");
    }

    #[test]
    fn a_failure_is_three_spans_with_its_status() {
        let mut failed = checkout();
        failed.spans.truncate(3);
        failed.spans.iter_mut().for_each(|s| s.status = 500);
        assert_eq!(failed.story(), Some(Story { route: Route::Checkout, status: 500 }));
        failed.spans[2].status = 200;
        assert_eq!(failed.story(), None, "client and server disagree");
    }
}
