//! The store in memory, for a gateway without `store`: records of the newest deliveries and dedupe keys, gone with the
//! process.
//!
//! It holds at most [`Bounds::deliveries`] and [`Bounds::bytes`]; the oldest ones that do not wait make room. Refused
//! deliveries, which need no secret, never take more than a tenth of that from the others: beyond it they make room for
//! them. Dedupe keys have a bound of their own; the oldest go first, and are counted.

mod read;
mod rows;
mod sorted;

use std::sync::{Arc, Mutex};

use read::MemoryReader;
use rows::{DueOrder, Inner, Kept, Row, complete, requeue};
use uuid::Uuid;

use crate::clock::Clock;
use crate::lock::lock;
use crate::store::attempt::Ticket;
use crate::store::backend::{Answer, Backend, Book, Reader, Write};
use crate::store::inbox::BATCH;
use crate::store::record::Record;
use crate::store::types::{Change, Changed, DedupeKey, Delivery, Keep, Millis, Sizes, StoreError};
use crate::store::waiting::Waiting;

/// Deliveries that one step of retention drops.
const STEP: usize = 256;

/// How often retention looks at all deliveries.
const STEP_EVERY: Millis = 1_000;
/// The part that refused deliveries can take from the others: one in ten.
const REFUSED_SHARE: usize = 10;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Deliveries.
    pub deliveries: usize,
    /// Bytes that they take, about.
    pub bytes: usize,
    /// Dedupe keys.
    pub keys: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { deliveries: 1_000, bytes: 32 << 20, keys: 1_000_000 }
    }
}

/// The writing side.
#[derive(Debug)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
    book: Arc<Mutex<Book>>,
    bounds: Bounds,
    keep: Keep,
    evicted: u64,
    next_step: Millis,
}

impl Memory {
    /// An empty store.
    pub fn new(bounds: Bounds, keep: Keep) -> Self {
        let inner = Inner::with_room(bounds.deliveries + BATCH);
        Self {
            inner: Arc::new(Mutex::new(inner)),
            book: Arc::default(),
            bounds,
            keep,
            evicted: 0,
            next_step: Millis::MIN,
        }
    }

    fn apply(&mut self, inner: &mut Inner, write: &Write, now: Millis, claimed: &mut dyn FnMut(Ticket)) -> Answer {
        match write {
            Write::Accept { delivery, key, destinations, claim } => {
                if let Some(id) = key.and_then(|key| inner.key(&key.key, now)) {
                    return Answer::Duplicate(id);
                }
                let record = Record::from(Delivery::clone(delivery));
                let Some(row) = self.insert(inner, Arc::new(record), *key, now) else {
                    return Answer::Duplicate(delivery.id);
                };
                let at = delivery.received_at;
                for destination in 0..*destinations {
                    if *claim {
                        claimed(Ticket { row, destination });
                    }
                    inner.enqueue(row, destination, Waiting::received(at));
                }
                Answer::Stored(Ticket { row, destination: 0 })
            }
            Write::Record(record) => {
                self.insert(inner, Arc::clone(record), None, now);
                Answer::Done
            }
            Write::Key(id, key) => {
                self.add_key(inner, *id, *key);
                Answer::Done
            }
            Write::Complete(outcome) => {
                let number = outcome.ticket.row;
                if inner.update(number, |due, row| complete(due, row, outcome, now)) == Some(false) {
                    inner.remove(number);
                }
                Answer::Done
            }
            // It is in the queue from the start; what is claimed is known to the store alone.
            Write::Release(_) => Answer::Done,
            Write::Change(change) => Answer::Changed(self.change(inner, change, now)),
        }
    }

    /// Stores a delivery; gives its row, or `None` if its id is stored already.
    fn insert(&mut self, inner: &mut Inner, record: Arc<Record>, key: Option<DedupeKey>, now: Millis) -> Option<i64> {
        let id = record.delivery.id;
        let row = inner.last_row + 1;
        if !inner.ids.insert(id.as_u128(), row) {
            return None;
        }
        inner.last_row = row;
        if let Some(key) = key {
            self.add_key(inner, id, key);
        }
        let (attempts, is_of_refused) = (u32::from(record.attempt.is_some()), record.is_of_refused());
        let (weight, delivery) = (record.weight(), Kept::new(record));
        inner.push(row, Row { delivery, is_of_refused, weight, attempts, settled_at: now, queued: None });
        Some(row)
    }

