//! Keeps deliveries: the queue and the records, in one SQLite database, in a PostgreSQL database that several gateways
//! share, or in memory.
//!
//! [`Store`] is what the rest of the gateway uses. A delivery to queue is handed in by [`Store::accept`], which answers
//! once it is committed and synced; a record by [`Store::record`], which never waits. [`Store::claim`] hands out what is
//! due, [`Store::complete`] takes what came of it. What is being attempted is known in memory only: after a kill it is
//! due again.
//!
//! Behind it, one thread writes ([`writer`]) and two read ([`readers`]): one for what is due, one for what people ask.
//!
//! - [`backend`] is the trait that each kind of store has.
//! - [`circuits`] are those of upstreams that gateways share.
//! - [`details`] is what a delivery has beside the columns that every list shows.
//! - [`list`] says which deliveries to list.
//! - [`sqlite`] is one database in a folder.
//! - [`postgres`] is a database that several gateways share.
//! - [`memory`] is for a gateway without `store`.
//!
//! The store decides nothing about deliveries: which state follows which, when to try again, when to give up, is said by
//! its callers. It knows neither requests nor routes but by their names.

mod attempt;
pub mod backend;
pub mod circuits;
mod claims;
pub mod details;
mod feed;
mod inbox;
pub mod list;
pub mod memory;
pub mod postgres;
mod readers;
mod record;
mod removed;
mod reservations;
pub mod sqlite;
#[cfg(test)]
mod tests;
mod types;
mod waiting;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use attempt::*;
use backend::{Answer, Backend, Due, Heard, Others, Sharing, Write};
use bytes::Bytes;
use circuits::KnownCircuits;
pub use details::StoredDetails;
use feed::Feed;
pub use feed::News;
pub use inbox::Limits;
use inbox::Shared;
pub use list::{Condition, Filter, Needs, Page, Parts};
use readers::ReaderThread;
pub use record::Record;
pub use reservations::{KeyReservation, Reserved};
use tokio::sync::broadcast;
pub use types::*;
use uuid::Uuid;
pub use waiting::Waiting;
use writer::Writer;
pub use writer::{Committed, OnCommit};

use crate::clock::{Clock, MonotonicClock};
use crate::lock::lock;
use crate::priority::give_way;

/// Bytes of heads and bodies that one claim reads, unless a single delivery has more.
const CLAIM_BYTES: usize = 8 << 20;
/// How long the store may take to say whether it knows a dedupe key: a sender waits, and then the handler has to answer.
const KEY_TIME: Duration = Duration::from_secs(1);

/// A store that is open. Clones are the same store; it closes with [`Store::close`], or when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    threads: Arc<Threads>,
    clock: MonotonicClock,
}

struct Threads {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dispatch: ReaderThread,
    people: ReaderThread,
    news: broadcast::Sender<News>,
    hearers: Arc<Hearers>,
    sharing: Option<Arc<Sharing>>,
}

/// Who hears of what others do who share the store.
#[derive(Default)]
struct Hearers {
    on_due: OnceLock<OnDue>,
    on_circuits: OnceLock<OnCircuits>,
    /// Its writer is woken.
    shared: OnceLock<Arc<Shared>>,
}

/// Hears of a route of which something is due.
type OnDue = Box<dyn Fn(&str) + Send + Sync>;
/// Hears what is known of all circuits.
type OnCircuits = Box<dyn Fn(&KnownCircuits) + Send + Sync>;

/// Whether the store takes deliveries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// It takes deliveries.
    Good,
    /// It takes none for want of room.
    Full,
    /// It takes none until the database can be reached again.
    Unreachable(Arc<str>),
    /// It takes none until the restart.
    Failed(Arc<str>),
}

impl Store {
    /// Starts the threads of a store over a backend.
    pub fn start(mut backend: Box<dyn Backend>, limits: Limits, clock: Clock, on_commit: OnCommit) -> io::Result<Self> {
        let monotonic = clock.monotonic();
        let failed = |error: StoreError| io::Error::other(error.to_string());
        let sizes = backend.sizes().map_err(failed)?;
        let news = Feed::channel();
        let feed = Arc::new(Feed::new(news.clone()));
        let hearers = Arc::<Hearers>::default();
        let sharing = backend.join(others(&feed, &hearers));
        let shared = Arc::new(Shared::new(limits, backend.book(), sizes, sharing.is_some()));
        let _first = hearers.shared.set(Arc::clone(&shared));
        let dispatch = ReaderThread::start("store-due", backend.reader().map_err(failed)?, || ())?;
        let people = ReaderThread::start("store-read", backend.reader().map_err(failed)?, give_way)?;
        let writer = Writer { shared: Arc::clone(&shared), backend, clock: clock.clone(), on_commit, feed, commits: 0 };
        let writer = thread::Builder::new().name("store-write".to_owned()).spawn(move || writer.run())?;
        let threads = Threads { shared, writer: Mutex::new(Some(writer)), dispatch, people, news, hearers, sharing };
        Ok(Self { threads: Arc::new(threads), clock: monotonic })
    }

