//! The store in memory, for a gateway without `store`: records of the newest deliveries and dedupe keys, gone with the
//! process.
//!
//! It holds at most [`Bounds::deliveries`] and [`Bounds::bytes`]; the oldest ones that do not wait make room. Dedupe keys
//! have a bound of their own; the oldest go first, and are counted.

mod read;
mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use read::MemoryReader;
use rows::{Inner, Row, Waiting, complete, requeue};
use uuid::Uuid;

use crate::store::backend::{Answer, Backend, Book, Reader, Write};
use crate::store::claims::lock;
use crate::store::types::{Change, Changed, DedupeKey, Delivery, Keep, Millis, Sizes, StoreError, Ticket};

/// Deliveries that one step of retention drops.
const STEP: usize = 256;

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
}

impl Memory {
    /// An empty store.
    pub fn new(bounds: Bounds, keep: Keep) -> Self {
        Self { inner: Arc::default(), book: Arc::default(), bounds, keep, evicted: 0 }
    }

    fn apply(&mut self, inner: &mut Inner, write: &Write, now: Millis, claimed: &mut dyn FnMut(Ticket)) -> Answer {
        match write {
            Write::Accept { delivery, key, destinations, claim } => {
                if let Some(id) = key.and_then(|key| inner.key(&key.key, now)) {
                    return Answer::Duplicate(id);
                }
                let Some(row) = self.insert(inner, delivery, *key, now) else {
                    return Answer::Duplicate(delivery.id);
                };
                let at = delivery.received_at;
                for destination in 0..*destinations {
                    if *claim {
                        claimed(Ticket { row, destination });
                    }
                    let waiting =
                        Waiting { due_at: at, attempts: 0, counted: 0, since: at, replay: false, once: false };
                    inner.enqueue(row, destination, waiting);
                }
                Answer::Stored(Ticket { row, destination: 0 })
            }
            Write::Record { delivery, key } => {
                self.insert(inner, delivery, *key, now);
                Answer::Done
            }
            Write::Key(id, key) => {
                self.add_key(inner, *id, *key);
                Answer::Done
            }
            Write::Complete(outcome) => {
                self.update(inner, outcome.ticket.row, |inner, row| complete(inner, row, outcome, now));
                Answer::Done
            }
            Write::Change(change) => Answer::Changed(self.change(inner, change, now)),
        }
    }

    /// Stores a delivery; gives its row, or `None` if its id is stored already.
    fn insert(&mut self, inner: &mut Inner, delivery: &Delivery, key: Option<DedupeKey>, now: Millis) -> Option<i64> {
        if inner.ids.contains_key(&delivery.id) {
            return None;
        }
        inner.last_row += 1;
        let row = inner.last_row;
        if let Some(key) = key {
            self.add_key(inner, delivery.id, key);
        }
        let delivery = delivery.clone();
        inner.ids.insert(delivery.id, row);
        let mut book = lock(&self.book);
        book.routes.entry(Arc::clone(&delivery.route)).or_default();
        let stored = Row { delivery, made: Vec::new(), attempts: 0, settled_at: now, waits: BTreeMap::new() };
        book.add(&stored.delivery.route, stored.shown(), 1);
        inner.bytes += stored.weight();
        inner.rows.insert(row, stored);
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

    /// Changes a row, and the numbers with it.
    fn update<T>(&self, inner: &mut Inner, row: i64, change: impl FnOnce(&mut Inner, &mut Row) -> T) -> Option<T> {
        let mut stored = inner.rows.remove(&row)?;
        let (shown, weight) = (stored.shown(), stored.weight());
        let result = change(inner, &mut stored);
        inner.bytes = inner.bytes + stored.weight() - weight;
        let mut book = lock(&self.book);
        book.add(&stored.delivery.route, shown, -1);
        book.add(&stored.delivery.route, stored.shown(), 1);
        inner.rows.insert(row, stored);
        Some(result)
    }

    fn change(&self, inner: &mut Inner, change: &Change, now: Millis) -> Changed {
        match change {
            Change::Settle { id, from, to } => self.by_id(inner, *id, |inner, number, row| {
                if !from.contains(&row.delivery.state) {
                    return Changed::Not(row.delivery.state);
                }
                inner.dequeue(number, row);
                (row.delivery.state, row.settled_at) = (*to, now);
                Changed::Done(row.attempts)
            }),
            Change::Erase { id } => self.by_id(inner, *id, |inner, number, row| {
                inner.dequeue(number, row);
                row.erase(now);
                Changed::Done(row.attempts)
            }),
            Change::Requeue { id, from, destinations, at, once, head } => {
                self.by_id(inner, *id, |inner, number, row| {
                    requeue(inner, number, row, from, *destinations, (*at, *once, head.as_ref()))
                })
            }
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

    fn by_id(&self, inner: &mut Inner, id: Uuid, change: impl FnOnce(&mut Inner, i64, &mut Row) -> Changed) -> Changed {
        let Some(number) = inner.ids.get(&id).copied() else { return Changed::Unknown };
        self.update(inner, number, |inner, row| change(inner, number, row)).unwrap_or(Changed::Unknown)
    }

    fn remove(&self, inner: &mut Inner, number: i64) {
        let Some(mut row) = inner.rows.remove(&number) else { return };
        inner.dequeue(number, &mut row);
        inner.ids.remove(&row.delivery.id);
        inner.bytes -= row.weight();
        lock(&self.book).add(&row.delivery.route, row.shown(), -1);
    }

    /// Drops the oldest deliveries that do not wait, until the rest is within the bounds.
    fn make_room(&self, inner: &mut Inner) {
        let over = |inner: &Inner| inner.rows.len() > self.bounds.deliveries || inner.bytes > self.bounds.bytes;
        while over(inner)
            && let Some(oldest) = inner.rows.iter().find(|(_, row)| row.waits.is_empty()).map(|(number, _)| *number)
        {
            self.remove(inner, oldest);
        }
    }
}

impl Backend for Memory {
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(MemoryReader { inner: Arc::clone(&self.inner), book: Arc::clone(&self.book) }))
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
        Ok(answers)
    }

    fn maintain(&mut self, now: Millis) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.inner);
        let mut inner = lock(&shared);
        let over = |row: &Row| {
            let class = row.delivery.state.class();
            class.is_some_and(|class| row.settled_at <= now.saturating_sub(self.keep.of(class)))
        };
        let gone: Vec<i64> =
            inner.rows.iter().filter(|(_, row)| over(row)).map(|(number, _)| *number).take(STEP).collect();
        for number in &gone {
            self.remove(&mut inner, *number);
        }
        while let Some((key, until)) = inner.key_order.front().copied()
            && until <= now
        {
            inner.key_order.pop_front();
            inner.keys.remove(&key);
        }
        Ok(gone.len() == STEP)
    }

    fn sizes(&self) -> Result<Sizes, StoreError> {
        Ok(Sizes { used: u64::try_from(lock(&self.inner).bytes).unwrap_or(u64::MAX), free: u64::MAX })
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
