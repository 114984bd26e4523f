//! A map for keys that come about in their order, and leave about in that order.
//!
//! It is a list. What comes goes to its end, and what leaves is mostly at its front: neither costs a walk down a tree. A key
//! in the middle is found by bisection; to put one there, or to take it away, moves what is on the shorter side of it.

use std::collections::VecDeque;
use std::ops::Range;

/// Values in the order of their keys.
#[derive(Debug)]
pub struct Sorted<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Copy + Ord, V> Sorted<K, V> {
    /// An empty one with room for this many.
    pub fn with_room(many: usize) -> Self {
        Self(VecDeque::with_capacity(many))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a key.
    pub fn get(&self, key: K) -> Option<&V> {
        self.0.get(self.place(key).ok()?).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Whether a key is there.
    pub fn has(&self, key: K) -> bool {
        self.place(key).is_ok()
    }

    /// Adds a value; one that is there stays as it is, and the answer is `false`.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        if self.0.back().is_none_or(|(last, _)| *last < key) {
            self.0.push_back((key, value));
            return true;
        }
        let place = self.place(key);
        if let Err(place) = place {
            self.0.insert(place, (key, value));
        }
        place.is_err()
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let place = self.place(key).ok()?;
        let gone = if place == 0 { self.0.pop_front() } else { self.0.remove(place) };
        gone.map(|(_, value)| value)
    }

    /// Takes out the value of the lowest key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.0.pop_front()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// Those whose keys are in a range, in order.
    pub fn range(&self, keys: Range<K>) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let end = self.0.partition_point(|(key, _)| *key < keys.end);
        let start = self.0.partition_point(|(key, _)| *key < keys.start).min(end);
        self.0.range(start..end).map(|(key, value)| (*key, value))
    }

    /// Where a key is, or where it would come.
    fn place(&self, key: K) -> Result<usize, usize> {
        match self.0.front() {
            Some((first, _)) if *first == key => Ok(0),
            _ => self.0.binary_search_by(|(other, _)| other.cmp(&key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec((any::<bool>(), 0_u8..40, 0_u8..40), 0..200)) {
            let (mut sorted, mut map) = (Sorted::default(), BTreeMap::new());
            for (comes, key, other) in steps {
                if comes {
                    prop_assert_eq!(sorted.insert(key, other), !map.contains_key(&key));
                    map.entry(key).or_insert(other);
                } else {
                    prop_assert_eq!(sorted.remove(key), map.remove(&key));
                }
                if let Some(value) = sorted.get_mut(other) {
                    *value += 1;
                }
                map.entry(other).and_modify(|value| *value += 1);
                if key == other {
                    prop_assert_eq!(sorted.pop_first(), map.pop_first());
                    sorted.iter_mut().chain(map.iter_mut().map(|(key, value)| (*key, value))).for_each(|(_, value)| *value ^= 1);
                }
                prop_assert_eq!(sorted.is_empty(), map.is_empty());
                prop_assert_eq!((sorted.len(), sorted.has(key), sorted.get(key)), (map.len(), map.contains_key(&key), map.get(&key)));
                prop_assert!(sorted.iter().eq(map.iter().map(|(key, value)| (*key, value))));
                let (least, below) = (key.min(other), key.max(other));
                prop_assert!(sorted.range(least..below).rev().eq(map.range(least..below).rev().map(|(key, value)| (*key, value))));
            }
            prop_assert_eq!(sorted.range(Range { start: 5, end: 2 }).count(), 0);
        }
    }
}
