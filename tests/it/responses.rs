//! The upstream's response, as the sender gets it.

use crate::support::http::{Connection, Response};
use crate::support::rig::Rig;
use crate::support::sender::Delivery;

/// Sends a delivery that the upstream answers with these bytes, and reads the answer's head.
fn begin(rig: &mut Rig, answer: &[u8]) -> Connection {
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().write(answer);
    sender
}

/// The whole answer to a delivery that the upstream answers with these bytes.
fn answered(rig: &mut Rig, answer: &[u8]) -> Response {
    begin(rig, answer).receive()
}

#[test]
fn the_status_goes_back_as_it_is() {
    let mut rig = Rig::start();
    for status in [200, 201, 202, 299, 301, 303, 400, 401, 404, 405, 410, 422, 429, 499, 500, 502, 503, 504, 599] {
        let answer = format!("HTTP/1.1 {status} As It Is\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbody");
        let response = answered(&mut rig, answer.as_bytes());
        assert_eq!((response.status, response.body.as_slice()), (status, &b"body"[..]));
        assert_eq!(response.header("retry-after"), Some("7"));
    }
    let metrics = rig.gateway.metrics();
    for (result, count) in [("2xx", 4.0), ("3xx", 2.0), ("4xx", 8.0), ("5xx", 5.0), ("failed", 0.0)] {
        let labels = [("route", "hook"), ("result", result)];
        assert_eq!(metrics.get("hooklatch_upstream_responses_total", &labels), count, "{result}");
    }
    let forwarded = [("route", "hook"), ("scheme", "circleci"), ("outcome", "forwarded")];
    assert_eq!(metrics.get("hooklatch_requests_total", &forwarded), 19.0);
}

#[test]
fn an_answer_without_a_body_has_none() {
    let mut rig = Rig::start();
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ] {
        let mut sender = begin(&mut rig, answer.as_bytes());
        let response = sender.receive();
        assert_eq!((response.status, response.body.len()), (status, 0), "{answer}");
        // The connection is at the next answer, not inside of this one.
        sender.write(&Delivery::circleci("{}").bytes());
        rig.request();
        rig.peer().answer();
        assert_eq!(sender.receive().body, b"ok\n");
    }
}

