//! What the callers hand to the writer: bounded queues of writes, and what both sides know of the store.
//!
//! Records have a queue of their own: many of them delay no write for which a sender waits.
//!
//! An urgent write, for which a sender waits, wakes the writer at once; others go with the next batch, at the latest
//! after [`LINGER`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::attempt::{KeptBody, Ticket};
use super::backend::{Answer, Book, Write};
use super::claims::Claims;
use super::reservations::Reservations;
use super::types::{Keep, Sizes, StoreError};
use crate::clock::Clock;
use crate::lock::lock;

/// How long a write that is not urgent may collect others.
const LINGER: Duration = Duration::from_millis(20);
/// Writes of one batch at most.
pub const BATCH: usize = 512;
/// Records of one batch at most in which there is an urgent write.
const RECORDS_BESIDE: usize = 128;
/// Bytes of one batch at most, unless a single write has more.
const BATCH_BYTES: usize = 4 << 20;

/// The bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries to queue that may wait for the writer.
    pub accepts: usize,
    /// Records that may wait for the writer.
    pub records: usize,
    /// Bytes of the deliveries that may wait, unless a single one has more; half as many of records.
    pub bytes: usize,
    /// How long a delivery may wait until its batch begins, and its sender until it ends; while one has waited longer, no more are
    /// taken.
    pub patience: Duration,
    /// Bytes of the store over which it takes no deliveries to queue. Records of others get a part of it, see [`Limits::room`].
    pub max_size: u64,
    /// Free bytes of the file system under which it takes no deliveries and records.
    pub min_free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accepts: 8192,
            records: 8192,
            bytes: 64 << 20,
            patience: Duration::from_secs(3),
            max_size: 10 << 30,
            min_free: 1 << 30,
        }
    }
}

impl Limits {
    /// The bytes of the store over which it does not take this write. The last eighth is for deliveries to queue, and records
    /// of refused deliveries get no more than half: a flood of them cannot fill the store.
    pub fn room(&self, write: &Write) -> u64 {
        match write {
            Write::Record(record) if record.is_of_refused() => self.max_size / 2,
            Write::Record(_) => self.max_size - self.max_size / 8,
            Write::Accept { .. } | Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => {
                self.max_size
            }
        }
    }
}

/// Outcomes of attempts that wait for room on the disk, after which no delivery is claimed.
pub const KEPT_OUTCOMES: usize = 8192;
/// Bytes of these outcomes, after which no delivery is claimed.
const KEPT_BYTES: usize = 32 << 20;
/// Dedupe keys that wait for room on the disk; the oldest ones are forgotten.
pub const KEPT_KEYS: usize = 16_384;

/// Where the answer to a write goes.
pub type Sender = oneshot::Sender<Result<Answer, StoreError>>;

/// A write that waits for its batch.
pub struct Entry {
    /// The write.
    pub write: Write,
    /// About how many bytes it has.
    pub weight: usize,
    /// When it was handed in.
    pub since: Instant,
    /// Where its answer goes, if a caller waits for it.
    pub answer: Option<Sender>,
    /// It wakes the writer, and does not wait for others.
    pub urgent: bool,
}

/// What the writer's thread is doing, as far as those who hand something in need to know.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Doing {
    Works,
    Lingers,
    Sleeps,
}

struct Queue {
    entries: VecDeque<Entry>,
    records: VecDeque<Entry>,
    accepts: usize,
    /// Bytes of the deliveries to queue.
    accept_bytes: usize,
    record_bytes: usize,
    /// How many entries are urgent.
    urgent: usize,
    doing: Doing,
    /// The backend has something to do now.
    woken: bool,
    closing: bool,
}

impl Queue {
    /// Whether something has waited for the writer longer than a delivery may: the disk hangs.
    fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        self.entries.front().is_some_and(|oldest| now.saturating_duration_since(oldest.since) > patience)
    }
}

/// What the writer's thread and the callers share.
pub struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The bounds of the start; [`Shared::limits`] has those of now.
    limits: Limits,
    /// `max_size` and `min_free` of now.
    room: Mutex<(u64, u64)>,
    /// How long records are kept from now on, until the writer has heard of it.
    pub keep: Mutex<Option<Keep>>,
    /// Why the store has failed, once it has.
    pub failed: OnceLock<Arc<str>>,
    /// Why the database cannot be reached, as long as it cannot.
    unreachable: Mutex<Option<Arc<str>>>,
    /// Whether `unreachable` has a reason. Callers read this first, so that they need no lock. The writer's thread alone changes both.
    is_unreachable: AtomicBool,
    /// There is no room for deliveries.
    pub full: AtomicBool,
    /// Records that were dropped.
    pub dropped: AtomicU64,
    /// Dedupe keys that the backend has dropped for want of room.
    pub evicted: AtomicU64,
    /// Dedupe keys that could not be written while the disk was full.
    pub lost_keys: AtomicU64,
    /// So much waits for room on the disk that no more attempts are to begin.
    pub is_behind: AtomicBool,
    /// Which deliveries are being attempted. `None` in a store that others share, where the backend knows it.
    pub claims: Option<Claims>,
    /// Which dedupe keys are open.
    pub reservations: Arc<Reservations>,
    /// The numbers and the routes after the last commit.
    pub book: Arc<Mutex<Book>>,
    /// The sizes before the last commit.
    pub sizes: Mutex<Sizes>,
}

