//! A table whose entries go once nothing can come of them: what is remembered in case that something does.
//!
//! In: values with the time they were put in. Out: the same, while somebody who is asked now and then says that they may
//! still be wanted, and while they are not too many.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher, Hash},
};

use crate::{http::Nanos, table::Quick};

/// How long an entry stays unasked at least, and how often it is asked for from then on.
pub(super) const LOOK: Nanos = 600_000_000;

/// A value that is remembered.
struct Remembered<V> {
    value: V,
    /// When it was put in.
    at: Nanos,
    /// Its turn in the order.
    turn: Nanos,
}

/// A table whose entries go once nothing can come of them, and the longest unasked first when it is full.
pub(super) struct Fading<K, V, S = Quick> {
    table: HashMap<K, Remembered<V>, S>,
    /// Whose turn is next, and since when.
    order: VecDeque<(Nanos, K)>,
    most: usize,
    look: Nanos,
}

impl<K: Copy + Eq + Hash, V, S: BuildHasher + Default> Fading<K, V, S> {
    /// With so many entries at most.
    pub fn new(most: usize) -> Self {
        Self { table: HashMap::default(), order: VecDeque::new(), most, look: LOOK }
    }

    /// The same, asked only after that long, and as often. Of what goes by its age alone, nothing is asked before.
    pub fn patient(self, look: Nanos) -> Self {
        Self { look, ..self }
    }

    /// Puts a value in, in place of an older one of this key.
    pub fn insert(&mut self, key: K, value: V, now: Nanos) {
        self.table.insert(key, Remembered { value, at: now, turn: now });
        self.order.push_back((now, key));
        while self.table.len() > self.most || self.order.len() > 2 * self.most {
            let Some((turn, key)) = self.order.pop_front() else { break };
            // The entry may have been replaced since: then it has a later turn.
            if let Entry::Occupied(entry) = self.table.entry(key)
                && entry.get().turn == turn
            {
                entry.remove();
            }
        }
    }

    /// Takes the value of this key out.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.table.remove(key).map(|entry| entry.value)
    }

    /// The value of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.table.get(key).map(|entry| &entry.value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.table.get_mut(key).map(|entry| &mut entry.value)
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Asks of those whose turn it is whether they stay, given when they were put in.
    pub fn fade(&mut self, now: Nanos, mut stays: impl FnMut(&K, &mut V, Nanos) -> bool) {
        while let Some((turn, key)) =
            self.order.front().copied().filter(|(turn, _)| turn.saturating_add(self.look) <= now)
        {
            self.order.pop_front();
            let Entry::Occupied(mut entry) = self.table.entry(key) else { continue };
            let remembered = entry.get_mut();
            if remembered.turn != turn {
                continue;
            }
            if stays(&key, &mut remembered.value, remembered.at) {
                remembered.turn = now;
                self.order.push_back((now, key));
            } else {
                entry.remove();
            }
        }
        self.shrink();
    }

    /// After a rush, the memory goes back.
    fn shrink(&mut self) {
        const FEW: usize = 4_096;
        if self.table.capacity() > FEW.max(8 * self.table.len()) {
            self.table.shrink_to(2 * self.table.len());
            self.order.shrink_to(2 * self.order.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_stays_and_the_rest_goes() {
        let mut table = Fading::<_, _>::new(10);
        (0..4).for_each(|key| table.insert(key, key % 2 == 0, key));
        table.fade(LOOK - 1, |_, _, _| panic!("nobody's turn"));
        table.fade(LOOK + 1, |_, wanted, _| *wanted);
        assert_eq!(
            (table.get(&0), table.get(&1), table.get(&2), table.get(&3)),
            (Some(&true), None, Some(&true), Some(&false))
        );
        // What stayed is asked again, and knows how old it is.
        table.fade(2 * LOOK + 1, |key, _, at| {
            assert_eq!(*key, at);
            false
        });
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_a_new_value_has_a_new_turn() {
        let mut table = Fading::<_, _>::new(2);
        (0..2).for_each(|key| table.insert(key, key, key));
        table.insert(0, 7, 5);
        table.insert(2, 2, 6);
        assert_eq!((table.get(&0), table.get(&1), table.get(&2)), (Some(&7), None, Some(&2)));
        table.fade(LOOK + 1, |_, _, _| panic!("the old turn is nobody's"));
    }

    #[test]
    fn memory_goes_back_after_a_rush() {
        let mut table = Fading::<_, _>::new(usize::MAX / 4);
        (0..100_000).for_each(|key| table.insert(key, (), 0));
        table.fade(LOOK, |_, (), _| false);
        assert!(table.table.capacity() < 10_000 && table.order.capacity() < 10_000);
    }
}
