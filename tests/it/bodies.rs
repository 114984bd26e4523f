//! Refusals because of the body: its size, time and framing, and signatures that do not match.

use crate::support::gateway::SECRET;
use crate::support::rig::Rig;
use crate::support::sender::{Delivery, sha256};

#[test]
fn a_body_may_be_as_long_as_the_route_allows_and_not_a_byte_longer() {
    let mut rig = Rig::with("max_body: 1KiB");
    for length in [1023, 1024] {
        assert_eq!(rig.forwards(&Delivery::circleci(vec![b'x'; length])).body.len(), length);
        assert_eq!(rig.forwards(&Delivery::circleci(vec![b'x'; length]).chunked(100)).body.len(), length);
    }
    rig.refuses(&Delivery::circleci(vec![b'x'; 1025]).bytes(), 413, "body_too_large");
    rig.refuses(&Delivery::circleci(vec![b'x'; 1025]).chunked(100).bytes(), 413, "body_too_large");
}

#[test]
fn a_body_in_chunks_is_refused_as_soon_as_too_many_bytes_have_come() {
    let rig = Rig::with("max_body: 8B");
    let before = rig.gateway.metrics();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("").chunked(1).head());
    sender.write(b"8\r\n12345678\r\n1\r\n9\r\n");
    rig.refused(&before, &sender.receive(), 413, "body_too_large");
}

#[test]
fn a_length_that_no_number_holds_is_no_reason_to_wait() {
    let rig = Rig::start();
    for length in ["18446744073709551615", "99999999999999999999999999"] {
        let head = Delivery::circleci("").head_with(&[format!("Content-Length: {length}").as_bytes()]);
        let status = rig.send(&head).status;
        assert!(matches!(status, 400 | 413 | 431), "{status}");
    }
}

#[test]
fn a_body_that_is_not_complete_in_time_is_refused() {
    let rig = Rig::with("body_timeout: 200ms");
    let delivery = Delivery::circleci("0123456789");
    let heads = [delivery.head(), delivery.head(), delivery.clone().chunked(1).head()];
    for (head, part) in heads.iter().zip(["", "012345678", "1\r\n0\r\n"]) {
        let before = rig.gateway.metrics();
        let mut sender = rig.connect();
        sender.write(head);
        sender.write(part.as_bytes());
        rig.refused(&before, &sender.receive(), 408, "body_timeout");
    }
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
}

