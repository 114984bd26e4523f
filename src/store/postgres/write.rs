//! A batch in one transaction. One that only stores deliveries for an attempt at once, and has what came of such attempts, takes
//! one round trip, with its commit. Any other takes two: in the first one, deliveries are stored, and those that are changed
//! are read and locked; in the second one, changes are written and committed. [`super::work`] decides what the changes are.
//!
//! All gateways lock in the same order: their part of the numbers, keys, fresh deliveries, others by row. Where two stand in each
//! other's way all the same, the database refuses one of them, which tries again.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::error::{Consequence, PgError};
use super::fresh::{self, Endings, Settled};
use super::insert::{NewRows, find_keys, put_keys};
use super::leases::{LEASE_SECONDS, Lease, Role};
use super::link::{Connection, Params};
use super::work::{Loaded, QueueRow, Times, Work};
use super::{COMMIT_TIME, Postgres, flush, row, schema, statements};
use crate::store::attempt::Ticket;
use crate::store::backend::{Answer, Write};
use crate::store::feed::notice;
use crate::store::types::{Change, Changed, DedupeKey, Millis, StoreError};

/// How often a batch is tried that stands in another one's way.
const TRIES: usize = 4;

/// What a transaction has done.
#[derive(Debug)]
pub(super) struct Done {
    answers: Vec<Answer>,
    pub work: Work,
    /// Deliveries that are claimed for those who stored them, with their ids where they are fresh.
    claims: Vec<(Ticket, Option<Uuid>)>,
    /// Routes with deliveries that are due and not claimed.
    due: HashSet<i32>,
    /// What was settled of what is fresh.
    pub settled: Settled,
    /// Some of it was not fresh any more, and is not written.
    is_partial: bool,
}

/// What a transaction has to know.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    /// The commit has begun: from then on it is not known whether it is done.
    commits: &'a Cell<bool>,
    batch: &'a [Write],
    routes: &'a HashMap<Arc<str>, i32>,
    leases: &'a HashMap<Ticket, Lease>,
    gateway: &'a str,
    /// The part of the numbers to add to.
    part: i32,
    /// The session that claims what is stored.
    session: Option<i64>,
    times: Times,
    /// The connection was used a moment ago: nothing suggests that it was lost meanwhile.
    is_warm: bool,
    /// What is attempted at once is stored as a fresh one: all gateways know of these.
    uses_fresh: bool,
}

