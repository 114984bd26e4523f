//! What is done each second, between the batches: sessions are renewed, routes and numbers brought up to date, other gateways
//! told, and what is over is deleted in small steps.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::PgError;
use super::link::Connection;
use super::row::{number, state};
use super::work::Deltas;
use super::{COMMIT_TIME, Postgres, QUERY_TIME, fresh, statements};
use crate::clock::{Clock, MonotonicClock};
use crate::lock::lock;
use crate::store::backend::Heard;
use crate::store::list::least_id;
use crate::store::types::{Millis, Shown, State};

/// How often sessions are renewed, clocks compared, and the rest is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often the size is measured and standbys are asked for.
const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// How often retention takes a step, in milliseconds.
const STEP_EVERY: Millis = 1_000;
/// Deliveries that one step deletes.
const STEP: i64 = 1_000;
/// Dedupe keys that one step forgets.
const KEY_STEP: i64 = 4_096;
/// Records of refused deliveries, over which the oldest ones go.
const MOST_REFUSED: u64 = 100_000;

/// When what is next.
#[derive(Debug)]
pub struct Upkeep {
    clock: MonotonicClock,
    next: Option<Instant>,
    next_rarely: Option<Instant>,
    next_step: Millis,
    /// Outcomes that were dropped and are not told yet.
    dropped: u64,
    /// When circuits are exchanged again, after that has failed.
    pub(super) circuits_again: Option<Instant>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            clock: Clock::system().monotonic(),
            next: None,
            next_rarely: None,
            next_step: Millis::MIN,
            dropped: 0,
            circuits_again: None,
        }
    }
}

impl Upkeep {
    /// Monotonic time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}

impl Postgres {
    /// Does what is due; says whether there is more to do at once.
    pub(super) fn do_upkeep(&mut self, now: Millis) -> Result<bool, PgError> {
        let at = self.upkeep.now();
        let is_time = self.upkeep.next.is_none_or(|next| at >= next) || !self.link.is_connected();
        if is_time {
            self.renew()?;
            self.compare_clocks(now)?;
            self.look_around(now)?;
            self.upkeep.next = Some(at + EVERY);
            if self.upkeep.dropped > 0 {
                let dropped = std::mem::take(&mut self.upkeep.dropped);
                tracing::warn!(
                    dropped,
                    "outcomes of attempts came after their claims had ended: these attempts are made again"
                );
            }
        }
        let is_rare = self.upkeep.next_rarely.is_none_or(|next| at >= next);
        if is_rare {
            self.measure_size()?;
            let standbys = self.link.run(QUERY_TIME, async |connection| is_replicated(connection).await)?;
            self.sharing.is_replicated.store(standbys, Ordering::Relaxed);
            self.upkeep.next_rarely = Some(at + NOW_AND_THEN);
        }
        self.share_circuits(is_time, is_rare);
        self.tell_others()?;
        // A clock that was set back must not stop retention.
        if now < self.upkeep.next_step && self.upkeep.next_step - now <= STEP_EVERY {
            return Ok(false);
        }
        let more = self.expire(now)?;
        if !more {
            self.upkeep.next_step = now.saturating_add(STEP_EVERY);
        }
        Ok(more)
    }

