//! A disk that fails, is slow or full; a database that is damaged; a clock that jumps. The gateway runs in a process of its
//! own, with a shim between it and the system.

use std::collections::BTreeSet;
use std::time::Duration;

use hooklatch::clock::Clock;

use crate::support::bookkeeper::Bookkeeper;
use crate::support::http::{Connection, Response};
use crate::support::page::Page;
use crate::support::process::{GatewayProcess, poll};
use crate::support::rig::is_problem;
use crate::support::served::{Served, delivery, route};
use crate::support::shim::Shim;
use crate::support::upstream::Nobody;

/// A database whose bytes were changed while no gateway ran.
mod damage;

/// A file system that is really full.
mod full;

const SECRET: &str = "a-secret-of-the-test";
/// The file that a commit is synced to.
const LOG: &str = "hooklatch.db-wal";
const DATABASE: &str = "hooklatch.db";

/// A gateway with the shim in it: a route `hook` with a queue, a route `proxy` without.
struct Faulty {
    shim: Shim,
    served: Served,
    /// The handler of the route `proxy`.
    _other: Bookkeeper,
}

impl Faulty {
    /// With further flow-style keys of the store and of the route with a queue; `None` if the test is to be passed over.
    fn start(store: &str, keys: &str) -> Option<Self> {
        let (shim, other) = (Shim::compile()?, Bookkeeper::start());
        let proxy =
            route("proxy", "[{ file: secret }]", "").replace("UPSTREAM", &format!("\"http://{}/\"", other.address));
        let routes = format!(
            "{}{proxy}store: {{ path: store, {store} }}\n",
            route("hook", "[{ file: secret }]", &format!("delivery: queue, timeout: 10m, circuit: false, {keys}"))
        );
        let server = "listen: 127.0.0.1:0, threads: 2, shutdown_grace: 200ms";
        let served = Served::start_by(|file| shim.serve(file), server, &routes, &[("secret", SECRET)]);
        Some(Self { shim, served, _other: other })
    }

    /// A connection on which a delivery with this number was sent to the queue.
    fn sending(&self, number: u32) -> Connection {
        let mut connection = self.served.connect();
        connection.write(&delivery("/hook", SECRET, &body(number)));
        connection
    }

    fn send(&self, number: u32) -> Response {
        self.sending(number).receive()
    }

    #[track_caller]
    fn accepts(&self, number: u32) {
        let response = self.send(number);
        assert_eq!((response.status, response.header("hooklatch-duplicate")), (200, None), "{response:?}");
    }

    /// That a delivery is refused for this reason, and a route without a queue lives on.
    #[track_caller]
    fn refuses(&self, number: u32, reason: &str, retry_after: &str) {
        let response = self.send(number);
        is_problem(&response, 503, reason);
        assert_eq!(response.all("retry-after"), [retry_after]);
        assert_eq!(self.served.deliver("/proxy", SECRET), 200);
    }