impl Postgres {
    /// Applies a batch and commits it.
    pub(super) fn write_batch(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError> {
        // It is tried again each second, beside those who wait.
        if let Some(why) = self.link.failure() {
            return Err(StoreError::Unreachable(why.into()));
        }
        self.try_batch(batch, now, claimed).map_err(|error| error.for_writer())
    }

    fn try_batch(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, PgError> {
        self.know_routes(batch)?;
        let claims = batch.iter().any(|write| matches!(write, Write::Accept { claim: true, .. }));
        let mut session = if claims { Some(self.session()?) } else { None };
        let held = |write: &Write| match write {
            Write::Complete(outcome) => vec![outcome.ticket],
            Write::Release(tickets) => tickets.clone(),
            _ => Vec::new(),
        };
        let tickets = batch.iter().flat_map(held);
        let leases: HashMap<Ticket, Lease> =
            tickets.filter_map(|ticket| Some((ticket, self.leases.of(ticket)?))).collect();
        let mut done = match self.transact(batch, session, &leases, now) {
            // Nothing is stored under a session that has ended.
            Err(error) if error.is_of_ended_session() => {
                session = Some(self.session()?);
                self.transact(batch, session, &leases, now)?
            }
            done => done?,
        };
        self.book_in(batch, &done);
        if done.is_partial {
            let is_open = |write: &&Write| {
                let Write::Complete(outcome) = write else { return false };
                !done.settled.routes.contains_key(&outcome.id)
            };
            let open: Vec<Write> = batch.iter().filter(is_open).cloned().collect();
            let waits = |(ticket, lease): (&Ticket, &Lease)| (*ticket, Lease { fresh: None, ..*lease });
            let rest = self.transact(&open, None, &leases.iter().map(waits).collect(), now);
            if rest.is_err() {
                // Who has stored something in the first transaction hears of an error, too, and attempts nothing.
                self.leases.end_current(Role::Writer);
            }
            let rest = rest?;
            self.book_in(&open, &rest);
            done.work.dropped += rest.work.dropped;
        }
        if let Some(session) = session {
            for (ticket, id) in &done.claims {
                self.leases.hold(*ticket, Lease { session, fence: 1, fresh: *id });
                claimed(*ticket);
            }
        }
        for (ticket, lease) in leases {
            self.leases.release(ticket, lease);
        }
        self.count_dropped(done.work.dropped);
        self.tell(&done.due, batch.iter().zip(&done.answers).filter_map(|(write, answer)| notice(write, answer, true)));
        Ok(done.answers)
    }

    /// Does it in one transaction, which is tried again where another one stood in its way.
    fn transact(
        &mut self,
        batch: &[Write],
        session: Option<i64>,
        leases: &HashMap<Ticket, Lease>,
        now: Millis,
    ) -> Result<Done, PgError> {
        let commits = Cell::new(false);
        let frame = Frame {
            commits: &commits,
            batch,
            routes: &self.routes,
            leases,
            gateway: &self.gateway,
            part: self.part,
            session,
            times: self.times(now),
            is_warm: self.link.is_warm(),
            uses_fresh: !self.is_beside_older,
        };
        let mut tried = 0;
        loop {
            tried += 1;
            match self.link.run(COMMIT_TIME, async |connection| transaction(connection, frame).await) {
                Err(error) if error.consequence() == Consequence::Retry && tried < TRIES => {}
                // Nothing was written.
                Err(error)
                    if error.is_lost() && !commits.replace(false) && tried == 1 && self.link.failure().is_none() => {}
                Err(error) => {
                    if session.is_some() {
                        self.leases.end_current(Role::Writer);
                    }
                    return Err(error);
                }
                Ok(done) => return Ok(done),
            }
        }
    }

    /// The session of the writer's connection; begins one if there is none.
    pub(super) fn session(&mut self) -> Result<i64, PgError> {
        if let Some(session) = self.leases.session(Role::Writer, self.link.made()) {
            return Ok(session);
        }
        let gateway = Arc::clone(&self.gateway);
        let session = self.link.run_again(COMMIT_TIME, async |connection| begin_session(connection, &gateway).await)?;
        self.leases.begin(Role::Writer, self.link.made(), session);
        Ok(session)
    }

    /// Numbers of routes that a batch names for the first time.
    fn know_routes(&mut self, batch: &[Write]) -> Result<(), PgError> {
        let named = batch.iter().filter_map(|write| match write {
            Write::Accept { delivery, .. } => Some(&delivery.route),
            Write::Record(record) => Some(&record.delivery.route),
            Write::Change(
                Change::Pause { route, .. }
                | Change::PauseByFile { route, .. }
                | Change::Hold { route, .. }
                | Change::Cut { route, .. },
            ) => Some(route),
            Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => None,
        });
        let new: HashSet<&str> = named.filter(|name| !self.routes.contains_key(*name)).map(|name| &**name).collect();
        if new.is_empty() {
            return Ok(());
        }
        let new: Vec<Cow<'_, str>> = new.into_iter().map(row::clean).collect();
        self.link
            .run_again(COMMIT_TIME, async |connection| connection.execute(statements::ADD_ROUTES, &[&new]).await)?;
        self.read_routes(false)
    }
}

/// Begins a session.
pub async fn begin_session(connection: &Connection, gateway: &str) -> Result<i64, PgError> {
    let rows = connection.query(statements::BEGIN_SESSION, &[&gateway, &LEASE_SECONDS, &schema::version()]).await?;
    let row = rows.first().ok_or_else(|| PgError::Other("no session was begun".to_owned()))?;
    Ok(row.try_get(0)?)
}

async fn transaction(connection: &Connection, frame: Frame<'_>) -> Result<Done, PgError> {
    connection.prepare(flush::STATEMENTS).await?;
    let result = steps(connection, frame).await;
    if let Err(error) = &result
        && error.consequence() != Consequence::Reconnect
    {
        connection.batch("ROLLBACK").await?;
    }
    result
}

async fn steps(connection: &Connection, frame: Frame<'_>) -> Result<Done, PgError> {
    let (fresh, others) = NewRows::of(frame.batch, frame.routes, frame.times.skew, frame.uses_fresh);
    let endings = Endings::of(frame.batch, frame.leases);
    let is_simple = |write: &Write| matches!(write, Write::Accept { .. } | Write::Key(..) | Write::Complete(_));
    let outcomes = frame.batch.iter().filter(|write| matches!(write, Write::Complete(_))).count();
    let is_whole = others.is_empty() && endings.len() == outcomes && frame.batch.iter().all(is_simple);
    if !frame.is_warm {
        // Nothing is committed yet if it turns out here that the connection was lost.
        connection.begin().await?;
    }
    frame.commits.set(is_whole);
    let ((), (), taken, mut stored, settled, (), ()) = tokio::try_join!(
        biased;
        async { if frame.is_warm { connection.begin().await } else { Ok(()) } },
        lock_part(connection, frame.part),
        fresh.take(connection, (frame.gateway, frame.part), frame.session, frame.times),
        others.insert(connection, frame.gateway, frame.session, frame.times),
        endings.settle(connection, frame.part, frame.gateway, frame.times),
        put_keys(connection, frame.batch, frame.times.skew),
        async { if is_whole { connection.commit().await } else { Ok(()) } },
    )?;
    stored.extend(&taken);
    let mut done = Done {
        answers: Vec::new(),
        work: Work::default(),
        claims: Vec::new(),
        due: HashSet::new(),
        is_partial: is_whole && settled.routes.len() < endings.len(),
        settled,
    };
    let mut work = Work::default();
    let mut living = HashSet::new();
    if !is_whole {
        ((), (work, living)) = tokio::try_join!(
            biased;
            fresh::queue(connection, frame.batch, frame.leases, &done.settled),
            load(connection, frame, &done.settled),
        )?;
    }
    let found = find_keys(connection, [&fresh, &others], &stored).await?;
    for write in frame.batch {
        let answer = match write {
            Write::Accept { delivery, key, destinations, claim } => match stored.get(&delivery.id) {
                Some(row) => {
                    let tickets = (0..*destinations).map(|destination| Ticket { row: *row, destination });
                    if *claim {
                        let id = taken.contains_key(&delivery.id).then_some(delivery.id);
                        done.claims.extend(tickets.map(|ticket| (ticket, id)));
                    } else {
                        done.due.extend(frame.routes.get(&delivery.route));
                    }
                    Answer::Stored(Ticket { row: *row, destination: 0 })
                }
                None => Answer::Duplicate(owner_of(key.as_ref(), &found).unwrap_or(delivery.id)),
            },
            Write::Record(_) | Write::Key(..) => Answer::Done,
            Write::Complete(outcome) if is_whole || done.settled.routes.contains_key(&outcome.id) => Answer::Done,
            Write::Complete(outcome) => {
                let lease = frame.leases.get(&outcome.ticket).copied();
                work.complete(outcome, lease, &living, frame.times);
                Answer::Done
            }
            Write::Release(tickets) => {
                done.due.extend(release(connection, frame, tickets).await?);
                work.release(tickets, frame.leases);
                Answer::Done
            }
            Write::Change(change) => Answer::Changed(make(connection, frame, change, &mut work, &mut done.due).await?),
        };
        done.answers.push(answer);
    }
    if !is_whole {
        for (route, shown) in others.counted(&stored) {
            *work.deltas.entry((route, shown)).or_default() += 1;
        }
        for (row, attempt) in others.attempts(&stored) {
            work.attempts.insert((row, attempt.destination, attempt.number), attempt.clone());
        }
        frame.commits.set(true);
        flush::write_and_commit(connection, &work, frame.part, frame.gateway).await?;
    }
    for (route, shown) in fresh.counted(&stored) {
        *done.settled.deltas.entry((route, shown)).or_default() += 1;
    }
    done.work = work;
    Ok(done)
}

async fn lock_part(connection: &Connection, part: i32) -> Result<(), PgError> {
    connection.query(statements::LOCK_PART, &[&part]).await.map(drop)
}

fn owner_of(key: Option<&DedupeKey>, found: &HashMap<Uuid, Uuid>) -> Option<Uuid> {
    key.and_then(|key| found.get(&Uuid::from_bytes(key.key)).copied())
}

/// Makes a change; one of a delivery is written later, with all others.
async fn make(
    connection: &Connection,
    frame: Frame<'_>,
    change: &Change,
    work: &mut Work,
    due: &mut HashSet<i32>,
) -> Result<Changed, PgError> {
    let Times { now, of_queue, .. } = frame.times;
    let number = |route: &Arc<str>| frame.routes.get(route).copied().unwrap_or_default();
    let (route, paused, held, by_file) = match change {
        Change::Settle { id, from, to } => return Ok(work.settle(*id, from, *to, now)),
        Change::Erase { id } => return Ok(work.erase(*id, now)),
        Change::Requeue { id, from, destinations, at, once, head } => {
            let changed = work.requeue(*id, from, *destinations, (*at, *once, head.as_ref()), of_queue);
            if matches!(changed, Changed::Done(_)) {
                due.extend(work.route_of(*id));
            }
            return Ok(changed);
        }
        Change::Cut { route, latest } => {
            let cut = connection.execute(statements::CUT, &[&number(route), &(latest + of_queue)]).await?;
            return Ok(Changed::Done(u32::try_from(cut).unwrap_or(u32::MAX)));
        }
        Change::Pause { route, paused } => (route, Some(*paused), None, None),
        Change::PauseByFile { route, paused } => (route, Some(*paused), None, Some(*paused)),
        Change::Hold { route, held } => (route, None, Some(*held), None),
    };
    due.insert(number(route));
    connection.execute(statements::UPDATE_ROUTE, &[&number(route), &paused, &held, &by_file]).await?;
    Ok(Changed::Done(0))
}

/// Gives claimed deliveries back; tells of which routes they are.
async fn release(connection: &Connection, frame: Frame<'_>, tickets: &[Ticket]) -> Result<Vec<i32>, PgError> {
    let held: Vec<(Ticket, Lease)> =
        tickets.iter().filter_map(|ticket| Some((*ticket, *frame.leases.get(ticket)?))).collect();
    let rows: Vec<i64> = held.iter().map(|(ticket, _)| ticket.row).collect();
    let destinations: Vec<i32> = held.iter().map(|(ticket, _)| ticket.destination.into()).collect();
    let owners: Vec<i64> = held.iter().map(|(_, lease)| lease.session).collect();
    let fences: Vec<i64> = held.iter().map(|(_, lease)| lease.fence).collect();
    let released = connection.query(statements::RELEASE, &[&rows, &destinations, &owners, &fences]).await?;
    released.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Reads and locks what a batch changes; tells which of the sessions live whose claims it ends.
async fn load(connection: &Connection, frame: Frame<'_>, settled: &Settled) -> Result<(Work, HashSet<i64>), PgError> {
    let mut rows = Vec::new();
    let (mut ids, mut requeued) = (Vec::new(), Vec::new());
    for write in frame.batch {
        match write {
            Write::Complete(outcome) if settled.routes.contains_key(&outcome.id) => {}
            Write::Complete(outcome) => rows.push(outcome.ticket.row),
            Write::Change(Change::Settle { id, .. } | Change::Erase { id }) => ids.push(*id),
            Write::Change(Change::Requeue { id, .. }) => {
                ids.push(*id);
                requeued.push(*id);
            }
            _ => {}
        }
    }
    if rows.is_empty() && ids.is_empty() {
        return Ok((Work::default(), HashSet::new()));
    }
    let sessions: HashSet<i64> = frame.leases.values().map(|lease| lease.session).collect();
    let sessions: Vec<i64> = sessions.into_iter().collect();
    let (named, of_sessions): (Params<'_>, Params<'_>) = (&[&rows, &ids], &[&sessions]);
    let (loaded, waiting, living) = tokio::try_join!(
        biased;
        connection.query(statements::LOAD, named),
        connection.query(statements::LOAD_QUEUE, named),
        connection.query(statements::LIVING, of_sessions),
    )?;
    let mut work = Work::default();
    for found in &loaded {
        let delivery = Loaded {
            id: found.try_get(1)?,
            route: found.try_get(2)?,
            state: row::state(found, 3)?,
            attempts: row::number(found.try_get::<_, i32>(4)?),
            status: row::optional(found.try_get::<_, Option<i32>>(5)?),
            duration_ms: row::optional(found.try_get::<_, Option<i64>>(6)?),
            settled_at: found.try_get(7)?,
            reason: found.try_get(8)?,
            ..Loaded::default()
        };
        work.rows.insert(found.try_get(0)?, delivery);
    }
    for found in &waiting {
        let Some(loaded) = work.rows.get_mut(&found.try_get::<_, i64>(0)?) else { continue };
        let waiting = row::waiting(found, 2)?;
        let waits = QueueRow { waiting, owner: found.try_get(8)?, fence: found.try_get(9)?, changed: false };
        loaded.waits.insert(row::number(found.try_get::<_, i32>(1)?), waits);
    }
    if !requeued.is_empty() {
        for found in connection.query(statements::LOAD_WHOLE, &[&requeued]).await? {
            if let Some(loaded) = work.rows.get_mut(&found.try_get::<_, i64>(0)?) {
                loaded.is_whole = true;
            }
        }
        for found in connection.query(statements::LOAD_NUMBERS, &[&requeued]).await? {
            if let Some(loaded) = work.rows.get_mut(&found.try_get::<_, i64>(0)?) {
                let destination = row::number(found.try_get::<_, i32>(1)?);
                loaded.numbers.insert(destination, row::number(found.try_get::<_, i64>(2)?));
            }
        }
    }
    let living: Result<HashSet<i64>, PgError> = living.iter().map(|found| Ok(found.try_get(0)?)).collect();
    Ok((work, living?))
}
