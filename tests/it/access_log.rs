//! The line that a delivery has in the log, for machines and for people.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{self, Connection};
use crate::support::process::{BINARY, Process, Stream, Unread, poll};
use crate::support::sender::sha256;
use crate::support::served::{Served, route};

const SECRET: &str = "a-secret-for-access-log-tests";
const KIND: [(&str, &str); 1] = [("circleci-event-type", "workflow-completed")];
const EVENT: &[u8] = br#"{"type":"workflow-completed","id":"3888f21b"}"#;

/// A route whose scheme names its event in the body, and one where headers do.
fn routes() -> String {
    let github = "  - { name: gh, path: /gh, scheme: github, secrets: [{ file: s }], upstream: UPSTREAM }\n";
    route("ci", "[{ file: s }]", "") + github
}

fn serve(server: &str) -> Served {
    Served::start_with(&format!("listen: 127.0.0.1:0, threads: 1, {server}"), &routes(), &[("s", SECRET)])
}

fn circleci(path: &str, secret: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let signature = format!("v1={}", sha256(secret, body));
    http::post(path, headers.iter().copied().chain([("circleci-signature", signature.as_str())]), body)
}

fn github(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let signature = format!("sha256={}", sha256(SECRET, body));
    http::post("/gh", headers.iter().copied().chain([("x-hub-signature-256", signature.as_str())]), body)
}

/// The lines about deliveries of a gateway that has ended.
fn lines(served: &Served) -> Vec<Value> {
    let printed = served.gateway.process.printed(Stream::Stderr);
    let entries = printed.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone());
    entries.filter(|fields| fields["message"] == "delivery").collect()
}

#[test]
fn a_log_that_nobody_reads_delays_nothing_and_its_lost_lines_are_counted() {
    let served = serve("access_log: all");
    let gateway = Unread::start(&served.path("gateway.yaml"));
    let delivery = circleci("/ci", SECRET, &KIND, EVENT);
    let mut sender = Connection::open(gateway.server);
    // The pipe takes some hundred lines, and some thousand may wait.
    for _ in 0..6_000 {
        sender.write(&delivery);
        assert_eq!(sender.receive().status, 200);
    }
    let dropped = || {
        let text = String::from_utf8(http::send(gateway.admin, &http::get("/metrics")).body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("hooklatch_log_dropped_total "));
        value.unwrap().parse::<f64>().unwrap()
    };
    poll("that lines are dropped", || dropped() > 0.0);
}

#[test]
fn a_line_tells_what_a_delivery_was_what_became_of_it_and_how_long_it_took() {
    let mut served = serve("access_log: all");
    assert_eq!(http::send(served.gateway.server, &circleci("/ci?token=t", SECRET, &KIND, EVENT)).status, 200);
    let push = [("x-github-event", "push"), ("x-github-delivery", "72d3162e")];
    assert_eq!(http::send(served.gateway.server, &github(&push, b"{}")).status, 200);
    assert_eq!(http::send(served.gateway.server, &circleci("/ci", "another-secret", &KIND, EVENT)).status, 401);
    assert!(served.gateway.process.terminate().success());

    let lines = lines(&served);
    let [forwarded, pushed, refused] = lines.as_slice() else { panic!("{lines:#?}") };
    let told = |line: &Value, field: &str| line[field].as_str().map(str::to_owned);
    for (line, kind, id) in [
        (forwarded, "workflow-completed", "3888f21b"),
        (pushed, "push", "72d3162e"),
        (refused, "workflow-completed", "3888f21b"),
    ] {
        assert_eq!((told(line, "event_type").as_deref(), told(line, "event_id").as_deref()), (Some(kind), Some(id)));
        assert!(line["verification_seconds"].as_f64() <= line["seconds"].as_f64(), "{line}");
    }
    assert_eq!(forwarded["request_bytes"], EVENT.len());
    assert_eq!(forwarded["path"], "/ci");
    assert_eq!((&forwarded["status"], &forwarded["upstream_status"]), (&200.into(), &200.into()));
    assert!(forwarded["upstream_seconds"].as_f64().unwrap() > 0.0);
    assert!(forwarded["response_bytes"].is_u64(), "{forwarded}");
    assert_eq!(refused["reason"], "signature_mismatch");
    assert!(refused.get("upstream_seconds").is_none() && refused.get("upstream_status").is_none(), "{refused}");
}

