//! Endpoint challenges, by which providers check an endpoint before they deliver, and requests that must not be answered as one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hooklatch::{config, schemes};
use http::Request;

use crate::support::certificates::Files;
use crate::support::gateway::{Gateway, Metrics, OLD_SECRET, SECRET, Secrets, series};
use crate::support::http::{Response, send};
use crate::support::http2::Client;
use crate::support::rig::Rig;
use crate::support::sender::{Delivery, sha256};
use crate::support::served::Served;

use questions::{BY_HEAD, EVENT_GRID, IN_HEADERS, SLACK, ZOOM, asked, event_grid, get, meta, now, slack, zoom};

mod questions;

/// Providers whose challenges need a word that no built-in scheme has.
const OWN: &str = "schemes:
  event-grid:
    signature: { at: { query: code }, encoding: text }
    algorithm: token
    secret: utf8
    covers: nothing of the delivery
    challenge:
      - when: { at: { header: aeg-event-type }, is: { text: SubscriptionValidation } }
        signed: false
        echo: { at: { json: /0/data/validationCode } }
        answer: { json: { validationResponse: echo } }
      - method: OPTIONS
        signed: false
        echo: { at: { header: webhook-request-origin } }
        answer: { headers: { webhook-allowed-origin: echo } }
";

/// A gateway with a route called `hook` of this scheme, with options of the scheme and further keys of the route.
fn rig_with(scheme: &str, options: &str, keys: &str) -> Rig {
    Rig::of_routes(scheme, |upstream| yaml(upstream, scheme, options, keys))
}

/// The same with what the scheme needs.
fn rig(scheme: &str) -> Rig {
    let options = match scheme {
        "meta" => "verify_token: { env: OLD_SECRET }",
        "mandrill" | "trello" => "public_url: 'https://gateway.example/hook'",
        _ => "",
    };
    rig_with(scheme, options, "")
}

fn yaml(upstream: SocketAddr, scheme: &str, options: &str, keys: &str) -> String {
    let secret = match scheme {
        // In hexadecimal.
        "onfleet" => {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hexadecimal-secret");
            fs::write(&file, "0123456789abcdef").unwrap();
            format!("file: {file:?}")
        }
        _ => "env: SECRET".to_owned(),
    };
    format!(
        "  - {{ name: hook, path: /hook, scheme: {{ name: {scheme}, {options} }}, secrets: [{{ {secret} }}], \
         upstream: \"http://{upstream}/in\", {keys} }}\n{OWN}"
    )
}

fn outcome(scheme: &str, outcome: &str) -> String {
    series("hooklatch_requests_total", &[("route", "hook"), ("scheme", scheme), ("outcome", outcome)])
}

/// That a request is answered as a challenge, is counted as one and as nothing else, and the upstream sees none of it.
#[track_caller]
fn answers(rig: &Rig, scheme: &str, request: &[u8]) -> Response {
    let before = rig.gateway.metrics();
    let response = rig.send(request);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.all("x-request-id").len(), 1);
    assert_eq!(response.all("cache-control"), ["no-store"]);
    rig.upstream.expect_nothing();
    let after = rig.gateway.metrics();
    assert_eq!(after.counted_since(&before), BTreeMap::from([(outcome(scheme, "challenge"), 1.0)]));
    assert_eq!(timed(&after) - timed(&before), 1.0);
    response
}

fn timed(metrics: &Metrics) -> f64 {
    metrics.get("hooklatch_request_duration_seconds_count", &[("route", "hook"), ("outcome", "challenge")])
}

#[test]
fn each_provider_hears_what_it_documents() {
    for (scheme, challenge, kind, body) in asked() {
        let rig = rig(scheme);
        assert_eq!(rig.gateway.metrics().get(&outcome(scheme, "challenge"), &[]), 0.0);
        let response = answers(&rig, scheme, &challenge.bytes());
        assert_eq!(String::from_utf8_lossy(&response.body), body, "{scheme}");
        assert_eq!(response.all("content-type"), [kind], "{scheme}");
        assert_eq!(response.all("x-content-type-options"), ["nosniff"], "{scheme}");
        assert_eq!(response.all("connection"), [""; 0], "{scheme}");
    }
}

