//! Reading from memory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::rows::Inner;
use crate::lock::lock;
use crate::store::attempt::{Attempt, Claimed, Named, Ticket};
use crate::store::backend::{Book, Due, Reader};
use crate::store::list::{Filter, LOOKED_AT, Page, summary_matches};
use crate::store::types::{Millis, State, StoreError, Stored};

/// The reading side.
#[derive(Debug)]
pub struct MemoryReader {
    /// The deliveries.
    pub inner: Arc<Mutex<Inner>>,
    /// What is known of the routes.
    pub book: Arc<Mutex<Book>>,
}

impl MemoryReader {
    fn held(&self, route: &str) -> bool {
        lock(&self.book).routes.get(route).is_some_and(|state| state.held)
    }
}

impl Reader for MemoryReader {
    fn due(&mut self, query: &Due<'_>) -> Result<Vec<Claimed>, StoreError> {
        let inner = lock(&self.inner);
        let route: Arc<str> = query.route.into();
        let range = (Arc::clone(&route), query.destination, Millis::MIN, i64::MIN)
            ..=(route, query.destination, query.now, i64::MAX);
        let mut found: Vec<Claimed> = Vec::new();
        let mut bytes = 0;
        for (_, destination, due_at, number) in inner.due.range(range) {
            let ticket = Ticket { row: *number, destination: *destination };
            let Some(row) = inner.rows.get(number) else { continue };
            let Some(waiting) = row.waits.get(destination) else { continue };
            if query.claimed.contains(&ticket) {
                continue;
            }
            let body = row.delivery.body.clone().unwrap_or_default();
            bytes += body.len() + row.delivery.head.len();
            if found.len() >= query.limit || (!found.is_empty() && bytes > query.max_bytes) {
                break;
            }
            found.push(Claimed {
                ticket,
                id: row.delivery.id,
                received_at: row.delivery.received_at,
                due_at: *due_at,
                attempts: waiting.attempts,
                counted: waiting.counted,
                since: waiting.since,
                replay: waiting.replay,
                once: waiting.once,
                head: row.delivery.head.clone(),
                body,
            });
        }
        Ok(found)
    }

    fn next_due(&mut self, route: &str, destination: u16, now: Millis) -> Result<Option<Millis>, StoreError> {
        let inner = lock(&self.inner);
        let route: Arc<str> = route.into();
        let first = (Arc::clone(&route), destination, now.saturating_add(1), i64::MIN);
        let next = inner.due.range(first..).next();
        Ok(next.filter(|(name, at, ..)| *name == route && *at == destination).map(|(_, _, due, _)| *due))
    }

    fn key(&mut self, key: &[u8; 16], now: Millis) -> Result<Option<Uuid>, StoreError> {
        Ok(lock(&self.inner).key(key, now))
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Page, StoreError> {
        let inner = lock(&self.inner);
        let (least, below) = filter.ids();
        let mut page = Page::default();
        let mut last = below;
        if below <= least {
            return Ok(page);
        }
        for (looked_at, (id, number)) in inner.ids.range(least..below).rev().enumerate() {
            if page.deliveries.len() >= limit || looked_at >= LOOKED_AT {
                page.next = Some(last);
                break;
            }
            last = *id;
            let Some(row) = inner.rows.get(number) else { continue };
            let stored = row.stored(self.held(&row.delivery.route));
            if summary_matches(filter, &stored) && row.meets(filter, &stored) {
                page.deliveries.push(stored);
            }
        }
        Ok(page)
    }

    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        let inner = lock(&self.inner);
        let row = inner.ids.get(&id).and_then(|number| inner.rows.get(number));
        Ok(row.map(|row| {
            let stored = row.stored(self.held(&row.delivery.route));
            (row.detailed(stored), row.made().cloned().collect())
        }))
    }

    fn body(&mut self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        let inner = lock(&self.inner);
        let row = inner.ids.get(&id).and_then(|number| inner.rows.get(number));
        Ok(row.and_then(|row| row.delivery.body.clone()))
    }

    fn row(&mut self, id: Uuid) -> Result<Option<i64>, StoreError> {
        Ok(lock(&self.inner).ids.get(&id).copied())
    }

    fn summaries(&mut self, of: &[Named]) -> Result<Vec<Stored>, StoreError> {
        let inner = lock(&self.inner);
        let number = |named: &Named| match named {
            Named::Ticket(ticket) => Some(ticket.row),
            Named::Id(id) => inner.ids.get(id).copied(),
        };
        let rows = of.iter().filter_map(|named| inner.rows.get(&number(named)?));
        Ok(rows.map(|row| row.stored(self.held(&row.delivery.route))).collect())
    }

    fn oldest(&mut self, route: &str) -> Result<Option<Millis>, StoreError> {
        let inner = lock(&self.inner);
        let mut waiting = inner.ids.values().filter_map(|number| inner.rows.get(number));
        let oldest = waiting.find(|row| &*row.delivery.route == route && row.delivery.state == State::Pending);
        Ok(oldest.map(|row| row.delivery.received_at))
    }
}
