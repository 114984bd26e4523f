//! Request smuggling and parser differentials: raw bytes, and what must become of them.
//!
//! Every refused request is followed by a signed delivery in the same write: if its end could be read in two ways, the
//! upstream would see the second one. Names say which vulnerability of another server a test is about; src/http1/README.md
//! lists them.

use crate::support::gateway::SECRET;
use crate::support::rig::Rig;
use crate::support::sender::sha256;

mod peers;
mod vectors;

/// A prefix route, so that the path goes along as it is.
fn rig() -> Rig {
    Rig::of_routes("circleci", |upstream| {
        format!(
            "  - {{ name: hook, path: /hook/*, scheme: circleci, secrets: [{{ env: SECRET }}], upstream: \"http://{upstream}\" }}\n"
        )
    })
}

/// The text as bytes, with `SIG` replaced by the signature header of `body` and `<ff>` by that byte.
fn raw(text: &str, body: &str) -> Vec<u8> {
    let signature = format!("circleci-signature: v1={}", sha256(SECRET, body.as_bytes()));
    let text = text.replace("SIG", &signature);
    let mut bytes = Vec::new();
    let mut parts = text.split("<ff>");
    bytes.extend_from_slice(parts.next().unwrap().as_bytes());
    for part in parts {
        bytes.push(0xff);
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn smuggled() -> Vec<u8> {
    raw("POST /hook/smuggled HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello", "hello")
}

/// What `HEAD` stands for: the head of a signed delivery of `hello`, without the lines that frame its body.
const HEAD: &str = "POST /hook/x HTTP/1.1\r\nHost: a\r\nSIG\r\n";

/// Requests that are refused with this status, after which the connection is closed.
const REFUSED: &[(&str, u16, &str)] = &[
    // Two body lengths (RFC 9112 section 6.3).
    (
        "CL.TE, the length first (hyper issues 3860 and 4123)",
        400,
        "HEADContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "TE.CL, the length last (hyper issue 3860)",
        400,
        "HEADTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("CL.TE with a prefix", 400, "HEADContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
    ("the same length twice", 400, "HEADContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("two lengths", 400, "HEADContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello"),
    ("a list of lengths", 400, "HEADContent-Length: 5, 5\r\n\r\nhello"),
    ("a length with a sign", 400, "HEADContent-Length: +5\r\n\r\nhello"),
    ("a negative length", 400, "HEADContent-Length: -5\r\n\r\nhello"),
    ("a length in hexadecimal", 400, "HEADContent-Length: 0x5\r\n\r\nhello"),
    ("an empty length", 400, "HEADContent-Length:\r\n\r\nhello"),
    ("a length over 64 bits", 400, "HEADContent-Length: 18446744073709551621\r\n\r\nhello"),
    ("xchunked", 400, "HEADTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("chunked, identity", 400, "HEADTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("identity", 400, "HEADTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("gzip, chunked", 400, "HEADTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("chunked twice", 400, "HEADTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("two lines of chunked", 400, "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two lines of codings", 400, "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
    ("a vertical tab before chunked", 400, "HEADTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("chunked in quotes", 400, "HEADTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    (
        "CVE-2026-2835 (pingora): chunked with HTTP/1.0 (RFC 9112 section 6.1)",
        400,
        "POST /hook/x HTTP/1.0\r\nHost: a\r\nSIG\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    // The host (RFC 9112 section 3.2).
    ("no host", 400, "POST /hook/x HTTP/1.1\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("no host and no body", 400, "POST /hook/x HTTP/1.1\r\nSIG\r\n\r\n"),
    ("two hosts", 400, "HEADHost: b\r\nContent-Length: 5\r\n\r\nhello"),
    ("the same host twice", 400, "HEADHost: a\r\nContent-Length: 5\r\n\r\nhello"),
    ("a host with a space", 400, "POST /hook/x HTTP/1.1\r\nHost: a b\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    // Lines (RFC 9112 sections 2.2, 5.1, 5.2).
    ("obs-fold", 400, "HEADX-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello"),
    ("obs-fold of a length", 400, "HEADContent-Length:\r\n 5\r\n\r\nhello"),
    (
        "obs-fold before the first header",
        400,
        "POST /hook/x HTTP/1.1\r\n Host: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("bare LF after the request line", 400, "POST /hook/x HTTP/1.1\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("bare LF after a header", 400, "HEADX-A: b\nContent-Length: 5\r\n\r\nhello"),
    ("bare LF at the head's end", 400, "HEADContent-Length: 5\r\n\nhello"),
    (
        "a header hidden behind a bare LF",
        400,
        "HEADX-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("bare CR in a value", 400, "HEADX-A: b\rc\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "a header hidden behind a bare CR",
        400,
        "HEADX-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("a space before the colon", 400, "HEADContent-Length : 5\r\n\r\nhello"),
    ("a tab before the colon", 400, "HEADTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("an empty header name", 400, "HEAD: b\r\nContent-Length: 5\r\n\r\nhello"),
    ("a header without a colon", 400, "HEADX-A\r\nContent-Length: 5\r\n\r\nhello"),
    ("NUL in a value", 400, "HEADX-A: b\0c\r\nContent-Length: 5\r\n\r\nhello"),
    ("a control character in a value", 400, "HEADX-A: b\x08c\r\nContent-Length: 5\r\n\r\nhello"),
    ("DEL in a value", 400, "HEADX-A: b\x7fc\r\nContent-Length: 5\r\n\r\nhello"),
    ("NUL in a name", 400, "HEADX\0A: b\r\nContent-Length: 5\r\n\r\nhello"),
    ("a byte that is not ASCII in a name", 400, "HEADX-<ff>: b\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space in a name", 400, "HEADX A: b\r\nContent-Length: 5\r\n\r\nhello"),
    // Chunks (RFC 9112 section 7.1).
    ("a chunk size over 64 bits", 400, "HEADTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with 0x", 400, "HEADTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a sign", 400, "HEADTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    ("an empty chunk size", 400, "HEADTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size after a space", 400, "HEADTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size and bare LF", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    ("a chunk extension and bare LF", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n"),
    ("a chunk that is longer than it says", 400, "HEADTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n"),
    ("a chunk that ends in bare LF", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    ("a trailer that ends in bare LF", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\n\r\n"),
    ("a trailer without a colon", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX\r\n\r\n"),
    (
        "a request line among the trailers",
        400,
        "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nPOST / HTTP/1.1\r\n\r\n",
    ),
    ("endless chunk extensions", 400, "HEADTransfer-Encoding: chunked\r\n\r\n5;EXTENSION\r\nhello\r\n0\r\n\r\n"),
    // Request lines (RFC 9112 section 3).
    ("a fragment", 400, "POST /hook/x#y HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "a byte that is not ASCII in the target",
        400,
        "POST /hook/<ff> HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("NUL in the target", 400, "POST /hook/\0 HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space in the target", 400, "POST /hook/x y HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("two spaces", 400, "POST  /hook/x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("a tab for a space", 400, "POST\t/hook/x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space before the method", 400, " POST /hook/x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space after the version", 400, "POST /hook/x HTTP/1.1 \r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("HTTP/0.9", 400, "POST /hook/x\r\n"),
    ("HTTP/1.2", 400, "POST /hook/x HTTP/1.2\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("HTTP/2.0", 400, "POST /hook/x HTTP/2.0\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("lower-case http/1.1", 400, "POST /hook/x http/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("the preface of HTTP/2", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS on a port without it", 400, "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n"),
    ("a request line over 8 KiB", 414, "POST /hook/LONG HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "characters that a URI cannot have (RFC 3986)",
        400,
        "POST /hook/<x>` HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "a user in the target's authority",
        400,
        "POST http://u@a/hook/x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    // Targets without a route.
    ("authority-form", 404, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    ("asterisk-form", 404, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    (
        "a dot segment out of the prefix",
        404,
        "POST /hook HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "an encoded slash in the prefix",
        404,
        "POST /hook%2fx HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "a doubled slash before the prefix",
        404,
        "POST //hook/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ),
    ("a lower-case method", 405, "post /hook/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
];

/// Requests that are forwarded, with the request line that the upstream sees. The body is always `hello`.
const FORWARDED: &[(&str, &str, &str)] = &[
    ("a length", "POST /x HTTP/1.1", "HEADContent-Length: 5\r\n\r\nhello"),
    ("zeros before a length", "POST /x HTTP/1.1", "HEADContent-Length: 0005\r\n\r\nhello"),
    ("blanks around a length", "POST /x HTTP/1.1", "HEADContent-Length: \t5 \t\r\n\r\nhello"),
    ("chunks", "POST /x HTTP/1.1", "HEADTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    ("chunked in any case", "POST /x HTTP/1.1", "HEADtRANSFER-eNCODING:chunkeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "chunk extensions",
        "POST /x HTTP/1.1",
        "HEADTransfer-Encoding: chunked\r\n\r\n5;a=\"b\";c\r\nhello\r\n0;d\r\n\r\n",
    ),
    (
        "zeros before a chunk's size",
        "POST /x HTTP/1.1",
        "HEADTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
    ),
    (
        "trailers that would be headers",
        "POST /x HTTP/1.1",
        "HEADTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\nHooklatch-Verified: false\r\n\r\n",
    ),
    ("empty lines before the request", "POST /x HTTP/1.1", "\r\n\r\nHEADContent-Length: 5\r\n\r\nhello"),
    ("HTTP/1.0", "POST /x HTTP/1.1", "POST /hook/x HTTP/1.0\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "absolute-form",
        "POST /x?y HTTP/1.1",
        "POST http://a/hook/x?y HTTP/1.1\r\nHost: b\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("an unknown expectation", "POST /x HTTP/1.1", "HEADExpect: the-unexpected\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "an expectation that is met at once",
        "POST /x HTTP/1.1",
        "HEADExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "an upgrade",
        "POST /x HTTP/1.1",
        "HEADConnection: upgrade\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "a length that Connection names",
        "POST /x HTTP/1.1",
        "HEADConnection: Content-Length, close\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "bytes that are not ASCII in a value",
        "POST /x HTTP/1.1",
        "HEADX-A: <ff>\u{e9}\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "encoded dots",
        "POST /%2e%2e/%2E/x HTTP/1.1",
        "POST /hook/%2e%2e/%2E/x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "dots",
        "POST /../.././x HTTP/1.1",
        "POST /hook/../.././x HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "slashes",
        "POST ////x// HTTP/1.1",
        "POST /hook////x// HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "semicolons and encoded bytes",
        "POST /x;a=b/..;/%00%ff%2f HTTP/1.1",
        "POST /hook/x;a=b/..;/%00%ff%2f HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "odd characters",
        "POST /a|b^c{d}\"\\?[e]'%zz&%%20 HTTP/1.1",
        "POST /hook/a|b^c{d}\"\\?[e]'%zz&%%20 HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "two question marks",
        "POST /?a?b=/hook/ HTTP/1.1",
        "POST /hook/?a?b=/hook/ HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
];

fn written(text: &str) -> Vec<u8> {
    let text = text.replace("HEAD", HEAD);
    let text = text.replace("EXTENSION", &"x".repeat(20_000)).replace("LONG", &"x".repeat(70_000));
    raw(&text, "hello")
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    let rig = rig();
    for (name, status, text) in REFUSED {
        let mut sender = rig.connect();
        sender.write(&[written(text), smuggled()].concat());
        let response = sender.receive();
        assert_eq!(response.status, *status, "{name}: {response:?}");
        assert_eq!(response.all("content-type"), ["application/problem+json"], "{name}: {response:?}");
        let problem = response.json();
        assert_eq!(response.all("x-request-id"), [problem["request_id"].as_str().unwrap()], "{name}");
        match status {
            400 => assert_eq!(problem["reason"], "bad_request", "{name}"),
            414 => assert_eq!(problem["reason"], "uri_too_long", "{name}"),
            _ => {}
        }
        assert_eq!(problem["status"], *status, "{name}");
        sender.expect_end();
        rig.upstream.expect_nothing();
    }
}

#[test]
fn the_same_is_refused_when_it_comes_byte_by_byte() {
    let rig = rig();
    for (name, status, text) in
        REFUSED.iter().filter(|(_, _, text)| !text.contains("LONG") && !text.contains("EXTENSION"))
    {
        let mut sender = rig.connect();
        for byte in &written(text) {
            // After a refusal, the gateway reads no more.
            if sender.try_write(&[*byte]).is_err() {
                break;
            }
        }
        // Completes a head that ends with its last line.
        let _ = sender.try_write(b"\r\n\r\n");
        let response = sender.receive();
        assert_eq!(response.status, *status, "{name}: {response:?}");
        rig.upstream.expect_nothing();
    }
}

#[test]
fn what_can_be_read_in_one_way_is_forwarded_once_with_its_path_untouched() {
    let mut rig = rig();
    for (name, line, text) in FORWARDED {
        let seen = rig.forwards_bytes(&written(text));
        assert_eq!(seen.line(), *line, "{name}");
        assert_eq!(seen.body, b"hello", "{name}");
        assert_eq!(seen.all("content-length"), ["5"], "{name}");
        for header in ["transfer-encoding", "trailer", "te", "upgrade", "expect", "connection"] {
            assert_eq!(seen.all(header), [""; 0], "{name}");
        }
        assert_eq!(seen.one("hooklatch-verified"), "true", "{name}");
    }
    assert_eq!(rig.gateway.metrics().get("hooklatch_upstream_resends_total", &[("route", "hook")]), 0.0);
}

#[test]
fn requests_in_one_write_are_each_framed_by_themselves() {
    let mut rig = rig();
    let mut sender = rig.connect();
    let chunked = written("HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n");
    let length = written("HEADContent-Length: 5\r\n\r\nhello");
    let bad = written("HEADContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    sender.write(&[chunked.clone(), length.clone(), chunked, length, bad, smuggled()].concat());
    for _ in 0..4 {
        assert_eq!(rig.request().body, b"hello");
        rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
    }
    assert_eq!(sender.receive().status, 400);
    sender.expect_end();
    rig.upstream.expect_nothing();
}

#[test]
fn a_switch_of_protocols_is_a_failure_because_upgrade_is_not_forwarded() {
    let mut rig = rig();
    let mut sender = rig.connect();
    sender.write(&written("HEADConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello"));
    rig.request();
    rig.peer().write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(sender.receive().status, 502);
    rig.peer().expect_end();
}

#[test]
fn published_smuggling_vectors_are_refused_or_have_one_reading() {
    let mut rig = rig();
    for (source, outcome, text) in vectors::VECTORS {
        if *outcome == vectors::Outcome::Forwarded {
            assert_eq!(rig.forwards_bytes(&written(text)).body, b"hello", "{source}");
            continue;
        }
        let mut sender = rig.connect();
        sender.write(&[written(text), smuggled()].concat());
        assert_eq!(sender.receive().status, 400, "{source}");
        sender.expect_end();
        rig.upstream.expect_nothing();
    }
}

/// CVE-2025-4366 (pingora): the body of a request that was answered early was read as the next request.
#[test]
fn cve_2025_4366_an_unread_body_is_never_the_next_request() {
    let mut rig = rig();
    let body = smuggled();
    let unsigned = |length: usize| {
        let head = format!("POST /hook/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), &body].concat()
    };
    // The whole body has arrived: it is skipped, and the connection goes on behind it.
    let mut sender = rig.connect();
    sender.write(&[unsigned(body.len()), written("HEADContent-Length: 5\r\n\r\nhello")].concat());
    assert_eq!(sender.receive().status, 401);
    assert_eq!(rig.request().line(), "POST /x HTTP/1.1");
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    // Part of it is missing: the connection is closed.
    let mut sender = rig.connect();
    sender.write(&unsigned(body.len() + 1));
    assert_eq!(sender.receive().status, 401);
    sender.expect_end();
    rig.upstream.expect_nothing();
}

/// CVE-2026-2833 (pingora): bytes after a request with `Upgrade` went to the upstream unread, before it had agreed.
#[test]
fn cve_2026_2833_bytes_after_an_upgrade_are_a_request_of_their_own() {
    let mut rig = rig();
    let mut sender = rig.connect();
    let upgrade = written("HEADConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello");
    sender.write(&[&upgrade[..], b"POST /hook/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"].concat());
    let seen = rig.request();
    assert_eq!((seen.line().as_str(), seen.body.as_slice()), ("POST /x HTTP/1.1", &b"hello"[..]));
    assert_eq!(seen.all("upgrade"), [""; 0]);
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
    assert_eq!(sender.receive().status, 401, "it has no signature");
    rig.upstream.expect_nothing();
}

/// CVE-2026-2836 (pingora): the cache's key left the host out. The gateway has no cache: every request reaches the upstream.
#[test]
fn cve_2026_2836_no_response_answers_a_request_for_another_host() {
    let mut rig = rig();
    for host in ["a", "b", "a"] {
        let text = format!("POST /hook/x HTTP/1.1\r\nHost: {host}\r\nSIG\r\nContent-Length: 5\r\n\r\nhello");
        let seen = rig.forwards_bytes(&written(&text));
        assert_eq!((seen.line().as_str(), seen.body.as_slice()), ("POST /x HTTP/1.1", &b"hello"[..]));
    }
}
