//! What the sender gets when the upstream does not answer.

use std::net::TcpStream;
use std::time::Duration;

use hooklatch::clock::Clock;

use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;
use crate::support::upstream::{Nobody, Upstream};

/// Sends a delivery, to which the route must answer with this failure.
#[track_caller]
fn fails(rig: &Rig, status: u16, result: &str) {
    let before = rig.gateway.metrics();
    let response = rig.send(&Delivery::circleci("{}").bytes());
    rig.failed(&before, &response, status, result);
}

#[test]
fn an_upstream_that_refuses_connections_is_unreachable() {
    let nobody = Nobody::bind();
    let upstream = format!("upstream: \"http://{}\"", nobody.address);
    let rig = Rig::of_routes("circleci", |_| route("circleci", &upstream));
    fails(&rig, 502, "unreachable");
}

#[test]
fn an_upstream_whose_name_does_not_resolve_is_unreachable() {
    let rig = Rig::of_routes("circleci", |_| route("circleci", "upstream: \"http://nothing.invalid\""));
    fails(&rig, 502, "unreachable");
}

#[test]
fn an_upstream_that_does_not_take_connections_is_unreachable_once_the_connect_timeout_is_over() {
    let full = Upstream::bind_with(0);
    let _first = TcpStream::connect(full.address).unwrap();
    let upstream = format!("upstream: {{ url: \"http://{}\", connect_timeout: 200ms }}", full.address);
    let rig = Rig::of_routes("circleci", |_| route("circleci", &upstream));
    fails(&rig, 502, "unreachable");
    drop(full.accept());
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_unreachable_over_https() {
    let rig = Rig::of_routes("circleci", |upstream| route("circleci", &format!("upstream: \"https://{upstream}\"")));
    let before = rig.gateway.metrics();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = rig.upstream.accept();
    peer.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    rig.failed(&before, &sender.receive(), 502, "unreachable");
    peer.slam();
}

#[test]
fn an_upstream_that_breaks_off_before_or_inside_the_head_has_failed() {
    for part in
        ["", "H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", "HTTP/1.1 100 Continue\r\n\r\n"]
    {
        let rig = Rig::start();
        let before = rig.gateway.metrics();
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.write(part);
        drop(peer);
        rig.failed(&before, &sender.receive(), 502, "failed");
    }
}

#[test]
fn an_upstream_that_does_not_speak_http_has_failed() {
    let many: String = (0..101).map(|at| format!("x-{at}: y\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let long = format!("HTTP/1.1 200 OK\r\nlong: {}\r\n\r\n", "x".repeat(70_000));
    for garbage in [
        "220 mail.example ESMTP\r\n\r\n",
        "ok\n",
        "\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nName : value\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        &many,
        &long,
    ] {
        let rig = Rig::start();
        let before = rig.gateway.metrics();
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.write(garbage);
        rig.failed(&before, &sender.receive(), 502, "failed");
        peer.expect_end();
    }
}

#[test]
fn an_upstream_that_never_answers_is_given_up_and_its_connection_closed() {
    for part in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        let rig = Rig::with("timeout: 200ms");
        let before = rig.gateway.metrics();
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.write(part);
        rig.failed(&before, &sender.receive(), 504, "timeout");
        // A late response must not be taken for the response to another delivery.
        peer.expect_end();
    }
}

#[test]
fn the_time_is_up_also_while_connecting() {
    let full = Upstream::bind_with(0);
    let _first = TcpStream::connect(full.address).unwrap();
    let keys = format!("timeout: 200ms, upstream: {{ url: \"http://{}\", connect_timeout: 60s }}", full.address);
    let rig = Rig::of_routes("circleci", |_| route("circleci", &keys));
    fails(&rig, 504, "timeout");
    drop(full.accept());
}

#[test]
fn a_response_that_takes_longer_than_the_timeout_after_its_head_is_not_cut_off() {
    let mut rig = Rig::with("timeout: 300ms");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(sender.receive_head().status, 200);
    assert_eq!(sender.receive_chunk(), b"first");
    // Another delivery's timeout is the clock here: it begins now and takes as long as the first's.
    let mut other = rig.connect();
    other.write(&Delivery::circleci("{}").bytes());
    let mut silent = rig.upstream.accept();
    silent.request();
    assert_eq!(other.receive().status, 504);
    rig.peer().write("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(sender.receive_chunk(), b"second");
    assert_eq!(sender.receive_chunk(), b"");
}

#[test]
fn an_upstream_that_has_answered_and_does_not_read_the_body_is_given_up_soon() {
    let rig = Rig::with("max_body: 32MiB");
    let mut sender = rig.connect();
    // More than the system takes of it by itself.
    let body = "x".repeat(16 << 20);
    sender.write(&Delivery::circleci(&body).bytes());
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    // The rest is being written, as long as the upstream reads.
    peer.body_part(1 << 20);
    assert_eq!(rig.gateway.metrics().get("hooklatch_buffered_bytes", &[]), body.len() as f64);
    let stopped = Clock::system().now();
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    // The connection with a part of a request on it is not used again.
    sender.write(&Delivery::circleci("{}").bytes());
    let mut next = rig.upstream.accept();
    assert_eq!(next.request().body, b"{}");
    next.answer();
    assert_eq!(sender.receive().status, 200);
    peer.slam();
}

#[test]
fn no_refusal_tells_where_the_upstream_is() {
    let nobody = Nobody::bind();
    let upstream = format!("upstream: \"http://{}/secret-path\"", nobody.address);
    let rig = Rig::of_routes("circleci", |_| route("circleci", &upstream));
    let response = rig.send(&Delivery::circleci("{}").bytes());
    let whole = format!("{response:?} {}", response.json());
    assert!(!whole.contains(&nobody.address.port().to_string()) && !whole.contains("secret-path"), "{whole}");
}
