//! The writer: what the worker threads hand in is committed in batches by one thread.
//!
//! There is no delay: while one batch is synced, the next one collects. A write that a caller waits for wakes the writer
//! at once; records and outcomes of attempts go with the next batch, at the latest after [`LINGER`].
//!
//! It refuses a write
//!
//! 1. as full, when `max_size` or `min_free` is reached or the disk is full; outcomes of attempts are then kept and
//!    tried again each second;
//! 2. as slow, when the queue is full or the write has waited longer than it may;
//! 3. as failed, after any other error of a commit, until the process ends: a failed `fsync` may have lost what an
//!    earlier one wrote, and another attempt would not say so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::backend::{Answer, Backend, Book, Write};
use super::claims::{Claims, lock};
use super::reservations::Reservations;
use super::types::{Millis, Sizes, StoreError};
use crate::clock::Clock;

/// How long a write that no caller waits for may collect others.
const LINGER: Duration = Duration::from_millis(20);
/// How often the backend is given the time for what it does now and then.
const MAINTAIN: Duration = Duration::from_secs(1);
/// Writes of one batch at most.
const BATCH: usize = 512;
/// Bytes of one batch at most, unless a single write has more.
const BATCH_BYTES: usize = 4 << 20;

/// The bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries to queue that may wait for the writer.
    pub accepts: usize,
    /// Records that may wait for the writer.
    pub records: usize,
    /// Bytes of both together.
    pub bytes: usize,
    /// How long a delivery may wait until its batch begins.
    pub patience: Duration,
    /// Bytes of the store over which it takes no deliveries and records.
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

/// What a commit took, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// Deliveries to queue that it stored.
    pub deliveries: usize,
    /// All its writes.
    pub writes: usize,
    /// How long it took, the sync included.
    pub took: Duration,
}

/// Hears of each commit, on the writer's thread.
pub type OnCommit = Box<dyn Fn(Committed) + Send>;

type Sender = oneshot::Sender<Result<Answer, StoreError>>;

/// A write that waits for its batch.
struct Entry {
    write: Write,
    weight: usize,
    since: Instant,
    answer: Option<Sender>,
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
    accepts: usize,
    records: usize,
    bytes: usize,
    /// How many entries a caller waits for.
    awaited: usize,
    doing: Doing,
    closing: bool,
}

/// What the writer's thread and the callers share.
pub struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    limits: Limits,
    failed: OnceLock<Arc<str>>,
    full: AtomicBool,
    /// Records that were dropped.
    pub dropped: AtomicU64,
    /// Dedupe keys that were dropped for want of room.
    pub evicted: AtomicU64,
    /// Which deliveries are being attempted.
    pub claims: Claims,
    /// Which dedupe keys are open.
    pub reservations: Arc<Reservations>,
    /// The numbers and the routes after the last commit.
    pub book: Arc<Mutex<Book>>,
    /// The sizes before the last commit.
    pub sizes: Mutex<Sizes>,
}

impl Shared {
    /// An empty queue with these bounds.
    pub fn new(limits: Limits, book: Arc<Mutex<Book>>, sizes: Sizes) -> Self {
        Self {
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                accepts: 0,
                records: 0,
                bytes: 0,
                awaited: 0,
                doing: Doing::Works,
                closing: false,
            }),
            wake: Condvar::new(),
            limits,
            failed: OnceLock::new(),
            full: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            claims: Claims::default(),
            reservations: Arc::default(),
            book,
            sizes: Mutex::new(sizes),
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

