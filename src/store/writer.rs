//! The writer: what the worker threads hand in is committed in batches by one thread.
//!
//! There is no delay: while one batch is synced, the next one collects.
//!
//! It refuses a write
//!
//! 1. as full, when `max_size` or `min_free` is reached or the disk is full; outcomes of attempts and dedupe keys are then
//!    kept and tried again each second, and as soon as anything else finds room. When many outcomes wait, no more attempts
//!    begin, so that they stay bounded and none is lost; of the keys the oldest are forgotten;
//! 2. as slow, when the queue is full, or the write or one before it has waited longer than it may;
//! 3. as unreachable, while the database cannot be reached; outcomes, keys and what is given back are kept and tried again each second;
//! 4. as failed, after any other error of a commit or of a read for the queue, until the process ends: a failed `fsync` may
//!    have lost what an earlier one wrote, and another attempt would not say so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::backend::{Answer, Backend, Write};
use super::feed::Feed;
use super::inbox::{Entry, KEPT_KEYS, Sender, Shared};
use super::types::{Millis, StoreError, millis};
use crate::clock::Clock;
use crate::lock::lock;

/// How often the backend is given the time for what it does now and then.
const MAINTAIN: Duration = Duration::from_secs(1);

/// With less room than this, in bytes, the outcome of each attempt is a commit of its own: it overwrites the body of its
/// delivery, and the bodies of a whole batch can need more of the log than there is.
const TIGHT: u64 = 256 << 20;
/// Parts of a batch that find no room one after the other; then the rest waits for the next time.
const TRIED_WITHOUT_ROOM: usize = 8;

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
    /// Tells those who follow what is committed.
    pub feed: Arc<Feed>,
    /// How many batches it has committed.
    pub commits: u64,
}

