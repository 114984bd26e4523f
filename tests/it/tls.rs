//! TLS from senders, with certificates made here: HTTP/1.1 and HTTP/2 over it, client certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hooklatch::clock::Clock;
use http::{Request, Version};
use rustls::ClientConfig;
use serde_json::Value;

use crate::support::certificates::{Authority, Files, Identity};
use crate::support::gateway::{Gateway, SECRET};
use crate::support::http::{Connection, get, send};
use crate::support::http2::{Client, Pending};
use crate::support::process::{Stream as Output, poll};
use crate::support::rig::{Rig, is_problem};
use crate::support::sender::{Delivery, sha256};
use crate::support::served::{Served, route};
use crate::support::stream::Stream;
use crate::support::upstream::Seen;

/// Clients that others have written.
mod clients;

/// A gateway that speaks TLS.
struct Secure {
    files: Files,
    rig: Rig,
}

impl Secure {
    fn start() -> Self {
        Self::with("", "", "")
    }

    /// With further flow-style keys of `tls`, the server and the route.
    fn with(tls: &str, server: &str, route: &str) -> Self {
        let files = Files::new();
        let rig = Rig::with_server(&format!("{}, {server}", files.server(tls)), route);
        Self { files, rig }
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.files.authority.client(alpn)
    }

    fn connect(&self, client: Arc<ClientConfig>) -> Connection {
        Connection::open_tls(self.rig.gateway.server, client)
    }

    fn h2(&self) -> Client {
        Client::connect(self.rig.gateway.server, self.client(&["h2"]))
    }

    /// Sends a delivery over HTTP/1.1, which the upstream must see.
    #[track_caller]
    fn forwards(&mut self, sender: &mut Connection, delivery: &Delivery) -> Seen {
        sender.write(&delivery.bytes());
        let seen = self.rig.request();
        self.rig.peer().answer();
        let response = sender.receive();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"ok\n"[..]), "{response:?}");
        seen
    }

    /// The same over HTTP/2.
    #[track_caller]
    fn forwards_h2(&mut self, pending: Pending) -> Seen {
        let seen = self.rig.request();
        self.rig.peer().answer();
        let answer = pending.wait();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]), "{answer:?}");
        seen
    }

    /// Waits until so many handshakes have failed: a sender may hear of it before it is counted.
    #[track_caller]
    fn has_failed(&self, times: f64) {
        let labels = [("protocol", "tls")];
        poll("failed handshakes", || {
            self.rig.gateway.metrics().get("hooklatch_handshake_failures_total", &labels) == times
        });
    }
}

/// A signed delivery as an HTTP/2 request.
fn signed(body: &[u8]) -> http::request::Builder {
    Request::post("https://gateway.example/hook")
        .version(Version::HTTP_2)
        .header("circleci-signature", format!("v1={}", sha256(SECRET, body)))
}

// --- The handshake ---------------------------------------------------------------------------------------------------

#[test]
fn a_delivery_by_tls_arrives_as_https() {
    let mut secure = Secure::start();
    for alpn in [&["http/1.1"][..], &[], &["http/1.1", "http/1.0"]] {
        let mut sender = secure.connect(secure.client(alpn));
        for _ in 0..2 {
            let seen = secure.forwards(&mut sender, &Delivery::circleci("{}"));
            assert_eq!(seen.one("x-forwarded-proto"), "https");
            assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
        }
    }
}

#[test]
fn a_large_response_in_chunks_arrives_whole_by_tls() {
    let mut secure = Secure::start();
    let body: Vec<u8> = (0..30_000_000_u32).map(|at| (at % 251) as u8).collect();
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunks: Vec<_> = body.chunks(50_000).map(chunk).collect();
    let mut sender = secure.connect(secure.client(&["http/1.1"]));
    sender.write(&Delivery::circleci("{}").bytes());
    secure.rig.request();
    let mut peer = secure.rig.peer.take().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let writing = std::thread::spawn({
        let written = written.clone();
        move || {
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in chunks {
                peer.write(chunk);
                written.fetch_add(1, Ordering::Relaxed);
            }
            peer.write("0\r\n\r\n");
        }
    });
    // More than the buffers between hold: what TLS has taken then waits for the system.
    let (mut before, mut looks) = (0, 0);
    poll("nobody takes any more", || {
        let now = written.load(Ordering::Relaxed);
        looks = if now == std::mem::replace(&mut before, now) { looks + 1 } else { 0 };
        // Takes its time.
        assert_eq!(secure.rig.gateway.get("/livez").status, 200);
        now > 0 && looks == 20
    });
    assert!(before < 600, "the buffers between hold all of it");
    assert!(sender.receive().body == body);
    writing.join().unwrap();
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    let mut secure = Secure::start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = secure.files.authority.client_with(&["http/1.1"], None, &[version]);
        let mut sender = secure.connect(client);
        secure.forwards(&mut sender, &Delivery::circleci("{}"));
    }
}

