//! A batch in one transaction: deliveries and records. [`super::attempts`] has the outcomes of attempts,
//! [`super::keys`] the dedupe keys, [`super::changes`] what people ask for.

use std::collections::HashMap;

use rusqlite::OptionalExtension;
use uuid::Uuid;

use super::error::store_error;
use super::row::{self, insert_delivery};
use super::{Sqlite, add_counts, statements};
use crate::store::attempt::{AttemptOutcome, Ticket};
use crate::store::backend::{Answer, Write};
use crate::store::types::{Change, Changed, Delivery, Millis, Shown, State, StoreError};

/// Changes of the numbers, by route and kind.
pub type Deltas = HashMap<(i64, Shown), i64>;

/// What has to be known of a stored delivery before it is changed.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its row.
    pub row: i64,
    /// Its route's number.
    pub route: i64,
    /// Its state.
    pub state: State,
    /// The attempts that were made.
    pub attempts: u32,
}

impl Known {
    /// What it counts as.
    pub fn shown(&self) -> Shown {
        Shown::of(self.state, self.attempts, false)
    }
}

impl Sqlite {
    /// Applies a batch and syncs it.
    pub(super) fn write_batch(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError> {
        let secret = batch.iter().any(removes_a_secret);
        let routes = self.names.numbers.len();
        match self.transaction(|this| this.apply_all(batch, now, claimed)) {
            Ok((answers, deltas)) => {
                add_counts(&self.book, &self.names, &deltas);
                self.note_routes(batch);
                if secret {
                    self.upkeep.secret_left(now);
                }
                Ok(answers)
            }
            Err(error) => {
                self.names.names.retain(|number, _| usize::try_from(*number).is_ok_and(|number| number <= routes));
                let names = &self.names.names;
                self.names.numbers.retain(|_, number| names.contains_key(number));
                Err(store_error(&error))
            }
        }
    }

    fn apply_all(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> rusqlite::Result<(Vec<Answer>, Deltas)> {
        let mut deltas = Deltas::new();
        // Outcomes free pages of bodies, which the batch's deliveries then fill: each of them is written once.
        for outcome in batch.iter().filter_map(outcome_of) {
            self.complete(outcome, now, &mut deltas)?;
        }
        let mut answers = Vec::with_capacity(batch.len());
        for write in batch {
            answers.push(self.apply(write, now, &mut deltas, claimed)?);
        }
        for ((route, shown), delta) in deltas.iter().filter(|(_, delta)| **delta != 0) {
            let mut statement = self.connection.prepare_cached(statements::ADD_COUNT)?;
            statement.execute((route, shown.kind(), delta))?;
        }
        Ok((answers, deltas))
    }

    fn apply(
        &mut self,
        write: &Write,
        now: Millis,
        deltas: &mut Deltas,
        claimed: &mut dyn FnMut(Ticket),
    ) -> rusqlite::Result<Answer> {
        match write {
            Write::Accept { delivery, key, destinations, claim } => {
                if let Some(key) = key
                    && let Some(id) = self.insert_new_key(delivery.id, key, now)?
                {
                    return Ok(Answer::Duplicate(id));
                }
                let Some(row) = self.insert(delivery, 0, now, deltas)? else {
                    return Ok(Answer::Duplicate(delivery.id));
                };
                let route = self.route_number(&delivery.route)?;
                let at = delivery.received_at;
                for destination in 0..*destinations {
                    if *claim {
                        claimed(Ticket { row, destination });
                    }
                    if *claim && *destinations == 1 {
                        self.fresh.add(row, route, at);
                    } else {
                        let mut statement = self.connection.prepare_cached(statements::INSERT_QUEUE)?;
                        statement.execute((row, destination, route, at, 0, at, false, false))?;
                    }
                }
                Ok(Answer::Stored(Ticket { row, destination: 0 }))
            }
            Write::Record(record) => {
                let attempts = u32::from(record.attempt.is_some());
                let row = self.insert(&record.delivery, attempts, now, deltas)?;
                if let (Some(row), Some(attempt)) = (row, &record.attempt) {
                    self.insert_attempt(row, attempt, false)?;
                }
                Ok(Answer::Done)
            }
            Write::Key(id, key) => self.insert_key(*id, key).map(|()| Answer::Done),
            // Written before.
            Write::Complete(_) => Ok(Answer::Done),
            Write::Release(tickets) => {
                tickets.iter().try_for_each(|ticket| self.queue_one(ticket.row)).map(|()| Answer::Done)
            }
            Write::Change(change) => self.change(change, now, deltas).map(Answer::Changed),
        }
    }

    /// Stores a delivery of which so many attempts were made; gives its row, or `None` if its id is stored already.
    fn insert(
        &mut self,
        delivery: &Delivery,
        attempts: u32,
        now: Millis,
        deltas: &mut Deltas,
    ) -> rusqlite::Result<Option<i64>> {
        let route = self.route_number(&delivery.route)?;
        let row = self.next_row;
        let mut statement = self.connection.prepare_cached(statements::INSERT_DELIVERY)?;
        if !insert_delivery(&mut statement, row, route, (delivery, attempts), now)? {
            return Ok(None);
        }
        self.next_row += 1;
        if let Some(body) = &delivery.body {
            self.connection.prepare_cached(statements::INSERT_BODY)?.execute((row, &**body))?;
        }
        *deltas.entry((route, Shown::of(delivery.state, attempts, false))).or_default() += 1;
        Ok(Some(row))
    }

    /// A delivery by its id.
    pub(super) fn known_id(&self, id: Uuid) -> rusqlite::Result<Option<Known>> {
        let mut statement = self.connection.prepare_cached(statements::FIND_BY_ID)?;
        statement.query_row([id.as_bytes()], known).optional()
    }

    /// Brings the book's routes up to date with what was committed.
    fn note_routes(&self, batch: &[Write]) {
        let mut book = super::lock(&self.book);
        for write in batch {
            match write {
                Write::Change(Change::Pause { route, paused }) => {
                    book.routes.entry(route.clone()).or_default().paused = *paused;
                }
                Write::Change(Change::PauseByFile { route, paused }) => {
                    let state = book.routes.entry(route.clone()).or_default();
                    (state.paused, state.paused_by_file) = (*paused, *paused);
                }
                Write::Change(Change::Hold { route, held }) => {
                    book.routes.entry(route.clone()).or_default().held = *held;
                }
                // The numbers have noted their routes.
                Write::Accept { .. } | Write::Record(_) => {}
                Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => {}
            }
        }
    }
}

/// A delivery, of a row that begins with what has to be known of it.
pub fn known(row: &rusqlite::Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known { row: row.get(0)?, route: row.get(1)?, state: row::state(row, 2)?, attempts: row.get(3)? })
}

fn outcome_of(write: &Write) -> Option<&AttemptOutcome> {
    if let Write::Complete(outcome) = write { Some(outcome) } else { None }
}

fn removes_a_secret(write: &Write) -> bool {
    match write {
        Write::Complete(outcome) => outcome.settled.as_ref().is_some_and(|settled| settled.secret),
        Write::Change(Change::Erase { .. }) => true,
        Write::Accept { .. } | Write::Record(_) | Write::Key(..) | Write::Release(_) | Write::Change(_) => false,
    }
}

/// The answer to a change of a delivery that is not there.
pub const UNKNOWN: Changed = Changed::Unknown;
