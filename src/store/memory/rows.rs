//! The deliveries in memory, their places in the queue, and what changes them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::sorted::Sorted;
use crate::store::attempt::{Attempt, AttemptOutcome, KeptBody, Next};
use crate::store::backend::Tally;
use crate::store::list::{Filter, Needs, Parts, length};
use crate::store::record::Record;
use crate::store::types::{Changed, Delivery, Millis, Shown, State, Stored};
use crate::store::waiting::Waiting;

/// A delivery as it was handed in: a record is not copied unless it is changed.
#[derive(Debug)]
pub struct Kept(Arc<Record>);

impl Kept {
    pub fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    fn attempt(&self) -> Option<&Attempt> {
        self.0.attempt.as_ref()
    }

    fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        Arc::make_mut(&mut self.0).attempt.as_mut()
    }
}

impl Deref for Kept {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.0.delivery
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Delivery {
        &mut Arc::make_mut(&mut self.0).delivery
    }
}

/// What waits: route, destination, due time and row.
pub type DueOrder = BTreeSet<(Arc<str>, u16, Millis, i64)>;

#[derive(Debug, Default)]
pub struct Inner {
    pub rows: Sorted<i64, Row>,
    /// The rows in order: those with the budget of refused deliveries, and the others. Some are gone already.
    pub orders: [VecDeque<i64>; 2],
    /// How many rows have the budget of refused deliveries, and their bytes.
    pub refused: (usize, usize),
    /// The row of each delivery, by its id. Numbers are compared faster than bytes.
    pub ids: Sorted<u128, i64>,
    pub due: DueOrder,
    pub keys: HashMap<[u8; 16], (Millis, Uuid)>,
    pub key_order: VecDeque<([u8; 16], Millis)>,
    pub bytes: usize,
    pub last_row: i64,
    /// What this commit has changed of the numbers.
    pub tally: Tally,
}

#[derive(Debug)]
pub struct Row {
    pub delivery: Kept,
    /// It has the budget of refused deliveries.
    pub is_of_refused: bool,
    /// About how much memory it takes, as [`Row::weigh`] says.
    pub weight: usize,
    pub attempts: u32,
    pub settled_at: Millis,
    /// What the queue knows of it. Records have none, so that their rows are small.
    pub queued: Option<Box<QueuedRow>>,
}

#[derive(Debug, Default)]
pub struct QueuedRow {
    /// The attempts that were made after it was stored.
    made: Vec<Attempt>,
    /// Its places in the queue, by destination.
    waits: Sorted<u16, Waiting>,
}

/// A row as it was: it shares head, details and body with the row.
#[derive(Debug)]
pub struct Seen {
    record: Arc<Record>,
    attempts: u32,
    next_attempt_at: Option<Millis>,
}

impl Row {
    pub fn shown(&self) -> Shown {
        Shown::of(self.delivery.state, self.attempts, false)
    }

    pub fn weigh(&self) -> usize {
        self.delivery.weight() + self.made().map(Attempt::weight).sum::<usize>()
    }

    /// Its places in the queue, by destination.
    pub fn waits(&self) -> impl Iterator<Item = (u16, &Waiting)> {
        self.queued.iter().flat_map(|queued| queued.waits.iter())
    }

    /// Its place in the queue for a destination.
    pub fn wait(&self, destination: u16) -> Option<&Waiting> {
        self.queued.as_ref()?.waits.get(destination)
    }

    /// Whether it is in the queue.
    pub fn is_waiting(&self) -> bool {
        self.queued.as_ref().is_some_and(|queued| !queued.waits.is_empty())
    }

    fn queued(&mut self) -> &mut QueuedRow {
        self.queued.get_or_insert_default()
    }

    /// All attempts that were made.
    pub fn made(&self) -> impl Iterator<Item = &Attempt> {
        self.delivery.attempt().into_iter().chain(self.queued.iter().flat_map(|queued| &queued.made))
    }

    pub fn stored(&self, held: bool) -> Stored {
        self.seen().stored(held)
    }

    /// What [`Row::stored`] gave, with head and details.
    pub fn detailed(&self, stored: Stored) -> Stored {
        self.seen().detailed(stored)
    }

    /// The row as it is now, to look at later.
    pub fn seen(&self) -> Seen {
        let next_attempt_at = self.waits().map(|(_, waiting)| waiting.due_at).min();
        Seen { record: Arc::clone(&self.delivery.0), attempts: self.attempts, next_attempt_at }
    }
}

impl Seen {
    /// What a list shows of it.
    pub fn stored(&self, held: bool) -> Stored {
        let stored = Stored::new(self.delivery(), self.attempts, self.next_attempt_at);
        Stored { shown: Shown::of(stored.delivery.state, self.attempts, held), ..stored }
    }

