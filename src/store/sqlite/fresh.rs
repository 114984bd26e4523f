//! Deliveries that are attempted as soon as they are stored. Most of them are delivered a moment later, so they get no row
//! in `queue` at first: that saves a third of what a delivery costs the writer.
//!
//! Such a delivery is given its row when it has to wait after all: its attempt failed or could not begin, a person changes
//! something, [`AGE`] batches have gone by, or the store closes. After a kill, those that have none are found again, and are
//! due at once: they are pending, and in no lower row than `marks` says.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::error::store_error;
use super::{Sqlite, statements};
use crate::store::types::{Millis, StoreError};

/// Batches after which a delivery that is still being attempted gets its row: with a batch every 3 ms, 0.2 s. It bounds how
/// much has to be looked through after a kill.
const AGE: u64 = 64;
/// The mark is moved on when it is so many rows behind.
const MARK_STEP: i64 = 1_024;

/// A delivery without a row in `queue`.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Its route's number.
    pub route: i64,
    /// When it was received: it has waited since, and has been due since.
    pub since: Millis,
    /// The batch that stored it.
    batch: u64,
}

/// All of them, by their rows.
#[derive(Debug, Default)]
pub struct FreshRows {
    rows: BTreeMap<i64, Fresh>,
    /// What the batch that is being written has taken.
    taken: Vec<(i64, Fresh)>,
    batch: u64,
    /// What `marks` says.
    mark: i64,
}

impl FreshRows {
    /// Those that the last run has left, with the mark.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mark = connection.query_row(statements::MARK, [], |row| row.get(0))?;
        let mut statement = connection.prepare(statements::LEFT_OVER)?;
        let left =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Fresh { route: row.get(1)?, since: row.get(2)?, batch: 0 }));
        let rows = statement.query_map([mark], left)?.collect::<rusqlite::Result<_>>()?;
        Ok(Self { rows, taken: Vec::new(), batch: AGE, mark })
    }

    /// There is none in a lower row.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// One more, which the batch that is being written stores.
    pub fn add(&mut self, row: i64, route: i64, since: Millis) {
        self.rows.insert(row, Fresh { route, since, batch: self.batch });
    }

    /// Takes one out, if it is there: its row is written, or its attempt has settled it.
    pub fn take(&mut self, row: i64) -> Option<Fresh> {
        let fresh = self.rows.remove(&row)?;
        self.taken.push((row, fresh));
        Some(fresh)
    }

    /// Where the mark has to be moved to.
    fn next_mark(&self, next_row: i64) -> Option<i64> {
        let least = self.rows.first_key_value().map_or(next_row, |(row, _)| *row);
        (least - self.mark >= MARK_STEP).then_some(least)
    }

    /// The batch is committed.
    fn committed(&mut self, mark: Option<i64>) {
        self.taken.clear();
        self.batch += 1;
        self.mark = mark.unwrap_or(self.mark);
    }

    /// The batch, whose first new row this is, has changed nothing.
    fn rolled_back(&mut self, first_row: i64) {
        self.rows.split_off(&first_row);
        self.rows.extend(self.taken.drain(..).filter(|(row, _)| *row < first_row));
    }
}

impl Sqlite {
    /// Makes a transaction of what `write` does.
    pub(super) fn transaction<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let first_row = self.next_row;
        let result = self.try_transaction(write);
        match &result {
            Ok((_, mark)) => {
                self.fresh.committed(*mark);
                self.keys.committed();
            }
            Err(_) => {
                self.fresh.rolled_back(first_row);
                self.keys.rolled_back();
                // SQLite rolls back by itself after some errors.
                if !self.connection.is_autocommit() {
                    self.connection.execute_batch("ROLLBACK")?;
                }
            }
        }
        result.map(|(result, _)| result)
    }

    fn try_transaction<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<(T, Option<i64>)> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let result = write(self)?;
        self.queue_fresh(|fresh, batch| fresh.batch + AGE <= batch)?;
        self.move_keys()?;
        let mark = self.fresh.next_mark(self.next_row);
        if let Some(mark) = mark {
            self.connection.prepare_cached(statements::SET_MARK)?.execute([mark])?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok((result, mark))
    }

    /// Gives those their rows, from the oldest on, for which `is_meant`, which also hears which batch this is.
    fn queue_fresh(&mut self, is_meant: impl Fn(&Fresh, u64) -> bool) -> rusqlite::Result<()> {
        let batch = self.fresh.batch;
        while let Some((&row, _)) = self.fresh.rows.first_key_value().filter(|(_, fresh)| is_meant(fresh, batch)) {
            self.queue_one(row)?;
        }
        Ok(())
    }

    /// Gives all of them their rows.
    pub(super) fn queue_all(&mut self) -> rusqlite::Result<()> {
        self.queue_fresh(|_, _| true)
    }

    /// Gives one its row in the queue, if it has none.
    pub(super) fn queue_one(&mut self, row: i64) -> rusqlite::Result<()> {
        let Some(Fresh { route, since, .. }) = self.fresh.take(row) else { return Ok(()) };
        let mut statement = self.connection.prepare_cached(statements::INSERT_QUEUE)?;
        statement.execute((row, 0, route, since, 0, since, false, false))?;
        Ok(())
    }

    /// The same for all, in a transaction of its own, if there are any. Without room, or beside another program that writes, they
    /// stay as they are.
    pub(super) fn close_fresh(&mut self) -> rusqlite::Result<()> {
        if self.fresh.rows.is_empty() {
            return Ok(());
        }
        match self.transaction(Self::queue_all) {
            Err(error) if matches!(store_error(&error), StoreError::Full | StoreError::Slow) => Ok(()),
            result => result,
        }
    }

    /// Those that the last run has left are due: they get their rows. Without room for that it is tried again.
    pub(super) fn queue_left_over(&mut self) -> rusqlite::Result<()> {
        if self.fresh.rows.first_key_value().is_some_and(|(_, fresh)| fresh.batch == 0) {
            self.close_fresh()?;
        }
        Ok(())
    }
}
