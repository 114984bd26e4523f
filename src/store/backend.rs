//! What a store behind [`Store`](super::Store) can do: SQLite, memory, or a database that several gateways share.
//!
//! One [`Backend`] writes, on the writer's thread: a batch comes in, is applied in one transaction, and is durable when
//! [`Backend::commit`] returns. [`Reader`]s read what is committed, each on a thread of its own, and never hold back the
//! writer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::attempt::{Attempt, AttemptOutcome, Claimed, Notice, Ticket};
use super::circuits::{Circuits, KnownCircuits};
use super::list::{Filter, Page};
use super::record::Record;
use super::removed::Removed;
use super::types::{
    Change, Changed, Counts, DedupeKey, Delivery, Keep, Millis, RouteState, Shown, Sizes, StoreError, Stored,
};

/// One write of a batch.
#[derive(Clone, Debug)]
pub enum Write {
    /// A delivery to queue, at this many destinations; refused as a duplicate if its key is known.
    Accept {
        /// The delivery.
        delivery: Box<Delivery>,
        /// Its dedupe key.
        key: Option<DedupeKey>,
        /// How many destinations it goes to.
        destinations: u16,
        /// Its tickets are claimed by the caller.
        claim: bool,
    },
    /// A record of a delivery that does not wait. Shared, so that a store in memory keeps it without a copy.
    Record(Arc<Record>),
    /// A dedupe key that is known from now on, of this delivery.
    Key(Uuid, DedupeKey),
    /// The outcome of an attempt.
    Complete(Box<AttemptOutcome>),
    /// Claimed deliveries that are given back without an attempt: they are due. A store that is not shared hears only of those
    /// that were stored with `claim`.
    Release(Vec<Ticket>),
    /// A change that a person or the configuration asks for.
    Change(Change),
}

/// What others who share the store have done.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Something is due of these routes.
    Due(Vec<Arc<str>>),
    /// Deliveries are new or have changed.
    News(Vec<Notice>),
    /// What is known of all circuits now.
    Circuits(KnownCircuits),
}

/// What a store that others share needs of this process.
#[derive(Clone)]
pub struct Others {
    /// Hears of what others have done.
    pub tell: Arc<dyn Fn(Heard) + Send + Sync>,
    /// Whether this gateway has followers of what is committed.
    pub is_followed: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Has [`Backend::maintain`] called soon.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// How it is to share the store.
#[derive(Debug, Default)]
pub struct Sharing {
    /// A commit waits for a standby of the database.
    pub is_replicated: AtomicBool,
    /// Outcomes of attempts that were dropped because their claims had ended.
    pub late_outcomes: AtomicU64,
    /// The circuits of upstreams.
    pub circuits: Circuits,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

/// What came of one write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A delivery was stored; its ticket is that of the first destination.
    Stored(Ticket),
    /// The key belongs to this delivery.
    Duplicate(Uuid),
    /// Written.
    Done,
    /// What came of a change.
    Changed(Changed),
}

/// The writing side.
pub trait Backend: Send {
    /// A reader of what is committed.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;

