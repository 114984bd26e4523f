//! The request to the upstream, byte for byte: body, headers, request line.

use crate::support::http;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;
use crate::support::upstream::Seen;

/// What a delivery with these header lines, besides the signature, looks like to the upstream.
fn seen_with(lines: &[&[u8]]) -> Seen {
    let delivery = lines.iter().fold(Delivery::circleci("{}"), Delivery::line);
    Rig::start().forwards(&delivery)
}

#[test]
fn the_body_arrives_as_the_same_bytes() {
    let mut rig = Rig::start();
    let every_byte: Vec<u8> = (0..=255).collect();
    for body in [&b""[..], b"{}", b"\r\n\r\n", b"\xff\xfe\x00\x80", b"\x1f\x8b\x08\x00gzip or so", &every_byte] {
        for delivery in [Delivery::circleci(body), Delivery::circleci(body).chunked(7)] {
            let seen = rig.forwards(&delivery);
            assert_eq!(seen.body, body);
            assert_eq!(seen.one("content-length"), body.len().to_string());
            assert_eq!(seen.all("transfer-encoding"), [""; 0]);
        }
    }
}

#[test]
fn a_body_of_exactly_the_default_limit_of_1_mib_arrives_whole() {
    let mut rig = Rig::start();
    let body: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    assert!(rig.forwards(&Delivery::circleci(&body)).body == body);
    assert!(rig.forwards(&Delivery::circleci(&body).chunked(10_000)).body == body);
    rig.refuses(&Delivery::circleci([&body[..], b"x"].concat()).bytes(), 413, "body_too_large");
    rig.wait_for_gauge("hooklatch_buffered_bytes", 0.0);
}

#[test]
fn content_codings_are_left_alone() {
    let seen = Rig::start().forwards(&Delivery::circleci(b"\x1f\x8b\x08\x00").header("Content-Encoding", "gzip"));
    assert_eq!(seen.one("content-encoding"), "gzip");
    assert_eq!(seen.body, b"\x1f\x8b\x08\x00");
}

#[test]
fn chunk_extensions_and_trailers_are_dropped() {
    let mut request = Delivery::circleci("abcdef").chunked(3).head();
    request
        .extend_from_slice(b"3;name=value\r\nabc\r\n3\r\ndef\r\n0\r\nHooklatch-Verified: true\r\nX-Trailer: x\r\n\r\n");
    let seen = Rig::start().forwards_bytes(&request);
    assert_eq!(seen.body, b"abcdef");
    assert_eq!(seen.one("hooklatch-verified"), "true");
    assert_eq!(seen.all("x-trailer"), [""; 0]);
}

#[test]
fn the_values_of_a_header_arrive_in_order_with_duplicates() {
    let seen = seen_with(&[b"X-Many: 1", b"x-one: a", b"X-MANY: 2, 3", b"x-many: 1", b"x-many:"]);
    assert_eq!(seen.all("x-many"), ["1", "2, 3", "1", ""]);
    assert_eq!(seen.all("x-one"), ["a"]);
}

#[test]
fn names_arrive_in_the_spelling_in_which_they_came() {
    let lines: [&[u8]; 6] =
        [b"X-Civo-Signature: a", b"x-CASE: b", b"X-EMPTY:", b"X-Tight:c", b"X-Many: 1", b"x-many: 2"];
    let seen = seen_with(&lines);
    let got = seen.headers();
    for line in [&b"X-Civo-Signature: a"[..], b"x-CASE: b", b"X-EMPTY: ", b"X-Tight: c", b"X-Many: 1", b"x-many: 2"] {
        assert!(got.contains(&line), "{:?}", String::from_utf8_lossy(&seen.head));
    }
    // The gateway's own are spelt as its documentation has them.
    for name in ["Host", "Content-Length", "X-Request-Id", "X-Forwarded-For", "Hooklatch-Route", "Hooklatch-Verified"] {
        let is_it = |line: &&[u8]| line.starts_with(format!("{name}: ").as_bytes());
        assert!(got.iter().any(is_it), "{name}: {:?}", String::from_utf8_lossy(&seen.head));
    }
}