    /// Outcomes were dropped.
    pub(super) fn count_dropped(&mut self, dropped: u64) {
        self.upkeep.dropped += dropped;
        self.sharing.late_outcomes.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Renews the sessions; finds out whether another gateway has followers, or is of an older version.
    pub(super) fn renew(&mut self) -> Result<(), PgError> {
        let asked = self.leases.living();
        let follows = self.others.as_ref().is_some_and(|others| (others.is_followed)());
        let seconds = super::leases::LEASE_SECONDS;
        let (live, others_follow, is_beside_older) = self.link.run_again(COMMIT_TIME, async |connection| {
            let live = connection.query(statements::RENEW, &[&asked, &seconds, &follows]).await?;
            let others = connection.query(statements::OTHERS, &[&asked]).await?;
            let live: Result<Vec<i64>, PgError> = live.iter().map(|row| Ok(row.try_get(0)?)).collect();
            let others = others.first().ok_or_else(|| PgError::Other("no answer about other gateways".to_owned()))?;
            Ok((live?, others.try_get(0)?, others.try_get(1)?))
        })?;
        self.news.set_followed(others_follow);
        self.is_beside_older = is_beside_older;
        let ended = self.leases.renewed(&asked, &live);
        if ended > 0 {
            tracing::warn!(
                ended,
                "claims were not renewed in time: what is being attempted may be attempted a second time"
            );
        }
        // Followers are counted by sessions: a gateway that only looks on has one, too.
        if follows && live.is_empty() {
            self.session()?;
        }
        Ok(())
    }

    /// Reads what other gateways may have changed; finds what is due, and ends the claims of gateways that are gone.
    fn look_around(&mut self, now: Millis) -> Result<(), PgError> {
        self.read_routes(false)?;
        self.read_counts()?;
        self.tell_due(now)?;
        self.end_others()
    }

    /// Wakes the routes of which something is due.
    fn tell_due(&mut self, now: Millis) -> Result<(), PgError> {
        let Some(others) = self.others.clone() else { return Ok(()) };
        let now = self.times(now).now;
        let due = self.link.run(QUERY_TIME, async |connection| {
            let due = connection.query(statements::DUE_ROUTES, &[&now]).await?;
            due.iter().map(|row| Ok(Arc::from(row.try_get::<_, &str>(0)?))).collect::<Result<Vec<_>, PgError>>()
        })?;
        if !due.is_empty() {
            (others.tell)(Heard::Due(due));
        }
        Ok(())
    }

    /// Reads the routes. Which of them are held is only asked at the start: after that, each gateway goes by its configuration.
    pub(super) fn read_routes(&mut self, with_held: bool) -> Result<(), PgError> {
        let rows = self.link.run(QUERY_TIME, async |connection| connection.query(statements::ROUTES, &[]).await)?;
        let mut names = lock(&self.names);
        let mut book = lock(&self.book);
        for row in &rows {
            let (number, name): (i32, &str) = (row.try_get(0)?, row.try_get(1)?);
            let name = names.entry(number).or_insert_with(|| Arc::from(name));
            self.routes.entry(Arc::clone(name)).or_insert(number);
            let state = book.routes.entry(Arc::clone(name)).or_default();
            (state.paused, state.paused_by_file) = (row.try_get(2)?, row.try_get(4)?);
            if with_held {
                state.held = row.try_get(3)?;
            }
        }
        Ok(())
    }

    /// Reads how many deliveries of each kind there are.
    pub(super) fn read_counts(&mut self) -> Result<(), PgError> {
        let rows = self.link.run(QUERY_TIME, async |connection| connection.query(statements::COUNTS, &[]).await)?;
        let names = lock(&self.names);
        let mut book = lock(&self.book);
        book.counts.clear();
        for row in &rows {
            let shown = Shown::of_kind(number(row.try_get::<_, i16>(1)?));
            if let (Some(name), Some(shown)) = (names.get(&row.try_get(0)?), shown) {
                book.add(name, shown, row.try_get(2)?);
            }
        }
        Ok(())
    }

    /// Finds out what the database's clock says.
    pub(super) fn compare_clocks(&mut self, now: Millis) -> Result<(), PgError> {
        if self.trust_clock {
            return Ok(());
        }
        let asked = self.skew.asks();
        let theirs: Option<i64> = self.link.run(QUERY_TIME, async |connection| {
            let rows = connection.query(statements::TIME, &[]).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
        })?;
        let Some(ahead_ms) = theirs.and_then(|theirs| self.skew.compare(asked, theirs, now)) else { return Ok(()) };
        tracing::warn!(ahead_ms, "the clock of the database is another one than this gateway's: its time counts");
        Ok(())
    }

    pub(super) fn measure_size(&mut self) -> Result<(), PgError> {
        let schema = self.setup.target.schema().to_owned();
        let bytes: Option<i64> = self.link.run(QUERY_TIME, async |connection| {
            let rows = connection.query(statements::SIZE, &[&schema]).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?.flatten())
        })?;
        lock(&self.sizes).used = bytes.map_or(0, i64::unsigned_abs);
        Ok(())
    }