    pub fn delivery(&self) -> &Delivery {
        &self.record.delivery
    }

    fn detailed(&self, mut stored: Stored) -> Stored {
        stored.delivery.head = self.delivery().head.clone();
        stored.delivery.details = self.delivery().details.clone();
        stored
    }

    /// Whether the conditions of a filter hold.
    pub fn meets(&self, filter: &Filter, stored: &Stored) -> bool {
        if !filter.all_hold(Needs::Summary, &Parts { stored, kept: 0, body: None }) {
            return false;
        }
        let body = self.delivery().body.as_deref();
        let parts = Parts { stored: &self.detailed(stored.clone()), kept: length(body), body };
        filter.all_hold(Needs::Details, &parts) && filter.all_hold(Needs::Body, &parts)
    }
}

impl Row {
    /// Takes a delivery out of the queue.
    pub fn dequeue(&mut self, due: &mut DueOrder, number: i64) {
        let Some(queued) = &mut self.queued else { return };
        while let Some((destination, waiting)) = queued.waits.pop_first() {
            due.remove(&(Arc::clone(&self.delivery.route), destination, waiting.due_at, number));
        }
    }

    /// Changes a delivery's place in the queue.
    fn reschedule(&mut self, due: &mut DueOrder, number: i64, change: impl Fn(&mut Waiting)) {
        for (destination, waiting) in self.queued.iter_mut().flat_map(|queued| queued.waits.iter_mut()) {
            due.remove(&(Arc::clone(&self.delivery.route), destination, waiting.due_at, number));
            change(waiting);
            due.insert((Arc::clone(&self.delivery.route), destination, waiting.due_at, number));
        }
    }

    pub fn erase(&mut self, now: Millis) {
        let delivery = &mut *self.delivery;
        (delivery.head, delivery.details, delivery.body) = Default::default();
        (delivery.event_type, delivery.event_id, delivery.request_id) = Default::default();
        (delivery.peer, delivery.method, delivery.path) = Default::default();
        delivery.state = State::Erased;
        self.settled_at = now;
        self.delivery.attempt_mut().into_iter().for_each(Attempt::redact);
        self.queued.iter_mut().flat_map(|queued| &mut queued.made).for_each(Attempt::redact);
    }
}

impl Inner {
    /// An empty store. It allocates room for this many rows and ids now, so that they are not copied as it grows.
    pub fn with_room(many: usize) -> Self {
        Self { rows: Sorted::with_room(many), ids: Sorted::with_room(many), ..Self::default() }
    }

    /// Adds a row.
    pub fn push(&mut self, number: i64, row: Row) {
        let weight = row.weight;
        self.bytes += weight;
        if row.is_of_refused {
            self.refused = (self.refused.0 + 1, self.refused.1 + weight);
        }
        if let Some(order) = self.orders.get_mut(usize::from(!row.is_of_refused)) {
            order.push_back(number);
        }
        self.tally.count(&row.delivery.route, row.shown(), 1);
        self.rows.insert(number, row);
    }

    /// Changes a row, and the numbers with it.
    pub fn update<T>(&mut self, number: i64, change: impl FnOnce(&mut DueOrder, &mut Row) -> T) -> Option<T> {
        let row = self.rows.get_mut(number)?;
        let (before, shown) = (row.weight, row.shown());
        let result = change(&mut self.due, row);
        row.weight = row.weigh();
        let after = row.weight;
        self.bytes = self.bytes - before + after;
        if row.is_of_refused {
            self.refused.1 = self.refused.1 - before + after;
        }
        self.tally.count(&row.delivery.route, shown, -1);
        self.tally.count(&row.delivery.route, row.shown(), 1);
        Some(result)
    }

    /// Takes a row out.
    pub fn remove(&mut self, number: i64) {
        let Some(mut row) = self.rows.remove(number) else { return };
        row.dequeue(&mut self.due, number);
        self.ids.remove(row.delivery.id.as_u128());
        if let Some(order) = self.orders.get_mut(usize::from(!row.is_of_refused))
            && order.front() == Some(&number)
        {
            order.pop_front();
        }
        let weight = row.weight;
        self.bytes -= weight;
        if row.is_of_refused {
            self.refused = (self.refused.0 - 1, self.refused.1 - weight);
        }
        self.tally.count(&row.delivery.route, row.shown(), -1);
        self.tally.removed(row.delivery.id);
    }

    /// The oldest row of this kind that does not wait.
    pub fn oldest(&mut self, is_of_refused: bool) -> Option<i64> {
        let Self { orders, rows, .. } = self;
        let order = orders.get_mut(usize::from(!is_of_refused))?;
        if order.len() > 2 * rows.len() + 64 {
            order.retain(|number| rows.has(*number));
        }
        while let Some(number) = order.front() {
            match rows.get(*number) {
                None => drop(order.pop_front()),
                Some(row) if !row.is_waiting() => return Some(*number),
                Some(_) => break,
            }
        }
        order.iter().copied().find(|number| rows.get(*number).is_some_and(|row| !row.is_waiting()))
    }

