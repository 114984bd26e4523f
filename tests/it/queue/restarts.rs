//! Shutdown, restart, one kill.

use std::collections::BTreeSet;

use hooklatch::app::ShutdownResult;
use hooklatch::store::{Change, Shown, State};

use super::ATTEMPTS;
use crate::support::http::Connection;
use crate::support::process::{GatewayProcess, poll};
use crate::support::queued::Queued;
use crate::support::sender::Delivery;
use crate::support::served::{self, Served};
use crate::support::upstream::Upstream;

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

#[test]
fn a_pause_of_the_configuration_lasts_over_a_restart_until_the_configuration_changes() {
    let mut queued = Queued::start("paused: true");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.restart("paused: true");
    queued.wait_for("hooklatch_queue_paused", &[], 1.0);
    queued.wait_for_state("pending", 1.0);
    queued.upstream.expect_nothing();
    queued.restart("");
    assert_eq!(queued.takes().body, b"{\"id\":1}");
    queued.wait_for("hooklatch_queue_paused", &[], 0.0);
}

#[test]
fn what_a_person_has_paused_stays_paused_over_a_restart() {
    let mut queued = Queued::start("");
    queued.stop();
    queued.change(Change::Pause { route: "hook".into(), paused: true });
    queued.restart("");
    queued.wait_for("hooklatch_queue_paused", &[], 1.0);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.wait_for_state("pending", 1.0);
    queued.upstream.expect_nothing();
}

#[test]
fn after_a_restart_with_a_shorter_max_backoff_no_attempt_is_further_away_however_many_wait() {
    let mut queued = Queued::start("circuit: false, retry: { schedule: [1h] }");
    queued.upstream.answer_by(|_| "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let mut sender = Connection::open(queued.server());
    // More than one step of the store brings forward.
    let count = 1_100;
    for id in 0..count {
        sender.write(&Delivery::circleci(format!("{{\"id\":{id}}}")).bytes());
        assert_eq!(sender.receive().status, 200);
    }
    drop(sender);
    queued.wait_for(ATTEMPTS, &[("result", "5xx")], f64::from(count));
    queued.stop();
    queued.upstream = Upstream::bind();
    queued.answer_always();
    queued.restart("circuit: false, retry: { schedule: [100ms], max_backoff: 100ms }");
    queued.wait_for_delivered(f64::from(count));
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