    /// Ends the sessions of gateways that are gone, and those that this one does not use any more, and has what they have stored
    /// wait.
    fn end_others(&mut self) -> Result<(), PgError> {
        let idle = self.leases.idle();
        let (routes, left) = self.link.run(COMMIT_TIME, async |connection| {
            let found = connection.query(statements::HAS_ENDED, &[]).await?;
            let has_ended = found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false);
            if !has_ended && idle.is_empty() {
                return Ok((Vec::new(), Vec::new()));
            }
            let routes = fresh::end(connection, &idle).await?;
            // A lost connection of this gateway may still store something under one: that one is ended another time.
            let left = connection.query(statements::LIVING, &[&idle]).await?;
            let left: Vec<i64> = left.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, PgError>>()?;
            Ok((routes, left))
        })?;
        self.leases.ended(&idle, &left);
        self.tell(&routes.into_iter().collect(), std::iter::empty());
        Ok(())
    }

    /// The same at the start, and what was left by sessions that were forgotten.
    pub(super) fn queue_left_over(&mut self) -> Result<(), PgError> {
        self.end_others()?;
        self.link.run(COMMIT_TIME, async |connection| connection.query(statements::QUEUE_OF_NONE, &[]).await)?;
        Ok(())
    }

    /// The claims of this process end.
    pub(super) fn end_sessions(&mut self) {
        let sessions = [self.leases.living(), self.leases.idle()].concat();
        if sessions.is_empty() || self.link.failure().is_some() {
            return;
        }
        let ended = self.link.run(QUERY_TIME, async |connection| fresh::end(connection, &sessions).await);
        if let Err(error) = ended {
            tracing::warn!(%error, "the claims of this gateway could not be ended; they end by themselves");
        }
    }

    /// Deletes a few of the deliveries and keys whose time is over; says whether more are left.
    fn expire(&mut self, now: Millis) -> Result<bool, PgError> {
        let now = self.times(now).now;
        let kinds: Vec<(i32, State, u64)> = {
            let book = lock(&self.book);
            let settled = |((route, shown), count): (&(Arc<str>, Shown), &u64)| match shown {
                Shown::Settled(state) => Some((*self.routes.get(route)?, *state, *count)),
                Shown::Pending | Shown::Retrying | Shown::Held => None,
            };
            book.counts.iter().filter_map(settled).collect()
        };
        let keep = self.keep;
        let part = self.part;
        let (gone, keys) = self.link.run(COMMIT_TIME, async |connection| {
            connection.batch("BEGIN").await?;
            let before = |state: State| now.saturating_sub(state.class().map_or(now, |class| keep.of(class)));
            let result = expire(connection, now, &kinds, before, part).await;
            connection.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
            result
        })?;
        let names = lock(&self.names);
        let mut book = lock(&self.book);
        for (id, route, state) in &gone {
            book.removed.add(*id);
            if let Some(name) = names.get(route) {
                book.add(name, Shown::Settled(*state), -1);
            }
        }
        Ok(i64::try_from(gone.len()).unwrap_or(STEP) >= STEP || i64::try_from(keys).unwrap_or(KEY_STEP) >= KEY_STEP)
    }
}