#[test]
fn headers_go_back_in_order_with_duplicates_and_odd_bytes() {
    let mut rig = Rig::start();
    let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-One: x\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\n\
        X-High: \x80\xff\tz\r\nServer: handler\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
    let response = answered(&mut rig, answer);
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2", "a=1"]);
    assert_eq!(response.all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(response.all("server"), ["handler"]);
    assert_eq!(response.all("content-length"), ["0"]);
    assert!(response.head.windows(4).any(|bytes| bytes == b"\x80\xff\tz"), "{response:?}");
}

#[test]
fn what_is_meant_for_the_upstreams_connection_only_is_removed() {
    let mut rig = Rig::start();
    let answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-First\r\nConnection: x-second\r\nX-First: 1\r\n\
        X-Second: 2\r\nX-Third: stays\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
        Trailer: X-Trailer\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: x\r\n\r\n";
    let response = answered(&mut rig, answer);
    for name in ["connection", "x-first", "x-second", "keep-alive", "proxy-connection", "upgrade", "trailer"] {
        assert_eq!(response.all(name), [""; 0], "{name}");
    }
    assert_eq!(response.header("x-third"), Some("stays"));
    assert_eq!(response.body, b"ok");
}

#[test]
fn interim_answers_are_passed_over() {
    let mut rig = Rig::start();
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut sender = begin(&mut rig, answer);
    let response = sender.receive_head();
    assert_eq!(response.status, 200, "the first head that the sender sees");
    assert_eq!(response.all("link"), [""; 0]);
}

#[test]
fn a_body_is_streamed_as_it_comes() {
    let mut rig = Rig::start();
    let mut sender = begin(&mut rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(sender.receive_head().status, 200);
    for part in ["first", "second", "third"] {
        rig.peer().write(format!("{:x}\r\n{part}\r\n", part.len()));
        assert_eq!(sender.receive_chunk(), part.as_bytes(), "before the next part is sent");
    }
    rig.peer().write("0\r\n\r\n");
    assert_eq!(sender.receive_chunk(), b"");
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    let mut rig = Rig::start();
    let mut sender = begin(&mut rig, b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
    rig.peer = None;
    let response = sender.receive();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"until the end"[..]));
}

#[test]
fn a_large_body_arrives_whole() {
    let mut rig = Rig::start();
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    // More than the buffers between hold: the sender must read while the upstream writes.
    let mut peer = rig.peer.take().unwrap();
    let writing = std::thread::spawn(move || peer.write(answer));
    assert!(sender.receive().body == body);
    writing.join().unwrap();
}

#[test]
fn half_a_body_breaks_the_senders_connection_off() {
    let mut rig = Rig::start();
    let mut sender = begin(&mut rig, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    rig.peer = None;
    let response = sender.receive_head();
    assert_eq!((response.status, response.header("content-length")), (200, Some("100")));
    assert_eq!(sender.receive_rest(), b"half");

    let mut sender = begin(&mut rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    rig.peer = None;
    assert_eq!(sender.receive_head().status, 200);
    assert_eq!(sender.receive_rest(), b"4\r\nhalf\r\n", "no last chunk, which would make it whole");
}

#[test]
fn an_http_1_0_sender_gets_an_answer_that_it_can_read() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").version("HTTP/1.0").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let response = sender.receive_head();
    assert_eq!(response.all("transfer-encoding"), [""; 0]);
    assert_eq!(sender.receive_rest(), b"ok");
}

#[test]
fn half_an_answer_that_ends_with_the_connection_resets_it() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").version("HTTP/1.0").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    let response = sender.receive_head();
    assert_eq!((response.status, response.header("content-length")), (200, None));
    rig.peer = None;
    sender.expect_reset();
}

#[test]
fn the_version_of_the_upstreams_answer_is_not_that_of_the_senders() {
    let mut rig = Rig::start();
    let response = answered(&mut rig, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(response.head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{response:?}");
    assert_eq!(response.all("connection"), [""; 0], "the sender's connection goes on");
}

#[test]
fn of_two_lengths_of_an_answer_the_chunks_count() {
    let mut rig = Rig::start();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let response = answered(&mut rig, answer);
    assert_eq!(response.body, b"ok");
    assert_eq!(response.all("content-length"), [""; 0]);
}

#[test]
fn an_answer_that_comes_before_the_upstream_has_read_the_delivery_goes_back() {
    let rig = Rig::with("max_body: 16MiB");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci(vec![b'x'; 16 << 20]).bytes());
    // More than the buffers between hold: the gateway is still writing when the connection is reset.
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n");
    peer.slam();
    let response = sender.receive();
    assert_eq!((response.status, response.body.as_slice()), (413, &b"no\n"[..]));
}

#[test]
fn a_delivery_that_is_acknowledged_before_it_is_read_arrives_whole() {
    let mut rig = Rig::with("max_body: 16MiB");
    let body = vec![b'x'; 16 << 20];
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci(body.clone()).bytes());
    let mut peer = rig.upstream.accept();
    let head = peer.head();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
    assert_eq!(sender.receive().body, b"ok\n");
    assert!(peer.body(head).body == body);
    // Then the connection takes the next one.
    sender.write(&Delivery::circleci("{}").bytes());
    rig.peer = Some(peer);
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().body, b"ok\n");
}

#[test]
fn every_answer_has_a_date() {
    let mut rig = Rig::start();
    let response = answered(&mut rig, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(response.all("date").len(), 1);
    let response = rig.send(&Delivery::unsigned("").bytes());
    assert_eq!(response.all("date").len(), 1);
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let mut rig = Rig::with("methods: [HEAD]");
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("").method("HEAD").header("Connection", "close").bytes());
    rig.request();
    rig.peer().write("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n");
    let response = sender.receive_head();
    assert_eq!((response.status, response.header("content-length")), (200, Some("17")));
    sender.expect_end();
}
