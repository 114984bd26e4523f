//! Copies of a route's deliveries for `hooklatch listen`: in memory, and only while a client listens.
//!
//! What is stored of a queued delivery may go as soon as its handler has taken it, with `record: none` altogether, and a long
//! body is recorded in part. Those who listen fetch each delivery a moment later, and find it here. There are at most [`MOST`] copies of a route, with at most
//! [`MOST_BYTES`] of heads and bodies; the oldest go first. Without a listener, a delivery costs one relaxed load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::lock::lock;

/// The most copies of a route.
pub const MOST: usize = 1_000;
/// The most bytes of a route's copies.
pub const MOST_BYTES: usize = 16 << 20;

/// The copies of one route. They outlive a reload.
#[derive(Debug, Default)]
pub struct Copies {
    listeners: AtomicUsize,
    kept: Mutex<Kept>,
}

/// A delivery without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryCopy {
    /// Its id.
    pub id: Uuid,
    /// The route's scheme when it came.
    pub scheme: Arc<str>,
    /// The provider's name for the kind of event, if it is known still.
    pub event_type: Option<SmolStr>,
    /// Its details, encoded as a database has them.
    pub details: Bytes,
    /// Its head, as the store keeps it.
    pub head: Bytes,
    /// Its whole body.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Kept {
    copies: VecDeque<DeliveryCopy>,
    bytes: usize,
}

/// A listener, until it is dropped. With the last one the copies go.
#[derive(Debug)]
pub struct Listening(Arc<Copies>);

impl Copies {
    /// From now on copies are kept.
    pub fn listen(self: &Arc<Self>) -> Listening {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listening(self.clone())
    }

    /// Whether there is a listener.
    pub fn are_wanted(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// Keeps a copy, unless there is one of the same delivery.
    pub fn keep(&self, copy: DeliveryCopy) {
        let mut kept = lock(&self.kept);
        // The last one who listened may have gone.
        if !self.are_wanted() || kept.copies.iter().any(|other| other.id == copy.id) {
            return;
        }
        kept.bytes += copy.len();
        kept.copies.push_back(copy);
        while kept.copies.len() > MOST || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.copies.pop_front() else { return };
            kept.bytes -= oldest.len();
        }
    }

    /// Forgets a delivery.
    pub fn forget(&self, id: Uuid) {
        let kept = &mut *lock(&self.kept);
        kept.copies.retain(|copy| copy.id != id);
        kept.bytes = kept.copies.iter().map(DeliveryCopy::len).sum();
    }

    /// The copies of what came after a delivery.
    pub fn after(&self, id: Uuid) -> Vec<DeliveryCopy> {
        lock(&self.kept).copies.iter().filter(|copy| copy.id > id).cloned().collect()
    }

    /// The copy of a delivery.
    pub fn get(&self, id: Uuid) -> Option<DeliveryCopy> {
        lock(&self.kept).copies.iter().find(|copy| copy.id == id).cloned()
    }
}

impl DeliveryCopy {
    fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.details.len()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut kept = lock(&self.0.kept);
        if self.0.listeners.fetch_sub(1, Ordering::Relaxed) == 1 {
            *kept = Kept::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(id: u128, length: usize) -> DeliveryCopy {
        DeliveryCopy {
            id: Uuid::from_u128(id),
            scheme: Arc::from("stripe"),
            event_type: None,
            details: Bytes::new(),
            head: Bytes::from_static(b"h"),
            body: vec![0; length].into(),
        }
    }

    #[test]
    fn copies_are_kept_while_somebody_listens() {
        let copies = Arc::new(Copies::default());
        copies.keep(copy(1, 1));
        assert!(!copies.are_wanted() && copies.get(Uuid::from_u128(1)).is_none());
        let (one, other) = (copies.listen(), copies.listen());
        copies.keep(copy(2, 1));
        copies.keep(copy(2, 9));
        drop(one);
        copies.keep(copy(3, 1));
        copies.forget(Uuid::from_u128(3));
        assert!(copies.get(Uuid::from_u128(3)).is_none());
        assert_eq!(copies.get(Uuid::from_u128(2)), Some(copy(2, 1)), "the first one of a delivery");
        drop(other);
        assert!(!copies.are_wanted() && copies.get(Uuid::from_u128(2)).is_none());
        let _again = copies.listen();
        assert!(copies.get(Uuid::from_u128(2)).is_none());
    }

    #[test]
    fn the_oldest_make_room() {
        let copies = Arc::new(Copies::default());
        let _listening = copies.listen();
        let has = |id: usize| copies.get(Uuid::from_u128(id as u128)).is_some();
        for id in 0..=MOST {
            copies.keep(copy(id as u128, 1));
        }
        assert!(!has(0) && has(1) && has(MOST));
        let after: Vec<Uuid> = copies.after(Uuid::from_u128(MOST as u128 - 2)).iter().map(|copy| copy.id).collect();
        assert_eq!(after, [MOST as u128 - 1, MOST as u128].map(Uuid::from_u128));
        copies.keep(copy(u128::MAX, MOST_BYTES - 3));
        assert!(!has(MOST - 1) && has(MOST) && copies.get(Uuid::from_u128(u128::MAX)).is_some());
        copies.keep(copy(u128::MAX - 1, MOST_BYTES));
        let kept = lock(&copies.kept);
        assert_eq!((kept.copies.len(), kept.bytes), (0, 0), "one that is too large itself");
    }
}
