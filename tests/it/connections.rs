//! Keep-alive, pipelining and the connections to the upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use crate::support::process::poll;
use crate::support::rig::{Rig, is_problem, route};
use crate::support::sender::Delivery;

#[test]
fn deliveries_one_after_the_other_share_both_connections() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    for body in ["1", "2", "3"] {
        sender.write(&Delivery::circleci(body).bytes());
        // Always the same upstream connection: the rig accepts one only.
        assert_eq!(rig.request().body, body.as_bytes());
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
    }
    assert_eq!(rig.gateway.metrics().get("hooklatch_connections", &[]), 1.0);
}

#[test]
fn the_upstreams_connection_is_reused_however_its_answer_is_framed() {
    let mut rig = Rig::start();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        rig.request();
        rig.peer().write(answer);
        sender.receive();
    }
    rig.forwards(&Delivery::circleci("{}"));
}

#[test]
fn deliveries_in_one_write_are_answered_in_order() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    let pipelined = [
        Delivery::circleci("1").bytes(),
        Delivery::unsigned("2").bytes(),
        Delivery::circleci("3").chunked(1).bytes(),
        Delivery::circleci("4").target("/nowhere").bytes(),
        Delivery::circleci("5").bytes(),
    ];
    sender.write(&pipelined.concat());
    for body in ["1", "3", "5"] {
        assert_eq!(rig.request().body, body.as_bytes());
        rig.peer().write(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}"));
    }
    assert_eq!(sender.receive().body, b"1");
    is_problem(&sender.receive(), 401, "missing_signature");
    assert_eq!(sender.receive().body, b"3");
    is_problem(&sender.receive(), 404, "no_route");
    assert_eq!(sender.receive().body, b"5");
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_next_delivery() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    let next = Delivery::circleci("2").bytes();
    let (now, later) = next.split_at(20);
    sender.write(&[&Delivery::circleci("1").bytes(), now].concat());
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    sender.write(later);
    assert_eq!(rig.request().body, b"2");
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn a_sender_that_wants_its_connection_closed_gets_that() {
    let mut rig = Rig::start();
    for delivery in
        [Delivery::circleci("{}").header("Connection", "close"), Delivery::circleci("{}").version("HTTP/1.0")]
    {
        let mut sender = rig.connect();
        sender.write(&delivery.bytes());
        rig.request();
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
        sender.expect_end();
    }
}

#[test]
fn a_sender_that_writes_on_after_its_last_request_loses_no_answer() {
    let mut rig = Rig::start();
    let last = Delivery::circleci("{}").header("Connection", "close").bytes();
    let more = Delivery::circleci("more").bytes();
    for (at_once, later) in [(&more[..], &b""[..]), (b"", &more), (b"\r\n", b""), (b"", b"\r\n")] {
        let mut sender = rig.connect();
        sender.write(&[&last, at_once].concat());
        assert_eq!(rig.request().body, b"{}");
        sender.write(later);
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
        // In order: a reset would have taken the answer from a sender that reads it late.
        sender.expect_end();
    }
}

#[test]
fn a_sender_that_is_refused_before_its_body_may_send_it_and_loses_no_answer() {
    let rig = Rig::start();
    let body = "x".repeat(100_000);
    let refused = Delivery::unsigned(&body).header("Connection", "close").bytes();
    let (head, rest) = refused.split_at(refused.len() - body.len());
    let mut sender = rig.connect();
    sender.write(head);
    // The refusal needs no body; it is on its way when the body is sent.
    let labels = [("route", "hook"), ("scheme", "circleci"), ("reason", "missing_signature")];
    poll("refused", || rig.gateway.metrics().get("hooklatch_rejections_total", &labels) == 1.0);
    sender.write(rest);
    is_problem(&sender.receive(), 401, "missing_signature");
    sender.expect_end();
}

#[test]
fn an_http_1_0_sender_may_ask_to_keep_its_connection() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    for _ in 0..2 {
        sender.write(&Delivery::circleci("{}").version("HTTP/1.0").header("Connection", "keep-alive").bytes());
        rig.request();
        rig.peer().answer();
        let response = sender.receive();
        assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn a_sender_may_close_its_side_before_it_has_the_answer() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    sender.finish();
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().body, b"ok\n");
    sender.expect_end();
}