    fn add_key(&mut self, inner: &mut Inner, id: Uuid, key: DedupeKey) {
        if inner.keys.insert(key.key, (key.until, id)).is_none() {
            inner.key_order.push_back((key.key, key.until));
        }
        while inner.keys.len() > self.bounds.keys
            && let Some((oldest, _)) = inner.key_order.pop_front()
        {
            self.evicted += u64::from(inner.keys.remove(&oldest).is_some());
        }
    }

    fn change(&self, inner: &mut Inner, change: &Change, now: Millis) -> Changed {
        match change {
            Change::Settle { id, from, to } => by_id(inner, *id, |due, number, row| {
                if !from.contains(&row.delivery.state) {
                    return Changed::Not(row.delivery.state);
                }
                row.dequeue(due, number);
                (row.delivery.state, row.settled_at) = (*to, now);
                Changed::Done(row.attempts)
            }),
            Change::Erase { id } => by_id(inner, *id, |due, number, row| {
                row.dequeue(due, number);
                row.erase(now);
                Changed::Done(row.attempts)
            }),
            Change::Requeue { id, from, destinations, at, once, head } => by_id(inner, *id, |due, number, row| {
                requeue(due, number, row, from, *destinations, (*at, *once, head.as_ref()))
            }),
            Change::Cut { route, latest } => Changed::Done(inner.cut(route, *latest)),
            Change::Pause { route, paused } => {
                lock(&self.book).routes.entry(Arc::clone(route)).or_default().paused = *paused;
                Changed::Done(0)
            }
            Change::PauseByFile { route, paused } => {
                let mut book = lock(&self.book);
                let state = book.routes.entry(Arc::clone(route)).or_default();
                (state.paused, state.paused_by_file) = (*paused, *paused);
                Changed::Done(0)
            }
            Change::Hold { route, held } => {
                lock(&self.book).routes.entry(Arc::clone(route)).or_default().held = *held;
                Changed::Done(0)
            }
        }
    }

    /// Drops the oldest deliveries that do not wait, until the rest is within the bounds: refused ones, as long as these have
    /// more than their share.
    fn make_room(&self, inner: &mut Inner) {
        let Bounds { deliveries, bytes, .. } = self.bounds;
        while inner.rows.len() > deliveries || inner.bytes > bytes {
            let (count, weight) = inner.refused;
            let has_more = count > deliveries / REFUSED_SHARE || weight > bytes / REFUSED_SHARE;
            let first = inner.oldest(has_more);
            let Some(row) = first.or_else(|| inner.oldest(!has_more)) else { return };
            inner.remove(row);
        }
    }
}

fn by_id(inner: &mut Inner, id: Uuid, change: impl FnOnce(&mut DueOrder, i64, &mut Row) -> Changed) -> Changed {
    let Some(number) = inner.ids.get(id.as_u128()).copied() else { return Changed::Unknown };
    inner.update(number, |due, row| change(due, number, row)).unwrap_or(Changed::Unknown)
}

impl Backend for Memory {
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let clock = Clock::system().monotonic();
        Ok(Box::new(MemoryReader { inner: Arc::clone(&self.inner), book: Arc::clone(&self.book), clock }))
    }

    fn commit(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError> {
        let shared = Arc::clone(&self.inner);
        let mut inner = lock(&shared);
        let answers = batch.iter().map(|write| self.apply(&mut inner, write, now, claimed)).collect();
        self.make_room(&mut inner);
        lock(&self.book).apply(&mut inner.tally);
        Ok(answers)
    }

    fn maintain(&mut self, now: Millis) -> Result<bool, StoreError> {
        // A clock that was set back must not stop retention.
        if now < self.next_step && self.next_step - now <= STEP_EVERY {
            return Ok(false);
        }
        let shared = Arc::clone(&self.inner);
        let mut inner = lock(&shared);
        let over = |row: &Row| {
            let class = row.delivery.state.class();
            !row.is_waiting() && class.is_some_and(|class| row.settled_at <= now.saturating_sub(self.keep.of(class)))
        };
        let gone: Vec<i64> =
            inner.rows.iter().filter(|(_, row)| over(row)).map(|(number, _)| number).take(STEP).collect();
        for number in &gone {
            inner.remove(*number);
        }
        lock(&self.book).apply(&mut inner.tally);
        while let Some((key, until)) = inner.key_order.front().copied()
            && until <= now
        {
            inner.key_order.pop_front();
            inner.keys.remove(&key);
        }
        let more = gone.len() == STEP;
        self.next_step = if more { now } else { now.saturating_add(STEP_EVERY) };
        Ok(more)
    }

    fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    fn sizes(&self) -> Result<Sizes, StoreError> {
        Ok(Sizes { used: u64::try_from(lock(&self.inner).bytes).unwrap_or(u64::MAX), free: None })
    }

    fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }

    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
