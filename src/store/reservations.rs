//! Dedupe keys of deliveries whose outcome is open: a twin that arrives meanwhile is told so.
//!
//! In proxy mode the first delivery reserves its key, a 2xx of the handler commits it, anything else releases it.
//! Reservations are kept in memory only: after a restart the provider's retry is let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use uuid::Uuid;

/// What a key is that is not in the store yet.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// Its delivery is at the handler.
    Open,
    /// Its delivery was taken by the handler; the writer has not committed the key yet.
    Taken(Uuid),
}

/// The keys, by their digest.
#[derive(Debug, Default)]
pub struct Reservations {
    keys: Mutex<HashMap<[u8; 16], Slot>>,
}

/// What a look at a key found.
#[derive(Debug)]
pub enum Reserved {
    /// The key is the caller's, until this is dropped.
    First(KeyReservation),
    /// Another delivery with this key is at the handler.
    InFlight,
    /// The key belongs to this earlier delivery.
    Duplicate(Uuid),
}

/// A reserved key. Dropped, it is released.
#[derive(Debug)]
pub struct KeyReservation {
    keys: Arc<Reservations>,
    key: [u8; 16],
    taken: bool,
}

impl Reservations {
    /// Reserves a key, if it is free.
    pub fn reserve(self: &Arc<Self>, key: [u8; 16]) -> Reserved {
        let mut keys = lock(&self.keys);
        match keys.get(&key) {
            Some(Slot::Open) => Reserved::InFlight,
            Some(Slot::Taken(id)) => Reserved::Duplicate(*id),
            None => {
                keys.insert(key, Slot::Open);
                Reserved::First(KeyReservation { keys: Arc::clone(self), key, taken: false })
            }
        }
    }

    /// The key can be read from the store from now on, or it was lost with the writer.
    pub fn settled(&self, key: &[u8; 16]) {
        let mut keys = lock(&self.keys);
        if matches!(keys.get(key), Some(Slot::Taken(_))) {
            keys.remove(key);
        }
    }
}

impl KeyReservation {
    /// The reserved key.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    /// The handler has taken the delivery: the key stays until the writer has it.
    pub(super) fn taken(mut self, id: Uuid) {
        lock(&self.keys.keys).insert(self.key, Slot::Taken(id));
        self.taken = true;
    }
}

impl Drop for KeyReservation {
    fn drop(&mut self) {
        if !self.taken {
            lock(&self.keys.keys).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_key_is_free_and_a_taken_one_a_duplicate_until_the_store_has_it() {
        let keys = Arc::new(Reservations::default());
        let Reserved::First(first) = keys.reserve([1; 16]) else { panic!("the key is free") };
        assert!(matches!(keys.reserve([1; 16]), Reserved::InFlight));
        assert!(matches!(keys.reserve([2; 16]), Reserved::First(_)));
        drop(first);
        let Reserved::First(second) = keys.reserve([1; 16]) else { panic!("the key was released") };
        second.taken(Uuid::max());
        assert!(matches!(keys.reserve([1; 16]), Reserved::Duplicate(id) if id == Uuid::max()));
        keys.settled(&[1; 16]);
        assert!(matches!(keys.reserve([1; 16]), Reserved::First(_)));
    }
}
