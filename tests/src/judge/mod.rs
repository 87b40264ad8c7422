//! Whether what arrived is what happened.
//!
//! In: for each request the spans that it must have made ([`Request`]), by an id that stands in every path, and the
//! spans that arrived. Out: a [`Verdict`], which counts and shows each difference. A missing link and a wrong one are
//! told apart: the second is the worse by far.

mod nesting;
pub mod shape;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

pub use self::nesting::{Nesting, TOLERANCE, nested};

use crate::span::{Kind, Span};

/// Differences of a kind that are shown; the others are only counted.
const SHOWN: usize = 4;

/// Who a span's parent must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nobody: it is a root.
    Nobody,
    /// Nobody, or any SERVER of the same service: what was asked on behalf of several belongs to none more than to others.
    Any,
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
    /// The response's status; 0 if none came.
    pub status: u16,
    /// Its parent.
    pub parent: Parent,
}

/// How much is asked of a request's spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// All, and it counts as a request.
    Counted,
    /// All, but it is no request of the load: a job's, or one made for several.
    Beside,
    /// Those that arrived must be right; it may have happened before the agent came, or after it went.
    Optional,
}

/// A request and all spans it must have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The spans; parents stand before their children.
    pub expected: Vec<Expected>,
    /// How much is asked of them.
    pub weight: Weight,
}

impl Request {
    /// One of the load, that must have made these spans.
    pub fn of(expected: Vec<Expected>) -> Self {
        Self { expected, weight: Weight::Counted }
    }
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
    /// Of those, to what is above the parent, which did not arrive.
    pub adopted: usize,
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
    /// How SERVER spans lie within their CLIENTs.
    pub nesting: Nesting,
    /// Some of the differences.
    pub shown: Vec<String>,
}

impl Verdict {
    /// Everything is as it must be.
    pub fn is_perfect(&self) -> bool {
        self.complete == self.requests
            && self.wrong + self.dangling + self.extra + self.missing + self.unlinked == 0
    }

    /// The share of pairs in which the SERVER lies within its CLIENT, from 0 to 1.
    pub fn inside_share(&self) -> f64 {
        self.nesting.inside_share()
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.complete += other.complete;
        self.right += other.right;
        self.adopted += other.adopted;
        self.unlinked += other.unlinked;
        self.wrong += other.wrong;
        self.dangling += other.dangling;
        self.missing += other.missing;
        self.extra += other.extra;
        self.misstated += other.misstated;
        self.nesting.add(other.nesting);
        self.shown.extend(other.shown);
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
        let adopted = match self.adopted {
            0 => String::new(),
            some => format!(" ({some} to what is above a missing one)"),
        };
        write!(
            f,
            "{complete} of {requests} complete; links: {right} right{adopted}, {unlinked} unlinked, {dangling} dangling, {wrong} WRONG; \
             spans: {missing} missing, {extra} extra, {misstated} misstated; {:.2} % of {} pairs nested",
            self.inside_share() * 100.0,
            self.nesting.pairs
        )?;
        self.shown.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

type Key<'a> = (&'a str, Kind, &'a str);

/// What arrived, to look things up.
struct Arrived<'a> {
    by_key: HashMap<Key<'a>, Vec<&'a Span>>,
    by_id: HashMap<&'a [u8], &'a Span>,
}

impl<'a> Arrived<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut by_key: HashMap<Key<'_>, Vec<&Span>> = HashMap::new();
        for span in spans {
            by_key.entry((span.service(), span.kind, span.path())).or_default().push(span);
        }
        Self { by_key, by_id: spans.iter().map(|span| (span.id.as_slice(), span)).collect() }
    }

    /// The first that came of what is expected.
    fn find(&self, expected: &Expected) -> Option<&'a Span> {
        self.by_key.get(&(expected.service, expected.kind, expected.path.as_str()))?.first().copied()
    }
}

/// Compares.
pub fn judge(requests: &[Request], spans: &[Span]) -> Verdict {
    let (mut verdicts, rest) = judge_groups(&[requests], spans);
    let mut verdict = verdicts.pop().unwrap_or_default();
    verdict.add(rest);
    verdict
}

