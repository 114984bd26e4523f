//! What a batch changes of stored deliveries: they are read and locked, changed here, and written together.
//!
//! An outcome counts only if the session of its claim lives, and if the delivery was not claimed again since. Any other
//! is dropped: the gateway that claimed the delivery next makes the attempt again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use uuid::Uuid;

use super::leases::Lease;
use crate::store::attempt::{Attempt, AttemptOutcome, KeptBody, Next, Settled, Ticket};
use crate::store::types::{Changed, Millis, Shown, State};
use crate::store::waiting::Waiting;

/// Changes of the numbers, by route and kind.
pub type Deltas = HashMap<(i32, Shown), i64>;

/// The time by the clock of the database.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now.
    pub now: Millis,
    /// What has to be added to a time of this gateway's system.
    pub skew: Millis,
    /// What has to be added to a time of its queue.
    pub of_queue: Millis,
}

/// A row of the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueRow {
    pub waiting: Waiting,
    /// The session that has claimed it.
    pub owner: Option<i64>,
    /// The number of the last claim.
    pub fence: i64,
    /// It is to be written.
    pub changed: bool,
}

/// A stored delivery, as far as a batch can change it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub id: Uuid,
    pub route: i32,
    pub state: State,
    pub attempts: u32,
    pub status: Option<u16>,
    pub duration_ms: Option<u32>,
    pub settled_at: Option<Millis>,
    pub reason: Option<String>,
    /// Where it waits.
    pub waits: BTreeMap<u16, QueueRow>,
    /// The body is kept as it came.
    pub is_whole: bool,
    /// The last attempt at each destination.
    pub numbers: HashMap<u16, u32>,
    /// Places in the queue that go.
    pub left: BTreeSet<u16>,
    /// State, attempts and what belongs to them are to be written.
    pub changed: bool,
    /// The head that replaces the stored one.
    pub head: Option<Bytes>,
    /// The body that replaces the stored one; `Some(None)` takes it away.
    pub body: Option<Option<Bytes>>,
    /// Head, details and what else can say something of the content are to be overwritten.
    pub erased: bool,
    /// Nothing of it stays.
    pub gone: bool,
}

impl Loaded {
    fn shown(&self) -> Shown {
        Shown::of(self.state, self.attempts, false)
    }

    fn leave(&mut self, destination: u16) {
        if self.waits.remove(&destination).is_some() {
            self.left.insert(destination);
        }
    }

    fn leave_all(&mut self) {
        self.left.extend(std::mem::take(&mut self.waits).into_keys());
    }

    fn settle(&mut self, state: State, at: Option<Millis>) {
        (self.state, self.settled_at, self.changed) = (state, at, true);
    }

    fn count(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        (self.status, self.duration_ms, self.changed) = (attempt.status, Some(attempt.duration_ms), true);
    }

    fn keep(&mut self, settled: &Settled) {
        if settled.head.is_some() {
            self.head.clone_from(&settled.head);
        }
        match &settled.body {
            KeptBody::AsItIs => {}
            KeptBody::Only(body) => self.body = Some(Some(body.clone())),
            KeptBody::Nothing => self.body = Some(None),
        }
    }
}

/// The deliveries that a batch changes.
#[derive(Debug, Default)]
pub struct Work {
    /// By row.
    pub rows: BTreeMap<i64, Loaded>,
    /// Attempts that were made.
    pub attempts: BTreeMap<(i64, u16, u32), Attempt>,
    /// What the numbers change by.
    pub deltas: Deltas,
    /// Outcomes that came after their claim had ended.
    pub dropped: u64,
}

impl Work {
    /// Changes a delivery, and the numbers with it.
    fn change<T>(&mut self, row: i64, change: impl FnOnce(&mut Loaded) -> T) -> Option<T> {
        let loaded = self.rows.get_mut(&row).filter(|loaded| !loaded.gone)?;
        let before = loaded.shown();
        let result = change(loaded);
        let (route, after, gone) = (loaded.route, loaded.shown(), loaded.gone);
        if gone || before != after {
            *self.deltas.entry((route, before)).or_default() -= 1;
            *self.deltas.entry((route, after)).or_default() += i64::from(!gone);
        }
        Some(result)
    }

    fn change_by_id(&mut self, id: Uuid, change: impl FnOnce(&mut Loaded) -> Changed) -> Changed {
        self.row_of(id).and_then(|row| self.change(row, change)).unwrap_or(Changed::Unknown)
    }

    /// The number of the route of a delivery.
    pub fn route_of(&self, id: Uuid) -> Option<i32> {
        self.row_of(id).and_then(|row| self.rows.get(&row)).map(|loaded| loaded.route)
    }

    fn row_of(&self, id: Uuid) -> Option<i64> {
        self.rows.iter().find(|(_, loaded)| loaded.id == id).map(|(row, _)| *row)
    }

    /// These are given back: a change of the same batch must not write their claims again.
    pub fn release(&mut self, tickets: &[Ticket], leases: &HashMap<Ticket, Lease>) {
        for ticket in tickets {
            let waits = self.rows.get_mut(&ticket.row).and_then(|loaded| loaded.waits.get_mut(&ticket.destination));
            if let (Some(waits), Some(lease)) = (waits, leases.get(ticket))
                && (waits.owner, waits.fence) == (Some(lease.session), lease.fence)
            {
                waits.owner = None;
            }
        }
    }