#[test]
fn a_session_is_resumed_by_each_version_of_tls() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut secure = Secure::start();
        // It keeps what the gateway gives out.
        let client = secure.files.authority.client_with(&["http/1.1"], None, &[version]);
        for is_resumed in [false, true, true] {
            let mut sender = secure.connect(client.clone());
            secure.forwards(&mut sender, &Delivery::circleci("{}"));
            assert_eq!(sender.stream().is_resumed(), is_resumed, "{version:?}");
        }
    }
}

#[test]
fn http_2_is_preferred_where_a_sender_offers_both() {
    let secure = Secure::start();
    for (offered, agreed) in [
        (&["http/1.0"][..], Some(&b"http/1.0"[..])),
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut sender = secure.connect(secure.client(offered));
        sender.stream().handshake().unwrap();
        assert_eq!(sender.stream().alpn(), agreed);
    }
}

#[test]
fn what_is_not_tls_or_agrees_on_nothing_is_closed_and_counted() {
    let secure = Secure::start();
    let http_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (failed, bytes) in [(1.0, Delivery::circleci("{}").bytes()), (2.0, http_2.to_vec())] {
        let mut plain = secure.rig.connect();
        plain.write(&bytes);
        is_problem(&plain.receive(), 400, "bad_request");
        plain.expect_end();
        secure.has_failed(failed);
    }

    let mut gopher = secure.connect(secure.client(&["gopher"]));
    assert!(gopher.stream().handshake().is_err());
    secure.has_failed(3.0);

    let stranger = Authority::new();
    let mut stranger = secure.connect(stranger.client(&["http/1.1"]));
    assert!(stranger.stream().handshake().is_err(), "the certificate is not of its authority");
    secure.rig.upstream.expect_nothing();
}

#[test]
fn what_speaks_http_to_a_port_with_tls_has_a_line_in_the_log_and_a_flood_of_it_few() {
    const SENT: u64 = 200;
    let files = Files::new();
    let server = format!("listen: 127.0.0.1:0, threads: 1, {}", files.server(""));
    let mut served = Served::start_with(&server, &route("hook", "[{ file: s }]", ""), &[("s", SECRET)]);
    let clock = Clock::system();
    let begin = clock.now();
    for _ in 0..SENT {
        assert_eq!(send(served.gateway.server, &get("/hook")).status, 400);
    }
    let seconds = begin.elapsed().as_secs();
    assert!(served.gateway.process.terminate().success());
    let printed = served.gateway.process.printed(Output::Stderr);
    let lines = printed.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone());
    let lines: Vec<Value> = lines.filter(|fields| fields["message"] == "delivery").collect();
    for line in &lines {
        assert_eq!((&line["reason"], &line["route"]), (&"bad_request".into(), &"none".into()));
        assert!(line["hint"].as_str().unwrap().contains("speaks TLS and the other does not"), "{line}");
    }
    let told: u64 = lines.iter().map(|line| 1 + line["suppressed"].as_u64().unwrap_or(0)).sum();
    assert!((20..=20 * (seconds + 2)).contains(&(lines.len() as u64)), "{} lines in {seconds} s", lines.len());
    assert!(told <= SENT, "{told}");
}

