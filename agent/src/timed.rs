//! A queue in the order of time, for what has to wait: events for older ones, exchanges for what is above them.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
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
pub struct Timed<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    serial: u64,
}

impl<T> Default for Timed<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), serial: 0 }
    }
}

impl<T> Timed<T> {
    /// Adds a value.
    pub fn push(&mut self, at: Nanos, value: T) {
        self.serial += 1;
        self.heap.push(Reverse(Entry { at, serial: self.serial, value }));
    }

    /// Takes the values for which `goes` says yes, in no order.
    pub fn extract_if(&mut self, goes: impl Fn(&T) -> bool) -> impl Iterator<Item = T> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.heap.drain().partition(|entry| goes(&entry.0.value));
        self.heap = kept.into();
        gone.into_iter().map(|entry| entry.0.value)
    }

    /// Takes the oldest value, if its time is `until` or before.
    pub fn pop_until(&mut self, until: Nanos) -> Option<T> {
        if self.heap.peek().is_some_and(|entry| entry.0.at <= until) { self.pop() } else { None }
    }

    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|entry| entry.0.value)
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter().map(|entry| &entry.0.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
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
}
