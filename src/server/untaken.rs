//! Parts of responses that have been handed to HTTP/2 and that their senders have not taken.
//!
//! HTTP/2 holds such a part until it has been written, or until its stream or its connection has ended. The sender decides when
//! that is, by its windows (RFC 9113 section 5.2), and it needs no signature. So the parts of all connections together have a
//! bound. While it is reached, a connection may have one part that waits. A connection with a part that has waited for too long
//! is ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::lock::lock;

/// What a part takes beside its bytes, about.
const OVERHEAD: u64 = 1024;

/// The bytes that wait, over all connections and threads. Clones share the account.
#[derive(Clone, Debug, Default)]
pub struct UntakenBytes(Arc<AtomicU64>);

/// The parts of one connection that wait.
pub struct Untaken {
    all: UntakenBytes,
    /// How many bytes may wait, over all connections.
    limit: u64,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Default)]
struct Parts {
    /// How often [`Untaken::look`] was called.
    looks: u32,
    /// The number of the next part.
    next: u64,
    /// By number, so that the oldest comes first: the value of `looks` when it was handed out.
    waiting: BTreeMap<u64, u32>,
}

/// A part that waits.
struct Part {
    bytes: Bytes,
    number: u64,
    all: UntakenBytes,
    parts: Arc<Mutex<Parts>>,
}

impl Untaken {
    /// A connection of which nothing waits yet. `limit` is the bound of `all`, in bytes.
    pub fn new(all: UntakenBytes, limit: u64) -> Self {
        Self { all, limit, parts: Arc::default() }
    }

    /// The part in a form that tells when HTTP/2 has let go of it; `None` if there is no room.
    pub fn hand_out(&self, bytes: Bytes) -> Option<Bytes> {
        let mut parts = lock(&self.parts);
        let weight = weight(&bytes);
        if self.all.0.fetch_add(weight, Ordering::Relaxed) + weight > self.limit && !parts.waiting.is_empty() {
            self.all.0.fetch_sub(weight, Ordering::Relaxed);
            return None;
        }
        let (number, looks) = (parts.next, parts.looks);
        parts.next += 1;
        parts.waiting.insert(number, looks);
        Some(Bytes::from_owner(Part { bytes, number, all: self.all.clone(), parts: self.parts.clone() }))
    }

    /// Called at intervals. Whether a part has waited for more than `patience` of them, or for more than one of them while the
    /// bound is reached.
    pub fn look(&self, patience: u32) -> bool {
        let mut parts = lock(&self.parts);
        parts.looks = parts.looks.wrapping_add(1);
        let patience = if self.all.0.load(Ordering::Relaxed) > self.limit { 1 } else { patience };
        let oldest = parts.waiting.first_key_value();
        oldest.is_some_and(|(_, since)| parts.looks.wrapping_sub(*since) > patience)
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        lock(&self.parts).waiting.remove(&self.number);
        self.all.0.fetch_sub(weight(&self.bytes), Ordering::Relaxed);
    }
}

fn weight(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Bytes = Bytes::from_static(b"part");

    #[test]
    fn a_part_that_is_not_taken_is_noticed_and_one_that_is_taken_is_forgotten() {
        let untaken = Untaken::new(UntakenBytes::default(), u64::MAX);
        let first = untaken.hand_out(PART).unwrap();
        assert_eq!(first, PART);
        assert!(!untaken.look(2) && !untaken.look(2));
        // A later part does not make the first one younger; a copy of it keeps it.
        let (later, copy) = (untaken.hand_out(PART).unwrap(), first.clone());
        drop(first);
        assert!(untaken.look(2));
        drop(copy);
        assert!(!untaken.look(2) && untaken.look(1));
        drop(later);
        assert!(!untaken.look(0));
    }

    #[test]
    fn over_the_bound_each_connection_has_one_part_and_less_time() {
        let all = UntakenBytes::default();
        let connection = || Untaken::new(all.clone(), 2 * (OVERHEAD + 4));
        let (one, two) = (connection(), connection());
        let [first, second] = [(); 2].map(|()| one.hand_out(PART).unwrap());
        assert!(one.hand_out(PART).is_none());
        let other = two.hand_out(PART).unwrap();
        assert!(two.hand_out(PART).is_none());
        assert!(!one.look(8) && one.look(8));
        drop((first, other));
        assert!(two.hand_out(PART).is_some());
        assert!(!one.look(8), "the bound is not reached any more");
        drop(second);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
