//! The bounds on connections, heads, time, bodies, deliveries in flight and rates: at, below and above each.

use std::process::Command;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response};
use crate::support::process::{BINARY, GatewayProcess, Stream, poll};
use crate::support::rig::{Rig, is_problem, route};
use crate::support::sender::Delivery;
use crate::support::served::{self, Served, delivery};
use crate::support::upstream::Upstream;

const NO_ROUTE: [(&str, &str); 2] = [("route", "none"), ("scheme", "none")];

/// How often requests without a route were refused for `reason`.
fn unmatched(rig: &Rig, reason: &str) -> f64 {
    let labels = [NO_ROUTE[0], NO_ROUTE[1], ("reason", reason)];
    rig.gateway.metrics().get("hooklatch_rejections_total", &labels)
}

/// That a response is a refusal after which the sender may try again.
#[track_caller]
fn is_shed(response: &Response, status: u16, reason: &str) {
    is_problem(response, status, reason);
    assert_eq!(response.all("retry-after"), ["1"]);
}

#[test]
fn a_connection_over_the_limit_is_answered_and_closed_and_the_next_after_one_has_gone_is_not() {
    let mut rig = Rig::with_server("max_connections: 2", "");
    let (first, mut second) = (rig.connect(), rig.connect());
    rig.wait_for_gauge("hooklatch_connections", 2.0);
    for refused in 1..=3 {
        let mut third = rig.connect();
        is_shed(&third.receive(), 503, "overloaded");
        third.expect_end();
        assert_eq!(unmatched(&rig, "overloaded"), f64::from(refused));
    }
    rig.upstream.expect_nothing();
    drop(first);
    rig.wait_for_gauge("hooklatch_connections", 1.0);
    rig.forwards(&Delivery::circleci("{}"));
    second.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().answer();
    assert_eq!(second.receive().status, 200);
}

#[test]
fn a_flood_of_connections_over_the_limit_leaves_the_others_alone() {
    let mut rig = Rig::with_server("max_connections: 1", "");
    let mut kept = rig.connect();
    rig.wait_for_gauge("hooklatch_connections", 1.0);
    let flood: Vec<Connection> = (0..200).map(|_| rig.connect()).collect();
    poll("all are refused", || unmatched(&rig, "overloaded") == 200.0);
    kept.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().answer();
    assert_eq!(kept.receive().status, 200);
    drop(flood);
    assert_eq!(rig.gateway.metrics().get("hooklatch_connections", &[]), 1.0);
}

#[test]
fn a_head_that_does_not_come_in_time_gets_408_and_a_connection_without_a_byte_just_ends() {
    let rig = Rig::with_server("header_timeout: 150ms", "");
    let mut silent = rig.connect();
    for part in ["P", "POST /hook HTTP/1.1\r\nHost: a\r\n", "\r\n", "POST /hook HTTP/1.1\r\nHost: a\r\nX: y\r\n\r"] {
        let mut slow = rig.connect();
        slow.write(part.as_bytes());
        is_problem(&slow.receive(), 408, "header_timeout");
        slow.expect_end();
    }
    silent.expect_end();
    assert_eq!(unmatched(&rig, "header_timeout"), 4.0);
    rig.wait_for_gauge("hooklatch_connections", 0.0);
}

#[test]
fn bytes_that_come_do_not_restart_the_clock_for_heads() {
    let rig = Rig::with_server("header_timeout: 1s", "");
    let mut slow = rig.connect();
    slow.write(b"POST /hook HTTP/1.1\r\nName: ");
    // Neither the line nor the head ever ends. The gateway still reads for a while after its response.
    poll("the head is refused", || {
        let _late = slow.try_write(b"a");
        unmatched(&rig, "header_timeout") == 1.0
    });
    is_problem(&slow.receive(), 408, "header_timeout");
    drop(slow);
    rig.wait_for_gauge("hooklatch_connections", 0.0);
}

#[test]
fn an_empty_line_after_a_delivery_begins_no_head() {
    let mut rig = Rig::with_server("header_timeout: 150ms, idle_timeout: 600ms", "");
    let mut sender = rig.connect();
    sender.write(&[Delivery::circleci("{}").bytes(), b"\r\n".to_vec()].concat());
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    // The connection is idle, and ends as such: without a 408 that the next delivery would take for its answer.
    sender.expect_end();
    assert_eq!(unmatched(&rig, "header_timeout"), 0.0);
}

#[test]
fn the_clock_for_heads_stands_still_between_requests_and_runs_again_in_the_next() {
    let mut rig = Rig::with_server("header_timeout: 400ms", "");
    let mut sender = rig.connect();
    let deliver = |rig: &mut Rig, sender: &mut Connection| {
        sender.write(&Delivery::circleci("{}").bytes());
        rig.request();
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
    };
    deliver(&mut rig, &mut sender);
    // Another connection's end is the clock here: it lives as long as a head may take.
    rig.connect().expect_end();
    deliver(&mut rig, &mut sender);
    rig.connect().expect_end();
    sender.write(b"POST /ho");
    is_problem(&sender.receive(), 408, "header_timeout");
    sender.expect_end();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut rig = Rig::with_server("idle_timeout: 150ms", "");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    sender.expect_end();
    rig.wait_for_gauge("hooklatch_connections", 0.0);
}

