//! Refusals before the body is read: route, method, host, the form of the signature header.

use crate::support::http;
use crate::support::rig::{Rig, is_problem};
use crate::support::sender::{Delivery, sha256};

#[test]
fn a_path_without_a_route_is_not_found() {
    let rig = Rig::start();
    for path in ["/", "/hoo", "/hook/", "/hookx", "/HOOK", "//hook", "/./hook", "/%68ook", "/hook%3f"] {
        let request = Delivery::circleci("{}").target(path).bytes();
        rig.refuses_without_route(&request, 404, "no_route");
    }
}

#[test]
fn a_host_without_a_route_is_not_found() {
    let rig = Rig::with("host: hooks.example.com");
    for host in ["example.com", "hooks.example.com.evil.example", "xhooks.example.com", "hooks.example.co"] {
        let request = Delivery::circleci("{}").host(host).bytes();
        rig.refuses_without_route(&request, 404, "no_route");
    }
}

#[test]
fn a_method_that_the_route_does_not_take_is_told_which_it_takes() {
    let rig = Rig::start();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "QUERY"] {
        let request = Delivery::circleci("").method(method).bytes();
        let response = rig.refuses(&request, 405, "method_not_allowed");
        assert_eq!(response.all("allow"), ["POST"]);
    }
    let rig = Rig::with("methods: [PUT, POST]");
    let response = rig.refuses(&Delivery::circleci("").method("GET").bytes(), 405, "method_not_allowed");
    assert_eq!(response.all("allow"), ["PUT, POST"]);
}

#[test]
fn the_method_is_checked_before_the_signature() {
    let rig = Rig::start();
    rig.refuses(&Delivery::unsigned("").method("GET").bytes(), 405, "method_not_allowed");
}

