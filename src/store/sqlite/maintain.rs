//! What is done now and then, in small steps between the batches: checkpoints, retention, giving space back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::store_error;
use super::keys::Expired;
use super::schema::PAGE_SIZE;
use super::write::{Deltas, Known};
use super::{BUSY_TIME, CHECKPOINT_PAGES, Sqlite, add_counts, lock, statements};
use crate::store::list::least_id;
use crate::store::types::{Millis, Shown, State, StoreError};

/// How often retention and vacuum take a step.
const STEP_EVERY: Millis = 1_000;
/// Deliveries that one step of retention deletes.
const STEP: u32 = 256;
/// Records of refused deliveries, over which the oldest ones go: more than an hour of one route's share.
const MOST_REFUSED: u64 = 100_000;
/// Dedupe keys of one step whose time was over, from which on the next step follows at once.
const KEYS: usize = 64;
/// Free pages that are not worth a vacuum.
const SPARE_PAGES: i64 = 64;
/// Pages that one step of the vacuum gives back at most.
const VACUUM_PAGES: i64 = 1_024;
/// The largest database that is written anew after bytes were erased, in bytes. Deliveries wait meanwhile: about a second.
const MAX_REWRITE: i64 = 64 << 20;
/// How long after a secret was removed the log is emptied.
const EMPTY_LOG_AFTER: Millis = 5_000;

/// When what is next.
#[derive(Debug, Default)]
pub struct Upkeep {
    next_step: Millis,
    /// Pages of the log that were there after the last checkpoint and could not be copied for a reader.
    kept_pages: i32,
    /// When the log is to be emptied, because it holds what was erased.
    empty_log_at: Option<Millis>,
    /// Pages of the log at the last step. If they are the same at the next one, nothing was written meanwhile.
    stepped_pages: i32,
    /// The log's file is empty.
    is_log_empty: bool,
}

impl Upkeep {
    /// A secret was removed from the database; the log still has it.
    pub fn secret_left(&mut self, now: Millis) {
        self.empty_log_at.get_or_insert(now + EMPTY_LOG_AFTER);
    }
}

impl Sqlite {
    /// Does what is due; says whether there is more to do at once.
    pub(super) fn do_upkeep(&mut self, now: Millis) -> rusqlite::Result<bool> {
        let log_pages = self.log_pages.load(Ordering::Relaxed);
        self.upkeep.is_log_empty &= log_pages == 0;
        if log_pages - self.upkeep.kept_pages >= CHECKPOINT_PAGES {
            let (pages, copied) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
            let all = copied >= pages;
            self.upkeep.kept_pages = if all { 0 } else { pages };
            if all {
                self.log_pages.store(0, Ordering::Relaxed);
            }
        }
        if self.upkeep.empty_log_at.is_some_and(|at| now >= at || at - now > EMPTY_LOG_AFTER) {
            // A reader that still uses the log prevents it: it is tried again a second later.
            let is_done = self.rewrite()? && self.empty_log()?;
            self.upkeep.empty_log_at = (!is_done).then_some(now + 1_000);
        }
        // A clock that was set back must not stop retention, nor the above.
        if now < self.upkeep.next_step && self.upkeep.next_step - now <= STEP_EVERY {
            return Ok(false);
        }
        // Without room for this, the log still has to be emptied: that makes room.
        let done = self.expire(now).and_then(|more| if more { Ok(more) } else { self.vacuum().map(|()| more) });
        let is_full = done.as_ref().is_err_and(|error| store_error(error) == StoreError::Full);
        let more = if is_full { false } else { done? };
        if !more {
            self.upkeep.next_step = now + STEP_EVERY;
            // The log counts for `max_size`, and its file only shrinks so.
            let log_pages = self.log_pages.load(Ordering::Relaxed);
            if !self.upkeep.is_log_empty && (is_full || log_pages == self.upkeep.stepped_pages) {
                self.empty_log()?;
            }
            self.upkeep.stepped_pages = self.log_pages.load(Ordering::Relaxed);
        }
        Ok(more)
    }