    /// Hands in a write and awaits what comes of it.
    pub async fn write(&self, write: Write, now: Instant) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.push(Entry { weight: weight(&write), write, since: now, answer: Some(answer) })?;
        answered.await.map_err(|_dropped| StoreError::Closed)?
    }

    /// Hands in a write that no caller waits for.
    pub fn post(&self, write: Write, now: Instant) -> Result<(), StoreError> {
        self.push(Entry { weight: weight(&write), write, since: now, answer: None })
    }

    /// No more is taken; the thread ends once all that waits is written.
    pub fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        drop(queue);
        self.wake.notify_one();
    }

    fn push(&self, entry: Entry) -> Result<(), StoreError> {
        if let Some(why) = self.failed.get() {
            return Err(StoreError::Failed(Arc::clone(why)));
        }
        let mut queue = lock(&self.queue);
        if queue.closing {
            return Err(StoreError::Closed);
        }
        match entry.write {
            Write::Accept { .. } => {
                if queue.accepts >= self.limits.accepts || queue.bytes + entry.weight > self.limits.bytes {
                    return Err(StoreError::Slow);
                }
                queue.accepts += 1;
            }
            Write::Record { .. } => {
                if queue.records >= self.limits.records || queue.bytes + entry.weight > self.limits.bytes {
                    return Err(StoreError::Slow);
                }
                queue.records += 1;
            }
            // Bounded by what is claimed or reserved, and by people's patience.
            Write::Key(..) | Write::Complete(_) | Write::Change(_) => {}
        }
        queue.bytes += entry.weight;
        queue.awaited += usize::from(entry.answer.is_some());
        let wakes = match queue.doing {
            Doing::Works => false,
            Doing::Lingers => entry.answer.is_some(),
            Doing::Sleeps => true,
        };
        if wakes {
            queue.doing = Doing::Works;
        }
        queue.entries.push_back(entry);
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for a batch; an empty one comes when it is time to maintain. `None` at the end.
    fn next_batch(&self, clock: &Clock, pause: Duration) -> Option<Vec<Entry>> {
        let mut queue = lock(&self.queue);
        if queue.entries.is_empty() && !queue.closing && !pause.is_zero() {
            queue = self.wait(queue, Doing::Sleeps, pause);
        }
        if queue.awaited == 0
            && !queue.closing
            && let Some(first) = queue.entries.front()
        {
            let left = LINGER.saturating_sub(clock.now().saturating_duration_since(first.since));
            if !left.is_zero() {
                queue = self.wait(queue, Doing::Lingers, left);
            }
        }
        if queue.entries.is_empty() && queue.closing {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = queue.entries.front()
            && batch.len() < BATCH
            && (batch.is_empty() || bytes + entry.weight <= BATCH_BYTES)
            && let Some(entry) = queue.entries.pop_front()
        {
            bytes += entry.weight;
            queue.bytes -= entry.weight;
            queue.awaited -= usize::from(entry.answer.is_some());
            match entry.write {
                Write::Accept { .. } => queue.accepts -= 1,
                Write::Record { .. } => queue.records -= 1,
                Write::Key(..) | Write::Complete(_) | Write::Change(_) => {}
            }
            batch.push(entry);
        }
        Some(batch)
    }

    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>, doing: Doing, at_most: Duration) -> MutexGuard<'a, Queue> {
        queue.doing = doing;
        let (mut queue, _) = self.wake.wait_timeout(queue, at_most).unwrap_or_else(PoisonError::into_inner);
        queue.doing = Doing::Works;
        queue
    }
}

fn weight(write: &Write) -> usize {
    match write {
        Write::Accept { delivery, .. } | Write::Record { delivery, .. } => delivery.weight(),
        Write::Complete(outcome) => {
            let stays = outcome.settled.as_ref().map_or(0, |stays| {
                stays.head.as_ref().map_or(0, bytes::Bytes::len) + stays.body.as_ref().map_or(0, bytes::Bytes::len)
            });
            256 + stays + outcome.attempt.response_head.len() + outcome.attempt.response_body.len()
        }
        Write::Key(..) | Write::Change(_) => 64,
    }
}

/// The writer's thread.
pub struct Writer {
    /// What it shares with the callers.
    pub shared: Arc<Shared>,
    /// What it writes to.
    pub backend: Box<dyn Backend>,
    /// Where the time comes from.
    pub clock: Clock,
    /// Hears of each commit.
    pub on_commit: OnCommit,
}

