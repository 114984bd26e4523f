//! Shutdown in this process: deliveries in flight are finished.

use std::net::TcpStream;

use hooklatch::app::ShutdownResult;

use crate::support::api::{Call, Events};
use crate::support::gateway::Gateway;
use crate::support::http::{self, Connection};
use crate::support::process::poll;
use crate::support::rig::{is_problem, route};
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

fn start(grace: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::bind();
    let routes = route("circleci", &format!("upstream: \"http://{}/in\"", upstream.address));
    (Gateway::start_with(&format!("threads: 1, shutdown_grace: {grace}"), &routes, &[]), upstream)
}

/// Orders the gateway to stop. Returns once it has announced that it drains and its worker thread has begun to drain.
fn drain(gateway: &mut Gateway) {
    gateway.begin_to_stop();
    poll("not ready", || gateway.get("/readyz").status == 503);
    poll("the listener closed", || TcpStream::connect(gateway.server).is_err());
}

#[test]
fn the_listener_closes_at_once_and_a_delivery_in_flight_is_answered() {
    let (mut gateway, upstream) = start("60s");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    drain(&mut gateway);
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.metrics().get("hooklatch_in_flight_requests", &[]), 1.0);
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    sender.expect_end();
    drop(sender);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
}

#[test]
fn lists_that_are_open_show_the_last_delivery_and_do_not_hold_up_the_end() {
    let (mut gateway, upstream) = start("60s");
    let mut lists: Vec<Events> = (0..4).map(|_| Events::open(gateway.admin, &Call::get("/api/v1/stream"))).collect();
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    drain(&mut gateway);
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    for list in &mut lists {
        assert_eq!(list.next().unwrap().data["state"], "forwarded");
    }
    drop(sender);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
    lists.into_iter().for_each(Events::expect_end);
}

#[test]
fn a_body_that_is_still_coming_is_taken_to_its_end() {
    let (mut gateway, upstream) = start("60s");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("12").head());
    poll("in flight", || gateway.metrics().get("hooklatch_in_flight_requests", &[]) == 1.0);
    drain(&mut gateway);
    sender.write(b"12");
    let mut peer = upstream.accept();
    assert_eq!(peer.request().body, b"12");
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    drop(sender);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
}

#[test]
fn idle_connections_are_closed() {
    let (mut gateway, upstream) = start("60s");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    gateway.begin_to_stop();
    sender.expect_end();
    drop(sender);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
}

#[test]
fn a_request_on_an_open_connection_gets_503_or_the_end_of_the_connection() {
    let (mut gateway, _upstream) = start("60s");
    let request = Delivery::circleci("{}").bytes();
    let (begin, end) = request.split_at(30);
    let (mut fresh, mut begun) = (Connection::open(gateway.server), Connection::open(gateway.server));
    begun.write(begin);
    poll("two connections", || gateway.metrics().get("hooklatch_connections", &[]) == 2.0);
    drain(&mut gateway);
    let draining = |gateway: &Gateway| {
        let labels = [("route", "hook"), ("scheme", "circleci"), ("reason", "draining")];
        gateway.metrics().get("hooklatch_rejections_total", &labels)
    };
    let mut refused = 0.0;
    for (sender, bytes) in [(&mut fresh, &request[..]), (&mut begun, end)] {
        if sender.try_write(bytes).is_ok()
            && let Some(response) = sender.try_receive()
        {
            is_problem(&response, 503, "draining");
            refused += 1.0;
        }
    }
    assert_eq!(draining(&gateway), refused);
    drop((fresh, begun));
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
}

#[test]
fn what_was_pipelined_behind_the_delivery_in_flight_is_not_forwarded() {
    let (mut gateway, upstream) = start("60s");
    let mut sender = Connection::open(gateway.server);
    sender.write(&[Delivery::circleci("1").bytes(), Delivery::circleci("2").bytes()].concat());
    let mut peer = upstream.accept();
    assert_eq!(peer.request().body, b"1");
    drain(&mut gateway);
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    if let Some(response) = sender.try_receive() {
        is_problem(&response, 503, "draining");
    }
    drop(sender);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
    peer.expect_end();
}

#[test]
fn deliveries_that_outlive_the_grace_are_cut_off_and_counted() {
    let (gateway, upstream) = start("200ms");
    let mut senders: Vec<_> = (0..2).map(|_| Connection::open(gateway.server)).collect();
    let mut peers = Vec::new();
    for sender in &mut senders {
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = upstream.accept();
        peer.request();
        peers.push(peer);
    }
    assert_eq!(gateway.stop(), ShutdownResult::CutOff(2));
    for sender in &mut senders {
        sender.expect_end();
    }
}

#[test]
fn a_grace_of_zero_cuts_off_at_once() {
    let (gateway, upstream) = start("0s");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    assert_eq!(gateway.stop(), ShutdownResult::CutOff(1));
    sender.expect_end();
}

#[test]
fn a_response_that_is_still_streaming_counts_as_cut_off() {
    let (gateway, upstream) = start("200ms");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    assert_eq!(sender.receive_head().status, 200);
    assert_eq!(gateway.metrics().get("hooklatch_in_flight_requests", &[]), 1.0);
    assert_eq!(gateway.stop(), ShutdownResult::CutOff(1));
    assert_eq!(sender.receive_rest(), b"half");
}

#[test]
fn a_gateway_without_anything_to_do_ends_at_once() {
    let (gateway, _upstream) = start("60s");
    assert_eq!(http::send(gateway.server, &Delivery::unsigned("").bytes()).status, 401);
    assert_eq!(gateway.stop(), ShutdownResult::Drained);
}
