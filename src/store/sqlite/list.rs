//! A list: walks the ranges of indexes that have all that its filter can let through, from the newest id down, and looks
//! at each delivery until the page is full.
//!
//! A filter by routes, states or reasons has one range for each of their combinations; the ranges are merged.

#[cfg(test)]
mod tests;

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension};
use uuid::Uuid;

use super::{row, statements};
use crate::store::list::{Filter, LOOKED_AT, MAX_STATES, Needs, Page, Parts, summary_matches};
use crate::store::types::{State, Stored};

/// Ids that are read of all ranges together at first; each further read of a range takes twice as many as its last one.
const FIRST_IDS: usize = 128;
/// Ids that are read of a range at once, at most.
const MAX_CHUNK: u16 = 256;

/// The routes by number: name, and whether it is missing from the configuration.
pub type Routes = HashMap<i64, (Arc<str>, bool)>;

/// A range of an index.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    All,
    Id(Uuid),
    Event(&'a str),
    Request(&'a str),
    State(i64, State),
    Reason(i64, &'a str),
}

/// A range with the ids that were read of it.
#[derive(Debug)]
struct Range<'a> {
    source: Source<'a>,
    ids: VecDeque<(Uuid, i64)>,
    chunk: u16,
    /// There may be more than was read.
    more: bool,
}

/// All ids of several ranges, newest first.
struct Walk<'a> {
    connection: &'a Connection,
    least: Uuid,
    ranges: Vec<Range<'a>>,
    /// The newest id of each range that has not ended.
    heads: BinaryHeap<(Uuid, usize)>,
    last: Option<Uuid>,
}

/// All routes.
pub fn read_routes(connection: &Connection) -> rusqlite::Result<Routes> {
    let mut statement = connection.prepare_cached(statements::ROUTES)?;
    let routes = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(3)?))))?;
    routes.collect()
}

/// A page of deliveries. It ends early once `late` says so, but not before it has looked at one.
pub fn list(connection: &Connection, filter: &Filter, limit: usize, late: impl Fn() -> bool) -> rusqlite::Result<Page> {
    let routes = read_routes(connection)?;
    let (least, mut below) = filter.ids();
    let mut look = Look::new(connection, filter, &routes)?;
    let mut walk = Walk::new(connection, sources(filter, &routes), below, least)?;
    let mut page = Page::default();
    let mut looked_at = 0;
    while let Some((id, row)) = walk.next()? {
        let over = looked_at >= LOOKED_AT || (looked_at > 0 && late());
        if page.deliveries.len() >= limit || over {
            page.next = Some(below);
            break;
        }
        looked_at += 1;
        below = id;
        page.deliveries.extend(look.at(row)?);
    }
    Ok(page)
}

/// What reads deliveries and asks the filter.
struct Look<'a> {
    filter: &'a Filter,
    routes: &'a Routes,
    summary: CachedStatement<'a>,
    details: CachedStatement<'a>,
    body: CachedStatement<'a>,
}

impl<'a> Look<'a> {
    fn new(connection: &'a Connection, filter: &'a Filter, routes: &'a Routes) -> rusqlite::Result<Self> {
        Ok(Self {
            filter,
            routes,
            summary: connection.prepare_cached(statements::SUMMARY)?,
            details: connection.prepare_cached(statements::HEAD_AND_DETAILS)?,
            body: connection.prepare_cached(statements::BODY_OF_ROW)?,
        })
    }