#[test]
fn a_proxy_protocol_header_comes_before_the_handshake() {
    let mut secure = Secure::with("", "proxy_protocol: true", "");
    let mut tcp = Stream::connect(secure.rig.gateway.server);
    std::io::Write::write_all(&mut tcp, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n").unwrap();
    let mut sender = Connection::from(Stream::start_tls(tcp, secure.client(&["http/1.1"])));
    let seen = secure.forwards(&mut sender, &Delivery::circleci("{}"));
    assert_eq!((seen.one("x-forwarded-for"), seen.one("x-forwarded-proto")), ("192.0.2.1".into(), "https".into()));
}

#[test]
fn a_connection_that_never_comes_to_its_handshake_does_not_hold_up_the_end() {
    let secure = Secure::start();
    let silent = secure.rig.connect();
    secure.rig.wait_for_gauge("hooklatch_connections", 1.0);
    let Secure { rig: Rig { gateway, .. }, .. } = secure;
    assert_eq!(gateway.stop(), hooklatch::app::ShutdownResult::Drained);
    drop(silent);
}

// --- Client certificates ---------------------------------------------------------------------------------------------

#[test]
fn with_client_ca_only_clients_with_its_certificates_get_in() {
    let files = Files::new();
    let clients = Authority::new();
    let ca = files.write("clients.crt", &clients.pem());
    let server = files.server(&format!("client_ca: \"{ca}\""));
    let mut secure = Secure { rig: Rig::with_server(&server, ""), files };
    let authority = |secure: &Secure, identity: Option<&Identity>| {
        secure.files.authority.client_with(&["http/1.1"], identity, rustls::ALL_VERSIONS)
    };

    let good = clients.issue("client.example");
    let config = authority(&secure, Some(&good));
    for _ in 0..2 {
        let mut sender = secure.connect(config.clone());
        secure.forwards(&mut sender, &Delivery::circleci("{}"));
        assert!(!sender.stream().is_resumed(), "a certificate is shown each time");
    }

    let bad = [
        None,
        Some(Authority::new().issue("client.example")),
        Some(secure.files.authority.issue("client.example")),
        Some(clients.issue_expired("client.example")),
    ];
    for (count, identity) in bad.into_iter().enumerate() {
        let mut sender = secure.connect(authority(&secure, identity.as_ref()));
        // With TLS 1.3 a client hears of it after its own handshake is done.
        let _ = sender.try_write(&Delivery::circleci("{}").bytes());
        assert!(sender.try_receive().is_none());
        secure.has_failed(count as f64 + 1.0);
    }
    secure.rig.upstream.expect_nothing();
}

// --- HTTP/2 ----------------------------------------------------------------------------------------------------------

#[test]
fn a_delivery_by_http_2_reaches_the_upstream_by_http_1_1() {
    let mut secure = Secure::start();
    let client = secure.h2();
    let request = signed(b"{\"a\":1}")
        .uri("https://gateway.example/hook?x=%20&y")
        .header("cookie", "a=1")
        .header("cookie", "b=2; c=3")
        .header("te", "trailers")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .body(b"{\"a\":1}".to_vec());
    let seen = secure.forwards_h2(client.start(request.unwrap()));
    assert_eq!(seen.line(), "POST /in?x=%20&y HTTP/1.1");
    assert_eq!(seen.body, b"{\"a\":1}");
    assert_eq!(seen.one("host"), secure.rig.upstream.address.to_string());
    assert_eq!(seen.one("x-forwarded-host"), "gateway.example");
    assert_eq!(seen.one("x-forwarded-proto"), "https");
    assert_eq!(seen.one("cookie"), "a=1; b=2; c=3");
    assert_eq!(seen.all("x-twice"), ["1", "2"]);
    assert_eq!(seen.all("te"), [""; 0]);
    assert_eq!(seen.one("hooklatch-verified"), "true");
}

#[test]
fn a_host_is_the_authority_for_routing_and_for_an_upstream_that_gets_the_senders() {
    let mut secure = Secure::with("", "", "host: hooks.example");
    let client = secure.h2();
    let other = client.start(signed(b"").body(Vec::new()).unwrap()).wait();
    assert_eq!((other.status, other.json()["reason"].as_str()), (404, Some("no_route")));
    let right = signed(b"").uri("https://Hooks.example:8443/hook").body(Vec::new()).unwrap();
    assert_eq!(secure.forwards_h2(client.start(right)).one("x-forwarded-host"), "Hooks.example:8443");
    let two = signed(b"").header("host", "hooks.example").body(Vec::new()).unwrap();
    assert_eq!(client.start(two).wait().status, 400);
}

#[test]
fn refusals_by_http_2_are_those_of_http_1_1() {
    let secure = Secure::with("", "", "allowed_ips: [127.0.0.1], max_body: 10B");
    let client = secure.h2();
    let refused = |request: Request<Vec<u8>>, status: u16, reason: &str| {
        let answer = client.start(request).wait();
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (status, Some(reason)), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["x-request-id"], answer.json()["request_id"].as_str().unwrap());
        assert!(!answer.headers.contains_key("connection"));
    };
    let unsigned = || Request::post("https://gateway.example/hook");
    refused(unsigned().uri("https://gateway.example/nowhere").body(vec![]).unwrap(), 404, "no_route");
    refused(signed(b"").method("GET").body(vec![]).unwrap(), 405, "method_not_allowed");
    refused(unsigned().body(b"{}".to_vec()).unwrap(), 401, "missing_signature");
    refused(signed(b"[]").body(b"{}".to_vec()).unwrap(), 401, "signature_mismatch");
    refused(signed(b"").body(vec![b'x'; 11]).unwrap(), 413, "body_too_large");
    refused(signed(b"").body(vec![b'x'; 1 << 20]).unwrap(), 413, "body_too_large");
    secure.rig.upstream.expect_nothing();
}

