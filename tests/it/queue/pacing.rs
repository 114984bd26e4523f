//! What holds attempts back: bounds, pauses, an upstream that is down, a route that is missing.

use std::time::Duration;

use hooklatch::clock::Clock;

use super::ATTEMPTS;
use crate::support::api;
use crate::support::process::{Stream, poll};
use crate::support::queued::Queued;
use crate::support::sender::Delivery;
use crate::support::served::{Served, route};
use crate::support::upstream::Nobody;

const CLOSING: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const STORE: &str = "store: { path: store, min_free: 0MiB }\n";

fn delivery(id: usize) -> Delivery {
    Delivery::circleci(format!("{{\"id\":{id}}}"))
}

#[test]
fn no_more_attempts_are_under_way_than_max_concurrent() {
    let mut queued = Queued::start("max_concurrent: 2");
    for id in 0..5 {
        queued.accepts(&delivery(id));
    }
    let mut peers = [queued.upstream.accept(), queued.upstream.accept()];
    for peer in &mut peers {
        peer.request();
    }
    queued.wait_for_state("pending", 5.0);
    queued.upstream.expect_nothing();
    assert_eq!(queued.metric("hooklatch_queue_in_flight", &[]), 2.0);
    let [mut one, mut two] = peers;
    one.write(CLOSING);
    let mut three = queued.upstream.accept();
    three.request();
    two.write(CLOSING);
    let mut four = queued.upstream.accept();
    four.request();
    queued.upstream.expect_nothing();
    three.write(CLOSING);
    four.write(CLOSING);
    queued.takes();
    queued.wait_for_delivered(5.0);
}

#[test]
fn attempts_come_no_faster_than_max_rate_after_a_burst_of_one_second() {
    let mut queued = Queued::start("max_rate: 4");
    queued.answer_always();
    let clock = Clock::system();
    let begun = clock.now();
    for id in 0..8 {
        queued.accepts(&delivery(id));
    }
    queued.wait_for_delivered(8.0);
    // Four at once, four more at intervals of a quarter of a second.
    assert!(clock.now() - begun >= Duration::from_millis(990), "{:?}", clock.now() - begun);
}

#[test]
fn an_upstream_that_is_down_gets_one_probe_and_its_deliveries_use_up_no_attempts() {
    let nobody = Nobody::bind();
    let keys = format!(
        "upstream: \"http://{}/in\", retry: {{ schedule: [1ms] }}, circuit: {{ failures: 3, max_wait: 1s }}",
        nobody.address
    );
    let mut queued = Queued::start(&keys);
    queued.accepts(&delivery(0));
    queued.wait_for("hooklatch_queue_circuit_open", &[], 1.0);
    assert_eq!(queued.metric(ATTEMPTS, &[("result", "unreachable")]), 3.0);
    for id in 1..6 {
        queued.accepts(&delivery(id));
    }
    queued.upstream = nobody.listen();
    let probe = queued.request();
    assert_eq!(probe.body, b"{\"id\":0}");
    queued.upstream.expect_nothing();
    assert_eq!(queued.metric("hooklatch_queue_circuit_open", &[]), 1.0);
    queued.answer("200 OK", "Connection: close\r\n");
    queued.peer = None;
    // One at once at first.
    let mut second = queued.upstream.accept();
    assert_eq!(second.request().one("hooklatch-attempt"), "1");
    queued.upstream.expect_nothing();
    second.write(CLOSING);
    // Then two.
    let mut peers = [queued.upstream.accept(), queued.upstream.accept()];
    for peer in &mut peers {
        assert_eq!(peer.request().one("hooklatch-attempt"), "1");
    }
    queued.upstream.expect_nothing();
    for peer in &mut peers {
        peer.write(CLOSING);
    }
    let mut peers = [queued.upstream.accept(), queued.upstream.accept()];
    for peer in &mut peers {
        assert_eq!(peer.request().one("hooklatch-attempt"), "1");
        peer.write(CLOSING);
    }
    queued.wait_for_delivered(6.0);
    queued.wait_for("hooklatch_queue_circuit_open", &[], 0.0);
}

#[test]
fn a_circuit_counts_by_upstream_and_holds_back_all_routes_to_it() {
    let nobody = Nobody::bind();
    let keys = |circuit| {
        let upstream = nobody.address;
        format!(
            "delivery: queue, secrets: [{{ env: SECRET }}], retry: {{ schedule: [1ms] }}, circuit: {circuit}, \
             upstream: \"http://{upstream}/in\""
        )
    };
    // The strictest of the routes decides, wherever it stands in the file.
    let hook = keys("{ failures: 3, max_wait: 10m }");
    let other = format!("name: other, path: /other, scheme: circleci, {}", keys("{ failures: 1000000 }"));
    let without = format!("name: without, path: /without, scheme: circleci, {}", keys("false"));
    let queued = Queued::of("circleci", &format!("{hook} }}\n  - {{ {other} }}\n  - {{ {without}"));
    queued.accepts(&delivery(0));
    queued.wait_for("hooklatch_queue_circuit_open", &[], 1.0);
    let of_route =
        |route, name, label: &[(&str, &str)]| queued.metrics().get(name, &[&[("route", route)], label].concat());
    let circuit = |route| {
        let shown = api::json(queued.admin(), &format!("/api/v1/routes/{route}"))["circuit"].clone();
        (of_route(route, "hooklatch_queue_circuit_open", &[]), shown != "closed")
    };
    assert_eq!(["hook", "other", "without"].map(circuit), [(1.0, true), (1.0, true), (0.0, false)]);
    queued.accepts(&delivery(1).target("/other"));
    poll("it waits", || of_route("other", "hooklatch_queue_deliveries", &[("state", "pending")]) == 1.0);
}

