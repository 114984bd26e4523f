//! Several upstreams of one route, sockets of the file system, and URLs with a query.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use crate::support::gateway::{Gateway, Metrics};
use crate::support::http::{ANSWER, Connection};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::{Rig, is_problem, route};
use crate::support::sender::Delivery;
use crate::support::upstream::{Nobody, Upstream};

/// A gateway whose route has these upstreams, in this order.
fn gateway(upstreams: &[SocketAddr], keys: &str) -> Gateway {
    let urls: Vec<String> = upstreams.iter().map(|upstream| format!("\"http://{upstream}/in\"")).collect();
    let upstream = format!("upstream: {{ urls: [{}], {keys} }}, timeout: 10s", urls.join(", "));
    Gateway::start(&route("circleci", &upstream))
}

fn deliver(gateway: &Gateway) -> u16 {
    crate::support::http::send(gateway.server, &Delivery::circleci("{}").bytes()).status
}

/// Whether the gateway says that each upstream can be reached.
fn reachable(metrics: &Metrics, upstream: SocketAddr) -> f64 {
    let url = format!("http://{upstream}/in");
    metrics.get("hooklatch_upstream_reachable", &[("route", "hook"), ("upstream", &url)])
}

fn responses(metrics: &Metrics, result: &str) -> f64 {
    metrics.get("hooklatch_upstream_responses_total", &[("route", "hook"), ("result", result)])
}

#[test]
fn they_get_deliveries_in_turn_each_with_its_own_host() {
    let all = [Upstream::bind(), Upstream::bind(), Upstream::bind()];
    let gateway = gateway(&all.each_ref().map(|upstream| upstream.address), "");
    let mut sender = Connection::open(gateway.server);
    let mut peers = Vec::new();
    for round in 0..2 {
        for (index, upstream) in all.iter().enumerate() {
            sender.write(&Delivery::circleci("{}").bytes());
            if round == 0 {
                peers.push(upstream.accept());
            }
            let seen = peers[index].request();
            assert_eq!((seen.line(), seen.one("host")), ("POST /in HTTP/1.1".into(), upstream.address.to_string()));
            peers[index].answer();
            assert_eq!(sender.receive().status, 200);
        }
    }
}

#[test]
fn one_that_cannot_be_reached_rests_until_it_is_tried_again() {
    let (down, up) = (Nobody::bind(), Upstream::bind());
    let (absent, address) = (down.address, up.address);
    let gateway = gateway(&[absent, address], "");
    up.answer_always();
    let before = gateway.metrics();
    assert_eq!((reachable(&before, absent), reachable(&before, address)), (1.0, 1.0), "nothing is known");
    for _ in 0..4 {
        assert_eq!(deliver(&gateway), 200);
    }
    let metrics = gateway.metrics();
    assert_eq!((reachable(&metrics, absent), reachable(&metrics, address)), (0.0, 1.0));
    assert_eq!((responses(&metrics, "2xx"), responses(&metrics, "unreachable")), (4.0, 0.0));
    let shown = gateway.get("/api/v1/routes/hook").json();
    assert_eq!(shown["upstreams"][0]["url"], format!("http://{absent}/in"));
    assert_eq!(
        (&shown["upstreams"][0]["reachable"], &shown["upstreams"][1]["reachable"]),
        (&false.into(), &true.into())
    );
    let page = String::from_utf8(gateway.get("/ui/routes/hook").body).unwrap();
    assert!(page.contains(&format!("http://{absent}/in (cannot be reached), http://{address}/in<")), "{page}");

    let back = down.listen();
    back.answer_always();
    poll("its rest is over", || {
        assert_eq!(deliver(&gateway), 200);
        reachable(&gateway.metrics(), absent) == 1.0
    });
}

#[test]
fn a_delivery_that_reaches_none_is_unreachable_and_counts_once() {
    let (one, two) = (Nobody::bind(), Nobody::bind());
    let gateway = gateway(&[one.address, two.address], "");
    for count in [1.0, 2.0] {
        let response = crate::support::http::send(gateway.server, &Delivery::circleci("{}").bytes());
        is_problem(&response, 502, "upstream_unreachable");
        assert_eq!(responses(&gateway.metrics(), "unreachable"), count, "also while both rest");
    }
}

#[test]
fn a_delivery_that_one_has_got_goes_to_no_other() {
    let (one, two) = (Upstream::bind(), Upstream::bind());
    let gateway = gateway(&[one.address, two.address], "");
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = one.accept();
    peer.request();
    drop(peer);
    assert_eq!(sender.receive().json()["reason"], "upstream_failed");
    two.expect_nothing();
    let metrics = gateway.metrics();
    assert_eq!((reachable(&metrics, one.address), responses(&metrics, "failed")), (1.0, 1.0));
}

