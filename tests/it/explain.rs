//! `explain`: the verdict and the cause for captured requests, through the binary.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hooklatch::clock::Clock;
use sha1::Sha1;
use sha2::Sha256;

use crate::support::http;
use crate::support::process::{BINARY, Stream};
use crate::support::sender::Delivery;
use crate::support::served::{Served, route};

const SECRET: &str = "canary-canary-canary-1";
const OLD: &str = "canary-canary-canary-2";
const OTHER: &str = "canary-canary-canary-3";
const WHSEC: &str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnk0";

const CONFIGURATION: &str = r#"
routes:
  - { name: civo, path: /civo, scheme: civo, secrets: [{ env: SECRET, id: current }, { env: OLD, id: old }], upstream: "http://127.0.0.1:1", max_body: 64KiB, host: hooks.example }
  - { name: github, path: /github/*, scheme: github, secrets: [{ env: OTHER, id: hub }], upstream: "http://127.0.0.1:1" }
  - { name: stripe, path: /stripe, scheme: stripe, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1", allowed_ips: [192.0.2.1] }
  - { name: standard, path: /standard, scheme: standard-webhooks, secrets: [{ env: WHSEC }], upstream: "http://127.0.0.1:1" }
  - { name: twilio, path: /twilio, scheme: { name: twilio, public_url: "https://hooks.example/twilio" }, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1" }
  - { name: gitlab, path: /gitlab, scheme: gitlab, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1", enforce: false }
  - { name: icr, path: /icr, scheme: icr, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1" }
  - { name: quoted, path: /quoted, scheme: civo, secrets: [{ env: QUOTED }], upstream: "http://127.0.0.1:1" }
"#;

/// The result of the command.
struct Explained {
    status: i32,
    text: String,
}

fn explain(route: &str, request: &[u8], arguments: &[&str]) -> Explained {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), CONFIGURATION).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["explain", route, "--request", "-"]).args(arguments).current_dir(folder.path());
    command.envs([("SECRET", SECRET), ("OLD", OLD), ("OTHER", OTHER), ("WHSEC", WHSEC)]);
    command.env("QUOTED", format!("\"{SECRET}\"")).env_remove("RUST_LOG");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(request).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for secret in [SECRET, OLD, OTHER, WHSEC] {
        assert!(!text.contains(secret), "{text}");
    }
    Explained { status: output.status.code().unwrap(), text }
}

#[track_caller]
fn accepted(route: &str, delivery: &Delivery) {
    let explained = explain(route, &delivery.bytes(), &[]);
    assert_eq!(explained.status, 0, "{}", explained.text);
    assert!(explained.text.starts_with("accepted: "), "{}", explained.text);
}

/// That it is refused for this reason, and which words the proven cause has.
#[track_caller]
fn caused(route: &str, delivery: &Delivery, reason: &str, words: &[&str]) {
    let Explained { status, text } = explain(route, &delivery.bytes(), &[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.starts_with(&format!("refused: {reason} (")), "{text}");
    assert!(text.contains("but for that, the signature is right"), "{text}");
    for word in words {
        assert!(text.lines().any(|line| line.starts_with("cause: ") && line.contains(word)), "{word} in {text}");
    }
}

fn sha1(secret: &str, content: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn sha256(secret: &[u8], content: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn now() -> u64 {
    Clock::system().unix().as_secs()
}

const BODY: &str = r#"{"event":"instance.created","name":"caf\u00e9","url":"a/b"}"#;

/// A delivery of Civo's whose body is signed as it was before something changed it.
fn civo(signed: &str, body: &str) -> Delivery {
    let signature = hex(&sha1(SECRET, signed));
    Delivery::unsigned(body).target("/civo").host("hooks.example").header("x-civo-signature", &signature)
}

fn stripe(time: &str, content: &str) -> Delivery {
    let signature = format!("t={time},v1={}", hex(&sha256(SECRET.as_bytes(), content)));
    Delivery::unsigned(BODY).target("/stripe").header("stripe-signature", &signature)
}

#[test]
fn what_the_gateway_takes_is_accepted() {
    accepted("civo", &civo(BODY, BODY));
    accepted("civo", &civo(BODY, BODY).chunked(7));
    let old = Delivery::unsigned(BODY).target("/civo").host("hooks.example");
    accepted("civo", &old.header("x-civo-signature", &hex(&sha1(OLD, BODY))));
    accepted("stripe", &stripe(&now().to_string(), &format!("{}.{BODY}", now())));
    accepted("gitlab", &Delivery::unsigned(BODY).target("/gitlab").header("x-gitlab-token", SECRET));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(60_000));
    accepted("civo", &civo(&large, &large));
}

#[test]
fn a_body_that_was_changed_on_the_way_is_named_with_the_change() {
    let value: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let indented = serde_json::to_string_pretty(&value).unwrap();
    let python = r#"{"event": "instance.created", "name": "caf\u00e9", "url": "a/b"}"#;
    let php = r#"{"event":"instance.created","name":"caf\u00e9","url":"a\/b"}"#;
    let plain = value.to_string();
    for (signed, body, words) in [
        (BODY, format!("{BODY}\n"), "without the trailing newline"),
        (&format!("{BODY}\n"), BODY.to_owned(), "with a trailing newline (LF), which is missing"),
        ("a\r\nb", "a\nb".to_owned(), "ending in CRLF, and end in LF"),
        ("a\nb", "a\r\nb".to_owned(), "ending in LF, and end in CRLF"),
        (BODY, format!("\u{feff}{BODY}"), "without the byte order mark"),
        (&plain, indented.clone(), "without white space"),
        (&indented, plain.clone(), "indented by two spaces"),
        (python, plain.clone(), "Python's json.dumps"),
        (php, plain.clone(), "PHP's json_encode"),
        (&plain, BODY.to_owned(), "no more escapes than needed"),
        (r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"b":{"d":3,"c":2},"a":1}"#.to_owned(), "keys sorted"),
        (&plain, serde_json::to_string(&plain).unwrap(), "as a JSON string"),
        (&plain, STANDARD.encode(&plain), "as base64"),
    ] {
        caused("civo", &civo(signed, &body), "signature_mismatch", &["the body was changed on the way", words]);
    }
    let deflated = miniz_oxide::deflate::compress_to_vec(BODY.as_bytes(), 6);
    let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &deflated, &[0; 8]].concat();
    let delivery = civo(BODY, "").body(gzip).header("content-encoding", "gzip");
    caused("civo", &delivery, "signature_mismatch", &["came compressed"]);
}

#[test]
fn a_signature_that_is_written_or_placed_in_another_way_is_named() {
    let unsigned = || Delivery::unsigned(BODY).target("/civo").host("hooks.example");
    let digest = sha1(SECRET, BODY);
    for (name, value, reason, words) in [
        ("x-civo-signature", STANDARD.encode(&digest), "malformed_signature", "written in base64"),
        ("x-civo-signature", format!("sha1={}", hex(&digest)), "malformed_signature", "sha1= stands before"),
        (
            "x-civo-signature",
            hex(&sha256(SECRET.as_bytes(), BODY)),
            "malformed_signature",
            "wrong algorithm: the signature is made with HMAC-SHA256",
        ),
        ("x-signature", hex(&digest), "missing_signature", "wrong header: the signature stands in x-signature"),
    ] {
        caused("civo", &unsigned().header(name, &value), reason, &[words]);
    }
    let repeated = civo(BODY, BODY).header("x-civo-signature", &hex(&digest));
    caused("civo", &repeated, "ambiguous_signature", &["is there 2 times"]);
    let github = Delivery::unsigned(BODY).target("/github/a");
    let bare = github.header("x-hub-signature-256", &hex(&sha256(OTHER.as_bytes(), BODY)));
    caused("github", &bare, "malformed_signature", &["sha256= is missing before"]);
    let list = format!("t={},v0={}", now(), hex(&sha256(SECRET.as_bytes(), &format!("{}.{BODY}", now()))));
    let other_key = Delivery::unsigned(BODY).target("/stripe").header("stripe-signature", &list);
    caused(
        "stripe",
        &other_key,
        "malformed_signature",
        &["v0= stands before the signature, and the scheme has v1= there"],
    );
}

#[test]
fn a_secret_that_is_another_or_is_taken_in_another_way_is_named() {
    let signed = |target: &str, secret: &str| {
        let delivery = Delivery::unsigned(BODY).target(target).host("hooks.example");
        delivery.header("x-civo-signature", &hex(&sha1(secret, BODY)))
    };
    let mismatch = "signature_mismatch";
    caused("civo", &signed("/civo", OTHER), mismatch, &["the secret \"hub\" of the route \"github\""]);
    caused("quoted", &signed("/quoted", SECRET), mismatch, &["the configured one is in quotes"]);
    caused("quoted", &signed("/quoted", "\"canary-canary-canary-1\"\n"), mismatch, &["ends in a newline"]);
    let time = now();
    let standard = |key: &[u8]| {
        let signature = format!("v1,{}", STANDARD.encode(sha256(key, &format!("id.{time}.{BODY}"))));
        let delivery = Delivery::unsigned(BODY).target("/standard").header("webhook-id", "id");
        delivery.header("webhook-timestamp", &time.to_string()).header("webhook-signature", &signature)
    };
    accepted("standard", &standard(b"canary-canary-canary4"));
    let expected = "taken as text, as it is, and the scheme takes it without whsec_, decoded from base64";
    caused("standard", &standard(WHSEC.as_bytes()), mismatch, &[expected]);
}

#[test]
fn other_content_and_another_url_are_named() {
    let time = now().to_string();
    let body_alone = "body was signed, and the scheme signs timestamp + \".\" + body";
    caused("stripe", &stripe(&time, BODY), "signature_mismatch", &[body_alone]);
    caused("stripe", &stripe(&time, &format!("{time}{BODY}")), "signature_mismatch", &["timestamp + body was signed"]);
    let twilio = |url: &str| {
        let content = format!("{url}A1");
        let delivery = Delivery::unsigned("A=1").target("/twilio").host("inside.example");
        let delivery = delivery.header("content-type", "application/x-www-form-urlencoded");
        delivery.header("x-twilio-signature", &STANDARD.encode(sha1(SECRET, &content)))
    };
    accepted("twilio", &twilio("https://hooks.example/twilio"));
    for url in ["https://hooks.example/twilio/", "http://hooks.example/twilio", "https://inside.example/twilio"] {
        let words =
            format!("the signature is for the URL {url}, and the route's public_url is https://hooks.example/twilio");
        caused("twilio", &twilio(url), "signature_mismatch", &[&words]);
    }
}

#[test]
fn a_time_that_is_off_is_named_with_how_far_and_can_be_judged_at_another_time() {
    let signed = |time: u64| stripe(&time.to_string(), &format!("{time}.{BODY}"));
    caused("stripe", &signed(now() - 7500), "stale_timestamp", &["it was signed 2 h 5 min before"]);
    caused("stripe", &signed(now() + 7500), "future_timestamp", &["2 h ", "after the time"]);
    caused("stripe", &signed(now() * 1000), "future_timestamp", &["is in milliseconds"]);
    let old = signed(1_700_000_000).bytes();
    for (at, status) in [("1700000300", 0), ("2023-11-14T22:18:20Z", 0), ("1700000301", 1), ("1699999699", 1)] {
        let explained = explain("stripe", &old, &["--at", at]);
        assert_eq!(explained.status, status, "{at}: {}", explained.text);
    }
    assert!(explain("stripe", &old, &[]).text.contains("--at 1700000000"));
    // Two mistakes at once.
    let both = stripe("1700000000", &format!("1700000000.{BODY}\n"));
    caused("stripe", &both, "stale_timestamp", &["before the time", "with a trailing newline (LF)"]);
}

#[test]
fn fields_that_differ_from_the_signed_payload_are_named() {
    let payload = r#"{"event":"installed","a":1}"#;
    let body = format!(r#"{{"event":"removed","a":1,"signedData":"{}"}}"#, STANDARD.encode(payload));
    let signature = format!("sha256={}", hex(&sha256(SECRET.as_bytes(), &STANDARD.encode(payload))));
    let delivery = Delivery::unsigned(&body).target("/icr").header("x-icr-signature-256", &signature);
    caused("icr", &delivery, "payload_mismatch", &["differs from the payload that was signed, at: event"]);
    let decoded = format!("sha256={}", hex(&sha256(SECRET.as_bytes(), payload)));
    let delivery = Delivery::unsigned(&body).target("/icr").header("x-icr-signature-256", &decoded);
    caused("icr", &delivery, "signature_mismatch", &["what /signedData decodes to was signed"]);
}

#[test]
fn what_nothing_explains_is_told_as_such_with_what_can_be_seen() {
    let wrong = Delivery::unsigned("").target("/civo").host("hooks.example");
    let wrong = wrong.header("x-civo-signature", &hex(&sha1("nobody's", "")));
    for (delivery, words) in [
        (wrong.clone(), "nothing that was tried makes the signature right"),
        (wrong, "the body is empty"),
        (civo(BODY, "{}").header("content-encoding", "gzip"), "something on the way decompressed it"),
        (civo(r#"{"c":1,"b":2,"a":3}"#, r#"{"a":3,"b":2,"c":1}"#), "the keys of the body are in alphabetical order"),
        (Delivery::unsigned(BODY).target("/civo").host("hooks.example"), "has the provider been given a secret"),
    ] {
        let Explained { status, text } = explain("civo", &delivery.bytes(), &[]);
        assert_eq!(status, 1, "{text}");
        assert!(text.lines().any(|line| line.starts_with("hint: ") && line.contains(words)), "{words}: {text}");
        assert!(!text.contains("but for that"), "{text}");
    }
}

#[test]
fn what_is_refused_for_more_than_its_signature_is_told_with_the_place_and_the_signature() {
    let large = "x".repeat(70_000);
    for (route, delivery, reason, words) in [
        ("civo", civo(BODY, BODY).target("/x"), "no_route", "the request's path is /x, and the route's is /civo"),
        (
            "civo",
            civo(BODY, BODY).host("a.example"),
            "no_route",
            "for the host a.example, and the route for hooks.example",
        ),
        ("civo", civo(BODY, BODY).method("PUT"), "method_not_allowed", "the route takes POST"),
        ("civo", civo(&large, &large), "body_too_large", "70000 bytes, and the route's max_body is 64KiB"),
    ] {
        let Explained { status, text } = explain(route, &delivery.bytes(), &[]);
        assert_eq!(status, 1, "{text}");
        assert!(text.starts_with(&format!("refused: {reason} (")), "{text}");
        assert!(text.contains(words) && text.contains("apart from that, the signature is right"), "{text}");
    }
    let elsewhere = explain("civo", &civo(BODY, BODY).target("/github/x").bytes(), &[]);
    assert_eq!(elsewhere.status, 1);
    assert!(elsewhere.text.contains("goes to the route \"github\""), "{}", elsewhere.text);
}

#[test]
fn captured_files_are_tolerated_where_it_is_clear_what_was_sent() {
    let bytes = civo(BODY, BODY).bytes();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let bare = text.replace("\r\n", "\n");
    let more = [bytes.as_slice(), b"\n"].concat();
    for (file, note) in [(bare.into_bytes(), "end in LF alone"), (more, "1 bytes follow the body")] {
        let Explained { status, text } = explain("civo", &file, &[]);
        assert_eq!(status, 0, "{text}");
        assert!(text.lines().any(|line| line.starts_with("note: ") && line.contains(note)), "{text}");
    }
    let Explained { status, text } = explain("civo", &bytes[..bytes.len() - 1], &[]);
    assert_eq!(status, 1);
    assert!(text.starts_with("refused: bad_request") && text.contains("1 are missing"), "{text}");
    let smuggled =
        String::from_utf8(bytes).unwrap().replace("Content-Length", "Transfer-Encoding: chunked\r\nContent-Length");
    let Explained { status, text } = explain("civo", smuggled.as_bytes(), &[]);
    assert_eq!(status, 1);
    assert!(text.starts_with("refused: bad_request"), "{text}");
}

#[test]
fn what_is_not_judged_is_told() {
    let delivery = stripe(&now().to_string(), &format!("{}.{BODY}", now()));
    assert!(explain("stripe", &delivery.bytes(), &[]).text.contains("allowed_ips was not looked at"));
    let Explained { status, text } = explain("gitlab", &Delivery::unsigned(BODY).target("/gitlab").bytes(), &[]);
    assert_eq!(status, 1);
    assert!(text.contains("enforce is false on this route"), "{text}");
}

#[test]
fn exit_statuses_tell_wrong_usage_and_a_wrong_configuration_apart() {
    let bytes = civo(BODY, BODY).bytes();
    assert_eq!(explain("nobody", &bytes, &[]).status, 2);
    assert_eq!(explain("civo", &bytes, &["--at", "yesterday"]).status, 2);
    assert_eq!(explain("civo", b"{}", &[]).status, 2);
    assert_eq!(explain("civo", &bytes, &["-c", "nowhere.yaml"]).status, 78);
    let missing = Command::new(BINARY).args(["explain", "civo"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_route_that_only_reports_logs_the_cause_once_in_a_while_and_tells_the_sender_nothing() {
    let routes = route("lax", "[{ file: one }]", "enforce: false") + &route("other", "[{ file: two }]", "");
    let mut served = Served::start(&routes, &[("one", SECRET), ("two", OTHER)]);
    for body in ["{}", "[]"] {
        let request = Delivery::circleci_with(OTHER, body).target("/lax").header("x-request-id", "an-id").bytes();
        let response = http::send(served.gateway.server, &request);
        assert_eq!(response.status, 200);
        assert!(!format!("{response:?}").contains("other"), "{response:?}");
    }
    let line = served.gateway.process.wait_for("the cause", |stream, line| {
        let entry: serde_json::Value = (stream == Stream::Stderr).then(|| serde_json::from_str(line).ok()).flatten()?;
        (entry["fields"]["message"] == "why a delivery does not verify").then_some(entry)
    });
    assert_eq!(line["level"], "WARN");
    let fields = &line["fields"];
    let named = ["route", "scheme", "reason", "request_id"].map(|key| fields[key].as_str().unwrap().to_owned());
    assert_eq!(named, ["lax", "circleci", "signature_mismatch", "an-id"]);
    assert_eq!(fields["proven"], true);
    assert_eq!(fields["causes"], "wrong secret: the signature was made with the secret \"0\" of the route \"other\"");
    served.gateway.process.terminate();
    let lines = served.gateway.process.printed(Stream::Stderr);
    assert_eq!(lines.iter().filter(|line| line.contains("why a delivery does not verify")).count(), 1);
    assert!(lines.iter().all(|line| !line.contains(SECRET) && !line.contains(OTHER)));
}

#[test]
fn the_start_and_a_reload_warn_of_weak_secrets() {
    let mut served = Served::start(&route("hook", "[{ file: one }]", ""), &[("one", "changeme")]);
    let warned = |stream, line: &str| {
        let entry: serde_json::Value = (stream == Stream::Stderr).then(|| serde_json::from_str(line).ok()).flatten()?;
        let fields = &entry["fields"];
        (fields["message"] == "a warning about the configuration").then(|| fields["at"].as_str().unwrap().to_owned())
    };
    let process = &served.gateway.process;
    let before: Vec<String> =
        process.printed(Stream::Stderr).iter().filter_map(|line| warned(Stream::Stderr, line)).collect();
    assert_eq!(before, ["routes[0].secrets[0].file"]);
    served.write("two", "short");
    served.configure(&route("hook", "[{ file: one }, { file: two }]", ""));
    served.gateway.process.signal("HUP");
    served.gateway.process.wait_for("the second warning", |stream, line| {
        (warned(stream, line)? == "routes[0].secrets[1].file").then_some(())
    });
}