    fn shared(&self) -> &Shared {
        &self.threads.shared
    }

    async fn write(&self, write: Write) -> Result<Answer, StoreError> {
        self.shared().write(write, self.clock.now()).await
    }

    // --- Deliveries ------------------------------------------------------------------------------------------------------

    /// Stores a delivery to queue at this many destinations; answers once it is synced. With `claim` its tickets are the
    /// caller's, who attempts it at once; else it is due, and comes by [`Store::claim`].
    pub async fn accept(
        &self,
        delivery: Delivery,
        key: Option<DedupeKey>,
        destinations: u16,
        claim: bool,
    ) -> Result<Accepted, StoreError> {
        let delivery = Box::new(delivery);
        match self.write(Write::Accept { delivery, key, destinations, claim }).await? {
            Answer::Stored(ticket) => Ok(Accepted::Stored(ticket)),
            Answer::Duplicate(id) => Ok(Accepted::Duplicate(id)),
            Answer::Done | Answer::Changed(_) => Err(StoreError::Closed),
        }
    }

    /// Sets its bounds anew, and how long records are kept.
    pub fn adjust(&self, max_size: u64, min_free: u64, keep: Keep) {
        self.shared().adjust(max_size, min_free, keep);
    }

    /// How long a sender waits for [`Store::accept`] at most.
    pub fn patience(&self) -> Duration {
        self.shared().limits().patience
    }

