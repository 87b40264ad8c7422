//! A table whose entries go after a time: what is remembered in case that something comes of it.
//!
//! In: values with the time they were put in. Out: the same, while they are young and not too many.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
};

use crate::http::Nanos;

/// A table whose entries go after a time, and the oldest first when it is full.
pub(super) struct Fading<K, V> {
    table: HashMap<K, (V, Nanos)>,
    order: VecDeque<(Nanos, K)>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Fading<K, V> {
    /// With so many entries at most.
    pub fn new(most: usize) -> Self {
        Self { table: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Puts a value in, in place of an older one of this key.
    pub fn insert(&mut self, key: K, value: V, now: Nanos) {
        self.table.insert(key, (value, now));
        self.order.push_back((now, key));
        while self.table.len() > self.most || self.order.len() > 2 * self.most {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((at, key)) = self.order.pop_front() else { return };
        // The entry may have been replaced since: then it has a later turn.
        if let Entry::Occupied(entry) = self.table.entry(key)
            && entry.get().1 == at
        {
            entry.remove();
        }
    }

    /// Takes the value of this key out.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.table.remove(key).map(|(value, _)| value)
    }

    /// The value of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.table.get(key).map(|(value, _)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.table.get_mut(key).map(|(value, _)| value)
    }

    /// Forgets what was put in before.
    pub fn fade(&mut self, before: Nanos) {
        while self.order.front().is_some_and(|(at, _)| *at < before) {
            self.pop();
        }
    }
}
