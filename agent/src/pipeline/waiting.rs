//! Spans that wait for what a pod's status will tell of their process.
//!
//! A container is running before the API says which it is. In: what has settled, and which processes are not known in
//! full. Out: what can be told now: it waits for at most [`PATIENCE`], and in bounded number.

use std::collections::{HashSet, VecDeque};

use crate::http::Nanos;

/// The longest that a span waits for its resource.
const PATIENCE: Nanos = 5_000_000_000;
/// The most that wait; the oldest go then as they are.
const MOST: usize = 2_048;

/// What waits.
pub(super) struct Waiting<T> {
    expected: HashSet<u32>,
    /// By when each has waited enough, the oldest first.
    held: VecDeque<(Nanos, T)>,
    given_up: bool,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { expected: HashSet::new(), held: VecDeque::new(), given_up: false }
    }
}

impl<T> Waiting<T> {
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

    /// What can be told at `now`, of what waited and of what has `settled` since; `process` says whose each is.
    pub fn sort(&mut self, settled: Vec<T>, now: Nanos, process: impl Fn(&T) -> u32) -> Vec<T> {
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
            let waits = due > now && !given_up && expected.contains(&process(&one));
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

#[cfg(test)]
mod tests {
    use super::*;

    type Span = (u32, &'static str);

    fn sort(waiting: &mut Waiting<Span>, settled: &[Span], now: Nanos) -> Vec<&'static str> {
        waiting.sort(settled.to_vec(), now, |(tgid, _)| *tgid).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn spans_wait_for_their_own_process_alone() {
        let mut waiting = Waiting::default();
        assert_eq!(sort(&mut waiting, &[(7, "before")], 1), ["before"]);
        waiting.expect(7, true);
        assert_eq!(sort(&mut waiting, &[(7, "a"), (8, "other")], 2), ["other"]);
        waiting.expect(9, false);
        assert_eq!(sort(&mut waiting, &[(7, "b")], 3), [""; 0]);
        waiting.expect(7, false);
        assert_eq!(sort(&mut waiting, &[(7, "c")], 4), ["a", "b", "c"]);
    }

    #[test]
    fn none_waits_for_longer_than_it_may_nor_do_too_many() {
        let mut waiting = Waiting::default();
        waiting.expect(7, true);
        assert_eq!(sort(&mut waiting, &[(7, "a")], 10), [""; 0]);
        assert_eq!(sort(&mut waiting, &[(7, "b")], 9 + PATIENCE), [""; 0]);
        assert_eq!(sort(&mut waiting, &[], 10 + PATIENCE), ["a"]);
        assert!(waiting.expects(7));
        let many = vec![(7, "c"); MOST];
        assert_eq!(sort(&mut waiting, &many, 11 + PATIENCE), ["b"]);
        waiting.give_up();
        assert_eq!(sort(&mut waiting, &[], 12 + PATIENCE).len(), MOST);
    }
}