#[test]
fn a_head_request_that_is_refused_gets_no_body() {
    let rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(b"HEAD /hook HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(sender.receive_head().status, 405);
    sender.expect_end();
}

#[test]
fn a_request_with_no_host_or_two_is_bad() {
    let rig = Rig::start();
    let delivery = Delivery::circleci("{}");
    for request in [
        delivery.clone().without("host"),
        delivery.clone().header("Host", "gateway.example"),
        delivery.clone().header("hOST", "another.example"),
        delivery.clone().host("a b"),
        delivery.host("user@gateway.example"),
    ] {
        rig.refuses_without_route(&request.bytes(), 400, "bad_request");
    }
}

#[test]
fn a_request_without_a_signature_is_refused() {
    for (scheme, header) in
        [("circleci", "circleci-signature"), ("civo", "x-civo-signature"), ("icr", "x-icr-signature-256")]
    {
        let rig = Rig::of(scheme, "");
        rig.refuses(&Delivery::unsigned("{}").bytes(), 401, "missing_signature");
        for empty in ["", " ", "\t "] {
            let request = Delivery::unsigned("{}").header(header, empty).bytes();
            rig.refuses(&request, 401, "missing_signature");
        }
    }
}

#[test]
fn two_signature_headers_are_ambiguous_even_if_both_are_right() {
    let rig = Rig::start();
    let delivery = Delivery::circleci("{}");
    let signature = format!("v1={}", sha256(crate::support::gateway::SECRET, b"{}"));
    for second in [signature.as_str(), "", "v1=00"] {
        let request = delivery.clone().header("Circleci-Signature", second).bytes();
        rig.refuses(&request, 401, "ambiguous_signature");
    }
}

#[test]
fn a_signature_that_is_not_in_the_schemes_format_is_malformed() {
    let hex = "a".repeat(64);
    let nine: String = (0..9).map(|_| format!("v1={hex},")).collect();
    let circleci = [
        hex.clone(),
        format!("v2={hex}"),
        format!("v1={}", &hex[..63]),
        format!("v1={hex}a"),
        format!("v1={}g", &hex[..63]),
        nine.trim_end_matches(',').to_owned(),
    ];
    let civo = ["a".repeat(39), "a".repeat(41), hex.clone(), format!("sha1={}", "a".repeat(40)), "z".repeat(40)];
    let icr = ["sha256=".to_owned(), format!("sha1={hex}"), format!("SHA256={hex}"), format!("sha256={hex}00")];
    for (scheme, header, values) in [
        ("circleci", "circleci-signature", &circleci[..]),
        ("civo", "x-civo-signature", &civo[..]),
        ("icr", "x-icr-signature-256", &icr[..]),
    ] {
        let rig = Rig::of(scheme, "");
        for value in values {
            let request = Delivery::unsigned("{}").header(header, value).bytes();
            rig.refuses(&request, 401, "malformed_signature");
        }
        let request = Delivery::unsigned("{}").line([header.as_bytes(), b": \xff\xfe"].concat()).bytes();
        rig.refuses(&request, 401, "malformed_signature");
    }
}

#[test]
fn checks_that_need_no_body_are_answered_while_it_has_not_been_sent() {
    let rig = Rig::with("max_body: 100B");
    let signed = Delivery::circleci("x".repeat(50));
    let cases = [
        (signed.clone().target("/nowhere"), 404, "no_route"),
        (signed.clone().method("PUT"), 405, "method_not_allowed"),
        (signed.clone().without("circleci-signature"), 401, "missing_signature"),
        (signed.clone().header("circleci-signature", "v1=00"), 401, "ambiguous_signature"),
        (Delivery::unsigned("x").header("circleci-signature", "v1=00"), 401, "malformed_signature"),
        (Delivery::circleci("x".repeat(101)), 413, "body_too_large"),
    ];
    for (delivery, status, reason) in cases {
        for head in [delivery.head(), delivery.chunked(10).head()] {
            // The length of a chunked body is not known in advance.
            if status == 413 && head.ends_with(b"chunked\r\n\r\n") {
                continue;
            }
            let mut sender = rig.connect();
            sender.write(&head);
            is_problem(&sender.receive(), status, reason);
        }
    }
}

#[test]
fn a_sender_that_asks_before_it_sends_is_refused_without_being_told_to_go_on() {
    let rig = Rig::with("max_body: 100B");
    for (delivery, status, reason) in [
        (Delivery::unsigned("{}"), 401, "missing_signature"),
        (Delivery::circleci("{}").target("/nowhere"), 404, "no_route"),
        (Delivery::circleci("x".repeat(101)), 413, "body_too_large"),
    ] {
        let mut sender = rig.connect();
        sender.write(&delivery.header("Expect", "100-continue").head());
        let response = sender.receive_head();
        assert_eq!(response.status, status, "the first head, {reason}: {response:?}");
    }
}

#[test]
fn a_sender_that_asks_before_it_sends_and_may_is_told_to_go_on() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").header("Expect", "100-continue").head());
    assert_eq!(sender.receive_head().status, 100);
    sender.write(b"{}");
    let seen = rig.request();
    assert_eq!(seen.all("expect"), [""; 0]);
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn what_is_not_http_is_refused_and_counted() {
    let rig = Rig::start();
    let delivery = Delivery::circleci("{}");
    let bad: [Vec<u8>; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n".to_vec(),
        b"POST  /hook HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        delivery.clone().line("Bad Name: x").bytes(),
        delivery.clone().line("Spaced : x").bytes(),
        delivery.clone().line("Folded: x\r\n  y").bytes(),
        delivery.clone().line(b"Nul: \0").bytes(),
        delivery.head_with(&[b"Content-Length: 2", b"Content-Length: 3"]),
        delivery.head_with(&[b"Transfer-Encoding: gzip"]),
    ];
    for request in bad {
        let before = rig.gateway.metrics();
        let response = rig.send(&request);
        assert_eq!(response.status, 400, "{:?}: {response:?}", String::from_utf8_lossy(&request));
        rig.upstream.expect_nothing();
        crate::support::process::poll("the count", || {
            let counted = rig.gateway.metrics().counted_since(&before);
            counted.values().sum::<f64>() == 2.0 && counted.keys().all(|series| series.contains("route=\"none\""))
        });
    }
}

#[test]
fn a_head_of_100_lines_is_taken_and_one_of_101_is_not() {
    let mut rig = Rig::start();
    let delivery = Delivery::circleci("{}");
    let fill = |count: usize| (0..count).fold(delivery.clone(), |delivery, at| delivery.header(&format!("x-{at}"), ""));
    // Host, signature and Content-Length are three.
    rig.forwards(&fill(97));
    assert_eq!(rig.send(&fill(98).bytes()).status, 431);
}

#[test]
fn a_refusal_takes_up_the_senders_request_id_if_it_is_sane() {
    let rig = Rig::start();
    let response = rig.send(&Delivery::unsigned("").header("X-Request-Id", "mine-1").bytes());
    is_problem(&response, 401, "missing_signature");
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    let response = rig.send(&Delivery::unsigned("").header("X-Request-Id", "{\"in\":\"jected\"}").bytes());
    is_problem(&response, 401, "missing_signature");
    assert!(!format!("{response:?}").contains("jected"));
}

#[test]
fn a_refused_sender_can_go_on_with_the_same_connection_when_it_has_sent_its_body() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::unsigned("{}").bytes());
    is_problem(&sender.receive(), 401, "missing_signature");
    sender.write(&Delivery::circleci("{}").bytes());
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn a_refused_sender_that_has_not_sent_its_body_is_told_that_the_connection_ends() {
    let rig = Rig::start();
    for delivery in [Delivery::unsigned("12"), Delivery::circleci("12").target("/nowhere")] {
        for (part, connection) in [("", Some("close")), ("1", Some("close")), ("12", None)] {
            let mut sender = rig.connect();
            sender.write(&[&delivery.head(), part.as_bytes()].concat());
            let response = sender.receive();
            assert_eq!(response.header("connection"), connection, "{part}: {response:?}");
            if connection.is_some() {
                sender.expect_end();
            }
        }
    }
}

#[test]
fn a_large_body_that_nobody_reads_does_not_keep_its_sender_from_the_refusal() {
    let rig = Rig::start();
    let response = http::send(rig.gateway.server, &Delivery::unsigned(vec![b'x'; 300_000]).bytes());
    is_problem(&response, 401, "missing_signature");
}
