//! A queue in the order of time, for what has to wait: events for older ones, exchanges for what is above them.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use crate::http::Nanos;

struct Entry<T> {
    at: Nanos,
    serial: u64,
    value: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// Values by time, the oldest first; those of one moment in the order they came in.
///
/// Nearly all come in the order of their times: those only queue up. What is to go before others takes a heap.
pub struct Timed<T> {
    queue: VecDeque<Entry<T>>,
    heap: BinaryHeap<Reverse<Entry<T>>>,
    serial: u64,
}

impl<T> Default for Timed<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), heap: BinaryHeap::new(), serial: 0 }
    }
}

impl<T> Timed<T> {
    /// Adds a value.
    pub fn push(&mut self, at: Nanos, value: T) {
        self.serial += 1;
        let entry = Entry { at, serial: self.serial, value };
        match self.queue.back() {
            Some(last) if last.at > at => self.heap.push(Reverse(entry)),
            _ => self.queue.push_back(entry),
        }
    }

    /// Takes the values for which `goes` says yes, in no order.
    pub fn extract_if(&mut self, goes: impl Fn(&T) -> bool) -> impl Iterator<Item = T> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.queue.drain(..).partition(|entry| goes(&entry.value));
        self.queue = kept.into();
        let (late, kept): (Vec<_>, Vec<_>) = self.heap.drain().partition(|entry| goes(&entry.0.value));
        self.heap = kept.into();
        gone.into_iter().chain(late.into_iter().map(|entry| entry.0)).map(|entry| entry.value)
    }

    /// Takes the oldest value, if its time is `until` or before.
    pub fn pop_until(&mut self, until: Nanos) -> Option<T> {
        let first = self.queue.front().map(|entry| entry.at);
        let late = self.heap.peek().map(|entry| entry.0.at);
        if first.into_iter().chain(late).min()? <= until { self.pop() } else { None }
    }

    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        let late = match (self.queue.front(), self.heap.peek()) {
            (Some(first), Some(Reverse(late))) => late < first,
            (first, _) => first.is_none(),
        };
        let entry = if late { self.heap.pop().map(|entry| entry.0) } else { self.queue.pop_front() };
        entry.map(|entry| entry.value)
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().chain(self.heap.iter().map(|entry| &entry.0)).map(|entry| &entry.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.queue.len() + self.heap.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_first_and_equals_in_order() {
        let mut queue = Timed::default();
        [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')].into_iter().for_each(|(at, v)| queue.push(at, v));
        assert_eq!(queue.pop_until(2), Some('a'));
        assert_eq!(queue.pop_until(2), Some('b'));
        assert_eq!(queue.pop_until(2), None);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some('c'), Some('d'), None));
    }

    #[test]
    fn late_comers_find_their_place() {
        let mut queue = Timed::default();
        let times = [5, 9, 2, 9, 7, 5, 12, 1, 12];
        times.into_iter().enumerate().for_each(|(n, at)| queue.push(at, (at, n)));
        let gone: Vec<_> = queue.extract_if(|(at, _)| *at == 9).collect();
        assert_eq!((gone.len(), queue.len(), queue.iter().count()), (2, 7, 7));
        let mut expected: Vec<_> =
            times.into_iter().enumerate().map(|(n, at)| (at, n)).filter(|(at, _)| *at != 9).collect();
        expected.sort_unstable();
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(popped, expected);
    }
}
