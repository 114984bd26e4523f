//! The one request that is sent twice, and all those that are not.

use crate::support::gateway::Metrics;
use crate::support::http::Connection;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

fn resends(metrics: &Metrics) -> f64 {
    metrics.get("hooklatch_upstream_resends_total", &[("route", "hook")])
}

/// A gateway with one idle connection to its upstream.
fn with_idle_connection(keys: &str) -> Rig {
    let mut rig = Rig::of_routes("circleci", |upstream| {
        route("circleci", &format!("upstream: {{ url: \"http://{upstream}/in\", {keys} }}, timeout: 300ms"))
    });
    rig.forwards(&Delivery::circleci("first"));
    rig
}

/// A sender whose delivery the upstream has got over the idle connection, without having answered.
fn reuse(rig: &mut Rig) -> Connection {
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("second").header("x-same", "yes").bytes());
    assert_eq!(rig.request().body, b"second");
    sender
}

#[test]
fn a_reused_connection_that_breaks_off_before_any_answer_gets_the_delivery_once_more_on_a_fresh_one() {
    let mut rig = with_idle_connection("resend: true");
    let before = rig.gateway.metrics();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("second").header("x-same", "yes").bytes());
    let first = rig.request();
    rig.peer = None;
    let again = rig.request();
    assert_eq!((&again.head, &again.body), (&first.head, &first.body), "byte for byte the same");
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    assert_eq!(resends(&rig.gateway.metrics()) - resends(&before), 1.0);
    // One delivery, for all its two sendings; the fresh connection is kept.
    assert_eq!(rig.gateway.metrics().counted_since(&before).len(), 3);
    rig.forwards(&Delivery::circleci("third"));
}

#[test]
fn a_large_body_is_sent_once_more_whole() {
    let mut rig = Rig::start();
    rig.forwards(&Delivery::circleci("first"));
    let body: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci(&body).chunked(9999).bytes());
    // Closed in the middle of the request, with bytes unread: a reset.
    rig.peer.take().unwrap().slam();
    assert!(rig.request().body == body);
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
}

#[test]
fn a_connection_found_closed_costs_no_delivery() {
    for keys in ["resend: true", "resend: false"] {
        let mut rig = with_idle_connection(keys);
        rig.peer = None;
        // Closed before any byte of the delivery is written: allowed in either case.
        rig.forwards(&Delivery::circleci("second"));
    }
}

#[test]
fn a_delivery_is_not_sent_a_third_time() {
    let mut rig = with_idle_connection("resend: true");
    let mut sender = reuse(&mut rig);
    rig.peer = None;
    assert_eq!(rig.request().body, b"second");
    rig.peer = None;
    let response = sender.receive();
    assert_eq!((response.status, response.json()["reason"].as_str()), (502, Some("upstream_failed")));
    assert_eq!(resends(&rig.gateway.metrics()), 1.0);
    rig.upstream.expect_nothing();
}

#[test]
fn a_delivery_is_not_sent_once_more_when_any_byte_of_an_answer_has_come() {
    for part in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "\r\n", "garbage\r\n\r\n"] {
        let mut rig = with_idle_connection("resend: true");
        let before = rig.gateway.metrics();
        let mut sender = reuse(&mut rig);
        rig.peer().write(part);
        rig.peer = None;
        rig.failed(&before, &sender.receive(), 502, "failed");
        rig.upstream.expect_nothing();
    }
}

#[test]
fn a_delivery_is_not_sent_once_more_when_its_connection_was_fresh() {
    let mut rig = Rig::start();
    let before = rig.gateway.metrics();
    let mut sender = reuse(&mut rig);
    rig.peer = None;
    rig.failed(&before, &sender.receive(), 502, "failed");
    rig.upstream.expect_nothing();
}

#[test]
fn a_delivery_is_not_sent_once_more_after_a_timeout() {
    let mut rig = with_idle_connection("resend: true");
    let before = rig.gateway.metrics();
    let mut sender = reuse(&mut rig);
    rig.failed(&before, &sender.receive(), 504, "timeout");
    rig.peer().expect_end();
    rig.upstream.expect_nothing();
}

#[test]
fn the_second_sending_has_no_more_time_than_the_first() {
    let mut rig = with_idle_connection("resend: true");
    let mut sender = reuse(&mut rig);
    rig.peer = None;
    rig.request();
    let response = sender.receive();
    assert_eq!((response.status, response.json()["reason"].as_str()), (504, Some("upstream_timeout")));
    assert_eq!(resends(&rig.gateway.metrics()), 1.0);
    rig.peer().expect_end();
}

#[test]
fn with_resend_off_a_delivery_of_which_bytes_were_written_is_not_sent_once_more() {
    let mut rig = with_idle_connection("resend: false");
    let before = rig.gateway.metrics();
    let mut sender = reuse(&mut rig);
    rig.peer = None;
    rig.failed(&before, &sender.receive(), 502, "failed");
    rig.upstream.expect_nothing();
}

#[test]
fn a_fresh_connection_that_cannot_be_made_for_the_second_sending_is_told_as_such() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let rig = Rig::of_routes("circleci", |_| route("circleci", &format!("upstream: \"http://{address}/in\"")));
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("first").bytes());
    let mut peer = crate::support::upstream::Peer::from(upstream.accept().unwrap().0);
    // The listener is closed, but the connection is still open.
    drop(upstream);
    peer.request();
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    sender.write(&Delivery::circleci("second").bytes());
    peer.request();
    drop(peer);
    let response = sender.receive();
    assert_eq!((response.status, response.json()["reason"].as_str()), (502, Some("upstream_unreachable")));
}

#[test]
fn an_answer_that_breaks_off_in_its_body_is_not_asked_for_once_more() {
    let mut rig = with_idle_connection("resend: true");
    let mut sender = reuse(&mut rig);
    rig.peer().write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    rig.peer = None;
    assert_eq!(sender.receive_head().status, 200);
    assert_eq!(sender.receive_rest(), b"half");
    assert_eq!(resends(&rig.gateway.metrics()), 0.0);
    rig.upstream.expect_nothing();
}
