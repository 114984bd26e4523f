//! Reading, and claiming what is due: on a connection of its own, and for a bounded time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::error::PgError;
use super::leases::{Lease, Leases, Role};
use super::link::{Connection, Link, Params, Setup};
use super::list::{Held, list};
use super::row::{attempt, bytes, stored, waiting};
use super::skew::Skew;
use super::statements;
use super::write::begin_session;
use crate::clock::Clock;
use crate::lock::lock;
use crate::store::attempt::{Attempt, Claimed, Ticket};
use crate::store::backend::{Book, Due, Reader};
use crate::store::list::{Filter, Page};
use crate::store::types::{Millis, StoreError, Stored};
use crate::store::waiting::Waiting;

/// How long a query may take here: the server ends it earlier.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reading connection.
#[derive(Debug)]
pub struct PostgresReader {
    link: Link,
    gateway: Arc<str>,
    leases: Arc<Leases>,
    book: Arc<Mutex<Book>>,
    skew: Arc<Skew>,
}

impl PostgresReader {
    /// One that connects with its first question.
    pub fn new(setup: Setup, gateway: Arc<str>, leases: Arc<Leases>, book: Arc<Mutex<Book>>, skew: Arc<Skew>) -> Self {
        Self { link: Link::new(setup), gateway, leases, book, skew }
    }

    /// Which routes are missing from the configuration.
    fn held(&self) -> Held {
        let book = lock(&self.book);
        book.routes.iter().filter(|(_, state)| state.held).map(|(name, _)| Arc::clone(name)).collect()
    }

    fn run<T>(&mut self, query: impl AsyncFn(&Connection) -> Result<T, PgError>) -> Result<T, StoreError> {
        self.link.run_again(PATIENCE, query).map_err(|error| error.for_store())
    }

    /// The session under which this connection claims.
    fn session(&mut self) -> Result<i64, StoreError> {
        if let Some(session) = self.leases.session(Role::Dispatch, self.link.made()) {
            return Ok(session);
        }
        let gateway = Arc::clone(&self.gateway);
        let session = self.run(async |connection| begin_session(connection, &gateway).await)?;
        self.leases.begin(Role::Dispatch, self.link.made(), session);
        Ok(session)
    }
}

impl Reader for PostgresReader {
    fn due(&mut self, query: &Due<'_>) -> Result<Vec<Claimed>, StoreError> {
        let session = self.session()?;
        let skew = self.skew.of_queue();
        let destination = i32::from(query.destination);
        let (now, limit) = (query.now.saturating_add(skew), i64::try_from(query.limit).unwrap_or(i64::MAX));
        let bytes = i64::try_from(query.max_bytes).unwrap_or(i64::MAX);
        let held = self.leases.rows();
        // Not tried again here: the first try may have claimed something.
        let rows = self.link.run(PATIENCE, async |connection| {
            let params: Params<'_> = &[&query.route, &destination, &now, &limit, &session, &held, &bytes];
            connection.prepare(&[statements::CLAIM]).await?;
            let bound = format!("SET statement_timeout = {}", super::QUERY_TIME.as_millis());
            // It commits, so the server must not break it off.
            let ((), rows, ()) = tokio::try_join!(
                biased;
                connection.batch("SET statement_timeout = 0"),
                connection.query(statements::CLAIM, params),
                connection.batch(&bound),
            )?;
            Ok(rows)
        });
        let claims: Result<Vec<(Claimed, i64)>, PgError> =
            rows.and_then(|rows| rows.iter().map(|row| claimed(row, query.destination, skew)).collect());
        if claims.is_err() {
            // The session may have claims that this process does not know.
            self.leases.end_current(Role::Dispatch);
        }
        let claims = claims.map_err(|error| error.for_store())?;
        let taken = claims.into_iter().map(|(claimed, fence)| {
            self.leases.hold(claimed.ticket, Lease { session, fence, fresh: None });
            claimed
        });
        Ok(taken.collect())
    }