    fn metric(&self, name: &str) -> f64 {
        self.served.metric(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn readiness(&self) -> u16 {
        self.served.admin("/readyz").status
    }

    /// The bodies that the handler has got so far.
    fn handled(&self) -> Vec<Vec<u8>> {
        self.served.upstream.entries().into_iter().map(|entry| entry.body).collect()
    }

    /// Starts the gateway again on the same store, without the shim.
    fn restart(&mut self) {
        self.served.gateway = GatewayProcess::start(&self.served.path("gateway.yaml"));
    }

    fn kill(&mut self) {
        self.served.gateway.process.signal("KILL");
        assert_eq!(self.served.gateway.process.wait().code(), None);
    }

    /// How many deliveries of the queue are in this state.
    fn waiting(&self, state: &str) -> f64 {
        self.metric(&format!("hooklatch_queue_deliveries{{route=\"hook\",state=\"{state}\"}}"))
    }

    /// That the handler gets each of these sooner or later, and nothing but `maybe` besides.
    #[track_caller]
    fn delivers(&self, numbers: impl IntoIterator<Item = u32>, maybe: &[u32]) {
        let expected: BTreeSet<Vec<u8>> = numbers.into_iter().map(body).collect();
        let got = || self.handled().into_iter().collect::<BTreeSet<_>>();
        poll("all are delivered", || got().is_superset(&expected));
        let maybe: BTreeSet<Vec<u8>> = maybe.iter().copied().map(body).collect();
        assert!(got().iter().all(|body| expected.contains(body) || maybe.contains(body)));
    }
}

fn body(number: u32) -> Vec<u8> {
    format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(2_000)).into_bytes()
}

const DELIVERED: &str = "hooklatch_queue_delivered_total{route=\"hook\"}";

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_or_synced_and_a_restart_delivers_what_was_acknowledged() {
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", "") else { return };
    faulty.served.upstream.hold();
    for number in 1..=3 {
        faulty.accepts(number);
    }
    faulty.shim.set("sync -wal EIO");
    faulty.refuses(4, "storage_failed", "60");
    // The disk works again, and the store does not.
    faulty.shim.set("");
    let synced = faulty.shim.notes().len();
    faulty.refuses(5, "storage_failed", "60");
    let readiness = faulty.served.admin("/readyz");
    assert_eq!((readiness.status, readiness.body.as_slice()), (503, &b"the store has failed\n"[..]));
    assert_eq!(faulty.served.admin("/livez").status, 200);
    poll("the metric says so", || faulty.metric("hooklatch_store_failed") == 1.0);
    Page::of(faulty.served.admin("/ui/status"))
        .has("The store has failed: routes with a queue answer 503 storage_failed");
    assert_eq!(faulty.served.gateway.process.terminate().code(), Some(0));
    let after = &faulty.shim.notes()[synced..];
    assert!(after.is_empty(), "{after:?}");

    faulty.served.upstream.release();
    faulty.restart();
    // The fourth was refused, and may have been written all the same: the provider then gets a duplicate's answer.
    faulty.delivers(1..=3, &[4]);
    assert_eq!(faulty.readiness(), 200);
    faulty.accepts(5);
    faulty.delivers([1, 2, 3, 5], &[4]);
}

#[test]
fn a_failed_sync_of_a_checkpoint_is_final_too_and_loses_nothing() {
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", "paused: true") else { return };
    faulty.shim.set("sync .db EIO");
    faulty.accepts(1);
    // Once nothing is written, the log is copied into the database.
    poll("the store has failed", || faulty.metric("hooklatch_store_failed") == 1.0);
    faulty.shim.set("");
    faulty.refuses(2, "storage_failed", "60");
    faulty.kill();
    let yaml = std::fs::read_to_string(faulty.served.path("gateway.yaml")).unwrap();
    faulty.served.write("gateway.yaml", &yaml.replace("paused: true", ""));
    faulty.restart();
    faulty.delivers([1], &[]);
}

#[test]
fn nothing_is_acknowledged_or_attempted_before_its_sync_and_a_sync_serves_all_that_waited() {
    let Some(faulty) = Faulty::start("min_free: 0MiB", "") else { return };
    let commits = || faulty.metric("hooklatch_store_batch_deliveries_count");
    let noted = faulty.shim.notes().len();
    faulty.shim.set("sync -wal hold");
    let mut senders = vec![faulty.sending(0)];
    poll("the sync has begun", || faulty.shim.has_noted(noted, &format!("begin {LOG}")));
    senders.extend((1..=20).map(|number| faulty.sending(number)));
    poll("all are being stored", || faulty.metric("hooklatch_in_flight_requests") == 21.0);
    assert!(senders.iter_mut().all(Connection::is_silent));
    assert_eq!((faulty.handled().len(), commits()), (0, 0.0));
    faulty.shim.set("");
    for sender in &mut senders {
        assert_eq!(sender.receive().status, 200);
    }
    faulty.delivers(0..=20, &[]);
    assert!(commits() <= 4.0, "{} commits", commits());
}

#[test]
fn what_has_waited_too_long_for_the_disk_is_refused_as_slow() {
    let Some(faulty) = Faulty::start("min_free: 0MiB", "") else { return };
    let noted = faulty.shim.notes().len();
    faulty.shim.set("sync -wal hold");
    let mut first = faulty.sending(1);
    poll("the sync has begun", || faulty.shim.has_noted(noted, &format!("begin {LOG}")));
    let mut second = faulty.sending(2);
    poll("both are being stored", || faulty.metric("hooklatch_in_flight_requests") == 2.0);
    let clock = Clock::system();
    let begun = clock.now();
    poll("the second has waited", || clock.now() - begun > Duration::from_millis(3_100));
    // While the disk hangs, what has waited is told so, and what comes is refused at once.
    is_problem(&first.receive(), 503, "storage_slow");
    is_problem(&second.receive(), 503, "storage_slow");
    faulty.refuses(3, "storage_slow", "1");
    faulty.shim.set("");
    poll("deliveries are accepted again", || faulty.send(4).status == 200);
    // The first was stored after all. The provider, who was told to send it again, gets a duplicate's answer.
    faulty.delivers([1, 4], &[]);
    assert_eq!(faulty.send(1).header("hooklatch-duplicate"), Some("true"));
    faulty.accepts(2);
    faulty.delivers([1, 2, 4], &[]);
    assert_eq!(faulty.handled().len(), 3);
}

#[test]
fn a_slow_disk_delays_each_answer_by_a_sync_and_refuses_none() {
    let Some(faulty) = Faulty::start("min_free: 0MiB", "") else { return };
    faulty.shim.set("sync -wal 20");
    let mut senders: Vec<_> = (0..40).map(|number| faulty.sending(number)).collect();
    for sender in &mut senders {
        assert_eq!(sender.receive().status, 200);
    }
    faulty.delivers(0..40, &[]);
    assert!(faulty.metric("hooklatch_store_sync_seconds_sum") >= 0.02);
}

#[test]
fn a_full_disk_refuses_deliveries_goes_on_sending_and_heals_by_itself() {
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", "max_concurrent: 1") else { return };
    faulty.served.upstream.hold();
    for number in 1..=3 {
        faulty.accepts(number);
    }
    faulty.shim.set("write -wal ENOSPC");
    faulty.refuses(4, "storage_full", "60");
    assert_eq!(faulty.readiness(), 200, "it heals by itself");
    faulty.served.upstream.release();
    faulty.delivers(1..=3, &[]);
    faulty.refuses(5, "storage_full", "60");
    faulty.shim.set("");
    poll("it takes deliveries again", || faulty.send(6).status == 200);
    // What was refused is no duplicate when the provider sends it again.
    faulty.accepts(4);
    faulty.delivers([1, 2, 3, 4, 6], &[]);
    // What came of the attempts was kept until there was room.
    poll("all are settled", || faulty.waiting("pending") == 0.0);
    assert_eq!(faulty.metric(DELIVERED), 5.0);
    assert_eq!(faulty.handled().len(), 5, "none is repeated");
    assert_eq!(faulty.metric("hooklatch_store_failed"), 0.0);
    assert_eq!(faulty.served.gateway.process.terminate().code(), Some(0));
    faulty.restart();
    assert_eq!(faulty.waiting("pending"), 0.0);
}

#[test]
fn a_disk_without_room_for_a_checkpoint_does_not_stop_deliveries() {
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", "") else { return };
    let noted = faulty.shim.notes().len();
    faulty.shim.set("write .db ENOSPC");
    faulty.accepts(1);
    poll("a checkpoint was tried", || faulty.shim.has_noted(noted, &format!("refused {DATABASE}")));
    faulty.accepts(2);
    faulty.delivers([1, 2], &[]);
    poll("both are settled", || faulty.metric(DELIVERED) == 2.0);
    assert_eq!((faulty.metric("hooklatch_store_failed"), faulty.readiness()), (0.0, 200));
    // Not even at the end.
    faulty.served.gateway.process.terminate();
    faulty.restart();
    assert_eq!(faulty.waiting("pending"), 0.0);
    faulty.accepts(3);
    faulty.delivers([1, 2, 3], &[]);
    assert_eq!(faulty.handled().len(), 3);
}

#[test]
fn less_room_than_min_free_refuses_deliveries_and_a_proxying_route_lives_on() {
    let Some(faulty) = Faulty::start("min_free: 1000000GiB", "") else { return };
    faulty.refuses(1, "storage_full", "60");
    assert_eq!(faulty.readiness(), 200);
    assert!(faulty.handled().is_empty());
}

#[test]
fn the_time_of_receipt_is_right_also_after_a_start_with_a_wrong_clock_and_age_makes_nothing_dead_early() {
    let keys = "retry: { schedule: [1ms], max_age: 72h, min_attempts: 0 }";
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", keys) else { return };
    faulty.kill();
    faulty.shim.set("clock -345600");
    faulty.served.gateway = faulty.shim.serve(&faulty.served.path("gateway.yaml"));
    faulty.shim.set("");
    let clock = Clock::system();
    let begun = clock.now();
    // A thread compares the clocks once a second.
    poll("the clocks are compared", || clock.now() - begun > Duration::from_millis(1_100));
    let sent = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + clock.unix()).to_string();
    faulty.accepts(1);
    faulty.delivers([1], &[]);
    let received = faulty.served.upstream.entries()[0].header("hooklatch-received-at").unwrap().to_owned();
    assert!(received >= sent, "{received} of what was sent at {sent}");
    let list = String::from_utf8(faulty.served.admin("/api/v1/deliveries?since=1h&route=hook").body).unwrap();
    assert!(list.contains(&received), "{list}");