#[test]
fn the_metric_of_a_circuit_follows_it_while_the_route_is_paused_and_ends_with_it() {
    let nobody = Nobody::bind();
    let routes = |keys: &str| {
        let keys = format!("delivery: queue, retry: {{ schedule: [1h] }}, {keys}");
        let two = route("hook", "[{ file: one }]", &keys) + &route("other", "[{ file: one }]", "delivery: queue");
        two.replace("UPSTREAM", &format!("\"http://{}/in\"", nobody.address)) + STORE
    };
    let mut served = Served::start(&routes("circuit: { failures: 1, max_wait: 1s }"), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 200);
    poll("it is open", || of_queue(&served, "circuit_open", "") == Some(1.0));
    served.configure(&routes("paused: true, circuit: { failures: 1, max_wait: 1s }"));
    served.reload();
    assert_eq!(of_queue(&served, "circuit_open", ""), Some(1.0));
    // The other route's delivery is the probe.
    let upstream = nobody.listen();
    upstream.answer_always();
    assert_eq!(served.deliver("/other", "secret"), 200);
    poll("it is closed", || of_queue(&served, "circuit_open", "") == Some(0.0));
}

#[test]
fn a_delivery_that_alone_fails_does_not_hold_back_others() {
    let mut queued = Queued::start("retry: { schedule: [1ms] }, circuit: { failures: 1 }");
    queued.accepts(&delivery(0));
    for attempt in 1..=5 {
        assert_eq!(queued.fails("500 Internal Server Error").one("hooklatch-attempt"), attempt.to_string());
    }
    assert_eq!(queued.metric("hooklatch_queue_circuit_open", &[]), 0.0);
    queued.takes();
}

/// The value of a gauge or counter of the queue of the route `hook`.
fn of_queue(served: &Served, name: &str, label: &str) -> Option<f64> {
    served.metric(&format!("hooklatch_queue_{name}{{route=\"hook\"{label}}}"))
}

#[test]
fn a_paused_route_takes_deliveries_and_sends_them_when_it_is_resumed() {
    let routes = |paused| route("hook", "[{ file: one }]", &format!("delivery: queue, paused: {paused}")) + STORE;
    let mut served = Served::start(&routes(true), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 200);
    poll("it is paused", || of_queue(&served, "paused", "") == Some(1.0));
    poll("it waits", || of_queue(&served, "deliveries", ",state=\"pending\"") == Some(1.0));
    assert_eq!(served.upstream.entries().len(), 0);
    served.configure(&routes(false));
    served.reload();
    poll("it is delivered", || of_queue(&served, "delivered_total", "") == Some(1.0));
    assert_eq!(served.upstream.entries().len(), 1);
    poll("it is not paused", || of_queue(&served, "paused", "") == Some(0.0));
    served.configure(&routes(true));
    served.reload();
    assert_eq!(served.deliver("/hook", "secret"), 200);
    poll("it waits", || of_queue(&served, "deliveries", ",state=\"pending\"") == Some(1.0));
    assert_eq!(served.upstream.entries().len(), 1);
}

#[test]
fn deliveries_of_a_route_that_went_away_are_held_and_sent_when_it_is_back() {
    let nobody = Nobody::bind();
    let queue = "delivery: queue, circuit: false, retry: { schedule: [50ms] }";
    let there = |upstream: &str| {
        route("hook", "[{ file: one }]", queue).replace("UPSTREAM", upstream)
            + &route("other", "[{ file: one }]", "")
            + STORE
    };
    let mut served = Served::start(&there(&format!("\"http://{}/in\"", nobody.address)), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 200);
    poll("it waits", || of_queue(&served, "deliveries", ",state=\"retrying\"") == Some(1.0));
    served.configure(&(route("other", "[{ file: one }]", "") + STORE));
    served.gateway.process.signal("HUP");
    let warned = served.gateway.process.wait_for("that a delivery is held", |stream, line| {
        (stream == Stream::Stderr && line.contains("deliveries are held")).then(|| line.to_owned())
    });
    assert!(warned.contains("\"route\":\"hook\"") && warned.contains("\"waiting\":1"), "{warned}");
    poll("it is held", || of_queue(&served, "deliveries", ",state=\"held\"") == Some(1.0));
    assert_eq!(of_queue(&served, "deliveries", ",state=\"retrying\""), Some(0.0));
    served.configure(&there("UPSTREAM"));
    served.reload();
    poll("it is delivered", || of_queue(&served, "delivered_total", "") == Some(1.0));
    assert_eq!(served.upstream.entries().len(), 1);
    poll("none is held", || of_queue(&served, "deliveries", ",state=\"held\"") == Some(0.0));
}

#[test]
fn a_reload_changes_where_the_next_attempt_goes_and_cuts_a_wait_that_is_longer_now() {
    let nobody = Nobody::bind();
    let routes = |upstream: &str, wait: &str| {
        let keys = format!("delivery: queue, circuit: false, retry: {{ schedule: [{wait}], max_backoff: {wait} }}");
        route("hook", "[{ file: one }]", &keys).replace("UPSTREAM", upstream) + STORE
    };
    let mut served = Served::start(&routes(&format!("\"http://{}/in\"", nobody.address), "1h"), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 200);
    poll("it waits", || of_queue(&served, "deliveries", ",state=\"retrying\"") == Some(1.0));
    served.configure(&routes("UPSTREAM", "50ms"));
    served.reload();
    poll("it is delivered", || of_queue(&served, "delivered_total", "") == Some(1.0));
    assert_eq!(served.upstream.entries()[0].header("hooklatch-attempt"), Some("2"));
}
