//! When a failed attempt is repeated, and when it is given up.

use std::time::Duration;

use hooklatch::clock::Clock;
use hooklatch::store::{Shown, State};
use serde_json::Value;

use super::ATTEMPTS;
use crate::support::process::{Stream, poll};
use crate::support::queued::Queued;
use crate::support::sender::Delivery;
use crate::support::served::Served;
use crate::support::upstream::{Nobody, Upstream};

const SOON: &str = "retry: { schedule: [20ms], jitter: 0% }, circuit: false";

/// That the last attempt of a delivery failed with this result, and the next one, with the same bytes, is taken.
#[track_caller]
fn is_repeated(queued: &mut Queued, result: &str) {
    let again = queued.takes();
    assert_eq!((again.one("hooklatch-attempt").as_str(), again.body.as_slice()), ("2", &b"{\"id\":1}"[..]), "{result}");
    queued.wait_for_delivered(1.0);
    assert_eq!(queued.metric(ATTEMPTS, &[("result", result)]), 1.0, "{result}");
    assert_eq!(queued.metric(ATTEMPTS, &[("result", "2xx")]), 1.0, "{result}");
    queued.stop();
    let stored = queued.stored();
    let states: Vec<_> = stored.iter().map(|stored| (stored.shown, stored.attempts)).collect();
    assert_eq!(states, [(Shown::Settled(State::Delivered), 2)], "{result}");
}

#[test]
fn an_answer_other_than_2xx_is_followed_by_another_attempt() {
    for (status, result) in [
        ("500 Internal Server Error", "5xx"),
        ("503 Service Unavailable", "5xx"),
        ("404 Not Found", "4xx"),
        ("304 Not Modified", "3xx"),
        ("302 Found\r\nLocation: /elsewhere", "3xx"),
    ] {
        let mut queued = Queued::start(SOON);
        queued.accepts(&Delivery::circleci("{\"id\":1}"));
        let first = queued.fails(status);
        assert_eq!(first.one("hooklatch-attempt"), "1");
        is_repeated(&mut queued, result);
    }
}

