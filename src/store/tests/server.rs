//! A PostgreSQL server that the tests of this process share; each test has a schema of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::postgres::url::Target;
use super::super::postgres::{Postgres, Settings};
use super::{KEEP, clock};

#[allow(dead_code, unused_imports, reason = "the tests in tests/it use more of it")]
#[path = "../../../tests/it/support/postgres/mod.rs"]
mod postgres;
#[allow(dead_code, unused_imports, reason = "the tests in tests/it use more of it")]
#[path = "../../../tests/it/support/tools.rs"]
mod tools;

use postgres::Server;

/// An empty schema; `None` without PostgreSQL.
pub fn target() -> Option<Target> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let url = Server::shared()?.url("postgres");
    Some(format!("{url}?search_path=test{number}").parse().unwrap())
}

/// Settings of a gateway of this name.
pub fn settings(target: &Target, gateway: &str) -> Settings {
    Settings { target: target.clone(), gateway: gateway.into(), keep: KEEP, clock: clock(), trust_clock: true }
}

/// A gateway's store.
pub fn open(target: &Target) -> Postgres {
    Postgres::open(settings(target, "one")).unwrap()
}

/// As if a gateway had not renewed its sessions for a while.
pub fn let_leases_end(target: &Target, gateway: &str) {
    ask(target, &format!("UPDATE sessions SET lease_until = clock_timestamp() WHERE gateway = '{gateway}'"));
}

/// Statements on the tables of a store, past it: what they give.
pub fn ask(target: &Target, statements: &str) -> String {
    let server = Server::shared().expect("a target is of the server");
    server.ask("postgres", &format!("SET search_path TO {}; {statements}", target.schema()))
}
