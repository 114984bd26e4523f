//! Reading from memory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::rows::{Inner, Seen};
use crate::clock::MonotonicClock;
use crate::lock::lock;
use crate::store::attempt::{Attempt, Claimed, Ticket};
use crate::store::backend::{Book, Due, Reader};
use crate::store::list::{Filter, LOOK_TIME, LOOKED_AT, Page, summary_matches};
use crate::store::types::{Millis, State, StoreError, Stored};

/// Rows of a list that are taken out of the lock at once.
const ROWS: usize = 64;

/// The reading side.
#[derive(Debug)]
pub struct MemoryReader {
    /// The deliveries.
    pub inner: Arc<Mutex<Inner>>,
    /// What is known of the routes.
    pub book: Arc<Mutex<Book>>,
    /// For the time that a page may take.
    pub clock: MonotonicClock,
}

impl MemoryReader {
    fn held(&self, route: &str) -> bool {
        lock(&self.book).routes.get(route).is_some_and(|state| state.held)
    }
}

impl MemoryReader {
    /// A page of deliveries. It ends early once `late` says so, but not before it has looked at one. It takes the
    /// lock for a few rows at a time, and asks the filter without it.
    pub fn list_until(&self, filter: &Filter, limit: usize, late: impl Fn() -> bool) -> Page {
        let (least, mut below) = filter.ids();
        let mut page = Page::default();
        let mut looked_at = 0;
        while below > least {
            let rows: Vec<(Uuid, Seen)> = {
                let inner = lock(&self.inner);
                let newest = inner.ids.range(least.as_u128()..below.as_u128()).rev().take(ROWS);
                newest.filter_map(|(id, number)| Some((Uuid::from_u128(id), inner.rows.get(*number)?.seen()))).collect()
            };
            if rows.is_empty() {
                break;
            }
            for (id, row) in rows {
                let over = looked_at >= LOOKED_AT || (looked_at > 0 && late());
                if page.deliveries.len() >= limit || over {
                    page.next = Some(below);
                    return page;
                }
                looked_at += 1;
                below = id;
                let stored = row.stored(self.held(&row.delivery().route));
                if summary_matches(filter, &stored) && row.meets(filter, &stored) {
                    page.deliveries.push(stored);
                }
            }
        }
        page
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
        for (_, destination, _, number) in inner.due.range(range) {
            let ticket = Ticket { row: *number, destination: *destination };
            let Some(row) = inner.rows.get(*number) else { continue };
            let Some(waiting) = row.wait(*destination) else { continue };
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
                waiting: *waiting,
                scheme: row.delivery.scheme.clone(),
                details: row.delivery.details.clone(),
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
        let end = self.clock.now() + LOOK_TIME;
        Ok(self.list_until(filter, limit, || self.clock.now() >= end))
    }

    fn get(&mut self, id: Uuid) -> Result<Option<(Stored, Vec<Attempt>)>, StoreError> {
        let inner = lock(&self.inner);
        let row = inner.ids.get(id.as_u128()).and_then(|number| inner.rows.get(*number));
        Ok(row.map(|row| {
            let stored = row.stored(self.held(&row.delivery.route));
            (row.detailed(stored), row.made().cloned().collect())
        }))
    }

    fn body(&mut self, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        let inner = lock(&self.inner);
        let row = inner.ids.get(id.as_u128()).and_then(|number| inner.rows.get(*number));
        Ok(row.and_then(|row| row.delivery.body.clone()))
    }

    fn row(&mut self, id: Uuid) -> Result<Option<i64>, StoreError> {
        Ok(lock(&self.inner).ids.get(id.as_u128()).copied())
    }

    fn summaries(&mut self, of: &[Uuid]) -> Result<Vec<Stored>, StoreError> {
        let inner = lock(&self.inner);
        let rows = of.iter().filter_map(|id| inner.rows.get(*inner.ids.get(id.as_u128())?));
        Ok(rows.map(|row| row.stored(self.held(&row.delivery.route))).collect())
    }

    fn oldest(&mut self, route: &str) -> Result<Option<Millis>, StoreError> {
        let inner = lock(&self.inner);
        let mut waiting = inner.ids.iter().filter_map(|(_, number)| inner.rows.get(*number));
        let oldest = waiting.find(|row| &*row.delivery.route == route && row.delivery.state == State::Pending);
        Ok(oldest.map(|row| row.delivery.received_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::backend::{Backend as _, Write};
    use crate::store::list::{Condition, Needs};
    use crate::store::memory::{Bounds, Memory};
    use crate::store::tests::{KEEP, NOW, delivery, id};

    /// A store of 200 deliveries, and its reader.
    fn filled() -> (Memory, MemoryReader) {
        let mut memory = Memory::new(Bounds::default(), KEEP);
        for number in 0..200 {
            let record = delivery(number, State::Forwarded).into();
            memory.commit(&[Write::Record(Arc::new(record))], NOW, &mut |_| ()).unwrap();
        }
        let (inner, book) = (Arc::clone(&memory.inner), Arc::clone(&memory.book));
        (memory, MemoryReader { inner, book, clock: Clock::system().monotonic() })
    }

    #[test]
    fn nobody_waits_for_a_filter() {
        let (_memory, mut reader) = filled();
        let inner = Arc::clone(&reader.inner);
        let is_free = move |_: &crate::store::list::Parts<'_>| inner.try_lock().is_ok();
        let conditions = [Needs::Summary, Needs::Details, Needs::Body]
            .map(|needs| Condition { needs, holds: Arc::new(is_free.clone()) });
        let page = reader.list(&Filter { conditions: conditions.to_vec(), ..Filter::default() }, 500).unwrap();
        assert_eq!((page.deliveries.len(), page.next), (200, None));
    }

    #[test]
    fn a_page_that_takes_too_long_ends_early_and_says_where_the_next_one_begins() {
        let (_memory, reader) = filled();
        let mut filter = Filter::default();
        for number in (0..200).rev() {
            let page = reader.list_until(&filter, 500, || true);
            let ids: Vec<_> = page.deliveries.iter().map(|stored| stored.delivery.id).collect();
            assert_eq!(ids, [id(number)]);
            filter.before = page.next;
        }
        assert_eq!(filter.before, None);
    }
}