/// Whether a commit waits for a standby.
async fn is_replicated(connection: &Connection) -> Result<bool, PgError> {
    let rows = connection.query(statements::IS_REPLICATED, &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

/// One step of retention; gives what it has deleted, and how many keys.
async fn expire(
    connection: &Connection,
    now: Millis,
    kinds: &[(i32, State, u64)],
    before: impl Fn(State) -> Millis,
    part: i32,
) -> Result<(Vec<(Uuid, i32, State)>, u64), PgError> {
    let mine: bool = match connection.query(statements::TRY_EXPIRE, &[]).await?.first() {
        Some(row) => row.try_get(0)?,
        None => false,
    };
    if !mine {
        return Ok((Vec::new(), 0));
    }
    let routes: Vec<i32> = kinds.iter().map(|(route, ..)| *route).collect();
    let states: Vec<i16> = kinds.iter().map(|(_, state, _)| state.number().into()).collect();
    let befores: Vec<i64> = kinds.iter().map(|(_, state, _)| before(*state)).collect();
    let leasts: Vec<Uuid> = befores.iter().map(|before| least_id(before.saturating_add(1))).collect();
    let over = connection.query(statements::EXPIRED, &[&routes, &states, &leasts, &befores, &STEP]).await?;
    let mut rows: Vec<i64> = over.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, PgError>>()?;
    if rows.is_empty() {
        rows = oldest_refused(connection, kinds).await?;
    }
    let keys = connection.execute(statements::EXPIRE_KEYS, &[&now, &KEY_STEP]).await?;
    if rows.is_empty() {
        return Ok((Vec::new(), keys));
    }
    let locked = connection.query(statements::LOCK_GONE, &[&rows]).await?;
    let rows: Vec<i64> = locked.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, PgError>>()?;
    let deleted = connection.query(statements::DELETE_GONE, &[&rows]).await?;
    let mut gone = Vec::new();
    let mut deleted_rows: Vec<i64> = Vec::new();
    let mut deltas = Deltas::new();
    for row in &deleted {
        let (route, state) = (row.try_get(2)?, state(row, 3)?);
        deleted_rows.push(row.try_get(0)?);
        gone.push((row.try_get(1)?, route, state));
        *deltas.entry((route, Shown::Settled(state))).or_default() -= 1;
    }
    connection.execute(statements::DELETE_BODIES, &[&deleted_rows]).await?;
    connection.execute(statements::DELETE_ATTEMPTS, &[&deleted_rows]).await?;
    add(connection, part, &deltas).await?;
    Ok((gone, keys))
}

/// The oldest records of refused deliveries, if there are more than [`MOST_REFUSED`]: of the route that has most of them.
async fn oldest_refused(connection: &Connection, kinds: &[(i32, State, u64)]) -> Result<Vec<i64>, PgError> {
    let refused = || kinds.iter().filter(|(_, state, _)| matches!(state, State::Refused | State::Challenge));
    let over = refused().map(|(.., count)| count).sum::<u64>().saturating_sub(MOST_REFUSED);
    let Some((route, state, _)) = refused().max_by_key(|(.., count)| *count).filter(|_| over > 0) else {
        return Ok(Vec::new());
    };
    let limit = i64::try_from(over).map_or(STEP, |over| over.min(STEP));
    let state = i16::from(state.number());
    let rows = connection.query(statements::OLDEST_OF_STATE, &[route, &state, &limit]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Adds to this part of the numbers.
pub async fn add(connection: &Connection, part: i32, deltas: &HashMap<(i32, Shown), i64>) -> Result<(), PgError> {
    let mut changed: Vec<(i32, i16, i64)> =
        deltas.iter().map(|((route, shown), n)| (*route, shown.kind().into(), *n)).collect();
    changed.retain(|(.., n)| *n != 0);
    if changed.is_empty() {
        return Ok(());
    }
    // In order, for two gateways that happen to have the same part.
    changed.sort_unstable();
    let routes: Vec<i32> = changed.iter().map(|(route, ..)| *route).collect();
    let kinds: Vec<i16> = changed.iter().map(|(_, kind, _)| *kind).collect();
    let numbers: Vec<i64> = changed.iter().map(|(.., n)| *n).collect();
    connection.execute(statements::ADD_COUNTS, &[&part, &routes, &kinds, &numbers]).await?;
    Ok(())
}