impl Shared {
    /// An empty queue with these bounds.
    pub fn new(limits: Limits, book: Arc<Mutex<Book>>, sizes: Sizes, is_shared: bool) -> Self {
        Self {
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                records: VecDeque::new(),
                accepts: 0,
                accept_bytes: 0,
                record_bytes: 0,
                urgent: 0,
                doing: Doing::Works,
                woken: false,
                closing: false,
            }),
            wake: Condvar::new(),
            limits,
            room: Mutex::new((limits.max_size, limits.min_free)),
            keep: Mutex::default(),
            failed: OnceLock::new(),
            unreachable: Mutex::default(),
            is_unreachable: AtomicBool::new(false),
            full: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            lost_keys: AtomicU64::new(0),
            is_behind: AtomicBool::new(false),
            claims: (!is_shared).then(Claims::default),
            reservations: Arc::default(),
            book,
            sizes: Mutex::new(sizes),
        }
    }

    /// The bounds of now.
    pub fn limits(&self) -> Limits {
        let (max_size, min_free) = *lock(&self.room);
        Limits { max_size, min_free, ..self.limits }
    }

    /// Says what counts from now on.
    pub fn adjust(&self, max_size: u64, min_free: u64, keep: Keep) {
        *lock(&self.room) = (max_size, min_free);
        *lock(&self.keep) = Some(keep);
        self.wake();
    }

    /// The store has failed for good.
    pub fn fail(&self, error: &StoreError) {
        let why: Arc<str> = match error {
            StoreError::Failed(why) => Arc::clone(why),
            other => other.to_string().into(),
        };
        if self.failed.set(Arc::clone(&why)).is_ok() {
            tracing::error!(error = %why, "the store has failed; nothing is stored until the gateway is started again");
        }
    }

    /// These are not being attempted any more.
    pub fn release(&self, tickets: impl IntoIterator<Item = Ticket>) {
        if let Some(claims) = &self.claims {
            claims.release(tickets);
        }
    }

    /// The database cannot be reached now.
    pub fn cannot_reach(&self, why: &Arc<str>) {
        self.is_unreachable.store(true, Ordering::Relaxed);
        if lock(&self.unreachable).replace(Arc::clone(why)).is_none() {
            tracing::error!(error = %why, "the database cannot be reached; it is tried again");
        }
    }

    /// Why the database cannot be reached, as long as it cannot.
    pub fn unreachable(&self) -> Option<Arc<str>> {
        self.is_unreachable.load(Ordering::Relaxed).then(|| lock(&self.unreachable).clone()).flatten()
    }

    /// The database can be reached.
    pub fn is_reached(&self) {
        if self.is_unreachable.load(Ordering::Relaxed) {
            self.is_unreachable.store(false, Ordering::Relaxed);
            lock(&self.unreachable).take();
            tracing::info!("the database can be reached again");
        }
    }

    /// Why the store has failed, if it has.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failed.get().cloned()
    }

    /// Whether the store takes no deliveries for want of room.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Says what waits for room on the disk.
    pub fn waits_for_room(&self, kept: &[Entry]) {
        let outcomes = || kept.iter().filter(|entry| matches!(entry.write, Write::Complete(_)));
        let bytes: usize = outcomes().map(|entry| entry.weight).sum();
        self.is_behind.store(outcomes().count() >= KEPT_OUTCOMES || bytes >= KEPT_BYTES, Ordering::Relaxed);
    }

    /// Hands in a write and awaits what comes of it.
    pub async fn write(&self, write: Write, now: Instant) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.push(Entry { weight: weight(&write), write, since: now, answer: Some(answer), urgent: true })?;
        answered.await.map_err(|_dropped| StoreError::Closed)?
    }

    /// Hands in a write that goes with the next batch, and awaits what comes of it.
    pub async fn write_with_next(&self, write: Write, now: Instant) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.push(Entry { weight: weight(&write), write, since: now, answer: Some(answer), urgent: false })?;
        answered.await.map_err(|_dropped| StoreError::Closed)?
    }

    /// Hands in a write that no caller waits for.
    pub fn post(&self, write: Write, now: Instant) -> Result<(), StoreError> {
        self.push(Entry { weight: weight(&write), write, since: now, answer: None, urgent: false })
    }

    /// Has the writer give the backend the time for what it does now and then, at once unless it is at work.
    pub fn wake(&self) {
        lock(&self.queue).woken = true;
        self.wake.notify_one();
    }

    /// No more is taken; the thread ends once all that waits is written.
    pub fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        drop(queue);
        self.wake.notify_one();
    }

    /// The writer has ended: no more is taken; gives what still waits.
    pub fn end(&self) -> Vec<Entry> {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        let Queue { entries, records, .. } = &mut *queue;
        entries.drain(..).chain(records.drain(..)).collect()
    }

    fn push(&self, entry: Entry) -> Result<(), StoreError> {
        if let Some(why) = self.failed.get() {
            return Err(StoreError::Failed(Arc::clone(why)));
        }
        let waits_for_answer = matches!(entry.write, Write::Accept { .. } | Write::Change(_) | Write::Record(_));
        if waits_for_answer && let Some(why) = self.unreachable() {
            return Err(StoreError::Unreachable(why));
        }
        let mut queue = lock(&self.queue);
        if queue.closing {
            return Err(StoreError::Closed);
        }
        match entry.write {
            Write::Accept { .. } => {
                let is_over = queue.accept_bytes > 0 && queue.accept_bytes + entry.weight > self.limits.bytes;
                if queue.accepts >= self.limits.accepts || is_over || queue.is_stuck(entry.since, self.limits.patience)
                {
                    return Err(StoreError::Slow);
                }
                queue.accepts += 1;
                queue.accept_bytes += entry.weight;
            }
            Write::Record(_) => {
                if queue.records.len() >= self.limits.records
                    || queue.record_bytes + entry.weight > self.limits.bytes / 2
                {
                    return Err(StoreError::Slow);
                }
                queue.record_bytes += entry.weight;
            }
            // Bounded by what is claimed or reserved, and by people's patience; see `is_behind` for a full disk.
            Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => {}
        }
        queue.urgent += usize::from(entry.urgent);
        let wakes = match queue.doing {
            Doing::Works => false,
            Doing::Lingers => entry.urgent,
            Doing::Sleeps => true,
        };
        if wakes {
            queue.doing = Doing::Works;
        }
        match entry.write {
            Write::Record(_) => queue.records.push_back(entry),
            _ => queue.entries.push_back(entry),
        }
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for a batch; an empty one comes when it is time to maintain, or when it is woken. `None` at the end.
    pub fn next_batch(&self, clock: &Clock, pause: Duration) -> Option<Vec<Entry>> {
        let mut queue = lock(&self.queue);
        if queue.is_empty() && !queue.closing && !queue.woken && !pause.is_zero() {
            queue = self.wait(queue, Doing::Sleeps, pause);
        }
        queue.woken = false;
        if queue.urgent == 0
            && !queue.closing
            && let Some(since) = queue.since()
        {
            let left = LINGER.saturating_sub(clock.now().saturating_duration_since(since));
            if !left.is_zero() {
                queue = self.wait(queue, Doing::Lingers, left);
            }
        }
        if queue.is_empty() && queue.closing {
            return None;
        }
        Some(queue.take_batch())
    }

    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>, doing: Doing, at_most: Duration) -> MutexGuard<'a, Queue> {
        queue.doing = doing;
        let (mut queue, _) = self.wake.wait_timeout(queue, at_most).unwrap_or_else(PoisonError::into_inner);
        queue.doing = Doing::Works;
        queue
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.records.is_empty()
    }

    /// When the oldest entry was handed in.
    fn since(&self) -> Option<Instant> {
        [self.entries.front(), self.records.front()].into_iter().flatten().map(|entry| entry.since).min()
    }

    fn take_batch(&mut self) -> Vec<Entry> {
        let mut batch = Vec::with_capacity((self.entries.len() + self.records.len()).min(BATCH));
        let mut bytes = 0;
        let has_urgent = self.urgent > 0;
        while let Some(entry) = take(&mut self.entries, &batch, BATCH, bytes) {
            bytes += entry.weight;
            self.urgent -= usize::from(entry.urgent);
            if matches!(entry.write, Write::Accept { .. }) {
                self.accepts -= 1;
                self.accept_bytes -= entry.weight;
            }
            batch.push(entry);
        }
        let most = if has_urgent { (batch.len() + RECORDS_BESIDE).min(BATCH) } else { BATCH };
        while let Some(entry) = take(&mut self.records, &batch, most, bytes) {
            bytes += entry.weight;
            self.record_bytes -= entry.weight;
            batch.push(entry);
        }
        batch
    }
}

/// The next entry of a queue, if the batch has room for it.
fn take(entries: &mut VecDeque<Entry>, batch: &[Entry], most: usize, bytes: usize) -> Option<Entry> {
    let fits = |entry: &Entry| batch.len() < most && (batch.is_empty() || bytes + entry.weight <= BATCH_BYTES);
    entries.front().is_some_and(fits).then(|| entries.pop_front()).flatten()
}

fn weight(write: &Write) -> usize {
    match write {
        Write::Accept { delivery, .. } => delivery.weight(),
        Write::Record(record) => record.weight(),
        Write::Complete(outcome) => {
            let stays = outcome.settled.as_ref().map_or(0, |stays| {
                let body = if let KeptBody::Only(body) = &stays.body { body.len() } else { 0 };
                stays.head.as_ref().map_or(0, bytes::Bytes::len) + body
            });
            stays + outcome.attempt.weight()
        }
        Write::Key(..) | Write::Release(_) | Write::Change(_) => 64,
    }
}
