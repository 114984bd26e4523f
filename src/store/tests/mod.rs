//! What every store does, tried on each of them.

mod feed;
mod lists;
mod people;
mod queue;
mod running;
pub(super) mod server;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use smol_str::format_smolstr;
use tempfile::TempDir;
use uuid::Uuid;

use super::backend::{Answer, Backend, Due, Reader, Write};
use super::memory::{Bounds, Memory};
use super::postgres::url::Target;
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
        mod postgres {
            $(#[test] fn $name() {
                // Without PostgreSQL it is said that the test is passed over.
                if let Some(store) = super::Fixture::postgres() {
                    super::$name(store);
                }
            })*
        }
    };
}
pub(super) use on_each_store;

/// A backend with a reader.
pub struct Fixture {
    pub backend: Box<dyn Backend>,
    pub reader: Box<dyn Reader>,
    lasting: Lasting,
    /// What is claimed in a store that others share. Each question gives it back before.
    held: Vec<Claimed>,
}

/// What outlives a gateway.
enum Lasting {
    Nothing,
    Folder(TempDir),
    Database(Box<Target>),
}

pub const KEEP: Keep = Keep { delivered: 1_000_000, dead: 5_000_000, refused: 100_000 };

pub fn clock() -> Clock {
    Clock::fixed(UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs()))
}

pub fn open_sqlite(folder: &TempDir) -> Sqlite {
    Sqlite::open_unlocked(folder.path(), KEEP, clock())
}

impl Fixture {
    pub fn memory() -> Self {
        Self::over(Box::new(Memory::new(Bounds::default(), KEEP)), Lasting::Nothing)
    }

    pub fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        Self::over(Box::new(open_sqlite(&folder)), Lasting::Folder(folder))
    }

    /// `None` without PostgreSQL.
    pub fn postgres() -> Option<Self> {
        let target = server::target()?;
        Some(Self::over(Box::new(server::open(&target)), Lasting::Database(Box::new(target))))
    }

    fn over(backend: Box<dyn Backend>, lasting: Lasting) -> Self {
        Self { reader: backend.reader().unwrap(), backend, lasting, held: Vec::new() }
    }

    /// As after a kill, where the store outlives one.
    pub fn crash(mut self) -> Self {
        let lasting = std::mem::replace(&mut self.lasting, Lasting::Nothing);
        match &lasting {
            Lasting::Nothing => self,
            Lasting::Folder(folder) => {
                drop(self);
                Self::over(Box::new(open_sqlite(folder)), lasting)
            }
            Lasting::Database(target) => {
                drop(self);
                server::let_leases_end(target, "one");
                Self::over(Box::new(server::open(target)), lasting)
            }
        }
    }

    /// Commits; what came of an attempt is of one that was claimed.
    pub fn commit(&mut self, batch: &[Write]) -> Vec<Answer> {
        for write in batch {
            match write {
                Write::Complete(outcome) => self.hold(Some(outcome.ticket)),
                // It may be under way.
                Write::Change(Change::Settle { .. } | Change::Erase { .. }) => self.hold(None),
                _ => {}
            }
        }
        let answers = self.backend.commit(batch, NOW, &mut |_| ()).unwrap();
        for write in batch {
            if let Write::Complete(outcome) = write {
                self.held.retain(|held| held.ticket != outcome.ticket);
            }
        }
        answers
    }

    /// Claims all that waits beside a ticket, unless that is claimed.
    fn hold(&mut self, ticket: Option<Ticket>) {
        let is_held = |held: &Claimed| Some(held.ticket) == ticket;
        if matches!(self.lasting, Lasting::Database(_)) && !self.held.iter().any(is_held) {
            let none = HashSet::new();
            let destination = ticket.map_or(0, Ticket::destination);
            let all = Due { destination, ..due_by(Millis::MAX / 2, &none, 100) };
            self.held.extend(self.reader.due(&all).unwrap());
        }
    }

    /// What is due, as if nothing but `claimed` were claimed.
    pub fn due(&mut self, query: &Due<'_>) -> Vec<Claimed> {
        if matches!(self.lasting, Lasting::Database(_)) {
            let free = self.held.extract_if(.., |held| !query.claimed.contains(&held.ticket));
            let free: Vec<Ticket> = free.map(|held| held.ticket).collect();
            self.backend.commit(&[Write::Release(free)], NOW, &mut |_| ()).unwrap();
        }
        let due = self.reader.due(query).unwrap();
        if matches!(self.lasting, Lasting::Database(_)) {
            self.held.extend(due.iter().cloned());
        }
        due
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
        let held = self.held.iter().find(|held| held.ticket == ticket).cloned();
        let waits = held.or_else(|| self.due_at(Millis::MAX / 2).into_iter().find(|due| due.ticket == ticket));
        let since = waits.map_or(NOW, |due| due.waiting.since);
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
        self.due(&due_by(now, claimed, limit))
    }

    pub fn get(&mut self, number: u64) -> (Stored, Vec<Attempt>) {
        let (stored, mut attempts) = self.reader.get(id(number)).unwrap().unwrap();
        // Only gateways that share a store are told apart.
        attempts.iter_mut().for_each(|attempt| attempt.gateway = None);
        (stored, attempts)
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

fn due_by(now: Millis, claimed: &HashSet<Ticket>, limit: usize) -> Due<'_> {
    Due { route: "github", destination: 0, now, limit, max_bytes: 1 << 20, claimed }
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
        request_id: RequestId::Named(format_smolstr!("req_{number}")),
        peer: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/github".into(),
        request_bytes: 6,
        duration_ms: None,
        head: Bytes::from_static(b"head"),
        body: Some(Bytes::from(format!("body {number}"))),
        details: Bytes::from_static(b"details").into(),
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
        gateway: None,
        response_head: Bytes::from_static(b"response head"),
        response_body: Bytes::from_static(b"response body"),
    }
}

pub fn outcome(ticket: Ticket, number: u32, next: Next) -> AttemptOutcome {
    let (id, since) = (id(ticket.row.unsigned_abs() - 1), NOW + ticket.row - 1);
    AttemptOutcome { id, ticket, since, attempt: attempt(number), next, reason: None, settled: None }
}

pub fn settled(state: State) -> Next {
    Next::Settle(state)
}

pub fn on(route: &str, delivery: Delivery) -> Delivery {
    Delivery { route: Arc::from(route), ..delivery }
}
