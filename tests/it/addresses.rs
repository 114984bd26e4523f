//! Who the client is: trusted proxies, allowed addresses, the PROXY protocol. And who it is not.

use crate::support::http::Connection;
use crate::support::process::poll;
use crate::support::rig::{Rig, is_problem};
use crate::support::sender::Delivery;

/// The tests' own address is a trusted proxy; 192.0.2.0/24 and one IPv6 network are let in.
const TRUSTED: &str = "trusted_proxies: [127.0.0.1, 10.0.0.0/8]";
const ALLOWED: &str = "allowed_ips: [192.0.2.0/24, \"2001:db8::/32\"]";

fn delivery(lines: &[&str]) -> Delivery {
    lines.iter().fold(Delivery::circleci("{}"), Delivery::line)
}

#[test]
fn only_clients_that_are_allowed_are_let_in() {
    let mut rig = Rig::with_server(TRUSTED, ALLOWED);
    for lines in [
        &["X-Forwarded-For: 192.0.2.1"][..],
        &["X-Forwarded-For: 203.0.113.9, 192.0.2.1"],
        &["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1 , 10.0.0.2"],
        &["X-Forwarded-For: ::ffff:192.0.2.1"],
        &["X-Forwarded-For: 192.0.2.1:4711"],
        &["X-Forwarded-For: [2001:db8::1]:443"],
        &["Forwarded: for=203.0.113.9, for=192.0.2.1"],
        &["Forwarded: for=\"[2001:db8::1]:443\";proto=https"],
    ] {
        rig.forwards(&delivery(lines));
    }
    for lines in [
        &[][..],
        &["X-Forwarded-For: 203.0.113.9"],
        &["X-Forwarded-For: 192.0.2.1, 203.0.113.9"],
        &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.9"],
        &["X-Forwarded-For: 203.0.113.9", "Forwarded: for=192.0.2.1"],
        &["X-Forwarded-For: 192.0.2.1, unknown"],
        &["X-Forwarded-For: 192.0.2.1, 192.0.2.1.example"],
        &["X-Forwarded-For: "],
        &["Forwarded: for=192.0.2.1, for=unknown"],
        &["Forwarded: for=192.0.2.1, for=_hidden"],
        &["Forwarded: for=192.0.2.1;x=\", for=203.0.113.9"],
        &["X-Real-IP: 192.0.2.1"],
    ] {
        rig.refuses(&delivery(lines).bytes(), 403, "ip_not_allowed");
    }
}

#[test]
fn a_sender_that_is_no_trusted_proxy_is_itself_whatever_it_says() {
    let rig = Rig::with_server("trusted_proxies: [10.0.0.0/8]", ALLOWED);
    for line in ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 10.0.0.1"] {
        rig.refuses(&delivery(&[line]).bytes(), 403, "ip_not_allowed");
    }
    let mut rig = Rig::with_server("", "allowed_ips: [127.0.0.0/8]");
    rig.forwards(&delivery(&["X-Forwarded-For: 203.0.113.9"]));
}

#[test]
fn an_address_is_refused_before_the_signature_is_looked_at_and_the_body_is_read() {
    let rig = Rig::with("allowed_ips: [192.0.2.0/24]");
    rig.refuses(&Delivery::unsigned("{}").bytes(), 403, "ip_not_allowed");
    let response = rig.send(&Delivery::circleci("{}").head());
    is_problem(&response, 403, "ip_not_allowed");
}