#[test]
fn a_body_that_comes_in_time_but_in_pieces_is_taken() {
    let mut rig = Rig::with("body_timeout: 20s");
    let delivery = Delivery::circleci("in pieces");
    let mut sender = rig.connect();
    sender.write(&delivery.head());
    rig.wait_for_gauge("hooklatch_in_flight_requests", 1.0);
    for byte in b"in pieces" {
        sender.write(&[*byte]);
    }
    assert_eq!(rig.request().body, b"in pieces");
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn a_body_that_ends_early_is_bad() {
    let rig = Rig::start();
    let delivery = Delivery::circleci("0123456789");
    for (head, part) in [
        (delivery.head(), "012345678"),
        (delivery.clone().chunked(5).head(), "5\r\n01234\r\n"),
        (delivery.clone().chunked(5).head(), "5\r\n012"),
        (delivery.chunked(5).head(), "5\r\n01234\r\n5\r\n56789\r\n0\r\n"),
    ] {
        let before = rig.gateway.metrics();
        let mut sender = rig.connect();
        sender.write(&head);
        sender.write(part.as_bytes());
        sender.finish();
        rig.refused(&before, &sender.receive(), 400, "bad_request");
    }
}

#[test]
fn chunks_that_are_none_are_bad() {
    let rig = Rig::start();
    for part in
        ["zz\r\nabc\r\n", "-1\r\n", "\r\n\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n", "fffffffffffffffff\r\n", "0x1\r\na\r\n"]
    {
        let mut request = Delivery::circleci("").chunked(1).head();
        request.extend_from_slice(part.as_bytes());
        rig.refuses(&request, 400, "bad_request");
    }
}

#[test]
fn a_signature_by_another_secret_or_over_another_body_is_a_mismatch() {
    let rig = Rig::start();
    let other = Delivery::circleci_with("another secret", "{}");
    let digest = sha256(SECRET, b"{}");
    let last = if digest.ends_with('0') { '1' } else { '0' };
    let flipped = format!("v1={}{last}", &digest[..63]);
    for delivery in [
        other,
        Delivery::circleci("{}").body("{ }"),
        Delivery::circleci("{}").body("{}\n"),
        Delivery::circleci("{}").body(""),
        Delivery::circleci("").body("{}"),
        Delivery::unsigned("{}").header("circleci-signature", &flipped),
    ] {
        rig.refuses(&delivery.bytes(), 401, "signature_mismatch");
        rig.refuses(&delivery.chunked(1).bytes(), 401, "signature_mismatch");
    }
    let rig = Rig::of("civo", "");
    rig.refuses(&Delivery::civo("{}").body("[]").bytes(), 401, "signature_mismatch");
}

#[test]
fn an_icr_body_that_differs_from_its_signed_payload_is_a_mismatch() {
    let rig = Rig::of("icr", "");
    let signed = "eyJldmVudCI6Imluc3RhbGxlZCJ9"; // {"event":"installed"}
    for body in [
        r#"{"event":"uninstalled","signedData":"eyJldmVudCI6Imluc3RhbGxlZCJ9"}"#,
        r#"{"event":"installed","more":1,"signedData":"eyJldmVudCI6Imluc3RhbGxlZCJ9"}"#,
        r#"{"signedData":"eyJldmVudCI6Imluc3RhbGxlZCJ9"}"#,
        r#"{"event":"installed","event":"installed","signedData":"eyJldmVudCI6Imluc3RhbGxlZCJ9"}"#,
    ] {
        rig.refuses(&Delivery::icr_signed(signed, body).bytes(), 401, "payload_mismatch");
    }
    for body in [r#"{"event":"installed"}"#, r#"{"event":"installed","signedData":""}"#, signed, ""] {
        rig.refuses(&Delivery::icr_signed(signed, body).bytes(), 401, "signature_mismatch");
    }
}

#[test]
fn the_options_of_icr_pin_what_is_taken() {
    let payload = r#"{"event":"installed"}"#;
    let whole = Delivery::icr_signed(payload, payload);
    let changed = Delivery::icr_signed(
        "eyJldmVudCI6Imluc3RhbGxlZCJ9",
        r#"{"event":"other","signedData":"eyJldmVudCI6Imluc3RhbGxlZCJ9"}"#,
    );
    let mut auto = Rig::of("icr", "");
    auto.forwards(&whole);
    auto.forwards(&Delivery::icr(payload));
    let mut signed_data = Rig::of("{ name: icr, signed_content: signed_data }", "");
    signed_data.forwards(&Delivery::icr(payload));
    assert_eq!(signed_data.send(&whole.bytes()).status, 401);
    let mut body = Rig::of("{ name: icr, signed_content: body }", "");
    body.forwards(&whole);
    assert_eq!(body.send(&Delivery::icr(payload).bytes()).status, 401);
    let mut unmatched = Rig::of("{ name: icr, match_payload: false }", "");
    unmatched.forwards(&changed);
}

#[test]
fn what_a_sender_who_goes_away_left_is_given_back() {
    let rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci(vec![b'x'; 5000]).head());
    sender.write(&[b'x'; 4000]);
    // The `Content-Length` is counted before the body arrives.
    rig.wait_for_gauge("hooklatch_buffered_bytes", 5000.0);
    assert_eq!(rig.gateway.metrics().get("hooklatch_connections", &[]), 1.0);
    drop(sender);
    for gauge in ["hooklatch_buffered_bytes", "hooklatch_in_flight_requests", "hooklatch_connections"] {
        rig.wait_for_gauge(gauge, 0.0);
    }
}
