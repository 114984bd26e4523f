//! What people and the configuration ask for.

use std::sync::Arc;

use uuid::Uuid;

use super::attempts::move_count;
use super::write::{Deltas, UNKNOWN};
use super::{Sqlite, statements};
use crate::store::types::{Change, Changed, Millis, Shown, State};

/// Destinations that [`Change::Cut`] looks at.
const DESTINATIONS: u16 = 8;

impl Sqlite {
    /// Makes a change, if it is allowed.
    pub(super) fn change(&mut self, change: &Change, now: Millis, deltas: &mut Deltas) -> rusqlite::Result<Changed> {
        // From here on all that waits is in the queue.
        self.queue_all()?;
        match change {
            Change::Settle { id, from, to } => self.settle_by_hand(*id, from, *to, now, deltas),
            Change::Erase { id } => self.erase(*id, now, deltas),
            Change::Requeue { id, from, destinations, at, once, head } => {
                self.requeue(*id, from, *destinations, (*at, *once, head.as_deref()), deltas)
            }
            Change::Cut { route, latest } => self.cut(route, *latest),
            Change::Pause { route, paused } => self.update_route(route, Some(*paused), None, None),
            Change::PauseByFile { route, paused } => self.update_route(route, Some(*paused), None, Some(*paused)),
            Change::Hold { route, held } => self.update_route(route, None, Some(*held), None),
        }
    }

    fn settle_by_hand(
        &self,
        id: Uuid,
        from: &[State],
        to: State,
        now: Millis,
        deltas: &mut Deltas,
    ) -> rusqlite::Result<Changed> {
        let Some(known) = self.known_id(id)? else { return Ok(UNKNOWN) };
        if !from.contains(&known.state) {
            return Ok(Changed::Not(known.state));
        }
        self.connection.prepare_cached(statements::DELETE_QUEUE_OF_ROW)?.execute([known.row])?;
        self.connection.prepare_cached(statements::SET_STATE)?.execute((known.row, to.number(), now))?;
        move_count(deltas, &known, Shown::Settled(to));
        Ok(Changed::Done(known.attempts))
    }

    fn erase(&self, id: Uuid, now: Millis, deltas: &mut Deltas) -> rusqlite::Result<Changed> {
        let Some(known) = self.known_id(id)? else { return Ok(UNKNOWN) };
        for statement in [
            statements::DELETE_QUEUE_OF_ROW,
            statements::DELETE_BODY,
            statements::ERASE_ATTEMPTS,
            statements::ERASE_DELIVERY,
        ] {
            self.connection.prepare_cached(statement)?.execute([known.row])?;
        }
        self.connection.prepare_cached(statements::SET_STATE)?.execute((known.row, State::Erased.number(), now))?;
        move_count(deltas, &known, Shown::Settled(State::Erased));
        Ok(Changed::Done(known.attempts))
    }

    fn requeue(
        &self,
        id: Uuid,
        from: &[State],
        destinations: u16,
        (at, once, head): (Millis, bool, Option<&[u8]>),
        deltas: &mut Deltas,
    ) -> rusqlite::Result<Changed> {
        let Some(known) = self.known_id(id)? else { return Ok(UNKNOWN) };
        let queued = self.others_wait(known.row)?;
        let is_replayed = || self.connection.prepare_cached(statements::HAS_DUE_REPLAY)?.exists((known.row, at));
        if !from.contains(&known.state) || (queued && (known.state != State::Pending || is_replayed()?)) {
            return Ok(Changed::Not(known.state));
        }
        if !self.connection.prepare_cached(statements::HAS_WHOLE_BODY)?.exists([known.row])? {
            return Ok(Changed::NoBody);
        }
        if let Some(head) = head {
            self.connection.prepare_cached(statements::SET_HEAD)?.execute((known.row, head))?;
        }
        if queued {
            self.connection.prepare_cached(statements::REQUEUE)?.execute((known.row, at))?;
            return Ok(Changed::Done(known.attempts));
        }
        for destination in 0..destinations {
            let mut last = self.connection.prepare_cached(statements::LAST_ATTEMPT)?;
            let made: Option<u32> = last.query_row((known.row, destination), |row| row.get(0))?;
            let mut statement = self.connection.prepare_cached(statements::INSERT_QUEUE)?;
            statement.execute((known.row, destination, known.route, at, made.unwrap_or(0), at, true, once))?;
        }
        if !once {
            let waits = (known.row, State::Pending.number(), None::<Millis>);
            self.connection.prepare_cached(statements::SET_STATE)?.execute(waits)?;
            move_count(deltas, &known, Shown::of(State::Pending, known.attempts, false));
        }
        Ok(Changed::Done(known.attempts))
    }

    fn cut(&mut self, route: &Arc<str>, latest: Millis) -> rusqlite::Result<Changed> {
        let route = self.route_number(route)?;
        let mut cut = 0;
        for destination in 0..DESTINATIONS {
            cut += self.connection.prepare_cached(statements::CUT)?.execute((route, latest, destination))?;
        }
        Ok(Changed::Done(u32::try_from(cut).unwrap_or(u32::MAX)))
    }

    fn update_route(
        &mut self,
        route: &Arc<str>,
        paused: Option<bool>,
        held: Option<bool>,
        paused_by_file: Option<bool>,
    ) -> rusqlite::Result<Changed> {
        let number = self.route_number(route)?;
        let mut statement = self.connection.prepare_cached(statements::UPDATE_ROUTE)?;
        statement.execute((number, paused, held, paused_by_file))?;
        Ok(Changed::Done(0))
    }
}
