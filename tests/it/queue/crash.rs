//! A gateway that is killed, or loses power, again and again under load, and then the accounts: each acknowledged delivery
//! has reached the handler, unless the handler refused it for good; then it is dead. Nothing else is delivered.
//!
//! As a test each happens twenty times; `scripts/soak --crash MINUTES` goes on for longer, on the binary that is released.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hooklatch::clock::Clock;
use hooklatch::store::{Filter, Shown, State};

use crate::support::gateway::Metrics;
use crate::support::http::{ANSWER, Connection};
use crate::support::process::{GatewayProcess, poll};
use crate::support::queued;
use crate::support::served::delivery;
use crate::support::shim::Shim;
use crate::support::soaked::{Over, serve};
use crate::support::stream::Stream;
use crate::support::upstream::{Seen, Upstream};

/// How often the gateway is killed at least.
const KILLS: u64 = 20;
const SENDERS: usize = 4;
const SECRET: &str = "a-secret-of-the-test";
/// Set by `scripts/soak --crash`: for how long.
const SECONDS: &str = "HOOKLATCH_CRASH_SECONDS";

/// What senders, handler and the test share. Deliveries have numbers.
#[derive(Default)]
struct Book {
    next: AtomicU64,
    is_over: AtomicBool,
    /// Those that were answered with 200 by the gateway.
    acknowledged: Mutex<BTreeSet<u64>>,
    /// How often each was answered with 200 by the handler.
    delivered: Mutex<BTreeMap<u64, u32>>,
    /// Those that the handler failed once.
    failed: Mutex<BTreeSet<u64>>,
}

#[test]
fn each_acknowledged_delivery_is_delivered_or_dead_however_often_the_gateway_is_killed() {
    crash(GatewayProcess::start_command, |_| ());
}

/// What was not synced is lost as well.
#[test]
fn each_acknowledged_delivery_is_delivered_or_dead_however_often_power_is_lost() {
    let Some(shim) = Shim::compile() else { return };
    shim.keep_synced();
    crash(|command| GatewayProcess::start_command(shim.in_front_of(command)), |store| shim.lose_power(store));
}

/// Kills the gateway again and again, and does `then` to the store's folder each time.
fn crash(start: impl Fn(&mut Command) -> GatewayProcess, then: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let (store, start) = (folder.path().join("store"), |file: &Path| start(&mut serve(file)));
    let (upstream, book) = (Upstream::bind(), Arc::new(Book::default()));
    let handler = book.clone();
    upstream.answer_by(move |seen| handler.answer(seen));
    let file = configure(folder.path(), "127.0.0.1:0", &upstream);
    let mut gateway = start(&file);
    // Later starts listen where the first one did, so that senders go on.
    configure(folder.path(), &gateway.server.to_string(), &upstream);

    let clock = Clock::system();
    let seconds = std::env::var(SECONDS).map_or(0, |seconds| seconds.parse().unwrap());
    let until = clock.now() + Duration::from_secs(seconds);
    let server = gateway.server;
    let mut kills = 0;
    thread::scope(|scope| {
        let _over = Over(&book.is_over);
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !book.is_over.load(Ordering::Relaxed) {
                    book.send_until_it_breaks(server);
                    thread::yield_now();
                }
            });
        }
        while kills < KILLS || clock.now() < until {
            let enough = book.acknowledged.lock().unwrap().len() + 5 + usize::try_from(kills * 7 % 40).unwrap();
            poll("more are acknowledged", || book.acknowledged.lock().unwrap().len() >= enough);
            gateway.process.signal("KILL");
            assert_eq!(gateway.process.wait().code(), None);
            then(&store);
            gateway = start(&file);
            kills += 1;
        }
    });
    poll("nothing waits", || {
        let metrics = Metrics::scrape(gateway.admin);
        let count = |state| metrics.get("hooklatch_queue_deliveries", &[("route", "hook"), ("state", state)]);
        count("pending") + count("retrying") == 0.0
    });
    assert_eq!(gateway.process.terminate().code(), Some(0));
    println!("{}", book.account(kills, &stored(&store)));
}