#[test]
fn a_connection_that_has_rested_takes_a_delivery_as_before() {
    let mut rig = Rig::with_server("idle_timeout: 60s, header_timeout: 1200ms", "");
    let mut sender = rig.connect();
    for _ in 0..3 {
        sender.write(&Delivery::circleci("{}").bytes());
        rig.request();
        // The upstream works while the gateway's threads have nothing to do.
        rig.wait_for_gauge("hooklatch_in_flight_requests", 1.0);
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
        // Longer than a connection takes to come to rest.
        rig.connect().expect_end();
    }
}

#[test]
fn a_delivery_that_takes_longer_than_a_connection_may_be_idle_is_not_cut_off() {
    let mut rig = Rig::with_server("idle_timeout: 400ms, header_timeout: 400ms", "");
    let mut sender = rig.connect();
    let delivery = Delivery::circleci("{}").bytes();
    let (early, late) = delivery.split_at(delivery.len() - 1);
    sender.write(early);
    rig.wait_for_gauge("hooklatch_in_flight_requests", 1.0);
    rig.connect().expect_end();
    sender.write(late);
    rig.request();
    rig.connect().expect_end();
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn a_sender_that_does_not_read_its_response_is_cut_off() {
    let mut rig = Rig::with_server("idle_timeout: 200ms", "");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    rig.peer.take().unwrap().write_until_closed();
    for gauge in ["hooklatch_in_flight_requests", "hooklatch_connections"] {
        rig.wait_for_gauge(gauge, 0.0);
    }
}

#[test]
fn a_response_that_stalls_on_its_way_breaks_the_connection_off() {
    let mut rig = Rig::with_server("idle_timeout: 200ms", "");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(sender.receive_head().status, 200);
    assert_eq!(sender.receive_chunk(), b"first");
    sender.expect_end();
    rig.peer().expect_end();
    rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
}

#[test]
fn a_head_may_be_as_large_as_the_server_allows_and_not_a_byte_larger() {
    let mut rig = Rig::with_server("max_header_bytes: 2KiB", "");
    let of = |size: usize| {
        let delivery = Delivery::circleci("{}");
        let more = size - delivery.clone().header("x-fill", "").head().len();
        delivery.header("x-fill", &"x".repeat(more))
    };
    assert_eq!(of(2048).head().len(), 2048);
    rig.forwards(&of(2048));
    for size in [2049, 10_000, 100_000] {
        let mut sender = rig.connect();
        let _ = sender.try_write(&of(size).bytes());
        let response = sender.receive();
        is_problem(&response, 431, "header_too_large");
        sender.expect_end();
    }
    assert_eq!(unmatched(&rig, "header_too_large"), 3.0);
}

/// Two routes to one upstream, `hook` and `other`.
fn two_routes(server: &str) -> (Rig, impl Fn(&Delivery) -> Delivery) {
    let rig = Rig::with_server_and_routes(server, |upstream| {
        let hook = route("circleci", &format!("upstream: \"http://{upstream}/in\""));
        let other = hook.replace("name: hook", "name: other").replace("/hook", "/other");
        hook + &other
    });
    (rig, |delivery| delivery.clone().target("/other"))
}

#[test]
fn bodies_hold_as_many_bytes_together_as_the_server_allows() {
    let (mut rig, _) = two_routes("buffered_bytes: 200KB");
    let body = |bytes: usize| Delivery::circleci(vec![b'x'; bytes]);
    let mut slow = rig.connect();
    slow.write(&body(150_000).head());
    rig.wait_for_gauge("hooklatch_buffered_bytes", 150_000.0);
    for delivery in [body(50_001), body(200_000), body(1 << 20), body(60_000).chunked(1000)] {
        let before = rig.gateway.metrics();
        let response = rig.send(&delivery.bytes());
        rig.refused(&before, &response, 503, "overloaded");
        is_shed(&response, 503, "overloaded");
    }
    rig.forwards(&body(50_000));
    rig.forwards(&body(40_000).chunked(1000));
    rig.wait_for_gauge("hooklatch_buffered_bytes", 150_000.0);
    drop(slow);
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
    rig.forwards(&body(200_000));
    rig.refuses(&body(200_001).bytes(), 503, "overloaded");
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
}

#[test]
fn slow_senders_on_one_route_do_not_shut_another_out() {
    let (mut rig, other) = two_routes("buffered_bytes: 1MiB");
    let mut slow = rig.connect();
    slow.write(&Delivery::circleci(vec![b'x'; 1 << 20]).head());
    rig.wait_for_gauge("hooklatch_buffered_bytes", f64::from(1 << 20));
    rig.refuses(&Delivery::circleci("{}").bytes(), 503, "overloaded");
    rig.forwards(&other(&Delivery::circleci(vec![b'x'; 65_536])));
    let response = rig.send(&other(&Delivery::circleci(vec![b'x'; 65_537])).bytes());
    is_shed(&response, 503, "overloaded");
}

#[test]
fn a_body_that_breaks_off_or_takes_too_long_gives_its_bytes_back() {
    let rig = Rig::with("body_timeout: 150ms");
    let head = Delivery::circleci(vec![b'x'; 5000]).head();
    let mut slow = rig.connect();
    slow.write(&head);
    assert_eq!(slow.receive().status, 408);
    let mut broken = rig.connect();
    broken.write(&head);
    broken.finish();
    assert_eq!(broken.receive().status, 400);
    let mut chunked = rig.connect();
    chunked.write(&[&Delivery::circleci("").chunked(1).head(), &b"fff\r\n"[..], &[b'x'; 100]].concat());
    drop(chunked);
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
    rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
}

#[test]
fn a_route_has_as_many_deliveries_in_flight_as_it_may_each_until_its_response_is_done() {
    let mut rig = Rig::with("max_in_flight: 2");
    let delivery = Delivery::circleci("{}").bytes();
    let mut senders = [rig.connect(), rig.connect()];
    senders[0].write(&delivery);
    let mut first = rig.upstream.accept();
    first.request();
    senders[1].write(&delivery);
    let mut second = rig.upstream.accept();
    second.request();
    let refused = |rig: &Rig| is_shed(&rig.refuses(&delivery, 503, "overloaded"), 503, "overloaded");
    refused(&rig);
    // Its response has begun, and is not done.
    first.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert_eq!(senders[0].receive_head().status, 200);
    refused(&rig);
    first.write("k");
    rig.wait_for_gauge("hooklatch_in_flight_requests", 1.0);
    rig.peer = Some(first);
    rig.forwards(&Delivery::circleci("{}"));
    // A sender that has gone keeps its place until the upstream has answered: the handler is still at work.
    drop(senders);
    second.answer();
    rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
}

#[test]
fn the_bounds_hold_over_all_threads_together() {
    let upstream = Upstream::bind();
    let keys = format!("upstream: \"http://{}\", max_in_flight: 3", upstream.address);
    let gateway = Gateway::start_with("threads: 4", &route("circleci", &keys), &[]);
    let mut senders: Vec<Connection> = (0..40).map(|_| Connection::open(gateway.server)).collect();
    for sender in &mut senders {
        sender.write(&Delivery::circleci("{}").bytes());
    }
    let mut peers: Vec<_> = (0..3).map(|_| upstream.accept()).collect();
    let labels = [("route", "hook"), ("scheme", "circleci"), ("reason", "overloaded")];
    poll("all but three are refused", || gateway.metrics().get("hooklatch_rejections_total", &labels) == 37.0);
    for peer in &mut peers {
        peer.request();
        peer.answer();
    }
    let statuses: Vec<u16> = senders.iter_mut().map(|sender| sender.receive().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 37);
    upstream.expect_nothing();
}

#[test]
fn a_route_takes_a_burst_and_then_sheds_at_once() {
    let mut rig = Rig::with("rate_limit: { per_second: 1, burst: 3 }");
    for _ in 0..3 {
        rig.forwards(&Delivery::circleci("{}"));
    }
    // Unsigned ones count as well, so that the refusal costs no upstream; one a second is let through to that check.
    let unsigned = Delivery::unsigned("{}").bytes();
    let mut refused = None;
    poll("it is refused", || {
        let response = rig.send(&unsigned);
        refused = (response.status == 429).then_some(response);
        refused.is_some()
    });
    is_shed(&refused.unwrap(), 429, "rate_limited");
    rig.upstream.expect_nothing();
    // And is let in again.
    poll("it is let in", || rig.send(&unsigned).status == 401);
}

#[test]
fn the_limit_of_open_files_is_raised_and_connections_stay_below_it() {
    let limited = |file: &std::path::Path| {
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -Sn 100 && ulimit -Hn 160 && exec "$0" "$@""#, BINARY, "serve", "-c"]);
        GatewayProcess::start_command(command.arg(file).args(["--log-format", "json"]))
    };
    let routes = served::route("hook", "[{ file: one }]", "");
    let served = Served::start_by(limited, "", &routes, &[("one", "secret-one")]);
    let warned = served.gateway.process.printed(Stream::Stderr).into_iter().any(|line| {
        let fields = &serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"];
        let numbers = ["max_connections", "open_files", "connections"].map(|name| fields[name].as_u64());
        numbers == [Some(10_000), Some(160), Some(80)]
    });
    assert!(warned);
    assert_eq!(served.metric("process_max_fds"), Some(160.0));
    assert_eq!(served.metric("hooklatch_max_connections"), Some(80.0));

    let mut open: Vec<Connection> = (0..80).map(|_| served.connect()).collect();
    poll("that all are open", || served.metric("hooklatch_connections") == Some(80.0));
    for _ in 0..100 {
        let mut over = served.connect();
        is_shed(&over.receive(), 503, "overloaded");
    }
    assert_eq!(served.admin("/readyz").status, 200);
    for connection in &mut open {
        connection.write(&delivery("/hook", "secret-one", b"{}"));
        assert_eq!(connection.receive().status, 200);
    }
}