#[test]
fn odd_bytes_in_a_value_arrive_as_they_are() {
    let high: Vec<u8> = (0x80..=0xff).collect();
    let seen = seen_with(&[&[b"x-high: ", &high[..]].concat(), b"x-tab: a\tb", b"x-punctuation: \"<>\\,;={}[]|^`"]);
    assert_eq!(seen.raw("x-high"), [&high[..]]);
    assert_eq!(seen.raw("x-tab"), [b"a\tb"]);
    assert_eq!(seen.raw("x-punctuation"), [b"\"<>\\,;={}[]|^`"]);
}

#[test]
fn white_space_around_a_value_is_none_of_it() {
    let seen = seen_with(&[b"x-spaced: \t a b \t ", b"x-tight:c"]);
    assert_eq!(seen.raw("x-spaced"), [b"a b"]);
    assert_eq!(seen.raw("x-tight"), [b"c"]);
}

#[test]
fn what_is_meant_for_one_connection_only_is_removed() {
    let seen = seen_with(&[
        b"Connection: keep-alive, X-First",
        b"Connection: x-SECOND,, ,te",
        b"X-First: 1",
        b"X-Second: 2",
        b"X-Second: 3",
        b"X-Third: stays",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Trailer: X-Trailer",
        b"Upgrade: websocket",
    ]);
    let gone = [
        "connection",
        "x-first",
        "x-second",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "transfer-encoding",
    ];
    for name in gone {
        assert_eq!(seen.all(name), [""; 0], "{name}");
    }
    assert_eq!(seen.one("x-third"), "stays");
}

#[test]
fn a_connection_line_cannot_take_away_what_the_gateway_says() {
    let seen = seen_with(&[
        b"Connection: Hooklatch-Verified, X-Forwarded-For, Content-Length",
        b"Connection: Host, X-Request-Id, circleci-signature",
    ]);
    for name in ["hooklatch-verified", "x-forwarded-for", "content-length", "host", "x-request-id"] {
        assert!(!seen.one(name).is_empty(), "{name}");
    }
    assert_eq!(seen.body, b"{}");
}

#[test]
fn what_the_gateway_says_is_taken_from_nobody_else() {
    let seen = seen_with(&[
        b"Hooklatch-Verified: false",
        b"hooklatch-route: admin",
        b"HOOKLATCH-SCHEME: other",
        b"Hooklatch-Secret-Id: 7",
        b"Hooklatch-Anything: x",
        b"hooklatch_verified: false",
        b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
        b"X-Forwarded-For: 10.0.0.3",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: evil.example",
    ]);
    let lines: Vec<String> = seen.headers().iter().map(|line| String::from_utf8_lossy(line).to_lowercase()).collect();
    let mut own: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.starts_with("hooklatch")).collect();
    own.sort_unstable();
    let id = own.remove(0).strip_prefix("hooklatch-delivery-id: ").and_then(|id| uuid::Uuid::parse_str(id).ok());
    assert_eq!(id.map(|id| id.get_version_num()), Some(7), "{lines:?}");
    assert_eq!(
        own,
        ["hooklatch-route: hook", "hooklatch-scheme: circleci", "hooklatch-secret-id: 0", "hooklatch-verified: true"]
    );
    assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "http");
    assert_eq!(seen.one("x-forwarded-host"), "gateway.example");
}

