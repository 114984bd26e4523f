//! Reading: on a connection of its own, which cannot write, and for a bounded time.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params};
use uuid::Uuid;

use super::error::store_error;
use super::keys::{NewKeys, find_key};
use super::list::{list, read_routes};
use super::{QUERY_TIME, STATEMENTS, leave_log_alone, pragma, row, statements};
use crate::clock::Clock;
use crate::lock::lock;
use crate::store::attempt::{Attempt, Claimed, Ticket};
use crate::store::backend::{Due, Reader};
use crate::store::list::{Filter, LOOK_TIME, Page};
use crate::store::types::{Millis, StoreError, Stored};
use crate::store::waiting::Waiting;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 4_000;
/// A reading connection.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    clock: Clock,
    new_keys: Arc<Mutex<NewKeys>>,
}

impl SqliteReader {
    /// Opens one.
    pub fn open(path: &Path, clock: Clock, new_keys: Arc<Mutex<NewKeys>>) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        leave_log_alone(&connection)?;
        for (name, value) in
            [("query_only", "ON"), ("mmap_size", "0"), ("temp_store", "MEMORY"), ("cache_size", "-8192")]
        {
            pragma(&connection, name, value)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { connection, clock, new_keys })
    }

    /// Runs a query on one state of the database, and ends it when its time is over.
    fn read<T>(&mut self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let clock = self.clock.clone();
        let end = clock.now() + QUERY_TIME;
        let late = move || clock.now() >= end;
        self.connection.progress_handler(STEPS, Some(late)).map_err(|error| store_error(&error))?;
        let result = self.connection.unchecked_transaction().and_then(|transaction| {
            let result = query(&transaction)?;
            transaction.finish()?;
            Ok(result)
        });
        result.map_err(|error| store_error(&error))
    }
}

impl Reader for SqliteReader {
    fn due(&mut self, query: &Due<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.read(|connection| {
            let Some(route) = route_number(connection, query.route)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            let mut bytes = 0;
            let mut statement = connection.prepare_cached(statements::DUE)?;
            let mut rows = statement.query((route, query.destination, query.now))?;
            while let Some(row) = rows.next()? {
                let ticket = Ticket { row: row.get(0)?, destination: query.destination };
                if query.claimed.contains(&ticket) {
                    continue;
                }
                let Some(claimed) = read_claimed(connection, ticket, row.get(1)?)? else { continue };
                bytes += claimed.body.len() + claimed.head.len();
                if !found.is_empty() && bytes > query.max_bytes {
                    break;
                }
                found.push(claimed);
                if found.len() >= query.limit {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn next_due(&mut self, route: &str, destination: u16, now: Millis) -> Result<Option<Millis>, StoreError> {
        self.read(|connection| {
            let Some(route) = route_number(connection, route)? else { return Ok(None) };
            one(connection, statements::NEXT_DUE, (route, destination, now))
        })
    }

    fn key(&mut self, key: &[u8; 16], now: Millis) -> Result<Option<Uuid>, StoreError> {
        let new = lock(&self.new_keys).find(key);
        // One that has moved meanwhile was committed before.
        new.map_or_else(|| self.read(|connection| find_key(connection, key, now)), |known| Ok(known.at(now)))
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        let clock = self.clock.clone();
        let end = clock.now() + LOOK_TIME;
        self.read(|connection| list(connection, filter, limit, || clock.now() >= end))
    }

    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        self.read(|connection| {
            let routes = read_routes(connection)?;
            let mut statement = connection.prepare_cached(statements::DETAIL)?;
            let found = statement
                .query_row([id.as_bytes()], |found| {
                    let mut stored = row::stored(found, |number| routes.get(&number).cloned())?;
                    stored.delivery.head = row::bytes(found, 17)?;
                    stored.delivery.details = row::bytes(found, 18)?.into();
                    Ok((stored, found.get::<_, i64>(19)?))
                })
                .optional()?;
            let Some((stored, row)) = found else { return Ok(None) };
            let mut statement = connection.prepare_cached(statements::ATTEMPTS)?;
            let attempts = statement.query_map([row], row::attempt)?.collect::<rusqlite::Result<_>>()?;
            Ok(Some((stored, attempts)))
        })
    }

    fn body(&mut self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        self.read(|connection| {
            let body: Option<Vec<u8>> = one(connection, statements::BODY, [id.as_bytes()])?;
            Ok(body.map(Bytes::from))
        })
    }

    fn row(&mut self, id: Uuid) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::ROW)?;
            statement.query_row([id.as_bytes()], |row| row.get(0)).optional()
        })
    }

    fn summaries(&mut self, of: &[Uuid]) -> Result<Vec<Stored>, StoreError> {
        self.read(|connection| {
            let routes = read_routes(connection)?;
            let mut found = Vec::with_capacity(of.len());
            for id in of {
                let row: Option<i64> = one(connection, statements::ROW, [id.as_bytes()])?;
                let Some(row) = row else { continue };
                let mut statement = connection.prepare_cached(statements::SUMMARY)?;
                let stored = |found: &rusqlite::Row<'_>| row::stored(found, |number| routes.get(&number).cloned());
                found.extend(statement.query_row([row], stored).optional()?);
            }
            Ok(found)
        })
    }

    fn oldest(&mut self, route: &str) -> Result<Option<Millis>, StoreError> {
        self.read(|connection| {
            let Some(route) = route_number(connection, route)? else { return Ok(None) };
            one(connection, statements::OLDEST, [route])
        })
    }
}

/// The first column of the first row.
fn one<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()
}

fn route_number(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    one(connection, "SELECT number FROM routes WHERE name = ?1", [name])
}

fn read_claimed(connection: &Connection, ticket: Ticket, due_at: Millis) -> rusqlite::Result<Option<Claimed>> {
    let mut statement = connection.prepare_cached(statements::CLAIMED)?;
    let claimed = |found: &rusqlite::Row<'_>| {
        let waiting = Waiting {
            due_at,
            attempts: found.get(2)?,
            counted: found.get(3)?,
            since: found.get(4)?,
            replay: found.get(5)?,
            once: found.get(6)?,
        };
        Ok(Claimed {
            ticket,
            id: row::id(found, 0)?,
            received_at: found.get(1)?,
            waiting,
            head: row::bytes(found, 7)?,
            body: found.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default().into(),
            scheme: found.get(9)?,
            details: row::bytes(found, 10)?.into(),
        })
    };
    statement.query_row((ticket.row, ticket.destination), claimed).optional()
}
