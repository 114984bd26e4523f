//! Parts of responses that have been handed to HTTP/2 and that their senders have not taken.
//!
//! HTTP/2 holds such a part until it has been written, or until its stream or its connection has ended. The sender decides when
//! that is, by its windows (RFC 9113 section 5.2), and it needs no signature. So the parts of all connections together have a
//! bound. While it is reached, a connection hands out one part at a time. A connection with a part that has waited for too long
//! is ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use bytes::Bytes;

use crate::lock::lock;

/// What a part takes beside its bytes, about.
const OVERHEAD: u64 = 1024;
/// Intervals that a part may wait while the bound is reached.
const AT_THE_BOUND: u32 = 2;

/// The bytes that wait, over all connections and threads. Clones share the account.
#[derive(Clone, Debug, Default)]
pub struct UntakenBytes(Arc<Account>);

#[derive(Debug, Default)]
struct Account {
    held: AtomicU64,
    limit: AtomicU64,
}

impl UntakenBytes {
    /// Sets the bound to `bytes`.
    pub fn limit_to(&self, bytes: u64) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    fn is_at_the_limit(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) >= self.0.limit.load(Ordering::Relaxed)
    }
}

/// The parts of one connection that wait.
pub struct Untaken {
    all: UntakenBytes,
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
    /// Woken when a part does not wait any more.
    wakers: Vec<Waker>,
}

/// A part that waits.
struct Part {
    bytes: Bytes,
    number: u64,
    all: UntakenBytes,
    parts: Arc<Mutex<Parts>>,
}

impl Untaken {
    /// A connection of which nothing waits yet.
    pub fn new(all: UntakenBytes) -> Self {
        Self { all, parts: Arc::default() }
    }

    /// Whether a part may be handed out now. If not, the task is woken when another part of the connection has been taken.
    pub fn has_room(&self, cx: &Context<'_>) -> bool {
        let mut parts = lock(&self.parts);
        let has_room = parts.waiting.is_empty() || !self.all.is_at_the_limit();
        if !has_room && !parts.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            parts.wakers.push(cx.waker().clone());
        }
        has_room
    }

    /// The part in a form that tells when HTTP/2 has let go of it.
    pub fn hand_out(&self, bytes: Bytes) -> Bytes {
        let mut parts = lock(&self.parts);
        self.all.0.held.fetch_add(weight(&bytes), Ordering::Relaxed);
        let (number, looks) = (parts.next, parts.looks);
        parts.next += 1;
        parts.waiting.insert(number, looks);
        Bytes::from_owner(Part { bytes, number, all: self.all.clone(), parts: self.parts.clone() })
    }

    /// Called at intervals. Returns whether a part has waited for more than `patience` intervals, or for more than
    /// [`AT_THE_BOUND`] of them while the bound is reached.
    pub fn look(&self, patience: u32) -> bool {
        let mut parts = lock(&self.parts);
        parts.looks = parts.looks.wrapping_add(1);
        let is_at_the_limit = self.all.is_at_the_limit();
        // There may be room again, by what has been taken on other connections.
        let wakers = if is_at_the_limit { Vec::new() } else { std::mem::take(&mut parts.wakers) };
        let patience = if is_at_the_limit { AT_THE_BOUND.min(patience) } else { patience };
        let oldest = parts.waiting.first_key_value();
        let is_stalled = oldest.is_some_and(|(_, since)| parts.looks.wrapping_sub(*since) > patience);
        drop(parts);
        wakers.into_iter().for_each(Waker::wake);
        is_stalled
    }

    /// How many parts wait, and how many do not any more.
    pub fn count(&self) -> (usize, u64) {
        let parts = lock(&self.parts);
        let waiting = parts.waiting.len();
        (waiting, parts.next - waiting as u64)
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.all.0.held.fetch_sub(weight(&self.bytes), Ordering::Relaxed);
        let wakers = {
            let mut parts = lock(&self.parts);
            parts.waiting.remove(&self.number);
            std::mem::take(&mut parts.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn weight(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    const PART: Bytes = Bytes::from_static(b"part");

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn limited_to(bytes: u64) -> UntakenBytes {
        let all = UntakenBytes::default();
        all.limit_to(bytes);
        all
    }

    #[test]
    fn a_part_that_is_not_taken_is_noticed_and_one_that_is_taken_is_forgotten() {
        let untaken = Untaken::new(limited_to(u64::MAX));
        let first = untaken.hand_out(PART);
        assert_eq!(first, PART);
        assert!(!untaken.look(2) && !untaken.look(2));
        // A later part does not make the first one younger; a copy of it keeps it.
        let (later, copy) = (untaken.hand_out(PART), first.clone());
        drop(first);
        assert!(untaken.look(2));
        assert_eq!(untaken.count(), (2, 0));
        drop(copy);
        assert!(!untaken.look(2) && untaken.look(1));
        drop(later);
        assert!(!untaken.look(0));
        assert_eq!(untaken.count(), (0, 2));
    }

    #[test]
    fn at_the_bound_each_connection_has_one_part_at_a_time_and_less_patience() {
        let all = limited_to(2 * (OVERHEAD + 4));
        let (one, two) = (Untaken::new(all.clone()), Untaken::new(all.clone()));
        let woken = Arc::<Woken>::default();
        let waker = woken.clone().into();
        let cx = Context::from_waker(&waker);
        let first = one.hand_out(PART);
        assert!(one.has_room(&cx), "the bound is not reached");
        let second = one.hand_out(PART);
        assert!(!one.has_room(&cx) && !one.has_room(&cx));
        assert!(two.has_room(&cx), "it has no part that waits");
        let other = two.hand_out(PART);
        assert!(!two.has_room(&cx));
        assert!(!one.look(8) && !one.look(8) && one.look(8));
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "once, and not for the other connection");
        assert!(!one.has_room(&cx));
        drop(other);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "the other one's waker");
        assert!(one.has_room(&cx) && two.has_room(&cx));
        assert!(!one.look(8), "the bound is not reached any more");
        assert_eq!(woken.0.load(Ordering::Relaxed), 3, "by the look: others have made room");
        drop(second);
        assert_eq!(all.0.held.load(Ordering::Relaxed), 0);
    }
}