impl Writer {
    /// Runs until the store is closed and all that waits is written.
    pub fn run(mut self) {
        let mut maintained = self.clock.now();
        let mut pause = MAINTAIN;
        // What found the disk full or the database unreachable, and is tried again.
        let mut kept: Vec<Entry> = Vec::new();
        while let Some(batch) = self.shared.next_batch(&self.clock, pause) {
            let due = self.clock.now().saturating_duration_since(maintained) >= MAINTAIN;
            if self.shared.failed.get().is_some() {
                self.refuse_all(batch);
                continue;
            }
            if !batch.is_empty() || (due && !kept.is_empty()) {
                let had_kept = !kept.is_empty();
                kept = self.write_beside(kept, batch, due);
                if had_kept || !kept.is_empty() {
                    self.forget_keys(&mut kept);
                    self.shared.waits_for_room(&kept);
                }
            }
            if due {
                self.look_at_sizes(kept.is_empty());
            }
            let result = self.maintain();
            maintained = if due { self.clock.now() } else { maintained };
            pause = match result {
                Ok(more) => {
                    self.shared.is_reached();
                    if more { Duration::ZERO } else { MAINTAIN }
                }
                Err(StoreError::Full | StoreError::Slow) => MAINTAIN,
                Err(StoreError::Unreachable(why)) => {
                    self.shared.cannot_reach(&why);
                    MAINTAIN
                }
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

    /// Writes a batch while others of an earlier one wait for room, and these too if it is their time or the batch has found
    /// room; gives back what has to be tried again.
    fn write_beside(&mut self, mut kept: Vec<Entry>, batch: Vec<Entry>, due: bool) -> Vec<Entry> {
        if kept.is_empty() {
            return self.write(batch);
        }
        if due {
            kept.extend(batch);
            return self.write(kept);
        }
        let (waits, others) = batch
            .into_iter()
            .partition(|entry| !matches!(entry.write, Write::Accept { .. } | Write::Record(_) | Write::Change(_)));
        kept.extend::<Vec<Entry>>(waits);
        let commits = self.commits;
        kept.extend(self.write(others));
        if self.commits > commits { self.write(kept) } else { kept }
    }

    /// After a failure nothing more is synced.
    fn maintain(&mut self) -> Result<bool, StoreError> {
        if let Some(keep) = lock(&self.shared.keep).take() {
            self.backend.keep(keep);
        }
        if self.shared.failed.get().is_some() { Ok(false) } else { self.backend.maintain(self.now()) }
    }

    fn now(&self) -> Millis {
        millis(self.clock.unix())
    }

    /// Writes a batch; gives back what has to be tried again.
    fn write(&mut self, batch: Vec<Entry>) -> Vec<Entry> {
        let batch = self.admit(batch);
        if lock(&self.shared.sizes).free.is_none_or(|free| free >= TIGHT) {
            return self.write_admitted(batch);
        }
        let (mut kept, mut untried) = (Vec::new(), Vec::new());
        let mut without_room = 0;
        for part in apart(batch) {
            if without_room >= TRIED_WITHOUT_ROOM && part.first().is_some_and(is_outcome) {
                untried.extend(part);
                continue;
            }
            let back = self.write_admitted(part);
            without_room = if back.is_empty() { 0 } else { without_room + 1 };
            kept.extend(back);
            // The log is to be emptied before it grows further.
            if let Err(error) = self.maintain() {
                self.passing(error);
            }
        }
        // The next time others are tried first: these may need more room than those.
        untried.extend(kept);
        untried
    }

    fn write_admitted(&mut self, batch: Vec<Entry>) -> Vec<Entry> {
        if self.shared.failed.get().is_some() {
            self.refuse_all(batch);
            return Vec::new();
        }
        if batch.is_empty() {
            return batch;
        }
        let Err((error, batch)) = self.commit(batch) else { return Vec::new() };
        let Some(error) = self.passing(error) else {
            self.refuse_all(batch);
            return Vec::new();
        };
        let count = batch.len();
        let batch = self.refuse(batch, true, |_| Some(error.clone()));
        if batch.is_empty() || batch.len() == count {
            return batch;
        }
        let Err((error, batch)) = self.commit(batch) else { return Vec::new() };
        if self.passing(error).is_none() {
            self.refuse_all(batch);
            return Vec::new();
        }
        batch
    }

    /// Forgets the oldest dedupe keys of those that wait for room, if there are too many.
    fn forget_keys(&self, kept: &mut Vec<Entry>) {
        let keys = kept.iter().filter(|entry| matches!(entry.write, Write::Key(..))).count();
        let mut over = keys.saturating_sub(KEPT_KEYS);
        kept.retain(|entry| match &entry.write {
            Write::Key(_, key) if over > 0 => {
                over -= 1;
                self.shared.reservations.settled(&key.key);
                self.shared.lost_keys.fetch_add(1, Ordering::Relaxed);
                false
            }
            _ => true,
        });
    }

    /// Brings the sizes up to date, also while nothing is written.
    fn look_at_sizes(&self, is_written: bool) {
        // An error of the file system shows with the next delivery.
        let Ok(sizes) = self.backend.sizes() else { return };
        *lock(&self.shared.sizes) = sizes;
        if is_written {
            let limits = self.shared.limits();
            let full = sizes.used > limits.max_size || sizes.free.is_some_and(|free| free <= limits.min_free);
            self.shared.full.store(full, Ordering::Relaxed);
        }
    }

    /// An error that passes by itself; any other one is final.
    fn passing(&self, error: StoreError) -> Option<StoreError> {
        match error {
            StoreError::Full => self.shared.full.store(true, Ordering::Relaxed),
            StoreError::Slow => {}
            StoreError::Unreachable(ref why) => self.shared.cannot_reach(why),
            StoreError::Failed(_) | StoreError::TimedOut | StoreError::Closed => {
                self.fail(&error);
                return None;
            }
        }
        Some(error)
    }

    /// Refuses what the store has no room or no time for.
    fn admit(&mut self, batch: Vec<Entry>) -> Vec<Entry> {
        if !batch.iter().any(|entry| matches!(entry.write, Write::Accept { .. } | Write::Record(_))) {
            return batch;
        }
        let limits = self.shared.limits();
        let sizes = {
            let mut last = lock(&self.shared.sizes);
            // What cannot be looked at now, for instance for want of a file descriptor, is as it was a moment ago.
            *last = self.backend.sizes().unwrap_or(*last);
            *last
        };
        let coming: usize = batch.iter().map(|entry| entry.weight).sum();
        let coming = u64::try_from(coming).unwrap_or(u64::MAX);
        let is_short = sizes.free.is_some_and(|free| free < limits.min_free.saturating_add(coming));
        let used = sizes.used.saturating_add(coming);
        self.shared.full.store(is_short || used > limits.max_size, Ordering::Relaxed);
        let oldest = self.clock.now().checked_sub(limits.patience);
        self.refuse(batch, false, |entry| {
            if is_short || used > limits.room(&entry.write) {
                Some(StoreError::Full)
            } else {
                oldest.is_some_and(|oldest| entry.since < oldest).then_some(StoreError::Slow)
            }
        })
    }

    /// Answers deliveries, drops records, and answers changes if they are to be refused too, where `why` names an error;
    /// gives back the rest.
    fn refuse(&self, batch: Vec<Entry>, changes: bool, why: impl Fn(&Entry) -> Option<StoreError>) -> Vec<Entry> {
        if batch.iter().all(|entry| why(entry).is_none()) {
            return batch;
        }
        let mut rest = Vec::with_capacity(batch.len());
        for entry in batch {
            match (&entry.write, why(&entry)) {
                (Write::Accept { .. }, Some(error)) => answer(entry.answer, Err(error)),
                (Write::Change(_), Some(error)) if changes => answer(entry.answer, Err(error)),
                (Write::Record(_), Some(error)) if changes || error == StoreError::Full => {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    answer(entry.answer, Err(error));
                }
                _ => rest.push(entry),
            }
        }
        rest
    }

    fn commit(&mut self, batch: Vec<Entry>) -> Result<(), (StoreError, Vec<Entry>)> {
        let (writes, others): (Vec<Write>, Vec<_>) = batch
            .into_iter()
            .map(|entry| (entry.write, (entry.weight, entry.since, entry.answer, entry.urgent)))
            .unzip();
        let shared = Arc::clone(&self.shared);
        let begun = self.clock.now();
        let now = self.now();
        let mut claimed = Vec::new();
        let result = self.backend.commit(&writes, now, &mut |ticket| {
            if let Some(claims) = &shared.claims {
                claims.claim(ticket);
            }
            claimed.push(ticket);
        });
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => {
                // No delivery has these tickets.
                shared.release(claimed);
                let entries = writes.into_iter().zip(others);
                let entry = |(write, (weight, since, answer, urgent))| Entry { write, weight, since, answer, urgent };
                return Err((error, entries.map(entry).collect()));
            }
        };
        let took = self.clock.now().saturating_duration_since(begun);
        self.commits += 1;
        shared.evicted.store(self.backend.evicted(), Ordering::Relaxed);
        shared.release(writes.iter().flat_map(|write| match write {
            Write::Complete(outcome) => std::slice::from_ref(&outcome.ticket).iter().copied(),
            Write::Release(tickets) => tickets.iter().copied(),
            _ => [].iter().copied(),
        }));
        for write in &writes {
            if let Write::Key(_, key) = write {
                shared.reservations.settled(&key.key);
            }
        }
        self.feed.tell(&writes, &answers, self.shared.claims.is_none());
        let deliveries = answers.iter().filter(|answer| matches!(answer, Answer::Stored(_))).count();
        let count = writes.len();
        for ((_, _, sender, _), result) in others.into_iter().zip(answers) {
            answer(sender, Ok(result));
        }
        (self.on_commit)(Committed { deliveries, writes: count, took });
        Ok(())
    }

    /// The store has failed for good.
    fn fail(&self, error: &StoreError) -> Duration {
        self.shared.fail(error);
        MAINTAIN
    }

    fn refuse_all(&self, batch: Vec<Entry>) {
        let error = self.shared.failure().map_or(StoreError::Closed, StoreError::Failed);
        for entry in batch {
            if matches!(entry.write, Write::Record(_)) {
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
        self.refuse_all(self.shared.end());
    }
}

/// The same writes in the same order, each outcome apart from the others.
fn apart(batch: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut parts: Vec<Vec<Entry>> = Vec::new();
    for entry in batch {
        match parts.last_mut() {
            Some(part) if !is_outcome(&entry) && !part.first().is_some_and(is_outcome) => part.push(entry),
            _ => parts.push(vec![entry]),
        }
    }
    parts
}

fn is_outcome(entry: &Entry) -> bool {
    matches!(entry.write, Write::Complete(_))
}

fn answer(sender: Option<Sender>, result: Result<Answer, StoreError>) {
    if let Some(sender) = sender {
        // A sender that has gone does not need the answer; what was stored stays.
        let _gone = sender.send(result);
    }
}