impl Book {
    /// What the handler answers: some deliveries it fails once, some it refuses for good.
    fn answer(&self, seen: &Seen) -> &'static str {
        let number = number(&seen.body);
        if is_refused(number) {
            return "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
        }
        if number % 11 == 3 && self.failed.lock().unwrap().insert(number) {
            return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        }
        *self.delivered.lock().unwrap().entry(number).or_default() += 1;
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    }

    /// Sends deliveries one after the other on one connection until that ends.
    fn send_until_it_breaks(&self, server: SocketAddr) {
        let Ok(stream) = TcpStream::connect(server) else { return };
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection::from(Stream::Plain(stream));
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"id\":{number},\"text\":\"{}\"}}", text(number));
            if connection.try_write(&delivery("/hook", SECRET, body.as_bytes())).is_err() {
                return;
            }
            let Some(response) = connection.try_receive() else { return };
            assert_eq!(response.status, 200, "{response:?}");
            self.acknowledged.lock().unwrap().insert(number);
        }
    }

    /// Compares what was acknowledged with what the handler got and what is stored.
    fn account(&self, kills: u64, stored: &BTreeMap<u64, Shown>) -> String {
        let acknowledged = self.acknowledged.lock().unwrap();
        let delivered = self.delivered.lock().unwrap();
        for number in &*acknowledged {
            let expected = if is_refused(*number) { State::Dead } else { State::Delivered };
            assert_eq!(stored.get(number), Some(&Shown::Settled(expected)), "{number} was acknowledged");
        }
        for (number, shown) in stored {
            let is_there = delivered.contains_key(number);
            assert_eq!(is_there, *shown == Shown::Settled(State::Delivered), "{number} is {shown:?}");
        }
        assert!(delivered.keys().all(|number| stored.contains_key(number)), "the handler got what is not stored");
        let sent = self.next.load(Ordering::Relaxed);
        let dead = stored.values().filter(|shown| **shown == Shown::Settled(State::Dead)).count();
        let repeated = delivered.values().filter(|times| **times > 1).count();
        format!(
            "{kills} kills: {sent} sent, {} acknowledged, {} delivered ({repeated} of them more than once), {dead} dead, 0 lost",
            acknowledged.len(),
            delivered.len(),
        )
    }
}

fn is_refused(number: u64) -> bool {
    number % 101 == 5
}

fn text(number: u64) -> String {
    "x".repeat(usize::try_from(number % 3_000).unwrap())
}

/// The number of a delivery, whose body must be whole.
fn number(body: &[u8]) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let number = body["id"].as_u64().unwrap();
    assert_eq!(body["text"], text(number));
    number
}

/// The state of each stored delivery.
fn stored(folder: &Path) -> BTreeMap<u64, Shown> {
    let (store, runtime) = (queued::open(folder), hooklatch::app::runtime().unwrap());
    let mut found = BTreeMap::new();
    let mut filter = Filter::default();
    loop {
        let page = runtime.block_on(store.list(filter.clone(), 500)).unwrap();
        for stored in page.deliveries {
            let number = stored.delivery.event_id.unwrap().parse().unwrap();
            assert_eq!(found.insert(number, stored.shown), None, "{number} is stored twice");
        }
        filter.before = page.next;
        if filter.before.is_none() {
            return found;
        }
    }
}

fn configure(folder: &Path, listen: &str, upstream: &Upstream) -> std::path::PathBuf {
    let file = folder.join("gateway.yaml");
    fs::write(folder.join("secret"), SECRET).unwrap();
    let yaml = format!(
        "server: {{ listen: \"{listen}\", threads: 2, access_log: none }}\n\
         admin: {{ listen: 127.0.0.1:0 }}\n\
         store: {{ path: store, min_free: 0MiB }}\n\
         routes:\n  - {{ name: hook, path: /hook, scheme: circleci, secrets: [{{ file: secret }}], dedupe: false, \
         upstream: \"http://{}/in\", delivery: queue, retry: {{ schedule: [50ms] }} }}\n",
        upstream.address
    );
    fs::write(&file, yaml).unwrap();
    file
}