#[test]
fn the_host_is_the_upstreams_or_on_request_the_senders() {
    let mut rig = Rig::start();
    let address = rig.upstream.address.to_string();
    let seen = rig.forwards(&Delivery::circleci("{}").host("Hooks.Example.com:8443"));
    assert_eq!((seen.one("host"), seen.one("x-forwarded-host")), (address, "Hooks.Example.com:8443".to_owned()));

    let preserve = |upstream| format!("upstream: {{ url: \"http://{upstream}\", host_header: preserve }}");
    let mut rig = Rig::of_routes("circleci", |upstream| route("circleci", &preserve(upstream)));
    let seen = rig.forwards(&Delivery::circleci("{}").host("Hooks.Example.com:8443"));
    assert_eq!(seen.one("host"), "Hooks.Example.com:8443");
    assert_eq!(seen.one("x-forwarded-host"), "Hooks.Example.com:8443");
}

#[test]
fn the_host_of_a_target_in_absolute_form_counts_before_the_host_line() {
    let mut rig = Rig::start();
    let seen = rig.forwards(&Delivery::circleci("{}").target("http://target.example/hook?q"));
    assert_eq!(seen.line(), "POST /in?q HTTP/1.1");
    assert_eq!(seen.one("x-forwarded-host"), "target.example");
}

#[test]
fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let mut rig = Rig::start();
    for sane in ["a", "f058ebd6-02f7-4d3f-942e-904344e8cde5", "Root=1-67891233-abcdef", &"x".repeat(128)] {
        let seen = rig.forwards(&Delivery::circleci("{}").header("X-Request-Id", sane));
        assert_eq!(seen.one("x-request-id"), sane);
    }
    let mut made = Vec::new();
    for insane in ["", "a b", "a\"b", "\u{e4}", "<script>", &"x".repeat(129)] {
        let seen = rig.forwards(&Delivery::circleci("{}").header("X-Request-Id", insane));
        made.push(seen.one("x-request-id"));
    }
    let twice = Delivery::circleci("{}").header("X-Request-Id", "a").header("X-Request-Id", "b");
    made.push(rig.forwards(&twice).one("x-request-id"));
    made.push(rig.forwards(&Delivery::circleci("{}")).one("x-request-id"));
    assert!(made.iter().all(|id| id.len() == 36), "{made:?}");
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 8, "no two are the same");
}

#[test]
fn the_request_id_is_the_same_for_the_upstream_and_the_sender() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    let id = rig.request().one("x-request-id");
    rig.peer().write("HTTP/1.1 200 OK\r\nX-Request-Id: the upstream's\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(sender.receive().all("x-request-id"), [id]);
}

#[test]
fn an_http_1_0_sender_is_forwarded_as_http_1_1() {
    let mut rig = Rig::start();
    let delivery = Delivery::circleci("{}").version("HTTP/1.0");
    let seen = rig.forwards(&delivery);
    assert_eq!(seen.line(), "POST /in HTTP/1.1");
    assert_eq!(seen.body, b"{}");
    let seen = rig.forwards(&delivery.without("host"));
    assert_eq!(seen.one("host"), rig.upstream.address.to_string());
    assert_eq!(seen.all("x-forwarded-host"), [""; 0]);
}

