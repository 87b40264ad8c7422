//! How SERVER spans lie in time within the CLIENT spans that they hang under.
//!
//! In: spans. Out: counts of pairs inside and outside, and the farthest that one reaches out.

use std::collections::HashMap;

use super::Verdict;
use crate::span::{Kind, Span};

/// The SERVER may seem to begin before its CLIENT, or to end after it, by so many nanoseconds.
pub const TOLERANCE: u64 = 1_000_000;

/// Pairs of a SERVER span and its parent, a CLIENT span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nesting {
    /// All of them.
    pub pairs: usize,
    /// Those in which the SERVER lies within the CLIENT, by [`TOLERANCE`].
    pub inside: usize,
    /// Those in which it reaches out, be it by a nanosecond.
    pub outside: usize,
    /// The farthest that one reaches out, in nanoseconds.
    pub farthest: u64,
}

impl Nesting {
    /// The share of pairs in which the SERVER lies within its CLIENT, from 0 to 1.
    pub fn inside_share(&self) -> f64 {
        if self.pairs == 0 { 1.0 } else { self.inside as f64 / self.pairs as f64 }
    }

    /// Adds another's pairs.
    pub fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.inside += other.inside;
        self.outside += other.outside;
        self.farthest = self.farthest.max(other.farthest);
    }
}

/// CLIENT spans by trace and id.
pub(super) type Clients<'a> = HashMap<(&'a [u8], &'a [u8]), &'a Span>;

/// The CLIENTs among `spans`.
pub(super) fn clients(spans: &[Span]) -> Clients<'_> {
    let clients = spans.iter().filter(|span| span.kind == Kind::Client);
    clients.map(|span| ((span.trace.as_slice(), span.id.as_slice()), span)).collect()
}

/// Counts how `server` lies in its parent, if it is a SERVER and that a CLIENT.
pub(super) fn look(verdict: &mut Verdict, server: &Span, clients: &Clients<'_>) {
    let above = clients.get(&(server.trace.as_slice(), server.parent.as_slice()));
    let Some(client) = above.filter(|_| server.kind == Kind::Server) else { return };
    let early = client.start.saturating_sub(server.start);
    let late = server.end.saturating_sub(client.end);
    let out = early.max(late);
    let nesting = &mut verdict.nesting;
    nesting.pairs += 1;
    nesting.outside += usize::from(out > 0);
    nesting.farthest = nesting.farthest.max(out);
    if out <= TOLERANCE {
        nesting.inside += 1;
    } else {
        verdict.show("not nested", || format!("{}\n         in {}", server.line(), client.line()));
    }
}

/// Counts only how SERVER spans lie in their parents.
pub fn nested(spans: &[Span]) -> Verdict {
    let mut verdict = Verdict::default();
    let clients = clients(spans);
    spans.iter().for_each(|span| look(&mut verdict, span, &clients));
    verdict
}