#[test]
fn what_a_trusted_proxy_says_reaches_the_upstream_with_its_own_address() {
    let mut rig = Rig::with_server(TRUSTED, "");
    let seen = rig.forwards(&delivery(&[
        "X-Forwarded-For: spoofed, 192.0.2.1",
        "X-Forwarded-For: 10.0.0.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: hooks.example",
        "Forwarded: for=203.0.113.9",
        "X_Forwarded_For: 203.0.113.9",
    ]));
    assert_eq!(seen.one("x-forwarded-for"), "spoofed, 192.0.2.1, 10.0.0.2, 127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "https");
    assert_eq!(seen.one("x-forwarded-host"), "hooks.example");
    assert_eq!(seen.all("forwarded"), [""; 0], "it did not name the client, so nobody vouches for it");
    assert_eq!(seen.all("x_forwarded_for"), [""; 0]);
}

#[test]
fn what_forwarded_says_is_told_in_both_ways() {
    let mut rig = Rig::with_server(TRUSTED, "");
    let line = "Forwarded: for=192.0.2.1;proto=https;host=hooks.example, for=10.0.0.2";
    let seen = rig.forwards(&delivery(&[line]));
    assert_eq!(seen.one("forwarded"), line.strip_prefix("Forwarded: ").unwrap());
    assert_eq!(seen.one("x-forwarded-for"), "192.0.2.1, 127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "https");
    assert_eq!(seen.one("x-forwarded-host"), "hooks.example");
}

#[test]
fn what_anybody_else_says_about_a_clients_way_does_not_reach_the_upstream() {
    let mut rig = Rig::with_server("trusted_proxies: [10.0.0.0/8]", "");
    let seen = rig.forwards(&delivery(&[
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: spoofed.example",
        "Forwarded: for=10.0.0.1",
        "Forwarded: for=10.0.0.2",
        "Connection: X-Forwarded-For",
    ]));
    assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "http");
    assert_eq!(seen.one("x-forwarded-host"), "gateway.example");
    assert_eq!(seen.all("forwarded"), [""; 0]);
}

#[test]
fn a_route_with_a_host_heeds_what_the_request_asks_for_alone() {
    let mut rig = Rig::with_server(TRUSTED, "host: hooks.example");
    let spoofed = delivery(&["X-Forwarded-Host: hooks.example"]);
    rig.refuses_without_route(&spoofed.bytes(), 404, "no_route");
    rig.forwards(&spoofed.host("hooks.example"));
}

// --- The PROXY protocol ----------------------------------------------------------------------------------------------

/// Version 2: PROXY, TCP over IPv4, from 192.0.2.1:4711, with an extension.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x67\x00\x50\x04\x00\x02xx";

fn with_header(header: &[u8], delivery: &Delivery) -> Vec<u8> {
    [header, &delivery.bytes()].concat()
}

#[test]
fn the_address_of_a_proxy_protocol_header_is_the_clients() {
    let mut rig = Rig::with_server("proxy_protocol: true", ALLOWED);
    for header in [b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".as_slice(), BINARY] {
        let seen = rig.forwards_bytes(&with_header(header, &delivery(&["X-Forwarded-For: 203.0.113.9"])));
        assert_eq!(seen.one("x-forwarded-for"), "192.0.2.1");
    }
    let seen = rig.forwards_bytes(&with_header(b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", &delivery(&[])));
    assert_eq!(seen.one("x-forwarded-for"), "2001:db8::1");
    let foreign = with_header(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n", &delivery(&[]));
    rig.refuses(&foreign, 403, "ip_not_allowed");
}

#[test]
fn a_header_without_an_address_leaves_the_connection_its_own() {
    let mut rig = Rig::with_server("proxy_protocol: true", "");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), local] {
        let seen = rig.forwards_bytes(&with_header(header, &delivery(&[])));
        assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
    }
}

#[test]
fn a_header_may_come_in_pieces_and_its_connection_carries_several_deliveries() {
    let mut rig = Rig::with_server("proxy_protocol: true", "");
    let mut sender = rig.connect();
    let (first, rest) = BINARY.split_at(14);
    sender.write(first);
    sender.write(rest);
    for _ in 0..2 {
        sender.write(&delivery(&[]).bytes());
        assert_eq!(rig.request().one("x-forwarded-for"), "192.0.2.1");
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
    }
}

#[test]
fn a_connection_without_the_header_that_it_must_have_is_closed_and_counted() {
    let rig = Rig::with_server("proxy_protocol: true", "");
    let bad: [&[u8]; 4] = [
        &delivery(&[]).bytes(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    for (count, bytes) in bad.into_iter().enumerate() {
        let mut sender = rig.connect();
        sender.write(bytes);
        sender.expect_end();
        let labels = [("protocol", "proxy")];
        let failures = || rig.gateway.metrics().get("hooklatch_handshake_failures_total", &labels);
        // A sender may hear of it before it is counted.
        poll("failed headers", || failures() == count as f64 + 1.0);
    }
    rig.upstream.expect_nothing();
}

#[test]
fn only_trusted_proxies_may_and_must_send_the_header_if_there_are_any() {
    let mut rig = Rig::with_server("proxy_protocol: true, trusted_proxies: [10.0.0.0/8]", "");
    assert_eq!(rig.forwards(&delivery(&[])).one("x-forwarded-for"), "127.0.0.1");
    let mut sender: Connection = rig.connect();
    sender.write(&with_header(BINARY, &delivery(&[])));
    assert_eq!(sender.receive_head().status, 400, "to whom nobody listens it is no HTTP");
    rig.upstream.expect_nothing();

    let mut rig = Rig::with_server("proxy_protocol: true, trusted_proxies: [127.0.0.1, 192.0.2.1]", "");
    let seen = rig.forwards_bytes(&with_header(BINARY, &delivery(&["X-Forwarded-For: 203.0.113.9"])));
    assert_eq!(seen.one("x-forwarded-for"), "203.0.113.9, 192.0.2.1", "the header's address may be a proxy's, too");
    let mut sender = rig.connect();
    sender.write(&delivery(&[]).bytes());
    sender.expect_end();
}
