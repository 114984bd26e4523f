//! Reading: on a connection of its own, which cannot write, and for a bounded time.
//!
//! A list walks the index that fits its filter best, from the newest id down, and looks at each delivery until the page
//! is full. A filter by states walks one range of an index for each route and state, and merges them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params};
use uuid::Uuid;

use super::error::store_error;
use super::write::find_key;
use super::{QUERY_TIME, STATEMENTS, pragma, row, statements};
use crate::clock::Clock;
use crate::store::attempt::{Attempt, Claimed, Ticket};
use crate::store::backend::{Due, Reader};
use crate::store::list::{LOOKED_AT, least_id, matches, waits};
use crate::store::types::{Filter, Millis, Page, Shown, State, StoreError, Stored};

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 4_000;
/// Ids that are read from an index at once.
const CHUNK: u16 = 256;

/// A reading connection.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    clock: Clock,
}

/// The routes by number: name, and whether it is missing from the configuration.
type Routes = HashMap<i64, (Arc<str>, bool)>;

/// A range of an index that a list walks.
#[derive(Debug)]
enum Source<'a> {
    All,
    Event(&'a str),
    Request(&'a str),
    State(i64, State),
}

impl SqliteReader {
    /// Opens one.
    pub fn open(path: &Path, clock: Clock) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        for (name, value) in
            [("query_only", "ON"), ("mmap_size", "0"), ("temp_store", "MEMORY"), ("cache_size", "-8192")]
        {
            pragma(&connection, name, value)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { connection, clock })
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
        self.read(|connection| find_key(connection, key, now))
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        self.read(|connection| list(connection, filter, limit))
    }

    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        self.read(|connection| {
            let routes = read_routes(connection)?;
            let mut statement = connection.prepare_cached(statements::DETAIL)?;
            let found = statement
                .query_row([id.as_bytes()], |found| {
                    let mut stored = row::stored(found, |number| routes.get(&number).cloned())?;
                    stored.delivery.head = row::bytes(found, 17)?;
                    stored.delivery.details = row::bytes(found, 18)?;
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

    fn waiting(&mut self, id: Uuid) -> Result<Vec<Ticket>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::WAITING)?;
            let ticket = |row: &rusqlite::Row<'_>| Ok(Ticket { row: row.get(0)?, destination: row.get(1)? });
            statement.query_map([id.as_bytes()], ticket)?.collect()
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

fn read_routes(connection: &Connection) -> rusqlite::Result<Routes> {
    let mut statement = connection.prepare_cached(statements::ROUTES)?;
    let routes = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(3)?))))?;
    routes.collect()
}

fn read_claimed(connection: &Connection, ticket: Ticket, due_at: Millis) -> rusqlite::Result<Option<Claimed>> {
    let mut statement = connection.prepare_cached(statements::CLAIMED)?;
    let claimed = |found: &rusqlite::Row<'_>| {
        Ok(Claimed {
            ticket,
            id: row::id(found, 0)?,
            received_at: found.get(1)?,
            due_at,
            attempts: found.get(2)?,
            counted: found.get(3)?,
            since: found.get(4)?,
            replay: found.get(5)?,
            once: found.get(6)?,
            head: row::bytes(found, 7)?,
            body: found.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default().into(),
        })
    };
    statement.query_row((ticket.row, ticket.destination), claimed).optional()
}

fn list(connection: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Page> {
    let routes = read_routes(connection)?;
    let sources = sources(filter, &routes);
    let least = filter.since.map_or(Uuid::nil(), least_id);
    let mut below = filter.before.unwrap_or(Uuid::max());
    if let Some(until) = filter.until {
        below = below.min(least_id(until));
    }
    let mut page = Page::default();
    let mut looked_at = 0;
    loop {
        let (ids, end) = next_ids(connection, &sources, below, least)?;
        for (id, row) in ids {
            if page.deliveries.len() >= limit || looked_at >= LOOKED_AT {
                page.next = Some(below);
                return Ok(page);
            }
            looked_at += 1;
            below = id;
            let mut statement = connection.prepare_cached(statements::SUMMARY)?;
            let stored =
                statement.query_row([row], |found| row::stored(found, |number| routes.get(&number).cloned()))?;
            if matches(filter, &stored) {
                page.deliveries.push(stored);
            }
        }
        if end {
            return Ok(page);
        }
    }
}

/// Which ranges have everything that the filter lets through.
fn sources<'a>(filter: &'a Filter, routes: &Routes) -> Vec<Source<'a>> {
    if let Some(event) = &filter.event_id {
        return vec![Source::Event(event)];
    }
    if let Some(request) = &filter.request_id {
        return vec![Source::Request(request)];
    }
    if filter.route.is_none() && filter.states.is_empty() {
        return vec![Source::All];
    }
    let mut states: Vec<State> = filter.states.iter().map(|shown| stored_state(*shown)).collect();
    if states.is_empty() {
        states.extend(State::ALL);
    }
    states.sort_unstable();
    states.dedup();
    let wanted = |name: &str| filter.route.as_deref().is_none_or(|route| route == name);
    let held_alone = filter.states.iter().all(|shown| *shown == Shown::Held) && !filter.states.is_empty();
    let numbers = routes.iter().filter(|(_, (name, held))| wanted(name) && (*held || !held_alone));
    numbers.flat_map(|(number, _)| states.iter().map(|state| Source::State(*number, *state))).collect()
}

fn stored_state(shown: Shown) -> State {
    match shown {
        Shown::Settled(state) if !waits(shown) => state,
        _ => State::Pending,
    }
}

/// The next ids of all ranges together, newest first, and whether these are the last ones.
fn next_ids(
    connection: &Connection,
    sources: &[Source<'_>],
    below: Uuid,
    least: Uuid,
) -> rusqlite::Result<(Vec<(Uuid, i64)>, bool)> {
    let mut ids = Vec::new();
    // Below the last id of a range that may go on, others may have ids that it has, too.
    let mut floor: Option<Uuid> = None;
    for source in sources {
        let read = |found: &rusqlite::Row<'_>| Ok((row::id(found, 0)?, found.get(1)?));
        let (below, least) = (below.as_bytes(), least.as_bytes());
        let before = ids.len();
        let chunk: rusqlite::Result<Vec<(Uuid, i64)>> = match source {
            Source::All => {
                connection.prepare_cached(statements::LIST_ALL)?.query_map((below, least, CHUNK), read)?.collect()
            }
            Source::Event(event) => connection
                .prepare_cached(statements::LIST_EVENT)?
                .query_map((below, least, CHUNK, event), read)?
                .collect(),
            Source::Request(request) => connection
                .prepare_cached(statements::LIST_REQUEST)?
                .query_map((below, least, CHUNK, request), read)?
                .collect(),
            Source::State(route, state) => connection
                .prepare_cached(statements::LIST_STATE)?
                .query_map((below, least, CHUNK, route, state.number()), read)?
                .collect(),
        };
        ids.extend(chunk?);
        if ids.len() - before == usize::from(CHUNK) {
            floor = floor.max(ids.last().map(|(id, _)| *id));
        }
    }
    ids.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    if let Some(floor) = floor {
        ids.retain(|(id, _)| *id >= floor);
    }
    Ok((ids, floor.is_none()))
}
