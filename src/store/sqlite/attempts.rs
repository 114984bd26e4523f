//! The outcomes of attempts.

use rusqlite::{OptionalExtension, Row, params};

use super::write::{self, Deltas, Known};
use super::{Sqlite, lock, row, statements};
use crate::store::attempt::{Attempt, AttemptOutcome, KeptBody, Next, Settled};
use crate::store::types::{Millis, Shown, State};

impl Sqlite {
    /// Writes what came of an attempt. A delivery that was erased or discarded meanwhile stays so, unless a discarded one
    /// was delivered all the same.
    pub(super) fn complete(
        &mut self,
        outcome: &AttemptOutcome,
        now: Millis,
        deltas: &mut Deltas,
    ) -> rusqlite::Result<()> {
        let (row, destination) = (outcome.ticket.row, outcome.ticket.destination);
        let settles = matches!(outcome.next, Next::Settle(_));
        let fresh = if settles { self.fresh.take(row) } else { None };
        let (known, waits_since, others_wait, has_row) = match fresh {
            Some(fresh) => {
                let known = Known { row, route: fresh.route, state: State::Pending, attempts: 0 };
                (known, Some(fresh.since), false, false)
            }
            None => {
                self.queue_one(row)?;
                let mut statement = self.connection.prepare_cached(statements::FIND_ATTEMPTED)?;
                let found = |row: &Row<'_>| Ok((write::known(row)?, row.get(4)?, row.get(5)?, true));
                // Retention may have taken it, if it is not kept at all.
                let Some(found) = statement.query_row((row, destination), found).optional()? else { return Ok(()) };
                found
            }
        };
        let erased = known.state == State::Erased;
        self.insert_attempt(row, &outcome.attempt, erased)?;
        if waits_since.is_some_and(|since| since != outcome.since) {
            // The replay that waits goes on with the numbers.
            let mut statement = self.connection.prepare_cached(statements::NUMBER_QUEUE)?;
            statement.execute((row, destination, outcome.attempt.number))?;
            let (status, took) = (outcome.attempt.status, outcome.attempt.duration_ms);
            self.connection.prepare_cached(statements::COUNT_ATTEMPT)?.execute((row, status, took))?;
            move_count(deltas, &known, Shown::of(known.state, known.attempts + 1, false));
            return Ok(());
        }
        let is_queued = waits_since.is_some();
        let waits_again = match &outcome.next {
            Next::Retry(at) => {
                if is_queued {
                    self.connection.prepare_cached(statements::RETRY)?.execute((row, destination, at))?;
                }
                is_queued
            }
            Next::Keep | Next::Settle(_) => {
                if is_queued && has_row {
                    self.connection.prepare_cached(statements::DELETE_QUEUE)?.execute((row, destination))?;
                }
                false
            }
        };
        let is_over = !erased && !waits_again && !others_wait;
        let state = outcome.next.settles(is_queued).filter(|_| is_over);
        let settled = outcome.settled.as_ref().filter(|_| is_over);
        let (status, took) = (outcome.attempt.status, outcome.attempt.duration_ms);
        let shown = match state {
            Some(state) => {
                let head = settled.and_then(|settled| settled.head.as_deref());
                let mut statement = self.connection.prepare_cached(statements::SETTLE_ATTEMPT)?;
                let reason = outcome.reason.as_deref();
                statement.execute(params![row, status, took, state.number(), now, reason, head])?;
                Shown::Settled(state)
            }
            None => {
                self.connection.prepare_cached(statements::COUNT_ATTEMPT)?.execute((row, status, took))?;
                Shown::of(known.state, known.attempts + 1, false)
            }
        };
        move_count(deltas, &known, shown);
        match settled {
            Some(settled) if settled.is_kept => self.settle(row, settled, state.is_none()),
            Some(_) => {
                *deltas.entry((known.route, shown)).or_default() -= 1;
                self.forget(row)
            }
            None => Ok(()),
        }
    }

    /// Deletes everything that is kept of a delivery.
    pub(super) fn forget(&self, row: i64) -> rusqlite::Result<()> {
        for statement in [statements::DELETE_BODY, statements::DELETE_ATTEMPTS, statements::DELETE_QUEUE_OF_ROW] {
            self.connection.prepare_cached(statement)?.execute([row])?;
        }
        let mut statement = self.connection.prepare_cached(statements::DELETE_DELIVERY)?;
        if let Some(id) = statement.query_row([row], |row| row::id(row, 0)).optional()? {
            lock(&self.book).removed.add(id);
        }
        Ok(())
    }

    /// Writes an attempt; of an erased delivery without what the upstream said.
    pub(super) fn insert_attempt(&self, row: i64, attempt: &Attempt, erased: bool) -> rusqlite::Result<()> {
        let (head, body, error): (&[u8], &[u8], _) = if erased {
            (&[], &[], None)
        } else {
            (&attempt.response_head, &attempt.response_body, attempt.error.as_deref())
        };
        self.connection.prepare_cached(statements::INSERT_ATTEMPT)?.execute(params![
            row,
            attempt.destination,
            attempt.number,
            attempt.at,
            &*attempt.result,
            attempt.status,
            error,
            attempt.duration_ms,
            attempt.replay,
            head,
            body,
        ])?;
        Ok(())
    }

    /// Whether a delivery waits at a destination.
    pub(super) fn others_wait(&self, row: i64) -> rusqlite::Result<bool> {
        self.connection.prepare_cached(statements::IS_QUEUED)?.exists([row])
    }

    /// Keeps of head and body what is to stay; `with_head` if the head was not written with the state.
    fn settle(&self, row: i64, settled: &Settled, with_head: bool) -> rusqlite::Result<()> {
        if let Some(head) = settled.head.as_ref().filter(|_| with_head) {
            self.connection.prepare_cached(statements::SET_HEAD)?.execute((row, &**head))?;
        }
        match &settled.body {
            KeptBody::AsItIs => {}
            KeptBody::Only(body) => {
                self.connection.prepare_cached(statements::INSERT_BODY)?.execute((row, &**body))?;
            }
            KeptBody::Nothing => {
                self.connection.prepare_cached(statements::DELETE_BODY)?.execute([row])?;
            }
        }
        Ok(())
    }
}

/// A delivery counts as something else from now on.
pub(super) fn move_count(deltas: &mut Deltas, known: &Known, shown: Shown) {
    *deltas.entry((known.route, known.shown())).or_default() -= 1;
    *deltas.entry((known.route, shown)).or_default() += 1;
}