    /// Records a delivery that does not wait, at the time `now`. It never waits, and says whether the record was taken: what finds
    /// no room is dropped and counted.
    pub fn record(&self, record: impl Into<Record>, now: Instant) -> bool {
        let write = Write::Record(Arc::new(record.into()));
        let taken = self.shared().post(write, now).is_ok();
        if !taken {
            self.shared().dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Records that were dropped.
    pub fn dropped(&self) -> u64 {
        self.shared().dropped.load(Ordering::Relaxed)
    }

    /// Up to `limit` deliveries of a route that are due at a destination, oldest due time first. They are the caller's until
    /// their outcome is committed, or they are released. A paused or held route has none.
    ///
    /// # Errors
    /// [`StoreError::Full`] also while too many outcomes wait for room on the disk: attempts go on when they are written.
    pub async fn claim(
        &self,
        route: &str,
        destination: u16,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        let state = self.route(route);
        if state.paused || state.held || limit == 0 {
            return Ok(Vec::new());
        }
        if self.shared().is_behind.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        let (threads, route) = (Arc::clone(&self.threads.shared), route.to_owned());
        let question = move |reader: &mut dyn backend::Reader| {
            let mut due = |claimed: &HashSet<Ticket>| {
                reader.due(&Due { route: &route, destination, now, limit, max_bytes: CLAIM_BYTES, claimed })
            };
            match &threads.claims {
                Some(claims) => claims.read(due),
                None => due(&HashSet::new()),
            }
        };
        self.ask_for_queue(question).await
    }

    /// The first due time after `now` among a route's deliveries at a destination: when to claim again.
    pub async fn next_due(&self, route: &str, destination: u16, now: Millis) -> Result<Option<Millis>, StoreError> {
        let route = route.to_owned();
        self.ask_for_queue(move |reader| reader.next_due(&route, destination, now)).await
    }

    /// Asks the reader of what is due. If the database cannot be read, it is not written to either.
    async fn ask_for_queue<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn backend::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.threads.dispatch.ask_in_turn(question).await;
        if let Err(error @ StoreError::Failed(_)) = &answer {
            self.shared().fail(error);
        }
        answer
    }

    /// Gives a delivery back without an attempt that was stored with `claim`; returns once it is due.
    pub async fn give_back(&self, ticket: Ticket) -> Result<(), StoreError> {
        self.shared().write_with_next(Write::Release(vec![ticket]), self.clock.now()).await.map(drop)
    }

    /// Gives deliveries back without an attempt that [`Self::claim`] has handed out.
    pub fn release(&self, tickets: impl IntoIterator<Item = Ticket>) {
        if self.shared().claims.is_some() {
            return self.shared().release(tickets);
        }
        let tickets: Vec<Ticket> = tickets.into_iter().collect();
        if !tickets.is_empty() {
            // A store that is closed ends all claims.
            let _closed = self.shared().post(Write::Release(tickets), self.clock.now());
        }
    }

    /// `hear` is called when something becomes due of a route by what others have done, or is found to be due. Only the first
    /// one is called.
    pub fn on_due(&self, hear: impl Fn(&str) + Send + Sync + 'static) {
        let _first = self.threads.hearers.on_due.set(Box::new(hear));
    }

    /// `hear` is called with what is known of all circuits that gateways share, each second and when it has changed. Only the
    /// first one is called.
    pub fn on_circuits(&self, hear: impl Fn(&KnownCircuits) + Send + Sync + 'static) {
        let _first = self.threads.hearers.on_circuits.set(Box::new(hear));
    }

    /// Asks whether this gateway may probe an upstream whose circuit is shared. It returns when [`Store::on_circuits`] has heard
    /// the answer, or when the store is closed.
    pub async fn ask_to_probe(&self, upstream: Uuid) {
        let Some(sharing) = self.sharing() else { return };
        let asked = sharing.circuits.ask(upstream);
        self.shared().wake();
        // A closed store allows no probe.
        let _closed = asked.await;
    }

    /// What came of an attempt. It is written within some 20 ms, with the next batch.
    pub fn complete(&self, outcome: AttemptOutcome) -> Result<(), StoreError> {
        self.shared().post(Write::Complete(Box::new(outcome)), self.clock.now())
    }

    /// The same, and returns once it is written: from then on [`Store::next_due`] knows of the next attempt.
    pub async fn completed(&self, outcome: AttemptOutcome) -> Result<(), StoreError> {
        let write = Write::Complete(Box::new(outcome));
        self.shared().write_with_next(write, self.clock.now()).await.map(drop)
    }

    // --- Dedupe keys -----------------------------------------------------------------------------------------------------

    /// Reserves a dedupe key for a delivery that is not queued.
    ///
    /// # Errors
    /// The store does not say, or not within [`KEY_TIME`], whether it knows the key. The key is the caller's all the same, in this
    /// process.
    pub async fn reserve(&self, key: [u8; 16], now: Millis) -> Result<Reserved, (StoreError, KeyReservation)> {
        let reservation = match self.shared().reservations.reserve(key) {
            Reserved::First(reservation) => reservation,
            other => return Ok(other),
        };
        if let Some(why) = self.shared().unreachable() {
            return Err((StoreError::Unreachable(why), reservation));
        }
        let known = self.ask_for_queue(move |reader| reader.key(&key, now));
        match tokio::time::timeout(KEY_TIME, known).await {
            Ok(Ok(known)) => Ok(known.map_or(Reserved::First(reservation), Reserved::Duplicate)),
            Ok(Err(error)) => Err((error, reservation)),
            Err(_late) => Err((StoreError::Slow, reservation)),
        }
    }

    /// The handler has taken the delivery: its key is known until `until`. At once in this process; over a restart once it
    /// is written, some 20 ms later.
    pub fn commit_key(&self, reservation: KeyReservation, id: Uuid, until: Millis) -> Result<(), StoreError> {
        let key = DedupeKey { key: reservation.key(), until };
        reservation.taken(id);
        let result = self.shared().post(Write::Key(id, key), self.clock.now());
        if result.is_err() {
            self.shared().reservations.settled(&key.key);
        }
        result
    }

    /// Dedupe keys that were dropped for want of room.
    pub fn evicted(&self) -> u64 {
        self.shared().evicted.load(Ordering::Relaxed) + self.shared().lost_keys.load(Ordering::Relaxed)
    }

    // --- People ----------------------------------------------------------------------------------------------------------

    /// Makes a change; answers once it is synced.
    pub async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        match self.write(Write::Change(change)).await? {
            Answer::Changed(changed) => Ok(changed),
            Answer::Stored(_) | Answer::Duplicate(_) | Answer::Done => Err(StoreError::Closed),
        }
    }

    /// A page of deliveries, newest first.
    pub async fn list(&self, filter: Filter, limit: usize) -> Result<Page, StoreError> {
        self.threads.people.ask(move |reader| reader.list(&filter, limit)).await
    }

