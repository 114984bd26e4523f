//! What HTTP/2 can be abused for, by senders that need no secret. Each abuse is bounded, and meanwhile the gateway, which
//! has one thread here, serves others.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::certificates::Files;
use crate::support::gateway::SECRET;
use crate::support::http::Connection;
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, encode,
};
use crate::support::process::poll;
use crate::support::rig::Rig;
use crate::support::sender::{Delivery, sha256};

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

struct Target {
    files: Files,
    rig: Rig,
}

impl Target {
    fn start() -> Self {
        Self::with("")
    }

    fn with(route: &str) -> Self {
        Self::with_server("", route)
    }

    fn with_server(server: &str, route: &str) -> Self {
        let files = Files::new();
        let rig = Rig::with_server(&format!("{server}{}", files.server("")), route);
        Self { files, rig }
    }

    fn attack(&self) -> Frames {
        Frames::connect(self.rig.gateway.server, self.files.authority.client(&["h2"]))
    }

    /// A delivery of another sender gets through.
    #[track_caller]
    fn serves_others(&mut self) {
        let client = self.files.authority.client(&["http/1.1"]);
        let mut sender = Connection::open_tls(self.rig.gateway.server, client);
        sender.write(&Delivery::circleci("{}").bytes());
        assert_eq!(self.rig.request().body, b"{}");
        self.rig.peer().answer();
        assert_eq!(sender.receive().status, 200);
    }
}

/// The head of a request that looks signed.
fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let signature = format!("v1={}", "0".repeat(64));
    let lines = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "gateway.example"),
        (":path", "/hook"),
        ("circleci-signature", &signature),
    ];
    block(&[&lines, more].concat())
}

/// Odd numbers: the streams of a client.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

fn code(code: u32) -> [u8; 4] {
    code.to_be_bytes()
}

#[test]
fn a_connection_has_a_hundred_streams_at_once_and_no_more() {
    let mut target = Target::start();
    let mut attack = target.attack();
    let mut last = 0;
    for stream in streams().take(101) {
        attack.write(HEADERS, END_HEADERS, stream, &head(&[])).unwrap();
        last = stream;
    }
    let refused = attack.until(|frame| frame.kind == RST_STREAM).expect("a stream is refused");
    assert_eq!((refused.stream, &refused.payload[..]), (last, &code(REFUSED_STREAM)[..]));
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 100.0);
    target.serves_others();
    drop(attack);
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
}

#[test]
fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let mut target = Target::start();
    // In one piece, so that the resets are there before the gateway has taken the streams up; and one by one.
    for at_once in [true, false] {
        let mut attack = target.attack();
        let mut ended = false;
        for stream in streams().take(2000) {
            let pair = [encode(HEADERS, END_HEADERS, stream, &head(&[])), encode(RST_STREAM, 0, stream, &code(CANCEL))];
            let written = match at_once {
                true => attack.write_all(&pair.concat()),
                false => pair.iter().try_for_each(|frame| attack.write_all(frame)),
            };
            if written.is_err() {
                ended = true;
                break;
            }
        }
        if !ended {
            let goaway = attack.goaway();
            assert!(goaway.is_none_or(|goaway| goaway == ENHANCE_YOUR_CALM), "{goaway:?}");
        }
        target.serves_others();
        target.rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
    }
}

#[test]
fn requests_that_are_given_up_after_they_were_taken_up_end_the_connection() {
    let mut target = Target::start();
    let mut attack = target.attack();
    for (given_up, stream) in streams().enumerate().take(101) {
        attack.write(HEADERS, END_HEADERS, stream, &head(&[])).unwrap();
        target.rig.wait_for_gauge("hooklatch_in_flight_requests", 1.0);
        attack.write(RST_STREAM, 0, stream, &code(CANCEL)).unwrap();
        target.rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
        if given_up == 99 {
            // One connection is the attack's.
            assert_eq!(target.rig.gateway.metrics().get("hooklatch_connections", &[]), 1.0);
        }
    }
    target.rig.wait_for_gauge("hooklatch_connections", 0.0);
    target.serves_others();
}

#[test]
fn a_header_section_that_never_ends_ends_the_connection() {
    let mut target = Target::start();
    for fragment in [&[0; 0][..], &block(&[("x", "y")]), &[0; 16 * 1024]] {
        let mut attack = target.attack();
        attack.write(HEADERS, 0, 1, &head(&[])).unwrap();
        let written = (0..20_000).map(|_| attack.write(CONTINUATION, 0, 1, fragment)).find(Result::is_err);
        assert!(written.is_some() || attack.goaway().is_some(), "{} bytes a frame", fragment.len());
        target.serves_others();
    }
    target.rig.wait_for_gauge("hooklatch_connections", 0.0);
}