    /// Writes a database of up to [`MAX_REWRITE`] anew, and says whether it is done with: SQLite moves rows within a page
    /// without overwriting the bytes where they stood, so bytes of an erased row may be left there.
    fn rewrite(&self) -> rusqlite::Result<bool> {
        let pages: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        if pages.saturating_mul(PAGE_SIZE.into()) > MAX_REWRITE {
            return Ok(true);
        }
        match self.connection.execute_batch("VACUUM") {
            Ok(()) => Ok(true),
            // Without room, or beside another program that writes, it is tried again.
            Err(error) => match store_error(&error) {
                StoreError::Full | StoreError::Slow => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Copies the log into the database and empties its file, unless a reader uses it; says whether it did.
    fn empty_log(&mut self) -> rusqlite::Result<bool> {
        // It must not wait for a reader.
        self.connection.busy_timeout(Duration::ZERO)?;
        let emptied = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
        self.connection.busy_timeout(BUSY_TIME)?;
        let (pages, _) = emptied?;
        if pages == 0 {
            self.upkeep.kept_pages = 0;
            self.upkeep.is_log_empty = true;
            self.log_pages.store(0, Ordering::Relaxed);
        }
        Ok(pages == 0)
    }

    /// Copies the log into the database; gives the log's pages and how many are copied.
    fn checkpoint(&self, how: &str) -> rusqlite::Result<(i32, i32)> {
        let mut statement = self.connection.prepare_cached(how)?;
        let (busy, pages, copied): (bool, i32, i32) =
            statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(if busy { (pages.max(1), 0) } else { (pages, copied) })
    }

    /// Deletes a few of the deliveries and keys whose time is over; says whether more are left.
    fn expire(&mut self, now: Millis) -> rusqlite::Result<bool> {
        let kinds: Vec<(Arc<str>, State)> = {
            let book = lock(&self.book);
            let settled = |(route, shown): &(Arc<str>, Shown)| match shown {
                Shown::Settled(state) => Some((Arc::clone(route), *state)),
                Shown::Pending | Shown::Retrying | Shown::Held => None,
            };
            book.counts.keys().filter_map(settled).collect()
        };
        let mut gone: Vec<Known> = Vec::new();
        for (name, state) in kinds {
            let left = STEP.saturating_sub(u32::try_from(gone.len()).unwrap_or(STEP));
            let (Some(route), Some(class)) = (self.names.numbers.get(&name).copied(), state.class()) else { continue };
            if left == 0 {
                break;
            }
            let before = now.saturating_sub(self.keep.of(class));
            let mut statement = self.connection.prepare_cached(statements::EXPIRED)?;
            let least = least_id(before.saturating_add(1));
            let rows = statement
                .query_map((route, state.number(), least.as_bytes(), before, left), |row| row.get::<_, i64>(0))?;
            for row in rows {
                gone.push(Known { row: row?, route, state, attempts: 0 });
            }
        }
        if gone.is_empty() {
            self.oldest_refused(&mut gone)?;
        }
        self.move_keys_without_a_batch()?;
        let keys = self.expired_keys(now)?;
        if gone.is_empty() && keys.is_empty() {
            return Ok(false);
        }
        let mut deltas = Deltas::new();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let result = self.delete(&gone, &keys, now, &mut deltas);
        if result.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        let count = result?;
        self.forget_keys(&keys);
        add_counts(&self.book, &self.names, &deltas);
        Ok(gone.len() >= usize::try_from(STEP).unwrap_or(usize::MAX) || count >= KEYS)
    }

    /// The oldest records of refused deliveries, if there are more than [`MOST_REFUSED`]: of the route that has most of them.
    fn oldest_refused(&self, gone: &mut Vec<Known>) -> rusqlite::Result<()> {
        let refused: Vec<(i64, State, u64)> = {
            let book = lock(&self.book);
            let number = |route: &Arc<str>| self.names.numbers.get(route).copied();
            let counts = book.counts.iter().filter_map(|((route, shown), count)| match shown {
                Shown::Settled(state @ (State::Refused | State::Challenge)) => Some((number(route)?, *state, *count)),
                _ => None,
            });
            counts.collect()
        };
        let over = refused.iter().map(|(.., count)| count).sum::<u64>().saturating_sub(MOST_REFUSED);
        let Some((route, state, _)) = refused.into_iter().max_by_key(|(.., count)| *count).filter(|_| over > 0) else {
            return Ok(());
        };
        let mut statement = self.connection.prepare_cached(statements::OLDEST_OF_STATE)?;
        let limit = u32::try_from(over).map_or(STEP, |over| over.min(STEP));
        let rows = statement.query_map((route, state.number(), limit), |row| row.get(0))?;
        for row in rows {
            gone.push(Known { row: row?, route, state, attempts: 0 });
        }
        Ok(())
    }

    fn delete(&self, gone: &[Known], keys: &Expired, now: Millis, deltas: &mut Deltas) -> rusqlite::Result<usize> {
        for known in gone {
            self.forget(known.row)?;
            *deltas.entry((known.route, known.shown())).or_default() -= 1;
        }
        let count = self.delete_keys(keys, now)?;
        for ((route, shown), delta) in deltas.iter() {
            let mut statement = self.connection.prepare_cached(statements::ADD_COUNT)?;
            statement.execute((route, shown.kind(), delta))?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(count)
    }

    /// Gives free pages back to the file system, a part of them in each step.
    fn vacuum(&self) -> rusqlite::Result<()> {
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free <= SPARE_PAGES {
            return Ok(());
        }
        let pages = (free / 4).clamp(SPARE_PAGES, VACUUM_PAGES);
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}
