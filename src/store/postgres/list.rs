//! A list: read in pieces from the newest id down, each piece by an index that has all that its filter can let through, until
//! the page is full.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::error::PgError;
use super::link::{Connection, Params};
use super::row::{bytes, clean, stored};
use super::statements as sql;
use crate::clock::Clock;
use crate::store::list::{Filter, LOOK_TIME, LOOKED_AT, MAX_STATES, Needs, Page, Parts, summary_matches};
use crate::store::types::{Millis, Stored};

/// Deliveries of the first piece; each further one has twice as many.
const FIRST: i64 = 128;
/// Deliveries of a piece, at most.
const MOST: i64 = 1_024;

/// Routes that are missing from the configuration.
pub type Held = HashSet<Arc<str>>;

/// What the pieces are read by.
enum Source {
    All,
    /// Event, request, and the delivery's own.
    Ids(Option<String>, Option<String>, Option<Uuid>),
    States(Option<Vec<String>>, Vec<i16>),
    Reasons(Option<Vec<String>>, Vec<String>),
}

/// A page of deliveries.
pub async fn list(
    connection: &Connection,
    filter: &Filter,
    limit: usize,
    (held, skew): (&Held, Millis),
    clock: &Clock,
) -> Result<Page, PgError> {
    let end = clock.now() + LOOK_TIME;
    let (least, mut below) = filter.ids();
    let source = source(filter, held);
    let mut page = Page::default();
    let (mut looked_at, mut piece) = (0, FIRST);
    loop {
        let rows = read(connection, &source, below, least, piece).await?;
        let looks = Looks::new(connection, filter, &rows, (held, skew)).await?;
        for row in &rows {
            let over = looked_at >= LOOKED_AT || (looked_at > 0 && clock.now() >= end);
            if page.deliveries.len() >= limit || over {
                page.next = Some(below);
                return Ok(page);
            }
            looked_at += 1;
            below = row.try_get(0)?;
            page.deliveries.extend(looks.at(row).await?);
        }
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) < piece {
            return Ok(page);
        }
        piece = (piece * 2).min(MOST);
    }
}

async fn read(
    connection: &Connection,
    source: &Source,
    below: Uuid,
    least: Uuid,
    piece: i64,
) -> Result<Vec<Row>, PgError> {
    let (statement, params): (_, Params<'_>) = match source {
        Source::All => (sql::LIST_ALL, &[&below, &least, &piece]),
        Source::Ids(event, request, id) => (sql::LIST_IDS, &[&below, &least, &piece, event, request, id]),
        Source::States(routes, states) => (sql::LIST_STATES, &[&below, &least, &piece, routes, states]),
        Source::Reasons(routes, reasons) => (sql::LIST_REASONS, &[&below, &least, &piece, routes, reasons]),
    };
    connection.query(statement, params).await
}

/// What has everything that the filter lets through.
fn source(filter: &Filter, held: &Held) -> Source {
    if let Some(event) = &filter.event_id {
        return Source::Ids(Some(clean(event)), None, None);
    }
    if let Some(request) = &filter.request_id {
        return Source::Ids(None, Some(clean(request)), None);
    }
    if let Some(id) = &filter.some_id {
        return Source::Ids(Some(clean(id)), Some(clean(id)), Uuid::try_parse(id).ok());
    }
    let routes: Option<Vec<String>> =
        filter.routes.as_ref().map(|routes| routes.iter().map(|route| clean(route)).collect());
    if let Some(reasons) = &filter.reasons {
        return Source::Reasons(routes, reasons.iter().map(|reason| clean(reason)).collect());
    }
    let states = filter.stored_states();
    if routes.is_none() && states.len() > MAX_STATES {
        return Source::All;
    }
    let routes = match routes {
        None if filter.is_of_held() => Some(held.iter().map(ToString::to_string).collect()),
        routes => routes,
    };
    Source::States(routes, states.into_iter().map(|state| state.number().into()).collect())
}

/// Asks the filter about the deliveries of a piece. No more of them is read than it has to see.
struct Looks<'a> {
    connection: &'a Connection,
    filter: &'a Filter,
    held: &'a Held,
    skew: Millis,
    /// Heads, details and lengths of bodies, by row.
    heads: HashMap<i64, Row>,
    sees_body: bool,
}

impl<'a> Looks<'a> {
    async fn new(
        connection: &'a Connection,
        filter: &'a Filter,
        rows: &[Row],
        (held, skew): (&'a Held, Millis),
    ) -> Result<Self, PgError> {
        let sees_body = filter.conditions(Needs::Body).next().is_some();
        let mut looks = Self { connection, filter, held, skew, heads: HashMap::new(), sees_body };
        if sees_body || filter.conditions(Needs::Details).next().is_some() {
            let mut wanted: Vec<i64> = Vec::new();
            for row in rows {
                // What the summary decides needs no look at the rest.
                let stored = looks.stored(row)?;
                if summary_matches(filter, &stored) {
                    wanted.push(row.try_get(18)?);
                }
            }
            for head in connection.query(sql::HEADS, &[&wanted]).await? {
                looks.heads.insert(head.try_get(0)?, head);
            }
        }
        Ok(looks)
    }

    fn stored(&self, row: &Row) -> Result<Stored, PgError> {
        stored(row, |route| self.held.contains(route), self.skew)
    }

    /// The delivery, if the filter lets it through.
    async fn at(&self, row: &Row) -> Result<Option<Stored>, PgError> {
        let (stored, filter) = (self.stored(row)?, self.filter);
        let parts = Parts { stored: &stored, kept: 0, body: None };
        if !summary_matches(filter, &stored) || !filter.all_hold(Needs::Summary, &parts) {
            return Ok(None);
        }
        if !self.sees_body && filter.conditions(Needs::Details).next().is_none() {
            return Ok(Some(stored));
        }
        let number: i64 = row.try_get(18)?;
        let Some(head) = self.heads.get(&number) else {
            // It was deleted meanwhile.
            return Ok(None);
        };
        let mut detailed = stored.clone();
        (detailed.delivery.head, detailed.delivery.details) = (bytes(head, 1)?, bytes(head, 2)?);
        let kept = head.try_get::<_, Option<i32>>(3)?.map_or(0, |kept| u64::from(kept.unsigned_abs()));
        let parts = Parts { stored: &detailed, kept, body: None };
        if !filter.all_hold(Needs::Details, &parts) {
            return Ok(None);
        }
        if self.sees_body {
            let found = self.connection.query(sql::BODY_OF_ROW, &[&number]).await?;
            let body: Option<&[u8]> = found.first().map(|row| row.try_get(0)).transpose()?;
            if !filter.all_hold(Needs::Body, &Parts { body, ..parts }) {
                return Ok(None);
            }
        }
        Ok(Some(stored))
    }
}