#[test]
fn a_header_section_that_is_too_large_is_refused_and_the_next_request_is_not() {
    let mut target = Target::start();
    let mut attack = target.attack();
    let large = head(&[("x-large", &"x".repeat(64 * 1024))]);
    let (first, rest) = large.split_at(16 * 1024);
    attack.write(HEADERS, END_STREAM, 1, first).unwrap();
    let parts: Vec<&[u8]> = rest.chunks(16 * 1024).collect();
    for (at, part) in parts.iter().enumerate() {
        let flags = if at + 1 == parts.len() { END_HEADERS } else { 0 };
        attack.write(CONTINUATION, flags, 1, part).unwrap();
    }
    let refused = attack.until(|frame| frame.stream == 1 && frame.kind == HEADERS).expect("an answer");
    // A literal with the name of `:status`, whose value is 431 (RFC 7541 appendix A, 8 to 14).
    assert!((0x08..=0x0e).contains(&(refused.payload[0] & 0x0f)), "{refused:?}");
    attack.write(HEADERS, END_HEADERS | END_STREAM, 3, &head(&[])).unwrap();
    assert!(attack.until(|frame| frame.stream == 3 && frame.kind == HEADERS).is_some());
    target.serves_others();
}

#[test]
fn a_flood_of_settings_or_pings_waits_for_its_answers() {
    let mut target = Target::start();
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[7; 8])] {
        let mut attack = target.attack();
        attack.stream().tcp().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let frames = encode(kind, 0, 0, payload).repeat(1000);
        // None of the answers is read. So the gateway must at some time stop reading, or end the connection.
        let stopped = (0..10_000).find_map(|_| attack.write_all(&frames).err()).expect("the gateway took it all");
        assert!(
            matches!(
                stopped.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{stopped}"
        );
        target.serves_others();
    }
}

#[test]
fn settings_and_pings_within_reason_are_answered() {
    let target = Target::start();
    let mut sender = target.attack();
    for n in 0..200_u8 {
        sender.write(SETTINGS, 0, 0, b"").unwrap();
        sender.write(PING, 0, 0, &[n; 8]).unwrap();
        let pong = sender.until(|frame| frame.kind == PING && frame.flags == ACK).expect("a pong");
        assert_eq!(pong.payload, [n; 8]);
    }
}

#[test]
fn a_body_of_empty_frames_does_not_outlive_its_time() {
    let mut target = Target::with("body_timeout: 300ms");
    let mut attack = target.attack();
    attack.write(HEADERS, END_HEADERS, 1, &head(&[])).unwrap();
    let frames = encode(DATA, 0, 1, b"").repeat(100);
    attack.stream().tcp().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut ended = false;
    while !ended {
        ended = attack.write_all(&frames).is_err()
            || target.rig.gateway.metrics().get("hooklatch_in_flight_requests", &[]) == 0.0;
    }
    target.serves_others();
}

#[test]
fn streams_that_the_gateway_must_reset_are_counted() {
    let mut target = Target::start();
    let mut attack = target.attack();
    for stream in streams().take(300) {
        // A header of HTTP/1.1, which makes the request malformed (RFC 9113 section 8.2.2).
        if attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &head(&[("connection", "close")])).is_err() {
            break;
        }
    }
    let goaway = attack.goaway();
    assert!(goaway.is_none_or(|goaway| [ENHANCE_YOUR_CALM, PROTOCOL_ERROR].contains(&goaway)), "{goaway:?}");
    target.rig.upstream.expect_nothing();
    target.serves_others();
}

#[test]
fn frames_that_break_the_protocol_end_the_connection() {
    let mut target = Target::start();
    for frame in [
        encode(DATA, 0, 1, b"x"),
        encode(HEADERS, END_HEADERS, 2, &head(&[])),
        encode(CONTINUATION, END_HEADERS, 1, &head(&[])),
        encode(SETTINGS, 0, 1, b""),
        encode(PING, 0, 0, b"short"),
        encode(HEADERS, END_HEADERS, 1, &[0xff; 10]),
        encode(DATA, 0, 1, &[0; 17 * 1024]),
    ] {
        let mut attack = target.attack();
        attack.write_all(&frame).unwrap();
        assert!(attack.goaway().is_none_or(|code| code != 0), "{frame:?}");
    }
    target.serves_others();
}