#[test]
fn a_hundred_headers_by_http_2_are_let_in_and_no_more() {
    let mut secure = Secure::start();
    let client = secure.h2();
    let with = |count: usize| {
        // The signature and the length are there already.
        let request = (2..count).fold(signed(b"x"), |request, n| request.header("x-more", n));
        request.header("content-length", 1).body(b"x".to_vec()).unwrap()
    };
    secure.forwards_h2(client.start(with(100)));
    let answer = client.start(with(101)).wait();
    assert_eq!((answer.status, &answer.json()["reason"]), (431, &"header_too_large".into()));
    let labels = [("route", "none"), ("scheme", "none"), ("reason", "header_too_large")];
    assert_eq!(secure.rig.gateway.metrics().get("hooklatch_rejections_total", &labels), 1.0);
}

#[test]
fn a_body_of_a_mebibyte_arrives_by_http_2() {
    let mut secure = Secure::start();
    let client = secure.h2();
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    let seen = secure.forwards_h2(client.start(signed(&body).body(body.clone()).unwrap()));
    assert!(seen.body == body);
}

#[test]
fn requests_on_one_connection_are_answered_as_they_are_done() {
    let mut secure = Secure::start();
    let client = secure.h2();
    let first = client.start(signed(b"1").body(b"1".to_vec()).unwrap());
    let mut slow = secure.rig.upstream.accept();
    assert_eq!(slow.request().body, b"1");
    let second = client.start(signed(b"2").body(b"2".to_vec()).unwrap());
    secure.rig.peer = None;
    secure.forwards_h2(second);
    slow.answer();
    assert_eq!(first.wait().status, 200);
}

#[test]
fn a_sender_by_http_2_that_goes_away_frees_what_its_delivery_holds() {
    let mut secure = Secure::with("", "", "timeout: 300s");
    let client = secure.h2();
    let _unanswered = client.start(signed(b"{}").body(b"{}".to_vec()).unwrap());
    assert_eq!(secure.rig.request().body, b"{}");
    drop(client);
    for name in ["hooklatch_in_flight_requests", "hooklatch_buffered_bytes", "hooklatch_connections"] {
        poll(name, || secure.rig.gateway.metrics().get(name, &[]) == 0.0);
    }
    secure.rig.peer().expect_end();
}

#[test]
fn a_drain_lets_http_2_finish_what_it_has_begun() {
    let mut secure = Secure::start();
    let client = secure.h2();
    let pending = client.start(signed(b"{}").body(b"{}".to_vec()).unwrap());
    secure.rig.request();
    secure.rig.gateway.begin_to_stop();
    secure.rig.peer().answer();
    assert_eq!(pending.wait().status, 200);
    let Secure { rig: Rig { gateway, .. }, .. } = secure;
    assert_eq!(gateway.stop(), hooklatch::app::ShutdownResult::Drained);
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let secure = Secure::start();
    let client = secure.h2();
    let mut silent = secure.connect(secure.client(&["h2"]));
    silent.stream().handshake().unwrap();
    let Secure { rig: Rig { gateway, .. }, .. } = secure;
    assert_eq!(gateway.stop(), hooklatch::app::ShutdownResult::Drained);
    assert!(client.is_closed());
    silent.receive_rest();
}

#[test]
fn http_2_in_the_clear_is_not_offered() {
    let rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let rest = sender.receive_rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&rest));

    let mut sender = rig.connect();
    let upgrade = Delivery::unsigned("").header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c");
    sender.write(&upgrade.bytes());
    is_problem(&sender.receive(), 401, "missing_signature");
}

#[test]
fn a_gateway_with_tls_tells_which_certificate_it_has_and_nothing_of_its_key() {
    let files = Files::new();
    let gateway = Gateway::start_with(
        &files.server(""),
        "  - { name: r, path: /r, scheme: civo, secrets: [{ env: SECRET }], upstream: \"http://127.0.0.1:9\" }\n",
        &[],
    );
    let key = std::fs::read_to_string(files.path("tls.key")).unwrap();
    let config = String::from_utf8(gateway.get("/config").body).unwrap();
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!config.contains(line) && !gateway.debug.contains(line));
    }
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["server"]["tls"]["certificate"].as_str().map(str::len), Some(64), "a fingerprint");
}
