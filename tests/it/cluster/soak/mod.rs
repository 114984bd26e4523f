//! Three gateways on a primary with a synchronous standby, under load, and faults in turn; then the accounts: what was
//! acknowledged was delivered, nothing else was, and what was delivered twice was under way at a gateway that a fault struck.
//!
//! As a test some faults strike once, for a moment; `scripts/soak --cluster MINUTES` goes on for longer, on the binary that is
//! released, and waits for leases to run out by themselves. It paces what it sends: its sleeps are its load, and nothing is
//! awaited by them.

mod book;
mod faults;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hooklatch::clock::Clock;

use super::gateways::Gateways;
use crate::support::gateway::Metrics;
use crate::support::postgres::Server;
use crate::support::process::GatewayProcess;
use crate::support::shim::Shim;
use crate::support::soaked::{Over, serve};
use crate::support::upstream::Upstream;

use book::Book;
use faults::{FAULTS, Fault};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Senders; each sends a delivery to one gateway after the other until one acknowledges it, as a provider does.
const SENDERS: usize = 6;
/// The time between two faults, in which nothing may be delivered twice.
const QUIET: Duration = Duration::from_secs(2);
/// After a fault has ended: until every gateway takes deliveries, and until what was acknowledged by then is delivered. A lease
/// lasts for 30 seconds at most.
const RECOVERY: Duration = Duration::from_secs(60);
/// Set by `scripts/soak --cluster`: for how long.
const SECONDS: &str = "HOOKLATCH_CLUSTER_SECONDS";

/// All that waits in the store, and whose claims these are.
const WHAT_WAITS: &str = "
    SET search_path TO hooklatch; SELECT clock_timestamp(), txid_current(), pg_is_in_recovery();
    SELECT 'session', s.* FROM sessions s;
    SELECT 'state', state, attempts, count(*) FROM deliveries GROUP BY state, attempts;
    SELECT 'never succeeded', d.row, d.id, d.state, d.attempts, d.status, d.reason, d.gateway, a.number, a.result, a.status, a.error,
        a.duration_ms, a.gateway, to_timestamp(a.at / 1000.0), to_timestamp(d.settled_at / 1000.0)
        FROM deliveries d LEFT JOIN attempts a USING (row)
        WHERE NOT EXISTS (SELECT 1 FROM attempts b WHERE b.row = d.row AND b.result = '2xx') ORDER BY row LIMIT 100;
    SELECT 'fresh', row, session, received_at, gateway, left(encode(body, 'escape'), 20) FROM fresh ORDER BY row LIMIT 100;
    SELECT 'waits', q.due_at - (extract(epoch FROM clock_timestamp()) * 1000)::bigint, q.*, d.state, d.attempts, d.gateway, left(encode(b.body, 'escape'), 20) FROM queue q
        LEFT JOIN deliveries d USING (row) LEFT JOIN bodies b USING (row) ORDER BY row LIMIT 100;
    SELECT 'pending', d.row, d.id, d.gateway, d.attempts FROM deliveries d
        WHERE state = 0 AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = d.row) LIMIT 100;
    SELECT 'lock', l.pid, l.locktype, l.relation::regclass, l.mode FROM pg_locks l WHERE NOT l.granted;
    SELECT 'standby', state, sync_state FROM pg_stat_replication;
    SELECT 'connection', pid, state, wait_event, xact_start, query_start, left(query, 60) FROM pg_stat_activity
        WHERE datname = current_database()";

/// What has become of a delivery of this number.
const WHAT_BECAME: &str = "
    SET search_path TO hooklatch;
    SELECT 'delivery', d.row, d.id, d.state, d.attempts, d.reason, d.gateway, to_timestamp(d.received_at / 1000.0),
        to_timestamp(d.settled_at / 1000.0) FROM deliveries d JOIN bodies b USING (row)
        WHERE encode(b.body, 'escape') LIKE '{\"id\":NUMBER,%';
    SELECT 'attempt', a.row, a.number, a.result, a.status, a.error, a.duration_ms, a.gateway, to_timestamp(a.at / 1000.0)
        FROM attempts a JOIN bodies b USING (row) WHERE encode(b.body, 'escape') LIKE '{\"id\":NUMBER,%'";

/// All that takes part.
struct Scene {
    gateways: Gateways,
    /// The primary, then its standby; where they are is in `primary_way`.
    primary: Server,
    standby: Server,
    /// Which way of each gateway leads to the primary.
    primary_way: usize,
    /// Moves the clock of the last gateway; `None` without a C compiler.
    shim: Option<Shim>,
    /// For how long faults last, and whether leases run out by themselves.
    is_long: bool,
}

/// What a fault has led to.
struct Struck {
    fault: &'static Fault,
    begun: Instant,
    /// Until every gateway took deliveries again.
    back: Duration,
    /// Until all that was acknowledged by then was delivered.
    caught_up: Duration,
    acknowledged: usize,
}