    /// A delivery with head and details, without its body, and its attempts.
    pub async fn get(&self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        self.threads.people.ask(move |reader| reader.get(id)).await
    }

    /// The body that is kept of a delivery.
    pub async fn body(&self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        self.threads.people.ask(move |reader| reader.body(id)).await
    }

    /// Whether an attempt of a delivery is under way, in any gateway that shares the store.
    pub async fn is_claimed(&self, id: Uuid) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.threads.shared);
        let is_claimed = move |reader: &mut dyn backend::Reader| match &shared.claims {
            Some(claims) => Ok(reader.row(id)?.is_some_and(|row| claims.has(row))),
            None => reader.is_claimed(id),
        };
        self.threads.people.ask(is_claimed).await
    }

    /// What is committed from now on. Who reads it too slowly misses some of it, and holds up nothing.
    pub fn follow(&self) -> broadcast::Receiver<News> {
        self.threads.news.subscribe()
    }

    /// Deliveries as lists show them; those that are not kept any more are left out.
    pub async fn summaries(&self, of: Vec<Uuid>) -> Result<Vec<Stored>, StoreError> {
        self.threads.people.ask(move |reader| reader.summaries(&of)).await
    }

    /// When the oldest waiting delivery of a route was received.
    pub async fn oldest(&self, route: &str) -> Result<Option<Millis>, StoreError> {
        let route = route.to_owned();
        self.threads.people.ask(move |reader| reader.oldest(&route)).await
    }

    // --- Without a read --------------------------------------------------------------------------------------------------

    /// How many deliveries each route has in each state, after the last commit.
    pub fn counts(&self) -> Counts {
        let book = lock(&self.shared().book);
        let mut counts = Counts::new();
        for ((route, shown), n) in &book.counts {
            let held = book.routes.get(route).is_some_and(|state| state.held);
            let shown = if held && list::waits(*shown) { Shown::Held } else { *shown };
            *counts.entry((Arc::clone(route), shown)).or_default() += n;
        }
        counts
    }

    /// Every route that was ever paused, held or stored for.
    pub fn routes(&self) -> HashMap<Arc<str>, RouteState> {
        lock(&self.shared().book).routes.iter().map(|(name, state)| (Arc::clone(name), *state)).collect()
    }

    /// Whether a delivery was kept, and has made room, in this process and not too long ago.
    pub fn was_removed(&self, id: Uuid) -> bool {
        lock(&self.shared().book).removed.has(&id)
    }

    /// Whether a route is paused or held.
    pub fn route(&self, name: &str) -> RouteState {
        lock(&self.shared().book).routes.get(name).copied().unwrap_or_default()
    }

    /// How it is to share the store with other gateways; `None` if it is this one's alone.
    pub fn sharing(&self) -> Option<&Arc<Sharing>> {
        self.threads.sharing.as_ref()
    }

    /// How much room is taken and left; about a second old at most.
    pub fn sizes(&self) -> Sizes {
        *lock(&self.shared().sizes)
    }

    /// Whether it takes deliveries.
    pub fn health(&self) -> Health {
        match self.shared().failure() {
            Some(why) => Health::Failed(why),
            None => match self.shared().unreachable() {
                Some(why) => Health::Unreachable(why),
                None if self.shared().is_full() => Health::Full,
                None => Health::Good,
            },
        }
    }

    /// Takes no more, and returns when all that was taken is written. It blocks: call it where that is no harm.
    pub fn close(&self) {
        self.threads.close();
    }
}

/// What the backend is told to do when others have done something.
fn others(feed: &Arc<Feed>, hearers: &Arc<Hearers>) -> Others {
    let (following, feed) = (Arc::clone(feed), Arc::clone(feed));
    let (hearers, woken) = (Arc::clone(hearers), Arc::clone(hearers));
    let tell = move |heard: Heard| match heard {
        Heard::Due(routes) => {
            if let Some(hear) = hearers.on_due.get() {
                routes.iter().for_each(|route| hear(route));
            }
        }
        Heard::Circuits(known) => {
            if let Some(hear) = hearers.on_circuits.get() {
                hear(&known);
            }
        }
        Heard::News(notices) => feed.pass_on(notices.into()),
    };
    let wake = move || {
        if let Some(shared) = woken.shared.get() {
            shared.wake();
        }
    };
    Others { tell: Arc::new(tell), is_followed: Arc::new(move || following.is_followed()), wake: Arc::new(wake) }
}

impl Threads {
    fn close(&self) {
        self.shared.close();
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer has panicked");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &self.health()).finish_non_exhaustive()
    }
}