#[test]
fn an_answer_in_a_header_has_no_body() {
    for (scheme, method, asks, hears, value) in IN_HEADERS {
        let rig = rig(scheme);
        let response = answers(&rig, scheme, &Delivery::unsigned("").method(method).header(asks, value).bytes());
        assert_eq!(response.all(hears), [value], "{scheme}");
        assert_eq!((response.all("content-length"), response.all("content-type")), (vec!["0"], vec![]), "{scheme}");
    }
    let rig = rig("adobe-sign");
    let other = get("").header("X-AdobeSign-ClientId", "somebody-else");
    rig.refuses(&other.bytes(), 405, "method_not_allowed");
}

#[test]
fn a_ping_that_nobody_signs_is_answered_and_goes_no_further() {
    let form = "application/x-www-form-urlencoded";
    for (scheme, kind, ping, others) in [
        ("woocommerce", form, "webhook_id=17", ["webhook_id=", "webhook_id=x1", "webhook_id=1&webhook_id=2", "id=1"]),
        (
            "notion",
            "application/json",
            r#"{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}"#,
            [r#"{"verification_token":""}"#, r#"{"verification_token":"a b"}"#, r#"{"verification_token":1}"#, "{}"],
        ),
    ] {
        let rig = rig(scheme);
        let sent = |body: &str| Delivery::unsigned(body).header("Content-Type", kind);
        for delivery in [sent(ping), sent(ping).chunked(5)] {
            let response = answers(&rig, scheme, &delivery.bytes());
            assert_eq!((response.body.as_slice(), response.all("content-type")), (&b""[..], vec![]), "{scheme}");
        }
        for other in others {
            rig.refuses(&sent(other).bytes(), 401, "missing_signature");
        }
    }
    // A customer's name in JSON that reads as a form.
    let named = Delivery::unsigned(r#"{"name":"x&webhook_id=1&y"}"#).header("Content-Type", "application/json");
    rig("woocommerce").refuses(&named.bytes(), 401, "missing_signature");
}

#[test]
fn a_ping_by_a_header_is_answered_and_goes_no_further() {
    let rig = rig("scrapfly");
    let sent = |resource: &str| Delivery::unsigned("{}").header("X-Scrapfly-Webhook-Resource-Type", resource);
    assert_eq!(answers(&rig, "scrapfly", &sent("ping").bytes()).body, b"");
    rig.refuses(&sent("scrape").bytes(), 401, "missing_signature");
}

#[test]
fn head_is_answered_where_a_provider_asks_by_it() {
    for scheme in BY_HEAD {
        let rig = rig(scheme);
        let mut sender = rig.connect();
        for (target, status) in [("/hook", 200), ("/hook?x", 200), ("/elsewhere", 404)] {
            sender.write(&Delivery::unsigned("").method("HEAD").target(target).bytes());
            assert_eq!(sender.receive_head().status, status);
        }
        rig.upstream.expect_nothing();
        assert_eq!(rig.gateway.metrics().get(&outcome(scheme, "challenge"), &[]), 2.0);
        rig.refuses(&get("").bytes(), 405, "method_not_allowed");
    }
}

#[test]
fn every_provider_that_asks_something_is_among_those_above() {
    let asked = asked().into_iter().map(|(scheme, ..)| scheme);
    let tested: BTreeSet<&str> = asked
        .chain(IN_HEADERS.map(|(scheme, ..)| scheme))
        .chain(BY_HEAD)
        .chain(["notion", "scrapfly", "woocommerce"])
        .filter(|scheme| *scheme != "event-grid")
        .collect();
    let catalogue = schemes::names().filter(|name| schemes::find(name).unwrap().has_challenge());
    assert_eq!(tested, catalogue.collect());
}

#[test]
fn a_wrong_verify_token_is_no_challenge() {
    let rig = rig("meta");
    for wrong in [meta("subscribe", SECRET), meta("subscribe", ""), meta("unsubscribe", OLD_SECRET)] {
        rig.refuses(&wrong.bytes(), 405, "method_not_allowed");
    }
    // A route that gives no token answers none.
    let rig = rig_with("meta", "", "");
    assert!(!rig.gateway.metrics().all().keys().any(|series| series.contains("challenge")));
    rig.refuses(&meta("subscribe", OLD_SECRET).bytes(), 405, "method_not_allowed");
}

#[test]
fn a_method_that_the_route_does_not_take_is_let_in_for_a_challenge_alone() {
    let rig = rig("x");
    for request in [
        get(""),
        get("crc_token="),
        get("crc_token=%7B%7D"),
        get("crc_token=a&crc_token=b"),
        get("crc_token=a").method("OPTIONS"),
        get("crc_token=a").method("PUT"),
    ] {
        let response = rig.refuses(&request.bytes(), 405, "method_not_allowed");
        assert_eq!(response.all("allow"), ["POST"]);
    }
    // By the route's own method it is a delivery like any other.
    rig.refuses(&get("crc_token=a").method("POST").bytes(), 401, "missing_signature");
}

#[test]
fn a_signed_challenge_is_answered_only_if_it_verifies() {
    for (scheme, right, signature) in
        [("slack", slack(SLACK), "x-slack-signature"), ("zoom", zoom(ZOOM), "x-zm-signature")]
    {
        let rig = rig(scheme);
        rig.refuses(&right.clone().without(signature).bytes(), 401, "missing_signature");
        let wrong = format!("v0={}", "0".repeat(64));
        rig.refuses(&right.clone().without(signature).header(signature, &wrong).bytes(), 401, "signature_mismatch");
        let other = format!("{} ", if scheme == "slack" { SLACK } else { ZOOM });
        rig.refuses(&right.body(other).bytes(), 401, "signature_mismatch");
    }
}

#[test]
fn what_is_no_challenge_is_a_delivery() {
    let mut slack_rig = rig("slack");
    for body in [
        r#"{"type":"event_callback","challenge":"abc"}"#,
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","challenge":"<script>"}"#,
    ] {
        assert_eq!(slack_rig.forwards(&slack(body)).body, body.as_bytes());
    }
    let mut grid = rig("event-grid");
    let target = format!("/hook?code={SECRET}");
    let event = Delivery::unsigned(EVENT_GRID).header("aeg-event-type", "Notification").target(&target);
    assert_eq!(grid.forwards(&event).body, EVENT_GRID.as_bytes());
}

#[test]
fn what_need_not_be_signed_is_refused_as_before_if_it_is_no_challenge() {
    let rig = rig("event-grid");
    rig.refuses(&event_grid().body("[]").bytes(), 401, "missing_signature");
    rig.refuses(&event_grid().without("aeg-event-type").bytes(), 401, "missing_signature");
    let long = format!("{EVENT_GRID:5000}");
    rig.refuses(&event_grid().body(long.clone()).bytes(), 401, "missing_signature");
    rig.refuses(&event_grid().body(long).chunked(100).bytes(), 401, "missing_signature");
    // How a body is framed is a matter of each connection.
    answers(&rig, "event-grid", &event_grid().body(format!("{EVENT_GRID:4096}")).chunked(100).bytes());
    // A wrong token is no worse than none; a right one needs none.
    let with = |code: &str| event_grid().target(&format!("/hook?code={code}")).bytes();
    answers(&rig, "event-grid", &with("wrong"));
    answers(&rig, "event-grid", &with(SECRET));
}

#[test]
fn an_answer_is_no_signature_of_a_delivery() {
    // X signs the body itself, LinkedIn what follows `hmacsha256=`.
    let x = rig("x");
    let linkedin = rig("linkedin");
    let asks = |token: &str, query: &str, rig: &Rig| {
        let escaped = token.replace('+', "%2B").replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        rig.send(&get(&format!("{query}={escaped}")).bytes())
    };
    for body in ["a", "1", "true", "null", "YWJj", "a/b+c=="] {
        let token = asks(body, "crc_token", &x).json()["response_token"].as_str().unwrap().to_owned();
        let forged = Delivery::unsigned(body).header("x-twitter-webhooks-signature", &token);
        x.refuses(&forged.bytes(), 401, "signature_mismatch");

        let token = asks(&format!("hmacsha256={body}"), "challengeCode", &linkedin);
        let token = token.json()["challengeResponse"].as_str().unwrap().to_owned();
        linkedin.refuses(&Delivery::unsigned(body).header("x-li-signature", &token).bytes(), 401, "signature_mismatch");
    }
    for body in ["{}", r#"{"a":1}"#, "[]", "\"a\"", "a:b", "a%26b", "a%20b", "%00", "%C3%A9"] {
        assert_eq!(asks(body, "crc_token", &x).status, 405, "{body}");
        assert_eq!(asks(&format!("hmacsha256={body}"), "challengeCode", &linkedin).status, 405, "{body}");
    }
    let longest = "a".repeat(256);
    assert_eq!(asks(&longest, "crc_token", &x).status, 200);
    assert_eq!(asks(&format!("{longest}a"), "crc_token", &x).status, 405);
}

#[test]
fn a_signed_question_is_no_way_to_a_signature_of_a_delivery_either() {
    let zoom_rig = rig("zoom");
    let now = now();
    for text in [format!("v0:{now}:"), format!("v0:{now}:1"), "{}".to_owned()] {
        let body = format!(r#"{{"event":"endpoint.url_validation","payload":{{"plainToken":{text:?}}}}}"#);
        let mut sender = zoom_rig.connect();
        sender.write(&zoom(&body).bytes());
        // Not a challenge, so a delivery.
        let mut peer = zoom_rig.upstream.accept();
        assert_eq!(peer.request().body, body.as_bytes());
        peer.answer();
        assert_eq!(sender.receive().body, b"ok\n");
    }
}

#[test]
fn a_delivery_of_x_passes_beside_its_challenges() {
    let mut rig = rig("x");
    let body = r#"{"for_user_id":"1"}"#;
    let mac = base16ct::lower::decode_vec(sha256(SECRET, body.as_bytes())).unwrap();
    let signature = format!("sha256={}", STANDARD.encode(mac));
    let delivery = Delivery::unsigned(body).header("x-twitter-webhooks-signature", &signature);
    assert_eq!(rig.forwards(&delivery).body, body.as_bytes());
}

#[test]
fn what_one_route_signs_back_is_no_delivery_for_another_that_answers_no_challenges() {
    let asked = rig("x").send(&get("crc_token=abc").bytes());
    let token = asked.json()["response_token"].as_str().unwrap().to_owned();
    let forged = Delivery::unsigned("abc").header("x-twitter-webhooks-signature", &token);
    rig_with("x", "challenge: false", "").refuses(&forged.bytes(), 401, "signature_mismatch");
}

#[test]
fn a_challenge_that_is_turned_off_passes_as_any_request() {
    let rig = rig_with("x", "challenge: false", "");
    assert!(!rig.gateway.metrics().all().keys().any(|series| series.contains("challenge")));
    rig.refuses(&get("crc_token=challenge_string").bytes(), 405, "method_not_allowed");
    let mut rig = rig_with("slack", "challenge: false", "");
    assert_eq!(rig.forwards(&slack(SLACK)).body, SLACK.as_bytes());
    let rig = rig_with("event-grid", "challenge: false", "");
    rig.refuses(&event_grid().bytes(), 401, "missing_signature");
}

#[test]
fn a_route_without_challenges_has_no_series_for_them() {
    let rig = rig("civo");
    assert!(!rig.gateway.metrics().all().keys().any(|series| series.contains("challenge")));
    rig.refuses(&get("crc_token=a&challenge=a&hub.challenge=a").bytes(), 405, "method_not_allowed");
}

#[test]
fn a_routes_bounds_hold_for_challenges_too() {
    let rig = rig_with("x", "", "allowed_ips: [192.0.2.1]");
    rig.refuses(&get("crc_token=a").bytes(), 403, "ip_not_allowed");
    let rig = rig_with("x", "", "rate_limit: { per_second: 1, burst: 1 }");
    answers(&rig, "x", &get("crc_token=a").bytes());
    rig.refuses(&get("crc_token=a").bytes(), 429, "rate_limited");
}

#[test]
fn a_route_that_only_reports_answers_what_it_would_answer_otherwise() {
    let mut rig = rig_with("event-grid", "", "enforce: false");
    answers(&rig, "event-grid", &event_grid().bytes());
    let seen = rig.forwards(&event_grid().without("aeg-event-type"));
    assert_eq!(seen.one("hooklatch-verified"), "false");
    let mut rig = rig_with("slack", "", "enforce: false");
    answers(&rig, "slack", &slack(SLACK).bytes());
    let unsigned = slack(SLACK).without("x-slack-signature");
    assert_eq!(rig.forwards(&unsigned).one("hooklatch-verified"), "false");
}

#[test]
fn a_challenge_leaves_its_connection_usable_and_one_whose_body_is_still_to_come_ends_it() {
    let mut rig = rig("slack");
    let mut sender = rig.connect();
    for _ in 0..2 {
        sender.write(&slack(SLACK).bytes());
        assert_eq!(sender.receive().status, 200);
    }
    let event = slack(r#"{"type":"event_callback"}"#);
    sender.write(&event.bytes());
    rig.request();
    rig.peer().answer();
    assert_eq!(sender.receive().body, b"ok\n");

    let rig = self::rig("event-grid");
    let asks = Delivery::unsigned("{}").method("OPTIONS").header("WebHook-Request-Origin", "a.example");
    let mut sender = rig.connect();
    for _ in 0..2 {
        sender.write(&asks.bytes());
        assert_eq!(sender.receive().all("connection"), [""; 0]);
    }
    sender.write(&asks.head());
    assert_eq!(sender.receive().all("connection"), ["close"]);
}

#[test]
fn a_challenge_is_answered_by_http_2() {
    let files = Files::new();
    let server = format!("threads: 1, {}", files.server(""));
    let gateway = Gateway::start_with(&server, &yaml(([127, 0, 0, 1], 1).into(), "x", "", ""), &[]);
    let client = Client::connect(gateway.server, files.authority.client(&["h2"]));
    let get = |query: &str| {
        let request = Request::get(format!("https://gateway.example/hook?{query}")).body(Vec::new()).unwrap();
        client.start(request).wait()
    };
    let answer = get("crc_token=challenge_string");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["response_token"], "sha256=fY2uyjYu32yAU1V2eBOYbhB3DmgzGdPcFptwTbHBowQ=");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(get("crc_token=%22").status, 405);

    let gateway = Gateway::start_with(&server, &yaml(([127, 0, 0, 1], 1).into(), "event-grid", "", ""), &[]);
    let client = Client::connect(gateway.server, files.authority.client(&["h2"]));
    let request = Request::post("https://gateway.example/hook")
        .header("aeg-event-type", "SubscriptionValidation")
        .header("content-length", EVENT_GRID.len())
        .body(EVENT_GRID.as_bytes().to_vec());
    let answer = client.start(request.unwrap()).wait();
    assert_eq!((answer.status, answer.json()["validationResponse"].is_string()), (200, true));
    assert_eq!(gateway.metrics().get(&outcome("event-grid", "challenge"), &[]), 1.0);
}

#[test]
fn a_challenge_has_its_line_in_the_access_log_where_that_is_of_all() {
    for (setting, expected) in [("all", 1), ("refused", 0)] {
        let route = "  - { name: hook, path: /hook, scheme: x, secrets: [{ file: secret }], upstream: UPSTREAM }\n";
        let server = format!("listen: 127.0.0.1:0, threads: 1, access_log: {setting}");
        let mut served = Served::start_with(&server, route, &[("secret", SECRET)]);
        let response = send(served.gateway.server, &get("crc_token=canary_token").bytes());
        assert_eq!(response.status, 200);
        assert_eq!(served.gateway.process.terminate().code(), Some(0));
        let lines = served.gateway.process.printed(crate::support::process::Stream::Stderr);
        let told = lines.iter().filter(|line| line.contains(r#""outcome":"challenge""#)).count();
        assert_eq!(told, expected, "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("canary")), "{lines:?}");
        assert!(served.upstream.entries().is_empty());
    }
}

/// What a configuration with these options of the scheme `asks` is refused with.
fn errors(options: &str) -> Vec<String> {
    let text = format!(
        "routes:\n  - name: r\n    path: /r\n    scheme: {{ name: asks, {options} }}\n    secrets: [{{ env: SECRET }}]\n    \
         upstream: http://127.0.0.1:1\nschemes:\n  asks:\n    signature: {{ at: {{ header: sig }}, encoding: hex }}\n    \
         algorithm: {{ hmac: sha256 }}\n    secret: utf8\n    forms: [{{ name: body, content: [body] }}]\n    \
         parameters: [{{ name: verify_token, description: the token of the dashboard, secret: true }}]\n    challenge:\n      \
         method: GET\n      signed: false\n      when: {{ at: {{ query: t }}, is: {{ parameter: verify_token }} }}\n      \
         answer: {{}}\n"
    );
    let secrets = Secrets(&[("SECRET", SECRET), ("TOKEN", OLD_SECRET), ("EMPTY", "")]);
    match config::parse(&text, std::path::Path::new(""), &secrets) {
        Ok(config) => {
            let shown = format!("{config:?}");
            assert!(!shown.contains(OLD_SECRET), "{shown}");
            Vec::new()
        }
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_secret_of_a_challenge_comes_from_a_variable_or_a_file_and_must_be_there() {
    let literal = "routes[0].scheme.verify_token: a secret must not stand in this file: use env: NAME (an environment \
                   variable) or file: PATH (a file that holds it)";
    for (options, expected) in [
        ("verify_token: { env: TOKEN }", None),
        ("challenge: false", None),
        ("challenge: false, verify_token: { env: TOKEN }", None),
        ("", None),
        ("challenge: true", Some("routes[0].scheme.verify_token: is missing: asks needs the token of the dashboard")),
        ("verify_token: canary", Some(literal)),
        ("verify_token: 12", Some(literal)),
        (
            "verify_token: { env: NOWHERE }",
            Some(
                "routes[0].scheme.verify_token.env: environment variable NOWHERE is not set: \
                 export it where hooklatch is started (sudo and systemd do not pass it on by themselves)",
            ),
        ),
        (
            "verify_token: { env: EMPTY }",
            Some("routes[0].scheme.verify_token.env: environment variable EMPTY is empty: put the secret into it"),
        ),
        (
            "verify_token: { file: /nonexistent/token }",
            Some(
                "routes[0].scheme.verify_token.file: the file \"/nonexistent/token\" does not exist: write the secret into it, or correct its name",
            ),
        ),
        (
            "verify_token: { env: TOKEN, file: token }",
            Some("routes[0].scheme.verify_token: has both env and file: give one of them"),
        ),
        ("verify_token: {}", Some("routes[0].scheme.verify_token: needs env: NAME or file: PATH")),
        (
            "verify_token: { env: TOKEN }, challenge: maybe",
            Some("routes[0].scheme.challenge: expected true or false, found text"),
        ),
    ] {
        assert_eq!(errors(options), expected.into_iter().collect::<Vec<_>>(), "{options}");
    }
    let found = errors("verify_token: { value: canary }").concat();
    assert!(found.contains("a secret must not stand in this file") && !found.contains("canary"), "{found}");
}
