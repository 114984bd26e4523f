//! Deliveries that are attempted as soon as they are stored. Most of them are delivered a moment later, so each is one row of
//! `fresh` at first, with all that belongs to it, and gets its row in `deliveries` when its attempt has settled it: nothing is
//! written twice, and nothing of what is written is indexed twice.
//!
//! A row of `fresh` is the claim of its session. It becomes a delivery that waits, with its row in `queue`, when the attempt
//! has failed or was not made, when a person changes something, and when its session has ended: [`end`]. No
//! session ends while a transaction stores something under it, and none gets anything after it has ended: the transaction
//! that stores locks the session's row.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use super::error::PgError;
use super::leases::Lease;
use super::link::Connection;
use super::row::clean;
use super::statements as sql;
use super::work::{Deltas, Times};
use crate::store::attempt::{AttemptOutcome, KeptBody, Next, Ticket};
use crate::store::backend::Write;
use crate::store::types::{Change, Shown, State};

/// What attempts have come to that settle deliveries which are fresh, as far as this process knows.
#[derive(Debug, Default)]
pub struct Endings<'a> {
    all: Vec<(&'a AttemptOutcome, State, i64)>,
}

/// What was settled, by route; and what is not kept.
#[derive(Debug, Default)]
pub struct Settled {
    /// By id, with the route's number.
    pub routes: HashMap<Uuid, i32>,
    pub deltas: Deltas,
    pub gone: Vec<Uuid>,
}

impl<'a> Endings<'a> {
    /// Those of a batch. What a person changes in the same batch is left out.
    pub fn of(batch: &'a [Write], leases: &HashMap<Ticket, Lease>) -> Self {
        let changes = || batch.iter().filter_map(changed);
        let ending = |write: &'a Write| {
            let Write::Complete(outcome) = write else { return None };
            let Next::Settle(state) = &outcome.next else { return None };
            let lease = leases.get(&outcome.ticket)?;
            lease.fresh.filter(|id| changes().all(|changed| changed != *id))?;
            Some((&**outcome, *state, lease.session))
        };
        Self { all: batch.iter().filter_map(ending).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Settles those that are fresh.
    pub async fn settle(
        &self,
        connection: &Connection,
        part: i32,
        gateway: &str,
        times: Times,
    ) -> Result<Settled, PgError> {
        if self.all.is_empty() {
            return Ok(Settled::default());
        }
        let each = || self.all.iter().map(|(outcome, ..)| outcome);
        let attempts = || each().map(|outcome| &outcome.attempt);
        let stays = || each().map(|outcome| outcome.settled.as_ref());
        let ids: Vec<Uuid> = each().map(|outcome| outcome.id).collect();
        let sessions: Vec<i64> = self.all.iter().map(|(.., session)| *session).collect();
        let states: Vec<i16> = self.all.iter().map(|(_, state, _)| state.number().into()).collect();
        let reasons: Vec<Option<Cow<'_, str>>> = each().map(|outcome| outcome.reason.as_deref().map(clean)).collect();
        let kept: Vec<bool> = each().map(|outcome| is_kept(outcome)).collect();
        let heads: Vec<Option<&[u8]>> = stays().map(|stays| stays?.head.as_deref()).collect();
        let whole: Vec<bool> = stays().map(|stays| stays.is_none_or(|stays| stays.body == KeptBody::AsItIs)).collect();
        let bodies: Vec<Option<&[u8]>> = stays().map(|stays| only(&stays?.body)).collect();
        let at: Vec<i64> = attempts().map(|attempt| attempt.at).collect();
        let results: Vec<Cow<'_, str>> = attempts().map(|attempt| clean(&attempt.result)).collect();
        let statuses: Vec<Option<i32>> = attempts().map(|attempt| attempt.status.map(i32::from)).collect();
        let errors: Vec<Option<Cow<'_, str>>> = attempts().map(|attempt| attempt.error.as_deref().map(clean)).collect();
        let durations: Vec<i64> = attempts().map(|attempt| attempt.duration_ms.into()).collect();
        let response_heads: Vec<&[u8]> = attempts().map(|attempt| &*attempt.response_head).collect();
        let response_bodies: Vec<&[u8]> = attempts().map(|attempt| &*attempt.response_body).collect();
        let found = connection
            .query(
                sql::SETTLE,
                &[
                    &ids,
                    &sessions,
                    &states,
                    &reasons,
                    &kept,
                    &heads,
                    &whole,
                    &bodies,
                    &at,
                    &results,
                    &statuses,
                    &errors,
                    &durations,
                    &response_heads,
                    &response_bodies,
                    &times.now,
                    &gateway,
                    &part,
                ],
            )
            .await?;
        let mut settled = Settled::default();
        for row in &found {
            settled.routes.insert(row.try_get(0)?, row.try_get(1)?);
        }
        for (outcome, state, _) in &self.all {
            let Some(route) = settled.routes.get(&outcome.id).copied() else { continue };
            *settled.deltas.entry((route, Shown::Pending)).or_default() -= 1;
            if is_kept(outcome) {
                *settled.deltas.entry((route, Shown::Settled(*state))).or_default() += 1;
            } else {
                settled.gone.push(outcome.id);
            }
        }
        Ok(settled)
    }
}

/// Gives deliveries their rows in the queue that a batch changes otherwise, if they are fresh.
pub async fn queue(
    connection: &Connection,
    batch: &[Write],
    leases: &HashMap<Ticket, Lease>,
    settled: &Settled,
) -> Result<(), PgError> {
    let fresh = |ticket: &Ticket| leases.get(ticket)?.fresh;
    let mut ids: Vec<Uuid> = Vec::new();
    for write in batch {
        match write {
            Write::Complete(outcome) => {
                ids.extend(fresh(&outcome.ticket).filter(|id| !settled.routes.contains_key(id)));
            }
            Write::Release(tickets) => ids.extend(tickets.iter().filter_map(fresh)),
            _ => ids.extend(changed(write)),
        }
    }
    if !ids.is_empty() {
        connection.query(sql::QUEUE_FRESH, &[&ids]).await?;
    }
    Ok(())
}

/// Ends sessions whose time is over, and these; what is fresh of them waits from then on. Gives the routes of that.
pub async fn end(connection: &Connection, sessions: &Vec<i64>) -> Result<Vec<i32>, PgError> {
    connection.batch("BEGIN").await?;
    let result = end_locked(connection, sessions).await;
    connection.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    result
}

async fn end_locked(connection: &Connection, sessions: &Vec<i64>) -> Result<Vec<i32>, PgError> {
    let ended = connection.query(sql::LOCK_ENDED, &[sessions]).await?;
    let ended: Vec<i64> = ended.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, PgError>>()?;
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    // Sees what was stored until the sessions were locked.
    let routes = connection.query(sql::QUEUE_OF_SESSIONS, &[&ended]).await?;
    connection.execute(sql::END_SESSIONS, &[&ended]).await?;
    routes.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The delivery that a person changes.
fn changed(write: &Write) -> Option<Uuid> {
    match write {
        Write::Change(Change::Settle { id, .. } | Change::Erase { id } | Change::Requeue { id, .. }) => Some(*id),
        _ => None,
    }
}

fn is_kept(outcome: &AttemptOutcome) -> bool {
    outcome.settled.as_ref().is_none_or(|stays| stays.is_kept)
}

fn only(body: &KeptBody) -> Option<&[u8]> {
    match body {
        KeptBody::Only(body) => Some(body),
        KeptBody::AsItIs | KeptBody::Nothing => None,
    }
}
