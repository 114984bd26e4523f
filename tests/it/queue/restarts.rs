//! Shutdown, restart, kill.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hooklatch::app::ShutdownResult;
use hooklatch::store::{Shown, State};

use super::ATTEMPTS;
use crate::support::http::Connection;
use crate::support::process::{GatewayProcess, poll};
use crate::support::queued::Queued;
use crate::support::sender::Delivery;
use crate::support::served::{self, Served, delivery};
use crate::support::stream::Stream;

#[test]
fn what_waits_is_sent_after_a_restart_in_the_same_bytes() {
    let mut queued = Queued::start("circuit: false, retry: { schedule: [1h] }");
    let bodies: Vec<String> = (0..3).map(|id| format!("{{\"id\":{id}}}")).collect();
    for body in &bodies {
        queued.accepts(&Delivery::circleci(body).target("/hook?query").header("X-Custom", "value"));
        queued.fails("500 Internal Server Error");
    }
    queued.wait_for(ATTEMPTS, &[("result", "5xx")], 3.0);
    assert_eq!(queued.stop(), Some(ShutdownResult::Drained));
    let waiting: Vec<_> = queued.stored().iter().map(|stored| (stored.shown, stored.attempts)).collect();
    assert_eq!(waiting, [(Shown::Retrying, 1); 3]);
    queued.restart("circuit: false, retry: { schedule: [20ms], max_backoff: 20ms }");
    let mut seen = BTreeSet::new();
    for _ in &bodies {
        let mut peer = queued.upstream.accept();
        let request = peer.request();
        assert_eq!(request.line(), "POST /in?query HTTP/1.1");
        assert_eq!((request.one("hooklatch-attempt").as_str(), request.one("x-custom").as_str()), ("2", "value"));
        seen.insert(String::from_utf8(request.body).unwrap());
        peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    assert_eq!(seen, BTreeSet::from_iter(bodies));
    queued.wait_for_delivered(3.0);
    queued.wait_for_state("retrying", 0.0);
}

#[test]
fn shutdown_waits_for_attempts_under_way_begins_no_other_and_keeps_the_rest() {
    let mut queued = Queued::with_server("shutdown_grace: 60s", "", "circleci", "delivery: queue, max_concurrent: 1");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.accepts(&Delivery::circleci("{\"id\":2}"));
    let first = queued.request();
    assert_eq!(first.body, b"{\"id\":1}");
    queued.drain();
    queued.answer("200 OK", "");
    assert_eq!(queued.stop(), Some(ShutdownResult::Drained));
    let left: Vec<_> = queued.stored().iter().map(|stored| (stored.shown, stored.attempts)).collect();
    assert_eq!(left, [(Shown::Pending, 0), (Shown::Settled(State::Delivered), 1)], "newest first");
    queued.restart("max_concurrent: 1");
    assert_eq!(queued.takes().body, b"{\"id\":2}");
}

#[test]
fn a_process_whose_grace_runs_out_with_attempts_only_ends_with_0_and_repeats_them() {
    let mut served = serve("threads: 2, shutdown_grace: 300ms", "");
    served.upstream.hold();
    assert_eq!(served.deliver("/hook", SECRET), 200);
    poll("the attempt", || served.upstream.entries().len() == 1);
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    served.upstream.release();
    served.gateway = GatewayProcess::start(&served.path("gateway.yaml"));
    poll("the second attempt", || served.upstream.entries().len() == 2);
    let entries = served.upstream.entries();
    assert_eq!(entries[0].header("hooklatch-delivery-id"), entries[1].header("hooklatch-delivery-id"));
    assert_eq!(entries[0].body, entries[1].body);
    poll("delivered", || served.metric("hooklatch_queue_delivered_total{route=\"hook\"}") == Some(1.0));
}

const SECRET: &str = "secret";

fn serve(server: &str, keys: &str) -> Served {
    let keys = format!("delivery: queue, dedupe: false, {keys}");
    let routes = served::route("hook", "[{ file: one }]", &keys) + "store: { path: store, min_free: 0MiB }\n";
    Served::start_with(&format!("listen: 127.0.0.1:0, {server}"), &routes, &[("one", SECRET)])
}

#[test]
fn a_kill_between_answer_and_attempt_repeats_the_attempt_after_the_restart() {
    let mut served = serve("threads: 1", "");
    served.upstream.hold();
    assert_eq!(served.deliver("/hook", SECRET), 200);
    poll("the attempt", || served.upstream.entries().len() == 1);
    served.gateway.process.signal("KILL");
    assert_eq!(served.gateway.process.wait().code(), None);
    served.upstream.release();
    served.gateway = GatewayProcess::start(&served.path("gateway.yaml"));
    poll("the second attempt", || served.upstream.entries().len() == 2);
    assert_eq!(served.upstream.entries()[1].body, b"{}");
}

/// How often the gateway is killed.
const KILLS: usize = 20;

#[test]
fn what_was_acknowledged_is_delivered_however_often_the_gateway_is_killed() {
    let mut served = serve("threads: 2", "retry: { schedule: [50ms] }");
    let file = served.path("gateway.yaml");
    // Later starts listen where the first one did, so that senders go on.
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(&file, yaml.replacen("127.0.0.1:0", &served.gateway.server.to_string(), 1)).unwrap();
    let (next, stop) = (AtomicU64::new(0), AtomicU64::new(0));
    let acknowledged = Mutex::new(BTreeSet::new());
    let server = served.gateway.server;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while stop.load(Ordering::Relaxed) == 0 {
                    send_until_it_breaks(server, &next, &acknowledged, &stop);
                    thread::yield_now();
                }
            });
        }
        for kill in 0..KILLS {
            let before = acknowledged.lock().unwrap().len();
            let more = 5 + 7 * (kill % 5);
            poll("more are acknowledged", || acknowledged.lock().unwrap().len() >= before + more);
            served.gateway.process.signal("KILL");
            assert_eq!(served.gateway.process.wait().code(), None);
            served.gateway = GatewayProcess::start(&file);
        }
        stop.store(1, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= KILLS * 5);
    poll("all that was acknowledged is delivered", || {
        let delivered: BTreeSet<u64> = served.upstream.entries().iter().map(|entry| number(&entry.body)).collect();
        acknowledged.is_subset(&delivered)
    });
    let sent = next.into_inner();
    assert!(served.upstream.entries().iter().all(|entry| number(&entry.body) < sent));
    poll("nothing waits", || {
        let waits = |state| served.metric(&format!("hooklatch_queue_deliveries{{route=\"hook\",state=\"{state}\"}}"));
        waits("pending") == Some(0.0) && waits("retrying") == Some(0.0) && waits("dead") == Some(0.0)
    });
}

/// Sends deliveries one after the other on one connection until it ends.
fn send_until_it_breaks(server: SocketAddr, next: &AtomicU64, acknowledged: &Mutex<BTreeSet<u64>>, stop: &AtomicU64) {
    let Ok(stream) = std::net::TcpStream::connect(server) else { return };
    stream.set_read_timeout(Some(crate::support::http::ANSWER)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut connection = Connection::from(Stream::Plain(stream));
    while stop.load(Ordering::Relaxed) == 0 {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(usize::try_from(number % 700).unwrap()));
        if connection.try_write(&delivery("/hook", SECRET, body.as_bytes())).is_err() {
            return;
        }
        match connection.try_receive() {
            Some(response) if response.status == 200 => {
                acknowledged.lock().unwrap().insert(number);
            }
            Some(response) => panic!("{response:?}"),
            None => return,
        }
    }
}

/// The number of a delivery, whose body must be whole.
fn number(body: &[u8]) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let number = body["id"].as_u64().unwrap();
    assert_eq!(body["text"], "x".repeat(usize::try_from(number % 700).unwrap()));
    number
}
