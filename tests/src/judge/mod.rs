//! Whether what arrived is what happened.
//!
//! In: for each request the spans that it must have made ([`Request`]), by an id that stands in every path, and the
//! spans that arrived. Out: a [`Verdict`], which counts and shows each difference. A missing link and a wrong one are
//! told apart: the second is the worse by far.

pub mod shape;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use crate::span::{Kind, Span};

/// Differences of a kind that are shown; the others are only counted.
const SHOWN: usize = 4;

/// Who a span's parent must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nobody: it is a root.
    Nobody,
    /// The request's span at this place of the list.
    Of(usize),
    /// A span that is not one of ours, named by a header: trace id and span id.
    Remote(Vec<u8>, Vec<u8>),
}

/// A span that must have been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `service.name`.
    pub service: &'static str,
    /// Kind.
    pub kind: Kind,
    /// The request's path.
    pub path: String,
    /// The response's status.
    pub status: u16,
    /// Its parent.
    pub parent: Parent,
}

/// A request and all spans it must have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The spans; parents stand before their children.
    pub expected: Vec<Expected>,
}

/// How far what arrived is what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Requests.
    pub requests: usize,
    /// Requests all of whose spans are there once, with the right parents and statuses.
    pub complete: usize,
    /// Links that are as they must be.
    pub right: usize,
    /// Spans that have no parent and should have one.
    pub unlinked: usize,
    /// Spans that have another parent than they should, or another trace than their parent's.
    pub wrong: usize,
    /// Spans whose parent is none that arrived: not wrong perhaps, but no trace.
    pub dangling: usize,
    /// Spans that did not arrive.
    pub missing: usize,
    /// Spans that nothing explains, second ones of the same included.
    pub extra: usize,
    /// Spans with another status than the response's, or an error status that does not follow from it.
    pub misstated: usize,
    /// Pairs of a SERVER span and its parent, a CLIENT span.
    pub pairs: usize,
    /// Pairs in which the SERVER lies within the CLIENT.
    pub inside: usize,
    /// Some of the differences.
    pub shown: Vec<String>,
}

/// The SERVER may seem to begin before its CLIENT, or to end after it, by so many nanoseconds.
pub const TOLERANCE: u64 = 1_000_000;

impl Verdict {
    /// Everything is as it must be.
    pub fn is_perfect(&self) -> bool {
        self.complete == self.requests
            && self.wrong + self.dangling + self.extra + self.missing + self.unlinked == 0
    }

    /// The share of pairs in which the SERVER lies within its CLIENT, from 0 to 1.
    pub fn inside_share(&self) -> f64 {
        if self.pairs == 0 { 1.0 } else { self.inside as f64 / self.pairs as f64 }
    }

    fn show(&mut self, kind: &str, line: impl FnOnce() -> String) {
        if self.shown.iter().filter(|shown| shown.starts_with(kind)).count() < SHOWN {
            self.shown.push(format!("{kind}: {}", line()));
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, complete, right, unlinked, wrong, dangling, missing, extra, misstated, .. } =
            self;
        write!(
            f,
            "{complete} of {requests} complete; links: {right} right, {unlinked} unlinked, {dangling} dangling, {wrong} WRONG; \
             spans: {missing} missing, {extra} extra, {misstated} misstated; {:.2} % of {} pairs nested",
            self.inside_share() * 100.0,
            self.pairs
        )?;
        self.shown.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

type Key<'a> = (&'a str, Kind, &'a str);

/// Compares.
pub fn judge(requests: &[Request], spans: &[Span]) -> Verdict {
    let mut by_key: HashMap<Key<'_>, Vec<&Span>> = HashMap::new();
    for span in spans {
        by_key.entry((span.service(), span.kind, span.path())).or_default().push(span);
    }
    let mut verdict = Verdict { requests: requests.len(), ..Verdict::default() };
    let ids: HashSet<_> = spans.iter().map(|span| span.id.as_slice()).collect();
    let mut explained = HashSet::new();
    for request in requests {
        let found: Vec<Option<&Span>> = request
            .expected
            .iter()
            .map(|e| by_key.get(&(e.service, e.kind, e.path.as_str())).and_then(|all| all.first().copied()))
            .collect();
        explained.extend(found.iter().flatten().map(|span| std::ptr::from_ref::<Span>(span)));
        let whole = request.expected.iter().zip(&found).fold(true, |whole, (expected, span)| {
            // Each is looked at, whatever became of the others.
            check(&mut verdict, expected, *span, &found, &ids) && whole
        });
        verdict.complete += usize::from(whole);
    }
    for span in spans.iter().filter(|span| !explained.contains(&std::ptr::from_ref::<Span>(span))) {
        verdict.extra += 1;
        verdict.show("extra", || span.line());
    }
    nesting(&mut verdict, spans);
    verdict
}

/// Judges one span; true if all is well with it.
fn check(
    verdict: &mut Verdict,
    expected: &Expected,
    span: Option<&Span>,
    found: &[Option<&Span>],
    ids: &HashSet<&[u8]>,
) -> bool {
    let Some(span) = span else {
        verdict.missing += 1;
        verdict.show("missing", || format!("{expected:?}"));
        return false;
    };
    // What was not seen must not be stated.
    let unseen =
        span.attribute("sockspan.response.unseen") == "true" && span.status().is_none() && !span.error;
    let stated = unseen || (span.status() == Some(expected.status) && span.error == is_error(expected));
    if !stated {
        verdict.misstated += 1;
        verdict.show("misstated", || format!("{} instead of {}", span.line(), expected.status));
    }
    let right = is_child(span, &expected.parent, found);
    if right {
        verdict.right += 1;
    } else if span.is_root() {
        verdict.unlinked += 1;
        verdict.show("unlinked", || span.line());
    } else if !ids.contains(span.parent.as_slice()) {
        verdict.dangling += 1;
        verdict.show("dangling", || span.line());
    } else {
        verdict.wrong += 1;
        verdict.show("WRONG", || span.line());
    }
    stated && right
}

/// Whether the span's parent and trace are the expected ones.
fn is_child(span: &Span, parent: &Parent, found: &[Option<&Span>]) -> bool {
    let child_of = |trace: &[u8], id: &[u8]| span.trace == trace && span.parent == id;
    match parent {
        Parent::Nobody => span.is_root(),
        Parent::Remote(trace, id) => child_of(trace, id),
        Parent::Of(place) => {
            let parent = found.get(*place).copied().flatten();
            parent.is_some_and(|parent| child_of(&parent.trace, &parent.id))
        }
    }
}

/// By the conventions: a server's error begins at 500, a client's at 400.
fn is_error(expected: &Expected) -> bool {
    expected.status >= if expected.kind == Kind::Client { 400 } else { 500 }
}

/// Counts only how SERVER spans lie in their parents.
pub fn nested(spans: &[Span]) -> Verdict {
    let mut verdict = Verdict::default();
    nesting(&mut verdict, spans);
    verdict
}

fn nesting(verdict: &mut Verdict, spans: &[Span]) {
    let clients: HashMap<_, _> =
        spans.iter().filter(|s| s.kind == Kind::Client).map(|s| ((&s.trace, &s.id), s)).collect();
    for server in spans.iter().filter(|s| s.kind == Kind::Server) {
        let Some(client) = clients.get(&(&server.trace, &server.parent)) else { continue };
        verdict.pairs += 1;
        if server.start + TOLERANCE >= client.start && server.end <= client.end + TOLERANCE {
            verdict.inside += 1;
        } else {
            verdict.show("not nested", || format!("{}\n         in {}", server.line(), client.line()));
        }
    }
}