    /// The delivery in a row, if the filter lets it through. No more of it is read than the filter has to see.
    fn at(&mut self, row: i64) -> rusqlite::Result<Option<Stored>> {
        let routes = self.routes;
        let stored =
            self.summary.query_row([row], |found| row::stored(found, |number| routes.get(&number).cloned()))?;
        let filter = self.filter;
        let parts = Parts { stored: &stored, kept: 0, body: None };
        if !summary_matches(filter, &stored) || !filter.all_hold(Needs::Summary, &parts) {
            return Ok(None);
        }
        let sees_body = filter.conditions(Needs::Body).next().is_some();
        if sees_body || filter.conditions(Needs::Details).next().is_some() {
            let mut detailed = stored.clone();
            let kept: Option<i64>;
            (detailed.delivery.head, detailed.delivery.details, kept) = self
                .details
                .query_row([row], |found| Ok((row::bytes(found, 0)?, row::bytes(found, 1)?.into(), found.get(2)?)))?;
            let parts = Parts { stored: &detailed, kept: kept.map_or(0, i64::unsigned_abs), body: None };
            if !filter.all_hold(Needs::Details, &parts) {
                return Ok(None);
            }
            if sees_body {
                let body: Option<Vec<u8>> = self.body.query_row([row], |found| found.get(0)).optional()?;
                if !filter.all_hold(Needs::Body, &Parts { body: body.as_deref(), ..parts }) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(stored))
    }
}

/// Which ranges have everything that the filter lets through.
fn sources<'a>(filter: &'a Filter, routes: &Routes) -> Vec<Source<'a>> {
    if let Some(event) = &filter.event_id {
        return vec![Source::Event(event)];
    }
    if let Some(request) = &filter.request_id {
        return [Source::Request(request)].into_iter().chain(own_id(request)).collect();
    }
    if let Some(id) = &filter.some_id {
        return [Source::Event(id), Source::Request(id)].into_iter().chain(own_id(id)).collect();
    }
    let wanted = |name: &str| filter.routes.as_ref().is_none_or(|wanted| wanted.iter().any(|route| route == name));
    let numbers = routes.iter().filter(|(_, (name, _))| wanted(name));
    if let Some(reasons) = &filter.reasons {
        let each = |number: i64| reasons.iter().map(move |reason| Source::Reason(number, reason));
        return numbers.flat_map(|(number, _)| each(*number)).collect();
    }
    let states = filter.stored_states();
    if filter.routes.is_none() && states.len() > MAX_STATES {
        return vec![Source::All];
    }
    let numbers = numbers.filter(|(_, (_, held))| *held || !filter.is_of_held());
    numbers.flat_map(|(number, _)| states.iter().map(|state| Source::State(*number, *state))).collect()
}

/// The delivery whose id this is; it is its request id, too, unless the sender has named one.
fn own_id<'a>(text: &str) -> Option<Source<'a>> {
    Uuid::try_parse(text).ok().map(Source::Id)
}

impl<'a> Walk<'a> {
    fn new(connection: &'a Connection, sources: Vec<Source<'a>>, below: Uuid, least: Uuid) -> rusqlite::Result<Self> {
        let chunk = u16::try_from(FIRST_IDS / sources.len().max(1)).unwrap_or(MAX_CHUNK).clamp(2, MAX_CHUNK);
        let mut walk = Self { connection, least, ranges: Vec::new(), heads: BinaryHeap::new(), last: None };
        for (at, source) in sources.into_iter().enumerate() {
            let mut range = Range { source, ids: VecDeque::new(), chunk, more: true };
            range.read(connection, below, least)?;
            walk.heads.extend(range.ids.front().map(|(id, _)| (*id, at)));
            walk.ranges.push(range);
        }
        Ok(walk)
    }

    /// The next id and its row. An id that several ranges have comes once.
    fn next(&mut self) -> rusqlite::Result<Option<(Uuid, i64)>> {
        while let Some((_, at)) = self.heads.pop() {
            let Some(range) = self.ranges.get_mut(at) else { continue };
            let Some((id, row)) = range.ids.pop_front() else { continue };
            if range.ids.is_empty() && range.more {
                range.read(self.connection, id, self.least)?;
            }
            self.heads.extend(range.ids.front().map(|(id, _)| (*id, at)));
            if self.last.replace(id) != Some(id) {
                return Ok(Some((id, row)));
            }
        }
        Ok(None)
    }
}

impl Range<'_> {
    /// Reads the next ids.
    fn read(&mut self, connection: &Connection, below: Uuid, least: Uuid) -> rusqlite::Result<()> {
        let read = |found: &rusqlite::Row<'_>| Ok((row::id(found, 0)?, found.get(1)?));
        let (below, least, limit) = (below.as_bytes(), least.as_bytes(), self.chunk);
        let prepare = |sql| connection.prepare_cached(sql);
        let ids: rusqlite::Result<VecDeque<_>> = match self.source {
            Source::All => prepare(statements::LIST_ALL)?.query_map((below, least, limit), read)?.collect(),
            Source::Id(id) => {
                prepare(statements::LIST_ID)?.query_map((below, least, limit, id.as_bytes()), read)?.collect()
            }
            Source::Event(event) => {
                prepare(statements::LIST_EVENT)?.query_map((below, least, limit, event), read)?.collect()
            }
            Source::Request(request) => {
                prepare(statements::LIST_REQUEST)?.query_map((below, least, limit, request), read)?.collect()
            }
            Source::State(route, state) => prepare(statements::LIST_STATE)?
                .query_map((below, least, limit, route, state.number()), read)?
                .collect(),
            Source::Reason(route, reason) => {
                prepare(statements::LIST_REASON)?.query_map((below, least, limit, route, reason), read)?.collect()
            }
        };
        self.ids = ids?;
        self.more = self.ids.len() == usize::from(limit);
        self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        Ok(())
    }
}
