//! What every store does, tried on each of them.

mod feed;
mod lists;
mod people;
mod queue;
mod running;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use smol_str::format_smolstr;
use tempfile::TempDir;
use uuid::Uuid;

use super::backend::{Answer, Backend, Due, Reader, Write};
use super::memory::{Bounds, Memory};
use super::sqlite::Sqlite;
use super::*;
use crate::lock::lock;

/// When the tests happen.
pub const NOW: Millis = 1_700_000_000_000;

/// Makes a test of each function, for each store.
macro_rules! on_each_store {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::$name(super::Fixture::memory()); })*
        }
        mod sqlite {
            $(#[test] fn $name() { super::$name(super::Fixture::sqlite()); })*
        }
    };
}
pub(super) use on_each_store;

/// A backend with a reader.
pub struct Fixture {
    pub backend: Box<dyn Backend>,
    pub reader: Box<dyn Reader>,
    folder: Option<TempDir>,
}

pub const KEEP: Keep = Keep { delivered: 1_000_000, dead: 5_000_000, refused: 100_000 };

pub fn clock() -> Clock {
    Clock::fixed(UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs()))
}

pub fn open_sqlite(folder: &TempDir) -> Sqlite {
    Sqlite::open(folder.path(), KEEP, clock()).unwrap()
}

impl Fixture {
    pub fn memory() -> Self {
        Self::over(Box::new(Memory::new(Bounds::default(), KEEP)), None)
    }

    pub fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        Self::over(Box::new(open_sqlite(&folder)), Some(folder))
    }

    fn over(backend: Box<dyn Backend>, folder: Option<TempDir>) -> Self {
        Self { reader: backend.reader().unwrap(), backend, folder }
    }

    /// As after a kill, where the store outlives one.
    pub fn crash(mut self) -> Self {
        let Some(folder) = self.folder.take() else { return self };
        drop(self);
        Self::over(Box::new(open_sqlite(&folder)), Some(folder))
    }

    pub fn commit(&mut self, batch: &[Write]) -> Vec<Answer> {
        self.backend.commit(batch, NOW, &mut |_| ()).unwrap()
    }

    pub fn one(&mut self, write: Write) -> Answer {
        self.commit(&[write])[0]
    }

    pub fn accept(&mut self, number: u64) -> Ticket {
        match self.one(accept(number, None)) {
            Answer::Stored(ticket) => ticket,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub fn record(&mut self, delivery: Delivery) {
        assert_eq!(self.one(Write::Record(Arc::new(delivery.into()))), Answer::Done);
    }

    pub fn complete(&mut self, ticket: Ticket, number: u32, next: Next) {
        let waits = self.due_at(Millis::MAX).into_iter().find(|due| due.ticket == ticket);
        let since = waits.map_or(NOW, |due| due.since);
        self.one(Write::Complete(Box::new(AttemptOutcome { since, ..outcome(ticket, number, next) })));
    }

    pub fn change(&mut self, change: Change) -> Changed {
        match self.one(Write::Change(change)) {
            Answer::Changed(changed) => changed,
            other => panic!("no change: {other:?}"),
        }
    }

    pub fn due_at(&mut self, now: Millis) -> Vec<Claimed> {
        self.due_but(now, &HashSet::new(), 100)
    }

    pub fn due_but(&mut self, now: Millis, claimed: &HashSet<Ticket>, limit: usize) -> Vec<Claimed> {
        let query = Due { route: "github", destination: 0, now, limit, max_bytes: 1 << 20, claimed };
        self.reader.due(&query).unwrap()
    }

    pub fn get(&mut self, number: u64) -> (Stored, Vec<Attempt>) {
        self.reader.get(id(number)).unwrap().unwrap()
    }

    pub fn shown(&mut self, number: u64) -> Shown {
        self.get(number).0.shown
    }

    pub fn counts(&self) -> Vec<(Shown, u64)> {
        let book = self.backend.book();
        let book = lock(&book);
        book.counts.iter().map(|((_, shown), n)| (*shown, *n)).collect()
    }

    pub fn ids(&mut self, filter: &Filter) -> Vec<u64> {
        let page = self.reader.list(filter, 100).unwrap();
        page.deliveries.iter().map(|stored| number(stored.delivery.id)).collect()
    }
}

/// The id of a delivery that was received `number` milliseconds after [`NOW`].
pub fn id(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(NOW.unsigned_abs() + number, &[7; 10]).into_uuid()
}

fn number(id: Uuid) -> u64 {
    u64::try_from(id.as_u128() >> 80).unwrap() - NOW.unsigned_abs()
}

/// A delivery, received `number` milliseconds after [`NOW`].
pub fn delivery(number: u64, state: State) -> Delivery {
    Delivery {
        id: id(number),
        received_at: NOW + Millis::try_from(number).unwrap(),
        route: "github".into(),
        scheme: "github".into(),
        state,
        reason: None,
        status: None,
        event_type: Some("push".into()),
        event_id: Some(format_smolstr!("evt_{number}")),
        request_id: Some(format_smolstr!("req_{number}")),
        peer: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/github".into(),
        request_bytes: 6,
        duration_ms: None,
        head: Bytes::from_static(b"head"),
        body: Some(Bytes::from(format!("body {number}"))),
        details: Bytes::from_static(b"details"),
    }
}

pub fn accept(number: u64, key: Option<DedupeKey>) -> Write {
    Write::Accept { delivery: Box::new(delivery(number, State::Pending)), key, destinations: 1, claim: false }
}

pub fn attempt(number: u32) -> Attempt {
    Attempt {
        destination: 0,
        number,
        at: NOW,
        result: "5xx".into(),
        status: Some(500),
        error: Some("it failed".to_owned()),
        duration_ms: 12,
        replay: false,
        response_head: Bytes::from_static(b"response head"),
        response_body: Bytes::from_static(b"response body"),
    }
}

pub fn outcome(ticket: Ticket, number: u32, next: Next) -> AttemptOutcome {
    AttemptOutcome { ticket, since: NOW + ticket.row - 1, attempt: attempt(number), next, reason: None, settled: None }
}

pub fn settled(state: State) -> Next {
    Next::Settle(state)
}

pub fn on(route: &str, delivery: Delivery) -> Delivery {
    Delivery { route: Arc::from(route), ..delivery }
}