#[test]
fn a_sender_that_goes_away_does_not_take_its_neighbours_along() {
    let mut rig = Rig::start();
    let mut gone = rig.connect();
    gone.write(&Delivery::circleci("gone").bytes());
    assert_eq!(rig.request().body, b"gone");
    let mut other = rig.connect();
    other.write(&Delivery::circleci("other").bytes());
    let mut second = rig.upstream.accept();
    assert_eq!(second.request().body, b"other");
    drop(gone);
    second.answer();
    assert_eq!(other.receive().status, 200);
    rig.peer().answer();
}

#[test]
fn a_sender_that_resets_its_connection_frees_what_its_delivery_holds() {
    let mut rig = Rig::with("timeout: 300s");
    let body = "x".repeat(100_000);
    for answered in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
        let sender = TcpStream::connect(rig.gateway.server).unwrap();
        (&sender).write_all(&Delivery::circleci(&body).bytes()).unwrap();
        let mut peer = rig.upstream.accept();
        assert_eq!(peer.request().body, body.as_bytes());
        if !answered.is_empty() {
            peer.write(answered);
            (&sender).read_exact(&mut [0; 12]).unwrap();
        }
        assert_eq!(rig.gateway.metrics().get("hooklatch_in_flight_requests", &[]), 1.0);
        SockRef::from(&sender).set_linger(Some(Duration::ZERO)).unwrap();
        drop(sender);
        for name in ["hooklatch_in_flight_requests", "hooklatch_buffered_bytes", "hooklatch_connections"] {
            poll(name, || rig.gateway.metrics().get(name, &[]) == 0.0);
        }
        peer.expect_end();
    }
    rig.forwards(&Delivery::circleci("{}"));
}

#[test]
fn deliveries_at_the_same_time_have_upstream_connections_of_their_own_which_are_then_reused() {
    let rig = Rig::start();
    let mut senders = [rig.connect(), rig.connect(), rig.connect()];
    let mut peers = Vec::new();
    for sender in &mut senders {
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = rig.upstream.accept();
        peer.request();
        peers.push(peer);
    }
    for (sender, peer) in senders.iter_mut().zip(&mut peers) {
        peer.answer();
        assert_eq!(sender.receive().status, 200);
    }
    // The one that was used last is used first.
    for sender in &mut senders {
        sender.write(&Delivery::circleci("{}").bytes());
        let peer = peers.last_mut().unwrap();
        peer.request();
        peer.answer();
        assert_eq!(sender.receive().status, 200);
    }
}

#[test]
fn a_connection_that_the_upstream_wants_closed_is_not_reused() {
    let mut rig = Rig::start();
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore than it said",
    ] {
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        rig.request();
        rig.peer().write(answer);
        assert_eq!(sender.receive().status, 200);
        rig.peer().expect_end();
        rig.peer = None;
    }
    assert_eq!(rig.gateway.metrics().get("hooklatch_upstream_resends_total", &[("route", "hook")]), 0.0);
}

#[test]
fn a_response_that_the_sender_did_not_wait_for_ends_its_upstream_connection() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(sender.receive_head().status, 200);
    drop(sender);
    // Half-closed senders are permitted, so only a failed write shows that this one has gone.
    rig.peer.take().unwrap().write_until_closed();
    rig.forwards(&Delivery::circleci("{}"));
}

#[test]
fn routes_with_one_upstream_share_its_connections() {
    let mut rig = Rig::of_routes("circleci", |upstream| {
        let other = route("circleci", &format!("upstream: \"http://{upstream}/other\""));
        let other = other.replace("name: hook", "name: other").replace("path: /hook", "path: /other");
        route("circleci", &format!("upstream: \"http://{upstream}/in\"")) + &other
    });
    assert_eq!(rig.forwards(&Delivery::circleci("{}")).line(), "POST /in HTTP/1.1");
    assert_eq!(rig.forwards(&Delivery::circleci("{}").target("/other")).line(), "POST /other HTTP/1.1");
}