    /// Applies the writes in order, all or none, and makes them durable. In a store that is not shared, `claimed` hears of
    /// each claimed ticket before a reader can see it. [`StoreError::Full`] leaves everything as it was. After
    /// [`StoreError::Unreachable`] it is not known whether the batch was written: outcomes are handed in again. Any other
    /// error is final.
    fn commit(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError>;

    /// A small step of what has to be done now and then: retention, giving space back, checkpoints. Says whether more is
    /// left to do at once.
    fn maintain(&mut self, now: Millis) -> Result<bool, StoreError>;

    /// How long records are kept, from the next [`Backend::maintain`] on.
    fn keep(&mut self, keep: Keep);

    /// How much room is taken and left.
    fn sizes(&self) -> Result<Sizes, StoreError>;

    /// What is known of the routes; the backend keeps it up to date.
    fn book(&self) -> Arc<Mutex<Book>>;

    /// How many dedupe keys have been dropped for want of room.
    fn evicted(&self) -> u64 {
        0
    }

    /// Others may share the store: from now on `others` hears of what they do. `None` if they cannot.
    fn join(&mut self, _others: Others) -> Option<Arc<Sharing>> {
        None
    }

    /// Puts everything in its place before the end.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// The reading side. Each call sees everything that was committed before it began.
pub trait Reader: Send {
    /// Deliveries of a route that are due at a destination, oldest due time first, but those in `claimed`. In a store that others
    /// share they are claimed by this: no other gateway is given them until their outcome is committed or they are released.
    fn due(&mut self, query: &Due<'_>) -> Result<Vec<Claimed>, StoreError>;

    /// The first due time after `now` among a route's deliveries at a destination.
    fn next_due(&mut self, route: &str, destination: u16, now: Millis) -> Result<Option<Millis>, StoreError>;

    /// Which delivery a dedupe key belongs to.
    fn key(&mut self, key: &[u8; 16], now: Millis) -> Result<Option<Uuid>, StoreError>;

    /// A page of deliveries, newest first.
    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Page, StoreError>;

    /// A delivery with head and details, without its body, and its attempts.
    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError>;

    /// The body that is kept of a delivery.
    fn body(&mut self, id: Uuid) -> Result<Option<Bytes>, StoreError>;

    /// The row of a delivery, as its tickets have it.
    fn row(&mut self, id: Uuid) -> Result<Option<i64>, StoreError>;

    /// Whether a gateway that shares the store attempts a delivery.
    fn is_claimed(&mut self, _id: Uuid) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Deliveries as lists show them; those that are not kept any more are left out.
    fn summaries(&mut self, of: &[Uuid]) -> Result<Vec<Stored>, StoreError>;

    /// When the oldest waiting delivery of a route was received.
    fn oldest(&mut self, route: &str) -> Result<Option<Millis>, StoreError>;
}

/// What is known of the routes without a read.
#[derive(Debug, Default)]
pub struct Book {
    /// How many deliveries each route has in each state; held ones are counted as pending and retrying.
    pub counts: Counts,
    /// Every route that was ever paused, held or stored for.
    pub routes: BTreeMap<Arc<str>, RouteState>,
    /// What has made room.
    pub removed: Removed,
}

impl Book {
    /// Makes the changes of a commit, and leaves none.
    pub fn apply(&mut self, tally: &mut Tally) {
        for (route, shown, delta) in tally.counts.drain(..) {
            self.add(&route, shown, delta);
        }
        for id in tally.removed.drain(..) {
            self.removed.add(id);
        }
    }

    /// Adds to a number; nothing is kept of a zero. A route that is new is noted.
    pub fn add(&mut self, route: &Arc<str>, shown: Shown, delta: i64) {
        match self.counts.entry((Arc::clone(route), shown)) {
            Entry::Vacant(place) if delta > 0 => {
                place.insert(delta.unsigned_abs());
                if !self.routes.contains_key(route) {
                    self.routes.insert(Arc::clone(route), RouteState::default());
                }
            }
            Entry::Vacant(_) => {}
            Entry::Occupied(mut count) => {
                *count.get_mut() = count.get().saturating_add_signed(delta);
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

/// What a commit changes of a [`Book`], summed up: of what comes and goes in equal numbers nothing is left to do.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Vec<(Arc<str>, Shown, i64)>,
    removed: Vec<Uuid>,
}

impl Tally {
    /// So many more deliveries of a route have this state.
    pub fn count(&mut self, route: &Arc<str>, shown: Shown, delta: i64) {
        let same = |(other, state, _): &&mut (Arc<str>, Shown, i64)| {
            *state == shown && (Arc::ptr_eq(other, route) || other == route)
        };
        match self.counts.iter_mut().find(same) {
            Some((.., sum)) => *sum += delta,
            None => self.counts.push((Arc::clone(route), shown, delta)),
        }
    }

    /// A delivery is not kept any more.
    pub fn removed(&mut self, id: Uuid) {
        self.removed.push(id);
    }
}

/// Which deliveries are asked for by [`Reader::due`].
#[derive(Debug)]
pub struct Due<'a> {
    /// The route's name.
    pub route: &'a str,
    /// Which of its destinations.
    pub destination: u16,
    /// Due at this time or earlier.
    pub now: Millis,
    /// At most this many.
    pub limit: usize,
    /// At most about this many bytes of bodies, but at least one delivery.
    pub max_bytes: usize,
    /// What is being attempted already.
    pub claimed: &'a HashSet<Ticket>,
}