/// Compares several groups of requests with all that they made together: a verdict for each, and one of what belongs to
/// none.
pub fn judge_groups(groups: &[&[Request]], spans: &[Span]) -> (Vec<Verdict>, Verdict) {
    let arrived = Arrived::new(spans);
    let mut verdicts = vec![Verdict::default(); groups.len()];
    let mut rest = Verdict::default();
    let mut explained: HashSet<*const Span> = HashSet::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (place, (group, verdict)) in groups.iter().zip(&mut verdicts).enumerate() {
        for request in *group {
            let found: Vec<_> = request.expected.iter().map(|expected| arrived.find(expected)).collect();
            explained.extend(found.iter().flatten().map(|span| std::ptr::from_ref::<Span>(span)));
            group_of.extend(request.expected.iter().map(|expected| (expected.path.as_str(), place)));
            verdict.request(request, &found, &arrived);
        }
    }
    let clients = nesting::clients(spans);
    for span in spans {
        let verdict =
            group_of.get(span.path()).and_then(|place| verdicts.get_mut(*place)).unwrap_or(&mut rest);
        if !explained.contains(&std::ptr::from_ref::<Span>(span)) {
            verdict.extra += 1;
            verdict.show("extra", || span.line());
        }
        nesting::look(verdict, span, &clients);
    }
    (verdicts, rest)
}

impl Verdict {
    /// Judges one request by the spans of it that were found.
    fn request(&mut self, request: &Request, found: &[Option<&Span>], arrived: &Arrived<'_>) {
        let counted = request.weight == Weight::Counted;
        self.requests += usize::from(counted);
        let whole = request.expected.iter().zip(found).fold(true, |whole, (expected, span)| {
            // Each is looked at, whatever became of the others.
            match span {
                Some(span) => self.span(expected, span, &request.expected, found, arrived) && whole,
                None if request.weight == Weight::Optional => whole,
                None => {
                    self.missing += 1;
                    self.show("missing", || format!("{expected:?}"));
                    false
                }
            }
        });
        self.complete += usize::from(counted && whole);
    }

    /// Judges one span; true if all is well with it.
    fn span(
        &mut self,
        expected: &Expected,
        span: &Span,
        all: &[Expected],
        found: &[Option<&Span>],
        arrived: &Arrived<'_>,
    ) -> bool {
        // What was not seen must not be stated.
        let unseen =
            span.attribute("sockspan.response.unseen") == "true" && span.status().is_none() && !span.error;
        let stated = unseen || (span.status() == answer(expected) && span.error == is_error(expected));
        if !stated {
            self.misstated += 1;
            self.show("misstated", || format!("{} instead of {}", span.line(), expected.status));
        }
        let right = is_child(span, &expected.parent, all, found, arrived);
        if right {
            self.right += 1;
            self.adopted += usize::from(is_adopted(&expected.parent, found));
        } else if span.is_root() {
            self.unlinked += 1;
            self.show("unlinked", || span.line());
        } else if !arrived.by_id.contains_key(span.parent.as_slice()) {
            self.dangling += 1;
            self.show("dangling", || span.line());
        } else {
            self.wrong += 1;
            self.show("WRONG", || span.line());
        }
        stated && right
    }
}

/// Whether the span's parent and trace are the expected ones.
fn is_child(
    span: &Span,
    parent: &Parent,
    all: &[Expected],
    found: &[Option<&Span>],
    arrived: &Arrived<'_>,
) -> bool {
    let child_of = |trace: &[u8], id: &[u8]| span.trace == trace && span.parent == id;
    match parent {
        Parent::Nobody => span.is_root(),
        Parent::Any => {
            let above = arrived.by_id.get(span.parent.as_slice());
            let fits = |above: &&Span| {
                above.kind == Kind::Server && above.service() == span.service() && above.trace == span.trace
            };
            span.is_root() || above.is_some_and(fits)
        }
        Parent::Remote(trace, id) => child_of(trace, id),
        Parent::Of(place) => {
            nearest(*place, all, found).is_some_and(|parent| child_of(&parent.trace, &parent.id))
        }
    }
}

/// Whether the parent itself did not arrive.
fn is_adopted(parent: &Parent, found: &[Option<&Span>]) -> bool {
    matches!(parent, Parent::Of(place) if found.get(*place).is_some_and(Option::is_none))
}

/// The span at that place, or, where it is missing, the nearest above it: what is lost leaves what is below it to what is
/// above.
fn nearest<'a>(mut place: usize, all: &[Expected], found: &[Option<&'a Span>]) -> Option<&'a Span> {
    loop {
        if let Some(span) = found.get(place).copied().flatten() {
            return Some(span);
        }
        match all.get(place)?.parent {
            Parent::Of(above) if above < place => place = above,
            _ => return None,
        }
    }
}

/// The status that a span must state.
fn answer(expected: &Expected) -> Option<u16> {
    (expected.status != 0).then_some(expected.status)
}

/// By the conventions: a server's error begins at 500, a client's at 400; and no answer is one.
fn is_error(expected: &Expected) -> bool {
    expected.status == 0 || expected.status >= if expected.kind == Kind::Client { 400 } else { 500 }
}