    /// Takes up what came of an attempt, if its claim still counts.
    pub fn complete(&mut self, outcome: &AttemptOutcome, lease: Option<Lease>, living: &HashSet<i64>, times: Times) {
        let (row, destination) = (outcome.ticket.row, outcome.ticket.destination);
        let Some(lease) = lease.filter(|lease| living.contains(&lease.session)) else {
            self.dropped += 1;
            return;
        };
        let is_ours = |waits: &QueueRow| waits.owner == Some(lease.session) && waits.fence == lease.fence;
        // Retention may have taken it, if it is not kept at all.
        let Some(loaded) = self.rows.get(&row) else { return };
        match loaded.waits.get(&destination) {
            Some(waits) if waits.waiting.since == outcome.since && !is_ours(waits) => {
                self.dropped += 1;
                return;
            }
            // It was written before, and the answer to the commit was lost.
            None if outcome.attempt.number <= loaded.attempts => return,
            _ => {}
        }
        let mut attempt = outcome.attempt.clone();
        if loaded.state == State::Erased {
            attempt.redact();
        }
        self.attempts.insert((row, destination, attempt.number), attempt);
        self.change(row, |loaded| apply(loaded, outcome, is_ours, times));
        if self.rows.get(&row).is_some_and(|loaded| loaded.gone) {
            self.attempts.retain(|(of, ..), _| *of != row);
        }
    }

    /// Gives a delivery another state, by hand.
    pub fn settle(&mut self, id: Uuid, from: &[State], to: State, now: Millis) -> Changed {
        self.change_by_id(id, |loaded| {
            if !from.contains(&loaded.state) {
                return Changed::Not(loaded.state);
            }
            loaded.leave_all();
            loaded.settle(to, Some(now));
            Changed::Done(loaded.attempts)
        })
    }

    /// Overwrites what is kept of a delivery.
    pub fn erase(&mut self, id: Uuid, now: Millis) -> Changed {
        let changed = self.change_by_id(id, |loaded| {
            loaded.leave_all();
            (loaded.head, loaded.body, loaded.erased) = (None, Some(None), true);
            loaded.settle(State::Erased, Some(now));
            Changed::Done(loaded.attempts)
        });
        let row = self.row_of(id);
        for ((of, ..), attempt) in &mut self.attempts {
            if Some(*of) == row {
                attempt.redact();
            }
        }
        changed
    }

    /// Makes a delivery due again.
    pub fn requeue(
        &mut self,
        id: Uuid,
        from: &[State],
        destinations: u16,
        (at, once, head): (Millis, bool, Option<&Bytes>),
        skew: Millis,
    ) -> Changed {
        self.change_by_id(id, |loaded| {
            let state = loaded.state;
            let is_queued = !loaded.waits.is_empty();
            let is_replayed = loaded.waits.values().any(|waits| waits.waiting.is_replayed(at + skew));
            if !from.contains(&state) || (is_queued && state != State::Pending) || is_replayed {
                return Changed::Not(state);
            }
            if !loaded.is_whole {
                return Changed::NoBody;
            }
            if let Some(head) = head {
                (loaded.head, loaded.changed) = (Some(head.clone()), true);
            }
            for waits in loaded.waits.values_mut() {
                waits.waiting.replay(at + skew, at);
                waits.changed = true;
            }
            if is_queued {
                return Changed::Done(loaded.attempts);
            }
            for destination in 0..destinations {
                let attempts = loaded.numbers.get(&destination).copied().unwrap_or(0);
                let waiting = Waiting::replayed(attempts, at + skew, at, once);
                loaded.left.remove(&destination);
                loaded.waits.insert(destination, QueueRow { waiting, owner: None, fence: 0, changed: true });
            }
            if !once {
                loaded.settle(State::Pending, None);
            }
            Changed::Done(loaded.attempts)
        })
    }
}

/// What an outcome does to its delivery. One that was erased or discarded meanwhile stays so, unless a discarded one was
/// delivered all the same.
fn apply(loaded: &mut Loaded, outcome: &AttemptOutcome, is_ours: impl Fn(&QueueRow) -> bool, times: Times) {
    let (destination, attempt) = (outcome.ticket.destination, &outcome.attempt);
    let is_erased = loaded.state == State::Erased;
    let numbers = loaded.numbers.entry(destination).or_default();
    *numbers = (*numbers).max(attempt.number);
    let is_queued = match loaded.waits.get_mut(&destination) {
        Some(waits) if waits.waiting.since != outcome.since => {
            waits.waiting.count_from(attempt.number);
            waits.changed = true;
            if is_ours(waits) {
                waits.owner = None;
            }
            loaded.count(attempt);
            return;
        }
        Some(waits) => {
            if let Next::Retry(at) = outcome.next {
                waits.waiting.retry(at + times.of_queue);
                (waits.owner, waits.changed) = (None, true);
            }
            true
        }
        None => false,
    };
    if !matches!(outcome.next, Next::Retry(_)) {
        loaded.leave(destination);
    }
    loaded.count(attempt);
    if is_erased || !loaded.waits.is_empty() {
        return;
    }
    if let Some(state) = outcome.next.settles(is_queued) {
        loaded.settle(state, Some(times.now));
        loaded.reason = outcome.reason.as_deref().map(str::to_owned);
    }
    match &outcome.settled {
        Some(settled) if settled.is_kept => loaded.keep(settled),
        Some(_) => loaded.gone = true,
        None => {}
    }
}