#[test]
fn responses_that_are_never_taken_do_not_keep_a_connection() {
    let target = Target::with_server("header_timeout: 100ms, idle_timeout: 200ms, ", "");
    let mut attack = target.attack();
    // SETTINGS_INITIAL_WINDOW_SIZE: no byte of a body may come.
    attack.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    for stream in streams().take(50) {
        let unsigned = block(&[(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/hook")]);
        attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &unsigned).unwrap();
    }
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 50.0);
    // It answers pings, so that only this keeps the connection.
    while let Some(frame) = attack.read() {
        if frame.kind == PING {
            let _ = attack.write(PING, ACK, 0, &frame.payload);
        }
    }
    for gauge in ["hooklatch_in_flight_requests", "hooklatch_connections"] {
        target.rig.wait_for_gauge(gauge, 0.0);
    }
}

#[test]
fn responses_that_are_never_taken_keep_no_place_whatever_else_happens_on_their_connection() {
    let mut target = Target::with_server("idle_timeout: 400ms, ", "max_in_flight: 50");
    let mut attack = target.attack();
    attack.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    let mut streams = streams();
    let sign = |path| {
        let signature = format!("v1={}", sha256(SECRET, b""));
        let lines = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", path)];
        block(&[&lines[..], &[("circleci-signature", &signature)]].concat())
    };
    for stream in streams.by_ref().take(50) {
        attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &sign("/hook")).unwrap();
        target.rig.request();
        target.rig.peer().answer();
    }
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 50.0);
    use_until_its_end(&mut attack, streams, || sign("/elsewhere"));
    target.serves_others();
}

/// Sends one request after another on other streams, and takes their responses, until the gateway ends the connection. It does not
/// acknowledge the ping that comes with GOAWAY, so that the gateway takes its requests even then.
fn use_until_its_end(attack: &mut Frames, mut streams: impl Iterator<Item = u32>, request: impl Fn() -> Vec<u8>) {
    poll("that the connection ends", || {
        let stream = streams.next().unwrap();
        let is_sent = attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &request()).is_ok()
            && attack.write(WINDOW_UPDATE, 0, stream, &code(10_000)).is_ok();
        !is_sent || attack.until(|frame| frame.stream == stream && frame.flags & END_STREAM != 0).is_none()
    });
}

#[test]
fn responses_of_which_a_byte_is_taken_do_not_keep_a_connection_whatever_else_happens_on_it() {
    let mut target = Target::with_server("idle_timeout: 400ms, ", "");
    let mut attack = target.attack();
    // So that HTTP/2 has each response as a whole.
    attack.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]).unwrap();
    let mut streams = streams();
    let unsigned = || block(&[(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/hook")]);
    for stream in streams.by_ref().take(50) {
        attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &unsigned()).unwrap();
        attack.until(|frame| frame.kind == DATA && frame.stream == stream).expect("its first byte");
    }
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 0.0);
    use_until_its_end(&mut attack, streams, unsigned);
    target.rig.wait_for_gauge("hooklatch_connections", 0.0);
    target.serves_others();
}

#[test]
fn a_response_that_is_never_taken_gives_its_place_back_when_the_handler_is_done() {
    let mut target = Target::with("max_in_flight: 1");
    let mut attack = target.attack();
    attack.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    let signature = format!("v1={}", sha256(SECRET, b""));
    let lines = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/hook")];
    let signed = block(&[&lines[..], &[("circleci-signature", &signature)]].concat());
    for stream in streams().take(3) {
        attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &signed).unwrap();
        target.rig.request();
        target.rig.peer().answer();
        let head = attack.until(|frame| frame.kind == HEADERS && frame.stream == stream);
        assert!(head.is_some_and(|head| head.flags & END_STREAM == 0), "there is a body to take");
    }
    target.serves_others();
}

#[test]
fn a_text_of_the_gateway_that_is_never_taken_keeps_no_place() {
    let mut target = Target::with("max_in_flight: 1");
    let mut attack = target.attack();
    attack.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    for stream in streams().take(50) {
        attack.write(HEADERS, END_HEADERS | END_STREAM, stream, &head(&[])).unwrap();
    }
    target.rig.wait_for_gauge("hooklatch_in_flight_requests", 50.0);
    target.serves_others();
}