#[test]
fn everything_else_arrives_and_nothing_is_added() {
    let seen = seen_with(&[
        b"User-Agent: Provider/1.0",
        b"Accept: */*",
        b"Accept-Encoding: gzip",
        b"Content-Type: application/json",
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
        b"Authorization: Bearer x",
        b"Cookie: a=b",
        b"Via: 1.1 proxy",
        b"Max-Forwards: 3",
        b"Origin: null",
        b"Range: bytes=0-1",
        b"If-None-Match: \"x\"",
    ]);
    let mut names: Vec<String> = seen
        .headers()
        .iter()
        .map(|line| String::from_utf8_lossy(line.split(|byte| *byte == b':').next().unwrap()).to_lowercase())
        .collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "accept-encoding",
        "authorization",
        "circleci-signature",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "hooklatch-delivery-id",
        "hooklatch-route",
        "hooklatch-scheme",
        "hooklatch-secret-id",
        "hooklatch-verified",
        "host",
        "if-none-match",
        "max-forwards",
        "origin",
        "range",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_method_goes_along() {
    let mut rig = Rig::with("methods: [POST, PUT, PATCH, GET, DELETE, OPTIONS]");
    for method in ["POST", "PUT", "PATCH", "GET", "DELETE", "OPTIONS"] {
        let seen = rig.forwards(&Delivery::circleci("{}").method(method));
        assert_eq!(seen.line(), format!("{method} /in HTTP/1.1"));
        assert_eq!(seen.body, b"{}");
    }
}

#[test]
fn a_get_without_a_body_says_that_there_is_none() {
    let mut rig = Rig::with("methods: [GET]");
    let mut request = Delivery::circleci("").method("GET").head_with(&[]);
    let seen = rig.forwards_bytes(&request);
    assert_eq!(seen.one("content-length"), "0");
    // The same for a POST without Content-Length.
    let mut rig = Rig::start();
    request = Delivery::circleci("").head_with(&[]);
    assert_eq!(rig.forwards_bytes(&request).one("content-length"), "0");
}

#[test]
fn an_exact_route_goes_to_the_upstreams_path_with_the_query_verbatim() {
    let mut rig = Rig::start();
    for (target, line) in [
        ("/hook", "POST /in HTTP/1.1"),
        ("/hook?", "POST /in? HTTP/1.1"),
        ("/hook?a=b&a=%2F%2f&c", "POST /in?a=b&a=%2F%2f&c HTTP/1.1"),
        ("/hook??x=/../y", "POST /in??x=/../y HTTP/1.1"),
        ("/hook?a;b='|{}[]`^", "POST /in?a;b='|{}[]`^ HTTP/1.1"),
    ] {
        assert_eq!(rig.forwards(&Delivery::circleci("{}").target(target)).line(), line);
    }
}

#[test]
fn a_prefix_route_hands_on_the_raw_bytes_that_follow_the_prefix() {
    let routes = |base: &'static str| {
        move |upstream| {
            format!(
                "  - {{ name: hook, path: /hooks/*, scheme: circleci, secrets: [{{ env: SECRET }}], \
                 upstream: \"http://{upstream}{base}\" }}\n"
            )
        }
    };
    for base in ["", "/"] {
        let mut rig = Rig::of_routes("circleci", routes(base));
        assert_eq!(rig.forwards(&Delivery::circleci("{}").target("/hooks/")).line(), "POST / HTTP/1.1");
        assert_eq!(rig.forwards(&Delivery::circleci("{}").target("/hooks/a?b")).line(), "POST /a?b HTTP/1.1");
    }
    for base in ["/base", "/base/"] {
        let mut rig = Rig::of_routes("circleci", routes(base));
        for rest in ["", "a/b?x=1", "a/", "%2e%2e/x", "../x", "./x", "/x", "//", ";p=1/x;q", "a%00b", "?", "%2F%2f"] {
            let seen = rig.forwards(&Delivery::circleci("{}").target(&format!("/hooks/{rest}")));
            assert_eq!(seen.line(), format!("POST /base/{rest} HTTP/1.1"));
        }
        rig.refuses_without_route(&Delivery::circleci("{}").target("/hooks").bytes(), 404, "no_route");
    }
}

#[test]
fn the_same_delivery_to_a_gateway_with_two_threads_arrives_the_same() {
    use crate::support::gateway::Gateway;
    use crate::support::upstream::Upstream;

    let upstream = Upstream::bind();
    let routes = route("circleci", &format!("upstream: \"http://{}/in\"", upstream.address));
    let gateway = Gateway::start_with("threads: 2", &routes, &[]);
    for _ in 0..8 {
        let mut sender = http::Connection::open(gateway.server);
        sender.write(&Delivery::circleci("{}").header("Connection", "close").bytes());
        // Each thread has connections of its own; one that this upstream closes is used by none.
        let mut peer = upstream.accept();
        assert_eq!(peer.request().body, b"{}");
        peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(sender.receive().status, 200);
    }
    drop(gateway);
}