    fn next_due(&mut self, route: &str, destination: u16, now: Millis) -> Result<Option<Millis>, StoreError> {
        let skew = self.skew.of_queue();
        let (destination, now) = (i32::from(destination), now.saturating_add(skew));
        let at: Option<Option<i64>> = self.one(statements::NEXT_DUE, &[&route, &destination, &now])?;
        Ok(at.flatten().map(|at| at.saturating_sub(skew)))
    }

    fn key(&mut self, key: &[u8; 16], now: Millis) -> Result<Option<Uuid>, StoreError> {
        let (key, now) = (Uuid::from_bytes(*key), now.saturating_add(self.skew.of_system(now)));
        self.one(statements::KEY, &[&key, &now])
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        let (held, skew, clock) = (self.held(), self.skew.of_queue(), Clock::system());
        self.run(async |connection| list(connection, filter, limit, (&held, skew), &clock).await)
    }

    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        let (held, skew) = (self.held(), self.skew.of_queue());
        self.run(async |connection| {
            let found = connection.query(statements::DETAIL, &[&id]).await?;
            let Some(found) = found.first() else { return Ok(None) };
            let mut stored = stored(found, |route| held.contains(route), skew)?;
            stored.delivery.head = bytes(found, 19)?;
            stored.delivery.details = bytes(found, 20)?.into();
            let row: i64 = found.try_get(18)?;
            let attempts = connection.query(statements::ATTEMPTS, &[&row]).await?;
            let attempts = attempts.iter().map(attempt).collect::<Result<_, PgError>>()?;
            Ok(Some((stored, attempts)))
        })
    }

    fn body(&mut self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        let body: Option<Vec<u8>> = self.one(statements::BODY, &[&id])?;
        Ok(body.map(Bytes::from))
    }

    fn row(&mut self, id: Uuid) -> Result<Option<i64>, StoreError> {
        self.one(statements::ROW, &[&id])
    }

    fn is_claimed(&mut self, id: Uuid) -> Result<bool, StoreError> {
        // Also one that does not wait any more, because it was discarded meanwhile.
        let row: Option<i64> = self.one(statements::ROW, &[&id])?;
        if row.is_some_and(|row| self.leases.has(row)) {
            return Ok(true);
        }
        Ok(self.one(statements::IS_CLAIMED, &[&id])?.unwrap_or(false))
    }

    fn summaries(&mut self, of: &[Uuid]) -> Result<Vec<Stored>, StoreError> {
        let (held, skew) = (self.held(), self.skew.of_queue());
        let found: HashMap<Uuid, Stored> = self.run(async |connection| {
            let found = connection.query(statements::SUMMARIES, &[&of]).await?;
            let read = |row: &Row| stored(row, |route| held.contains(route), skew).map(|one| (one.delivery.id, one));
            found.iter().map(read).collect()
        })?;
        // In the order of the question.
        Ok(of.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    fn oldest(&mut self, route: &str) -> Result<Option<Millis>, StoreError> {
        self.one(statements::OLDEST, &[&route])
    }
}

impl PostgresReader {
    /// The first column of the first row.
    fn one<T: for<'r> FromSql<'r>>(&mut self, sql: &'static str, params: Params<'_>) -> Result<Option<T>, StoreError> {
        self.run(async |connection| {
            let rows = connection.query(sql, params).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
        })
    }
}

/// A claimed delivery, and the number of its claim.
fn claimed(row: &Row, destination: u16, skew: Millis) -> Result<(Claimed, i64), PgError> {
    let body: Option<&[u8]> = row.try_get(13)?;
    let waiting = waiting(row, 1)?;
    let claimed = Claimed {
        ticket: Ticket { row: row.try_get(0)?, destination },
        waiting: Waiting { due_at: waiting.due_at.saturating_sub(skew), ..waiting },
        id: row.try_get(8)?,
        received_at: row.try_get(9)?,
        scheme: Arc::from(row.try_get::<_, &str>(10)?),
        details: bytes(row, 11)?.into(),
        head: bytes(row, 12)?,
        body: body.map(Bytes::copy_from_slice).unwrap_or_default(),
    };
    Ok((claimed, row.try_get(7)?))
}
