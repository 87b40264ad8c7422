//! Spans that wait for what a pod's status will tell of their process.
//!
//! A container is running before the API says which it is. In: what has settled, and which processes are not known in
//! full. Out: what can be told now: it waits for at most [`PATIENCE`], and in bounded number.

use std::collections::{HashSet, VecDeque};

use crate::{exchange::Settled, http::Nanos};

/// The longest that a span waits for its resource.
const PATIENCE: Nanos = 5_000_000_000;
/// The most that wait; the oldest go then as they are.
const MOST: usize = 2_048;

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    expected: HashSet<u32>,
    /// By when each has waited enough, the oldest first.
    held: VecDeque<(Nanos, Settled)>,
    given_up: bool,
}

impl Waiting {
    /// Whether more is to be said of a process.
    pub fn expect(&mut self, tgid: u32, more: bool) {
        if more {
            self.expected.insert(tgid);
        } else {
            self.expected.remove(&tgid);
        }
    }

    /// Whether more is expected of a process.
    pub fn expects(&self, tgid: u32) -> bool {
        self.expected.contains(&tgid)
    }

    /// Nothing waits any more.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    /// What can be told at `now`, of what waited and of what has `settled` since.
    pub fn sort(&mut self, settled: Vec<Settled>, now: Nanos) -> Vec<Settled> {
        // The common case: nobody is waited for.
        if self.held.is_empty() && self.expected.is_empty() {
            return settled;
        }
        let due = now.saturating_add(PATIENCE);
        self.held.extend(settled.into_iter().map(|one| (due, one)));
        let mut over = self.held.len().saturating_sub(MOST);
        let (expected, given_up) = (&self.expected, self.given_up);
        let (mut told, mut kept) = (Vec::new(), VecDeque::new());
        for (due, one) in self.held.drain(..) {
            let waits = due > now && !given_up && expected.contains(&one.exchange.identity.tgid);
            if waits && over == 0 {
                kept.push_back((due, one));
            } else {
                over -= usize::from(waits);
                told.push(one);
            }
        }
        self.held = kept;
        told
    }
}
