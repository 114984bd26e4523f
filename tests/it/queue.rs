//! Deliveries that are stored, answered and then sent to the handler.

use std::collections::BTreeMap;

use hooklatch::store::{Shown, State};

use crate::support::gateway::series;
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::is_problem;
use crate::support::sender::Delivery;

/// When a failed attempt is repeated, and when it is given up.
mod retries;

/// What holds attempts back: bounds, pauses, an upstream that is down, a route that is missing.
mod pacing;

/// Shutdown, restart, one kill.
mod restarts;

/// Many kills under load, and the accounts.
mod crash;

/// A status of a handler and the label that attempts with it are counted under.
const ATTEMPTS: &str = "hooklatch_queue_attempts_total";

#[test]
fn a_delivery_is_answered_before_the_handler_answers_and_reaches_it_unchanged() {
    let response = "response: { status: 202, body: '{\"queued\":true}', content_type: application/json }";
    let mut queued = Queued::start(response);
    let before = queued.metrics();
    let body = b"{\"n\":\"\x00\xff\r\n\"}";
    let delivery = Delivery::circleci(body)
        .target("/hook?a=%20b&c")
        .header("X-Custom", "one")
        .header("X-Custom", "two")
        .header("X-Request-Id", "id-1")
        .header("Hooklatch-Attempt", "7");

    let answer = queued.send(&delivery);
    assert_eq!((answer.status, answer.body.as_slice()), (202, &b"{\"queued\":true}"[..]));
    assert_eq!(answer.all("content-type"), ["application/json"]);
    assert_eq!(answer.all("hooklatch-duplicate"), [""; 0]);

    let seen = queued.request();
    assert_eq!(seen.line(), "POST /in?a=%20b&c HTTP/1.1");
    assert_eq!(seen.body, body);
    assert_eq!(seen.all("x-custom"), ["one", "two"]);
    assert_eq!((seen.one("x-request-id"), seen.one("hooklatch-attempt")), ("id-1".to_owned(), "1".to_owned()));
    assert_eq!(seen.one("hooklatch-verified"), "true");
    assert_eq!(seen.one("hooklatch-delivery-id").len(), 36);
    assert_eq!(seen.all("hooklatch-replay"), [""; 0]);
    let received_at = seen.one("hooklatch-received-at");
    let form: String = received_at.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z");

    queued.wait_for_state("pending", 1.0);
    assert_eq!(queued.metric("hooklatch_queue_in_flight", &[]), 1.0);
    queued.answer("204 No Content", "");
    queued.wait_for_delivered(1.0);
    queued.wait_for_state("pending", 0.0);
    queued.wait_for("hooklatch_queue_in_flight", &[], 0.0);
    let hook = ("route", "hook");
    let counted = queued.metrics().all_counted_since(&before);
    let requests = [hook, ("scheme", "circleci"), ("outcome", "accepted")];
    for counter in [
        series("hooklatch_requests_total", &requests),
        series(ATTEMPTS, &[hook, ("result", "2xx")]),
        series("hooklatch_queue_delivered_total", &[hook]),
    ] {
        assert_eq!(counted.get(&counter), Some(&1.0), "{counter}: {counted:?}");
    }
    for state in ["retrying", "dead", "held"] {
        assert_eq!(queued.metric("hooklatch_queue_deliveries", &[("state", state)]), 0.0);
    }
    assert_eq!(queued.metric("hooklatch_queue_delay_seconds_count", &[]), 1.0);
}

#[test]
fn each_delivery_has_an_id_of_its_own_and_its_own_bytes() {
    let mut queued = Queued::start("");
    let mut seen = BTreeMap::new();
    for number in 0..20 {
        queued.accepts(&Delivery::circleci(format!("{{\"id\":{number}}}")));
        let request = queued.takes();
        seen.insert(request.one("hooklatch-delivery-id"), request.body);
    }
    let bodies: Vec<Vec<u8>> = seen.into_values().collect();
    let expected: Vec<Vec<u8>> = (0..20).map(|number| format!("{{\"id\":{number}}}").into_bytes()).collect();
    assert_eq!(bodies, expected, "ids have the order of receipt");
}

#[test]
fn in_proxy_mode_too_the_handler_gets_the_id_and_nothing_of_the_queue() {
    let mut queued = Queued::of("circleci", "delivery: proxy");
    let mut sender = queued.sending(&Delivery::circleci("{}"));
    let seen = queued.request();
    queued.answer("200 OK", "");
    assert_eq!(sender.receive().status, 200);
    assert_eq!(seen.one("hooklatch-delivery-id").len(), 36);
    assert_eq!((seen.all("hooklatch-attempt"), seen.all("hooklatch-received-at")), (vec![], vec![]));
}

#[test]
fn a_delivery_that_does_not_verify_is_neither_stored_nor_sent() {
    let mut queued = Queued::start("");
    is_problem(&queued.send(&Delivery::circleci("{}").body("{ }")), 401, "signature_mismatch");
    is_problem(&queued.send(&Delivery::unsigned("{}")), 401, "missing_signature");
    queued.upstream.expect_nothing();
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    assert_eq!(queued.takes().body, b"{\"id\":1}");
    queued.wait_for_delivered(1.0);
    queued.stop();
    let queued_once: Vec<Shown> = queued
        .stored()
        .iter()
        .map(|stored| stored.shown)
        .filter(|shown| *shown != Shown::Settled(State::Refused))
        .collect();
    assert_eq!(queued_once, [Shown::Settled(State::Delivered)]);
}

#[test]
fn a_challenge_is_answered_at_once_and_not_stored() {
    let mut queued = Queued::of("smartsheet", "delivery: queue, dedupe: false");
    let answer = queued.send(&Delivery::unsigned("{}").header("Smartsheet-Hook-Challenge", "a-challenge"));
    assert_eq!((answer.status, answer.header("smartsheet-hook-response")), (200, Some("a-challenge")));
    queued.upstream.expect_nothing();
    queued.stop();
    let waits = |shown| matches!(shown, Shown::Pending | Shown::Retrying | Shown::Held);
    assert!(!queued.stored().iter().any(|stored| waits(stored.shown)));
}

#[test]
fn a_delivery_whose_sender_resets_the_connection_while_it_is_stored_is_sent_too() {
    let mut queued = Queued::start("");
    let delivery = Delivery::circleci("{\"id\":1}");
    queued.wait_for_state("pending", 0.0);
    // While another program writes to the database, the gateway cannot.
    let other = rusqlite::Connection::open(queued.store().join("hooklatch.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let sender = queued.sending(&delivery);
    let in_flight = |count: f64| queued.metrics().get("hooklatch_in_flight_requests", &[]) == count;
    poll("it is being stored", || in_flight(1.0));
    sender.reset();
    poll("the gateway has seen the reset", || in_flight(0.0));
    other.execute_batch("ROLLBACK").unwrap();
    // The provider repeats what was not answered.
    let repeated = queued.send(&delivery);
    assert_eq!((repeated.status, repeated.header("hooklatch-duplicate")), (200, Some("true")));
    assert_eq!(queued.takes().body, b"{\"id\":1}");
    queued.wait_for_delivered(1.0);
}