#[test]
fn three_gateways_lose_nothing_and_repeat_only_what_a_fault_interrupted() {
    let seconds = std::env::var(SECONDS).map_or(0, |seconds| seconds.parse().unwrap());
    let Some(primary) = Server::start_with(&["max_connections=60"]) else { return };
    let clock = Clock::system().monotonic();
    let (upstream, book) = (Upstream::bind(), Arc::new(Book::new(clock)));
    let handler = book.clone();
    upstream.answer_by(move |seen| handler.answer(seen));
    let mut scene = Scene::start(primary, upstream.address, seconds > 0);
    let servers = [0, 1, 2].map(|at| scene.gateways.all[at].server);
    let until = clock.now() + Duration::from_secs(seconds);
    let mut struck = Vec::new();
    thread::scope(|scope| {
        let _over = Over(&book.is_over);
        for sender in 0..SENDERS {
            let (book, servers) = (&book, &servers);
            scope.spawn(move || book.send(sender, servers));
        }
        let faults: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.is_short || seconds > 0).collect();
        for fault in faults.iter().cycle() {
            if struck.len() >= faults.len() && clock.now() >= until {
                break;
            }
            thread::sleep(QUIET);
            struck.push(scene.strike(fault, &book));
        }
        thread::sleep(QUIET);
    });
    let acknowledged = book.acknowledged();
    scene.wait_for_all(&book, &acknowledged);
    for at in 0..NAMES.len() {
        scene.wait("nothing waits", || scene.waiting(at) == 0.0);
        assert!(scene.gateways.take(at).process.terminate().success());
    }
    println!("{}", book.account(&struck));
}

impl Scene {
    fn start(primary: Server, upstream: std::net::SocketAddr, is_long: bool) -> Self {
        let standby = primary.standby();
        let keys = "timeout: 5s, retry: { schedule: [50ms] }, circuit: false, max_concurrent: 16";
        let gateways = Gateways::new(&[&primary, &standby], &NAMES, upstream, keys);
        let mut scene = Self { gateways, primary, standby, primary_way: 0, shim: Shim::compile(), is_long };
        for at in 0..NAMES.len() {
            scene.serve(at);
        }
        scene
    }

    /// Starts a gateway; the last one with a clock that can be moved.
    fn serve(&mut self, at: usize) {
        let shim = self.shim.as_ref().filter(|_| at + 1 == NAMES.len());
        self.gateways.serve_by(at, |file| match shim {
            Some(shim) => GatewayProcess::start_command(shim.in_front_of(&mut serve(file))),
            None => GatewayProcess::start_command(&mut serve(file)),
        });
    }

    /// Has a fault happen and end, and waits until all is well.
    fn strike(&mut self, fault: &'static Fault, book: &Book) -> Struck {
        let (begun, before) = (book.now(), book.acknowledged().len());
        println!("{} …", fault.name);
        (fault.strike)(self);
        self.wait("each gateway takes deliveries", || {
            (0..NAMES.len()).all(|at| self.gateways.readiness(at) == 200 && book.takes(self.gateways.all[at].server))
        });
        let back = book.now() - begun;
        self.wait_for_all(book, &book.acknowledged());
        let caught_up = book.now() - begun;
        println!(
            "{}: back after {:.1} s, caught up after {:.1} s",
            fault.name,
            back.as_secs_f64(),
            caught_up.as_secs_f64()
        );
        Struck { fault, begun, back, caught_up, acknowledged: book.acknowledged().len() - before }
    }

    /// Lasts for as long as a fault does.
    fn last(&self, short: Duration, long: Duration) {
        thread::sleep(if self.is_long { long } else { short });
    }

    fn waiting(&self, at: usize) -> f64 {
        let metrics = Metrics::scrape(self.gateways.admin(at));
        let count = |state| metrics.get("hooklatch_queue_deliveries", &[("route", "hook"), ("state", state)]);
        count("pending") + count("retrying")
    }

    /// Waits until these are delivered, and tells what the store has of those that are not.
    #[track_caller]
    fn wait_for_all(&self, book: &Book, acknowledged: &BTreeSet<u64>) {
        if !holds_in_time(|| book.has_delivered(acknowledged)) {
            let (missing, all) = book.missing(acknowledged);
            let ask = |what: &str| self.primary.ask(&self.gateways.database, what);
            let of = |number: &u64| ask(&WHAT_BECAME.replace("NUMBER", &number.to_string()));
            let became: Vec<String> = missing.iter().map(of).collect();
            panic!(
                "acknowledged and not delivered within {RECOVERY:?}: {missing:?} of {all}; of these the store has:\n{}\n\
                 and this waits:\n{}",
                became.join("\n"),
                ask(WHAT_WAITS)
            );
        }
    }

    /// Asks again and again until it is so.
    #[track_caller]
    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        assert!(holds_in_time(is_so), "{what}: not within {RECOVERY:?}");
    }
}

/// Whether it is so in time: it is asked again and again.
fn holds_in_time(is_so: impl Fn() -> bool) -> bool {
    let clock = Clock::system();
    let until = clock.now() + RECOVERY;
    while !is_so() {
        if clock.now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}
