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
        let passing = passing(filter, &rows, (held, skew))?;
        let looks = Looks::new(connection, filter, &passing).await?;
        for (row, passes) in rows.iter().zip(passing) {
            let over = looked_at >= LOOKED_AT || (looked_at > 0 && clock.now() >= end);
            if page.deliveries.len() >= limit || over {
                page.next = Some(below);
                return Ok(page);
            }
            looked_at += 1;
            below = row.try_get(0)?;
            if let Some(stored) = passes
                && looks.let_through(&stored).await?
            {
                page.deliveries.push(stored);
            }
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
        return Source::Ids(Some(clean(event).into_owned()), None, None);
    }
    if let Some(request) = &filter.request_id {
        return Source::Ids(None, Some(clean(request).into_owned()), None);
    }
    if let Some(id) = &filter.some_id {
        return Source::Ids(Some(clean(id).into_owned()), Some(clean(id).into_owned()), Uuid::try_parse(id).ok());
    }
    let routes: Option<Vec<String>> =
        filter.routes.as_ref().map(|routes| routes.iter().map(|route| clean(route).into_owned()).collect());
    if let Some(reasons) = &filter.reasons {
        return Source::Reasons(routes, reasons.iter().map(|reason| clean(reason).into_owned()).collect());
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

/// The deliveries that the filter lets through as far as their summaries say.
fn passing(filter: &Filter, rows: &[Row], (held, skew): (&Held, Millis)) -> Result<Vec<Option<Stored>>, PgError> {
    let passes = |row| {
        let stored = stored(row, |route| held.contains(route), skew)?;
        let parts = Parts { stored: &stored, kept: 0, body: None };
        let passes = summary_matches(filter, &stored) && filter.all_hold(Needs::Summary, &parts);
        Ok(passes.then_some(stored))
    };
    rows.iter().map(passes).collect()
}

/// Asks the filter about what the summaries of a piece do not tell. No more of the deliveries is read than it has to see.
struct Looks<'a> {
    connection: &'a Connection,
    filter: &'a Filter,
    sees_body: bool,
    /// Heads, details and lengths of bodies by id, if the filter sees them.
    heads: Option<HashMap<Uuid, Row>>,
}

impl<'a> Looks<'a> {
    async fn new(connection: &'a Connection, filter: &'a Filter, passing: &[Option<Stored>]) -> Result<Self, PgError> {
        let sees_body = filter.conditions(Needs::Body).next().is_some();
        let mut heads = None;
        if sees_body || filter.conditions(Needs::Details).next().is_some() {
            let wanted: Vec<Uuid> = passing.iter().flatten().map(|stored| stored.delivery.id).collect();
            let found = connection.query(sql::HEADS, &[&wanted]).await?;
            heads = Some(found.into_iter().map(|row| Ok((row.try_get(0)?, row))).collect::<Result<_, PgError>>()?);
        }
        Ok(Self { connection, filter, sees_body, heads })
    }

    async fn let_through(&self, stored: &Stored) -> Result<bool, PgError> {
        let Some(heads) = &self.heads else { return Ok(true) };
        let Some(head) = heads.get(&stored.delivery.id) else {
            // It was deleted meanwhile.
            return Ok(false);
        };
        let mut detailed = stored.clone();
        (detailed.delivery.head, detailed.delivery.details) = (bytes(head, 1)?, bytes(head, 2)?.into());
        let kept = head.try_get::<_, Option<i32>>(3)?.map_or(0, |kept| u64::from(kept.unsigned_abs()));
        let parts = Parts { stored: &detailed, kept, body: None };
        if !self.filter.all_hold(Needs::Details, &parts) {
            return Ok(false);
        }
        if !self.sees_body {
            return Ok(true);
        }
        let found = self.connection.query(sql::BODY, &[&stored.delivery.id]).await?;
        let body: Option<&[u8]> = found.first().map(|row| row.try_get(0)).transpose()?;
        Ok(self.filter.all_hold(Needs::Body, &Parts { body, ..parts }))
    }
}