#[test]
fn the_line_of_an_attempt_that_is_redirected_says_what_to_do_and_that_of_another_failure_does_not() {
    let (upstream, store) = (Upstream::bind(), tempfile::tempdir().unwrap());
    let hook = format!(
        "  - {{ name: hook, path: /hook, scheme: circleci, secrets: [{{ file: one }}], \
         upstream: \"http://{}/in\", delivery: queue, {SOON} }}\n\
         store: {{ path: {:?}, min_free: 0MiB }}\n",
        upstream.address,
        store.path()
    );
    let mut served = Served::start(&hook, &[("one", "secret-one")]);
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    // Any of the gateway's threads may attempt it, each on a connection of its own.
    let mut failed = |answer: &str| {
        let mut peer = upstream.accept();
        peer.request();
        peer.write(format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        served.gateway.process.wait_for("that an attempt failed", |stream, line| {
            let entry: Value = serde_json::from_str(line).ok().filter(|_| stream == Stream::Stderr)?;
            (entry["fields"]["message"] == "an attempt failed").then(|| entry["fields"].clone())
        })
    };
    let redirected = failed("302 Found\r\nLocation: /elsewhere");
    assert_eq!(redirected["status"], 302, "{redirected}");
    let hint = "senders do not follow redirects: set the route's upstream to the URL that the handler answers at";
    assert_eq!(redirected["hint"], hint);
    let refused = failed("500 Internal Server Error");
    assert_eq!((&refused["status"], refused.get("hint")), (&500.into(), None), "{refused}");
    let mut peer = upstream.accept();
    peer.request();
    peer.answer();
}

#[test]
fn a_connection_that_breaks_off_is_followed_by_another_attempt() {
    let mut queued = Queued::start(SOON);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.request();
    queued.peer = None;
    is_repeated(&mut queued, "failed");
}

#[test]
fn a_switch_of_protocols_is_followed_by_another_attempt() {
    let mut queued = Queued::start(SOON);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.request();
    queued
        .peer
        .as_mut()
        .unwrap()
        .write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    queued.peer = None;
    is_repeated(&mut queued, "failed");
}

#[test]
fn a_handler_that_does_not_answer_in_time_gets_another_attempt() {
    let mut queued = Queued::start(&format!("timeout: 300ms, {SOON}"));
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.request();
    queued.wait_for(ATTEMPTS, &[("result", "timeout")], 1.0);
    queued.peer = None;
    is_repeated(&mut queued, "timeout");
}

#[test]
fn a_handler_that_cannot_be_reached_gets_the_delivery_when_it_can() {
    let nobody = Nobody::bind();
    let mut queued = Queued::start(&format!("upstream: \"http://{}/in\", {SOON}", nobody.address));
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    poll("two attempts", || queued.metric(ATTEMPTS, &[("result", "unreachable")]) >= 2.0);
    queued.wait_for_state("retrying", 1.0);
    queued.upstream = nobody.listen();
    let seen = queued.takes();
    assert_eq!(seen.body, b"{\"id\":1}");
    assert!(seen.one("hooklatch-attempt").parse::<u32>().unwrap() >= 3);
    queued.wait_for_delivered(1.0);
}

#[test]
fn many_failures_at_once_are_all_repeated() {
    let queued = Queued::start(SOON);
    for id in 0..10 {
        queued.accepts(&Delivery::circleci(format!("{{\"id\":{id}}}")));
    }
    // All attempts are under way, each on a connection of its own.
    let mut peers: Vec<_> = (0..10).map(|_| queued.upstream.accept()).collect();
    for peer in &mut peers {
        assert_eq!(peer.request().one("hooklatch-attempt"), "1");
        peer.write("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    let mut peers: Vec<_> = (0..10).map(|_| queued.upstream.accept()).collect();
    for peer in &mut peers {
        assert_eq!(peer.request().one("hooklatch-attempt"), "2");
        peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    queued.wait_for_delivered(10.0);
}

#[test]
fn retry_after_moves_the_next_attempt_later() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let mut queued = Queued::start(SOON);
        queued.accepts(&Delivery::circleci("{\"id\":1}"));
        queued.request();
        let clock = Clock::system();
        let answered = clock.now();
        queued.answer(status, "Retry-After: 1\r\n");
        assert_eq!(queued.takes().one("hooklatch-attempt"), "2");
        assert!(clock.now() - answered >= Duration::from_millis(990), "{status}: {:?}", clock.now() - answered);
    }
}

#[test]
fn retry_after_is_bounded_by_max_backoff() {
    let mut queued = Queued::start("retry: { schedule: [20ms], max_backoff: 200ms }, circuit: false");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.request();
    queued.answer("503 Service Unavailable", "Retry-After: 86400\r\n");
    assert_eq!(queued.takes().one("hooklatch-attempt"), "2");
}

#[test]
fn a_short_wait_is_kept_while_another_delivery_waits_for_long() {
    let mut queued = Queued::start(SOON);
    for id in 1..=2 {
        queued.accepts(&Delivery::circleci(format!("{{\"id\":{id}}}")));
    }
    let mut peers = [queued.upstream.accept(), queued.upstream.accept()];
    for peer in &mut peers {
        peer.request();
    }
    let [mut soon, mut late] = peers;
    soon.write("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    late.write("HTTP/1.1 503 Overloaded\r\nRetry-After: 3600\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let clock = Clock::system();
    let answered = clock.now();
    assert_eq!(queued.takes().one("hooklatch-attempt"), "2");
    assert!(clock.now() - answered < Duration::from_secs(4), "{:?}", clock.now() - answered);
}

/// That the only delivery is dead after this many attempts, for this reason, and nothing more is sent.
#[track_caller]
fn is_dead(mut queued: Queued, attempts: u32, reason: &str) {
    queued.wait_for("hooklatch_queue_dead_total", &[], 1.0);
    queued.wait_for_state("dead", 1.0);
    assert_eq!(queued.metric("hooklatch_queue_deliveries", &[("state", "pending")]), 0.0);
    assert_eq!(queued.metric("hooklatch_queue_deliveries", &[("state", "retrying")]), 0.0);
    assert_eq!(queued.metric("hooklatch_queue_delivered_total", &[]), 0.0);
    queued.stop();
    let stored = queued.stored();
    let found: Vec<_> = stored.iter().map(|stored| (stored.shown, stored.attempts)).collect();
    assert_eq!(found, [(Shown::Settled(State::Dead), attempts)]);
    assert_eq!(stored[0].delivery.reason.as_deref(), Some(reason));
    assert_eq!(stored[0].next_attempt_at, None);
}

#[test]
fn a_410_ends_a_delivery_at_once() {
    let mut queued = Queued::start(SOON);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.fails("410 Gone");
    is_dead(queued, 1, "status");
}

#[test]
fn a_status_of_give_up_on_ends_a_delivery_and_a_410_that_is_not_listed_does_not() {
    let mut queued = Queued::start("retry: { schedule: [20ms], give_up_on: [422] }");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.fails("410 Gone");
    assert_eq!(queued.fails("422 Unprocessable Content").one("hooklatch-attempt"), "2");
    is_dead(queued, 2, "status");
}

#[test]
fn a_delivery_is_dead_after_max_attempts() {
    let mut queued = Queued::start("retry: { schedule: [20ms], max_attempts: 2 }");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.fails("500 Internal Server Error");
    assert_eq!(queued.fails("500 Internal Server Error").one("hooklatch-attempt"), "2");
    is_dead(queued, 2, "max_attempts");
}

#[test]
fn a_delivery_older_than_max_age_is_dead_only_after_min_attempts() {
    let mut queued = Queued::start("retry: { schedule: [20ms], max_age: 0s, min_attempts: 3 }");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    for attempt in ["1", "2", "3"] {
        assert_eq!(queued.fails("500 Internal Server Error").one("hooklatch-attempt"), attempt);
    }
    is_dead(queued, 3, "max_age");
}