#[test]
fn a_response_to_head_has_no_content() {
    let target = Target::start();
    let mut sender = target.attack();
    let head = block(&[(":method", "HEAD"), (":scheme", "https"), (":authority", "a"), (":path", "/nowhere")]);
    sender.write(HEADERS, END_HEADERS | END_STREAM, 1, &head).unwrap();
    let answer = sender.until(|frame| frame.stream == 1).expect("an answer");
    assert_eq!((answer.kind, answer.flags & END_STREAM), (HEADERS, END_STREAM));
}

#[test]
fn a_refusal_before_the_body_was_read_resets_no_stream() {
    let target = Target::start();
    let mut sender = target.attack();
    let unsigned = block(&[(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/hook")]);
    sender.write(HEADERS, END_HEADERS, 1, &unsigned).unwrap();
    let answer = sender.until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
    assert!(answer.is_some());
    // More than the window of a stream: what is read and discarded opens it again.
    for _ in 0..20 {
        sender.write(DATA, 0, 1, &[0; 16 << 10]).unwrap();
    }
    sender.write(DATA, END_STREAM, 1, b"").unwrap();
    sender.write(PING, 0, 0, &[7; 8]).unwrap();
    let seen = sender.until(|frame| frame.kind == RST_STREAM || (frame.kind == PING && frame.flags == ACK));
    assert_eq!(seen.map(|frame| frame.kind), Some(PING));
}

#[test]
fn a_refused_body_of_more_than_sixteen_mebibytes_resets_its_stream_and_no_other() {
    const FRAME: usize = 16 << 10;
    let mut target = Target::start();
    let mut sender = target.attack();
    let unsigned = block(&[(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/hook")]);
    sender.write(HEADERS, END_HEADERS, 1, &unsigned).unwrap();
    assert!(sender.until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some(), "an answer");
    // Half a window each time, which opens again as it is read.
    let half = encode(DATA, 0, 1, &[0; FRAME]).repeat(8);
    let mut sent = 0;
    let reset = loop {
        assert!(sent <= 17 << 20, "a body without an end is read");
        sender.write_all(&half).unwrap();
        sent += 8 * FRAME;
        let next = sender.until(|frame| frame.stream == 1 && [WINDOW_UPDATE, RST_STREAM].contains(&frame.kind));
        let next = next.expect("the connection goes on");
        if next.kind == RST_STREAM {
            break next;
        }
    };
    assert!(sent > 16 << 20, "{sent}");
    // The answer is whole, and the rest of the request is not needed (RFC 9113 section 8.1).
    assert_eq!(reset.payload, code(NO_ERROR));
    sender.write(HEADERS, END_HEADERS | END_STREAM, 3, &unsigned).unwrap();
    assert!(sender.until(|frame| frame.kind == DATA && frame.stream == 3).is_some(), "another request");
    target.serves_others();
}

#[test]
fn the_fragment_of_a_target_is_left_out() {
    let mut target = Target::start();
    let signature = format!("v1={}", sha256(SECRET, b""));
    let mut sender = target.attack();
    for (stream, (path, line)) in streams().zip([
        ("/hook?a=b#c?d", "POST /in?a=b HTTP/1.1"),
        ("/hook#", "POST /in HTTP/1.1"),
        ("/hook#/../x", "POST /in HTTP/1.1"),
    ]) {
        let lines = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", path)];
        let signed = block(&[&lines[..], &[("circleci-signature", &signature)]].concat());
        sender.write(HEADERS, END_HEADERS | END_STREAM, stream, &signed).unwrap();
        assert_eq!(target.rig.request().line(), line, "{path}");
        target.rig.peer().answer();
        assert!(sender.until(|frame| frame.kind == DATA && frame.stream == stream).is_some(), "{path}");
    }
}

#[test]
fn a_target_that_http_1_1_does_not_take_is_refused() {
    let target = Target::start();
    let long = format!("/hook?{}", "a".repeat(8 << 10));
    for (path, reason) in [("/hook/\u{e9}", "bad_request"), ("/hook?a=\u{9b}", "bad_request"), (&long, "uri_too_long")]
    {
        let mut sender = target.attack();
        let lines = [(":method", "POST"), (":scheme", "https"), (":authority", "gateway.example"), (":path", path)];
        sender.write(HEADERS, END_HEADERS | END_STREAM, 1, &block(&lines)).unwrap();
        let answer = sender.until(|frame| frame.kind == DATA || frame.kind == RST_STREAM).expect("an answer");
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        let expected = format!(r#""reason":"{reason}""#);
        // h2 itself refuses some of them.
        assert!((answer.kind == RST_STREAM && path != long) || text.contains(&expected), "{path}: {text}");
    }
    target.rig.upstream.expect_nothing();
}