impl Writer {
    /// Runs until the store is closed and all that waits is written.
    pub fn run(mut self) {
        let mut maintained = self.clock.now();
        let mut pause = MAINTAIN;
        // Outcomes that found the disk full.
        let mut kept = Vec::new();
        while let Some(batch) = self.shared.next_batch(&self.clock, pause) {
            let due = self.clock.now().saturating_duration_since(maintained) >= MAINTAIN;
            if self.shared.failed.get().is_some() {
                self.refuse_all(batch);
                continue;
            }
            if !batch.is_empty() || (due && !kept.is_empty()) {
                kept.extend(batch);
                kept = self.write(std::mem::take(&mut kept));
            }
            let result = self.backend.maintain(self.now());
            maintained = if due { self.clock.now() } else { maintained };
            pause = match result {
                Ok(true) => Duration::ZERO,
                Ok(false) | Err(StoreError::Full) => MAINTAIN,
                Err(error) => self.fail(&error),
            };
        }
        if self.shared.failed.get().is_none() {
            if !kept.is_empty() {
                self.write(kept);
            }
            if let Err(error) = self.backend.close() {
                self.fail(&error);
            }
        }
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.clock.unix().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Writes a batch; gives back what has to be tried again.
    fn write(&mut self, batch: Vec<Entry>) -> Vec<Entry> {
        let batch = self.admit(batch);
        if batch.is_empty() {
            return batch;
        }
        let Err((error, mut batch)) = self.commit(batch) else { return Vec::new() };
        if error != StoreError::Full {
            self.fail(&error);
            self.refuse_all(batch);
            return Vec::new();
        }
        self.shared.full.store(true, Ordering::Relaxed);
        batch = self.refuse(batch, true, |_| Some(StoreError::Full));
        if batch.is_empty() {
            return batch;
        }
        match self.commit(batch) {
            Ok(()) => Vec::new(),
            Err((StoreError::Full, batch)) => batch,
            Err((error, batch)) => {
                self.fail(&error);
                self.refuse_all(batch);
                Vec::new()
            }
        }
    }

    /// Refuses what the store has no room or no time for.
    fn admit(&mut self, batch: Vec<Entry>) -> Vec<Entry> {
        if !batch.iter().any(|entry| matches!(entry.write, Write::Accept { .. } | Write::Record { .. })) {
            return batch;
        }
        let full = match self.backend.sizes() {
            Ok(sizes) => {
                *lock(&self.shared.sizes) = sizes;
                let coming: usize = batch.iter().map(|entry| entry.weight).sum();
                let coming = u64::try_from(coming).unwrap_or(u64::MAX);
                let limits = self.shared.limits;
                sizes.used.saturating_add(coming) > limits.max_size
                    || sizes.free.saturating_sub(coming) < limits.min_free
            }
            Err(error) => {
                self.fail(&error);
                self.refuse_all(batch);
                return Vec::new();
            }
        };
        self.shared.full.store(full, Ordering::Relaxed);
        let (now, patience) = (self.clock.now(), self.shared.limits.patience);
        self.refuse(batch, false, |since| {
            if full {
                Some(StoreError::Full)
            } else {
                (now.saturating_duration_since(since) > patience).then_some(StoreError::Slow)
            }
        })
    }

    /// Answers deliveries, drops records, and answers changes if they are to be refused too, where `why` names an error;
    /// gives back the rest.
    fn refuse(&self, batch: Vec<Entry>, changes: bool, why: impl Fn(Instant) -> Option<StoreError>) -> Vec<Entry> {
        let mut rest = Vec::with_capacity(batch.len());
        for entry in batch {
            match (&entry.write, why(entry.since)) {
                (Write::Accept { .. }, Some(error)) => answer(entry.answer, Err(error)),
                (Write::Change(_), Some(error)) if changes => answer(entry.answer, Err(error)),
                (Write::Record { .. }, Some(StoreError::Full)) => {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    answer(entry.answer, Err(StoreError::Full));
                }
                _ => rest.push(entry),
            }
        }
        rest
    }

    fn commit(&mut self, batch: Vec<Entry>) -> Result<(), (StoreError, Vec<Entry>)> {
        let (writes, others): (Vec<Write>, Vec<_>) =
            batch.into_iter().map(|entry| (entry.write, (entry.weight, entry.since, entry.answer))).unzip();
        let shared = Arc::clone(&self.shared);
        let begun = self.clock.now();
        let now = self.now();
        let result = self.backend.commit(&writes, now, &mut |ticket| shared.claims.claim(ticket));
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => {
                let entries = writes.into_iter().zip(others);
                let entry = |(write, (weight, since, answer))| Entry { write, weight, since, answer };
                return Err((error, entries.map(entry).collect()));
            }
        };
        let took = self.clock.now().saturating_duration_since(begun);
        shared.evicted.store(self.backend.evicted(), Ordering::Relaxed);
        shared.claims.release(writes.iter().filter_map(|write| match write {
            Write::Complete(outcome) => Some(outcome.ticket),
            _ => None,
        }));
        for write in &writes {
            if let Write::Key(_, key) | Write::Record { key: Some(key), .. } = write {
                shared.reservations.settled(&key.key);
            }
        }
        let deliveries = answers.iter().filter(|answer| matches!(answer, Answer::Stored(_))).count();
        let count = writes.len();
        for ((_, _, sender), result) in others.into_iter().zip(answers) {
            answer(sender, Ok(result));
        }
        (self.on_commit)(Committed { deliveries, writes: count, took });
        Ok(())
    }

    /// The store has failed for good.
    fn fail(&self, error: &StoreError) -> Duration {
        let why: Arc<str> = match error {
            StoreError::Failed(why) => Arc::clone(why),
            other => other.to_string().into(),
        };
        tracing::error!(error = %why, "the store has failed; nothing is stored until the gateway is started again");
        let _first_counts = self.shared.failed.set(why);
        MAINTAIN
    }

    fn refuse_all(&self, batch: Vec<Entry>) {
        let error = self.shared.failure().map_or(StoreError::Closed, StoreError::Failed);
        for entry in batch {
            if matches!(entry.write, Write::Record { .. }) {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            answer(entry.answer, Err(error.clone()));
        }
    }
}

/// The thread ends: what still waits, after a panic, is answered.
impl Drop for Writer {
    fn drop(&mut self) {
        if thread::panicking() {
            self.fail(&StoreError::Failed("the writer has panicked".into()));
        }
        let left: Vec<Entry> = {
            let mut queue = lock(&self.shared.queue);
            queue.closing = true;
            queue.entries.drain(..).collect()
        };
        self.refuse_all(left);
    }
}

fn answer(sender: Option<Sender>, result: Result<Answer, StoreError>) {
    if let Some(sender) = sender {
        // A sender that has gone does not need the answer; what was stored stays.
        let _gone = sender.send(result);
    }
}