#[test]
fn what_a_sender_calls_its_event_cannot_garble_the_log() {
    let mut served = serve("access_log: all");
    let long = "x".repeat(300);
    let request = github(&[("x-github-event", "a\tb\u{e4}"), ("x-github-delivery", &long)], b"{}");
    assert_eq!(http::send(served.gateway.server, &request).status, 200);
    let body = br#"{"id":"a\nlevel=\"ERROR\" \u001b[31m"}"#;
    assert_eq!(http::send(served.gateway.server, &circleci("/ci", SECRET, &[], body)).status, 200);
    assert!(served.gateway.process.terminate().success());
    let lines = lines(&served);
    assert_eq!(lines[0]["event_type"], "a?b??");
    assert_eq!(lines[0]["event_id"], "x".repeat(128));
    assert_eq!(lines[1]["event_id"], "a?level=\"ERROR\" ?[31m");
    assert!(lines[1].get("event_type").is_none(), "{}", lines[1]);
}

#[test]
fn the_line_of_a_body_that_differs_from_what_was_signed_says_that_the_signature_is_right() {
    let icr = "  - { name: icr, path: /icr, scheme: icr, secrets: [{ file: s }], upstream: UPSTREAM }\n";
    let mut served = Served::start(icr, &[("s", SECRET)]);
    let signed = "eyJldmVudCI6Imluc3RhbGxlZCJ9"; // {"event":"installed"}
    let signature = format!("sha256={}", sha256(SECRET, signed.as_bytes()));
    let body = format!(r#"{{"event":"removed","signedData":"{signed}"}}"#);
    let delivery = http::post("/icr", [("x-icr-signature-256", &*signature)], body.as_bytes());
    assert_eq!(http::send(served.gateway.server, &delivery).status, 401);
    assert!(served.gateway.process.terminate().success());
    let lines = lines(&served);
    assert_eq!((lines.len(), &lines[0]["reason"]), (1, &"payload_mismatch".into()));
    let hint = lines[0]["hint"].as_str().unwrap();
    assert!(hint.starts_with("the signature is right, but fields outside of what it covers differ"), "{hint}");
    assert!(hint.contains("`hooklatch explain ROUTE --request FILE`"), "{hint}");
}

/// One that is let in and one that is not, with request ids of their own.
fn send_two(address: SocketAddr) {
    for (id, secret, status) in [("id-let-in", SECRET, 200), ("id-refused", "another-secret", 401)] {
        let headers = [KIND[0], ("x-request-id", id)];
        assert_eq!(http::send(address, &circleci("/ci", secret, &headers, EVENT)).status, status);
    }
}

#[test]
fn the_lines_for_people_and_for_machines_have_the_same_fields() {
    let mut served = serve("access_log: all");
    send_two(served.gateway.server);
    assert!(served.gateway.process.terminate().success());
    let machines = lines(&served);

    let mut command = Command::new(BINARY);
    command.args(["serve", "--log-format", "text", "-c"]).arg(served.path("gateway.yaml")).env_remove("RUST_LOG");
    let mut gateway = Process::start("the gateway", &mut command, "");
    let address: SocketAddr = gateway.wait_for("its address", |_, line| {
        let (_, address) = line.split_once("listener=\"server\" address=")?;
        address.trim().parse().ok()
    });
    send_two(address);
    assert!(gateway.terminate().success());
    let printed = gateway.printed(Stream::Stderr);
    let people: Vec<&str> = printed.into_iter().filter(|line| line.contains(" INFO delivery ")).collect();
    assert_eq!((machines.len(), people.len()), (2, 2), "{people:#?}");

    let either =
        ["route", "scheme", "outcome", "status", "request_id", "event_type", "event_id", "method", "path", "peer"];
    let either = either.into_iter().chain(["request_bytes", "response_bytes", "seconds", "verification_seconds"]);
    let forwarded: BTreeSet<&str> = either.clone().chain(["upstream_seconds", "upstream_status"]).collect();
    let refused: BTreeSet<&str> = either.chain(["reason", "hint"]).collect();
    for ((fields, line), expected) in machines.iter().zip(people).zip([forwarded, refused]) {
        let mut fields = fields.as_object().unwrap().clone();
        fields.remove("message");
        assert_eq!(fields.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        for (name, value) in fields {
            // These differ from one delivery to the next.
            let value = if name == "peer" || name.ends_with("seconds") { String::new() } else { value.to_string() };
            assert!(line.contains(&format!(" {name}={value}")), "{name}={value} in {line}");
        }
        let shown = line.split_whitespace().filter(|word| word.contains('=')).count();
        assert_eq!(shown, expected.len(), "{line}");
    }
}

#[test]
fn a_flood_of_refusals_is_sampled_and_what_is_left_out_is_told() {
    let mut served = serve("trusted_proxies: [127.0.0.1]");
    let request = http::post("/ci", [("x-forwarded-for", "192.0.2.1")], EVENT);
    let mut sender = Connection::open(served.gateway.server);
    let start = now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        sender.write(&request);
        assert_eq!(sender.receive().status, 401);
        sent += 1;
    }
    drop(sender);
    assert!(served.gateway.process.terminate().success());
    let lines = lines(&served);
    let told: u64 = lines.iter().map(|line| 1 + line["suppressed"].as_u64().unwrap_or(0)).sum();
    assert!(lines.len() <= 20 * 4 && lines.len() < sent, "{} lines for {sent}", lines.len());
    assert!(told > lines.len() as u64 && told <= sent as u64, "{told} told of {sent}");
    assert_eq!(lines[0]["client"], "192.0.2.1");
}

#[test]
fn the_table_of_fields_is_what_is_logged() {
    let nowhere = "telemetry: { otlp: { endpoint: 'http://127.0.0.1:1/v1/traces' } }\n";
    let server = "listen: 127.0.0.1:0, threads: 1, access_log: all, trusted_proxies: [127.0.0.1]";
    let mut served = Served::start_with(server, &(routes() + nowhere), &[("s", SECRET)]);
    let mut sender = Connection::open(served.gateway.server);
    sender.write(&circleci("/ci", SECRET, &KIND, EVENT));
    sender.receive();
    let refused = http::post("/ci", [("x-forwarded-for", "192.0.2.1")], EVENT);
    let start = now();
    while start.elapsed() < Duration::from_millis(1500) {
        sender.write(&refused);
        sender.receive();
    }
    drop(sender);
    assert!(served.gateway.process.terminate().success());
    let lines = lines(&served);
    let logged: BTreeSet<&String> = lines.iter().flat_map(|line| line.as_object().unwrap().keys()).collect();
    let document = crate::docs::markdown::Document::read("docs/logs.md");
    let documented: BTreeMap<String, String> =
        document.table("Field").into_iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect();
    assert_eq!(documented.keys().collect::<BTreeSet<_>>(), logged);
    let shown: Value = serde_json::from_str(&document.blocks(&["json"])[0].text).unwrap();
    let shown: BTreeSet<&String> = shown["fields"].as_object().unwrap().keys().collect();
    assert!(shown.is_subset(&logged), "{shown:?}");
}

#[allow(clippy::disallowed_methods, reason = "bounds how long a flood lasts")]
fn now() -> Instant {
    Instant::now()
}