    faulty.served.upstream.hold();
    faulty.accepts(2);
    faulty.kill();
    faulty.served.upstream.fail();
    faulty.served.upstream.release();
    faulty.restart();
    poll("it fails again and again", || {
        faulty.metric("hooklatch_queue_attempts_total{result=\"5xx\",route=\"hook\"}") >= 3.0
    });
    assert_eq!(faulty.waiting("dead"), 0.0);
    faulty.served.upstream.recover();
    faulty.delivers([1, 2], &[]);
}

#[test]
fn a_clock_that_jumps_makes_nothing_dead_moves_no_attempt_and_stalls_none() {
    let nobody = Nobody::bind();
    let keys = |wait: &str| {
        format!("retry: {{ schedule: [50ms, {wait}], max_backoff: {wait}, max_age: 72h, min_attempts: 5 }}")
    };
    let Some(mut faulty) = Faulty::start("min_free: 0MiB", &keys("1h")) else { return };
    let attempts = "hooklatch_queue_attempts_total{result=\"unreachable\",route=\"hook\"}";
    let there = std::fs::read_to_string(faulty.served.path("gateway.yaml")).unwrap();
    let gone = there.replace(&faulty.served.upstream.address.to_string(), &nobody.address.to_string());
    faulty.served.write("gateway.yaml", &gone);
    faulty.served.reload();
    for number in 0..100 {
        faulty.accepts(number);
    }
    poll("each is attempted twice", || faulty.metric(attempts) == 200.0);
    faulty.shim.set("clock 345600");
    faulty.accepts(100);
    poll("the new one is attempted twice, the others wait", || faulty.metric(attempts) == 202.0);
    // Four days older, and due.
    faulty.kill();
    faulty.served.gateway = faulty.shim.serve(&faulty.served.path("gateway.yaml"));
    poll("each is attempted again", || faulty.metric(attempts) == 101.0);
    assert_eq!((faulty.waiting("retrying"), faulty.waiting("dead")), (101.0, 0.0));
    // Yesterday: the next attempts would be five days away.
    faulty.kill();
    faulty.shim.set("clock -86400");
    faulty.served.gateway = faulty.shim.serve(&faulty.served.path("gateway.yaml"));
    assert_eq!((faulty.waiting("retrying"), faulty.waiting("dead")), (101.0, 0.0));
    faulty.kill();
    faulty.served.write("gateway.yaml", &there.replace("1h", "100ms"));
    faulty.served.gateway = faulty.shim.serve(&faulty.served.path("gateway.yaml"));
    faulty.delivers(0..=100, &[]);
    poll("none waits", || faulty.waiting("pending") + faulty.waiting("retrying") == 0.0);
    assert_eq!(faulty.waiting("dead"), 0.0);
}