/// What comes of a delivery whose reused connection breaks off, when its upstream takes no other connection any more.
fn second_sending(keys: &str) -> (u16, f64) {
    let leaving = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Upstream::bind();
    let gateway = gateway(&[leaving.local_addr().unwrap(), other.address], keys);
    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("1").bytes());
    let mut peer = crate::support::upstream::Peer::from(leaving.accept().unwrap().0);
    drop(leaving);
    peer.request();
    peer.answer();
    assert_eq!(sender.receive().status, 200);
    other.answer_always();
    sender.write(&Delivery::circleci("2").bytes());
    assert_eq!(sender.receive().status, 200, "the other one's turn");
    sender.write(&Delivery::circleci("3").bytes());
    peer.request();
    drop(peer);
    let status = sender.receive().status;
    (status, gateway.metrics().get("hooklatch_upstream_resends_total", &[("route", "hook")]))
}

#[test]
fn a_delivery_that_may_be_sent_twice_may_go_to_another_the_second_time() {
    assert_eq!(second_sending(""), (200, 1.0));
    assert_eq!(second_sending("resend: false"), (502, 0.0));
}

#[test]
fn a_queue_has_one_circuit_for_all_of_them() {
    let (down, up) = (Nobody::bind(), Upstream::bind());
    let urls = format!("urls: [\"http://{}/in\", \"http://{}/in\"]", down.address, up.address);
    let queued =
        Queued::start(&format!("upstream: {{ {urls} }}, circuit: {{ failures: 1 }}, retry: {{ min_backoff: 1h }}"));
    up.answer_always();
    for number in 0..3 {
        queued.accepts(&Delivery::circleci(format!("{{\"id\":{number}}}")));
    }
    queued.wait_for_delivered(3.0);
    assert_eq!(queued.metric("hooklatch_queue_circuit_open", &[]), 0.0);
    queued.upstream.expect_nothing();
}

#[test]
fn the_query_of_the_url_comes_first_and_nobody_is_shown_it() {
    let keys = |upstream| format!("upstream: \"http://{upstream}/api/hook?code=hunter2\"");
    let mut rig = Rig::of_routes("circleci", |upstream| route("circleci", &keys(upstream)));
    assert_eq!(rig.forwards(&Delivery::circleci("{}")).line(), "POST /api/hook?code=hunter2 HTTP/1.1");
    let seen = rig.forwards(&Delivery::circleci("{}").target("/hook?a=%20&b"));
    assert_eq!(seen.line(), "POST /api/hook?code=hunter2&a=%20&b HTTP/1.1");
    for path in ["/metrics", "/config", "/api/v1/routes", "/ui/routes", "/ui/routes/hook"] {
        let body = String::from_utf8(rig.gateway.get(path).body).unwrap();
        assert!(!body.contains("hunter2"), "{path}: {body}");
    }
    assert!(!rig.gateway.debug.contains("hunter2"));
}

#[test]
fn a_socket_of_the_file_system_is_an_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let keys = format!("upstream: \"unix:{}:/in?key=k\"", path.display());
    let gateway = Gateway::start(&route("circleci", &keys));
    let send = |target: &str, body: &str| {
        crate::support::http::send(gateway.server, &Delivery::circleci(body).target(target).bytes())
    };
    is_problem(&send("/hook", "{}"), 502, "upstream_unreachable");

    let listener = UnixListener::bind(&path).unwrap();
    let (told, heard) = mpsc::channel();
    let handler = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for body in ["first".repeat(4000), "second".to_owned()] {
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while !request.ends_with(body.as_bytes()) {
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0, "{}", String::from_utf8_lossy(&request));
                request.extend_from_slice(&piece[..read]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").unwrap();
            told.send(String::from_utf8(request).unwrap()).unwrap();
        }
    });
    for (target, body, line) in [
        ("/hook", "first".repeat(4000), "POST /in?key=k HTTP/1.1\r\nHost: localhost\r\n"),
        ("/hook?a", "second".to_owned(), "POST /in?key=k&a HTTP/1.1\r\nHost: localhost\r\n"),
    ] {
        assert_eq!(send(target, &body).status, 200);
        let request = heard.recv_timeout(ANSWER).unwrap();
        assert!(request.starts_with(line), "{request}");
    }
    handler.join().unwrap();
    assert_eq!(responses(&gateway.metrics(), "2xx"), 2.0, "both on one connection");
}