    pub fn key(&self, key: &[u8; 16], now: Millis) -> Option<Uuid> {
        self.keys.get(key).filter(|(until, _)| *until > now).map(|(_, id)| *id)
    }

    pub fn enqueue(&mut self, number: i64, destination: u16, waiting: Waiting) {
        if let Some(row) = self.rows.get_mut(number) {
            self.due.insert((Arc::clone(&row.delivery.route), destination, waiting.due_at, number));
            row.queued().waits.insert(destination, waiting);
        }
    }

    pub fn cut(&mut self, route: &Arc<str>, latest: Millis) -> u32 {
        let late: Vec<_> =
            self.due.iter().filter(|(name, _, due, _)| name == route && *due > latest).cloned().collect();
        let mut cut = 0;
        for late in late {
            let (destination, number) = (late.1, late.3);
            self.due.remove(&late);
            if let Some(waiting) =
                self.rows.get_mut(number).and_then(|row| row.queued.as_mut()?.waits.get_mut(destination))
            {
                waiting.due_at = latest;
                self.due.insert((Arc::clone(route), destination, latest, number));
                cut += 1;
            }
        }
        cut
    }
}

/// Writes what came of an attempt; says whether the delivery stays.
pub fn complete(due: &mut DueOrder, row: &mut Row, outcome: &AttemptOutcome, now: Millis) -> bool {
    let (number, destination) = (outcome.ticket.row, outcome.ticket.destination);
    let erased = row.delivery.state == State::Erased;
    let mut attempt = outcome.attempt.clone();
    if erased {
        attempt.redact();
    }
    row.delivery.status = attempt.status;
    row.delivery.duration_ms = Some(attempt.duration_ms);
    row.queued().made.push(attempt);
    row.attempts += 1;
    if let Some(replay) = row.queued().waits.get_mut(destination).filter(|waiting| waiting.since != outcome.since) {
        replay.count_from(outcome.attempt.number);
        return true;
    }
    let waiting = row.queued().waits.remove(destination);
    if let Some(waiting) = waiting {
        due.remove(&(Arc::clone(&row.delivery.route), destination, waiting.due_at, number));
    }
    if let (Next::Retry(at), Some(mut waiting)) = (&outcome.next, waiting) {
        waiting.retry(*at);
        row.queued().waits.insert(destination, waiting);
        due.insert((Arc::clone(&row.delivery.route), destination, *at, number));
    }
    if let Some(state) = outcome.next.settles(waiting.is_some())
        && !erased
        && !row.is_waiting()
    {
        (row.delivery.state, row.settled_at) = (state, now);
        row.delivery.reason.clone_from(&outcome.reason);
    }
    if let Some(settled) = &outcome.settled
        && !erased
        && !row.is_waiting()
    {
        if !settled.is_kept {
            return false;
        }
        if let Some(head) = &settled.head {
            row.delivery.head = head.clone();
        }
        match &settled.body {
            KeptBody::AsItIs => {}
            KeptBody::Only(body) => row.delivery.body = Some(body.clone()),
            KeptBody::Nothing => row.delivery.body = None,
        }
    }
    true
}

pub fn requeue(
    due: &mut DueOrder,
    number: i64,
    row: &mut Row,
    from: &[State],
    destinations: u16,
    (at, once, head): (Millis, bool, Option<&Bytes>),
) -> Changed {
    let state = row.delivery.state;
    let queued = row.is_waiting();
    let is_replayed = row.waits().any(|(_, waiting)| waiting.is_replayed(at));
    if !from.contains(&state) || (queued && state != State::Pending) || is_replayed {
        return Changed::Not(state);
    }
    let kept = row.delivery.body.as_ref().map(|body| body.len() as u64);
    if kept != Some(row.delivery.request_bytes) {
        return Changed::NoBody;
    }
    if let Some(head) = head {
        row.delivery.head.clone_from(head);
    }
    if queued {
        row.reschedule(due, number, |waiting| waiting.replay(at, at));
        return Changed::Done(row.attempts);
    }
    for destination in 0..destinations {
        let made = row.made().filter(|attempt| attempt.destination == destination);
        let attempts = made.map(|attempt| attempt.number).max().unwrap_or(0);
        row.queued().waits.insert(destination, Waiting::replayed(attempts, at, at, once));
        due.insert((Arc::clone(&row.delivery.route), destination, at, number));
    }
    if !once {
        row.delivery.state = State::Pending;
    }
    Changed::Done(row.attempts)
}
