//! What lists, deliveries, routes and the status look like, and what odd questions are answered.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::api::{Call, json, problem};
use crate::support::gateway::{Gateway, SECRET};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

const SUMMARY: [&str; 17] = [
    "id",
    "received_at",
    "route",
    "scheme",
    "state",
    "reason",
    "status",
    "event_type",
    "event_id",
    "request_id",
    "peer",
    "method",
    "path",
    "request_bytes",
    "attempts",
    "next_attempt_at",
    "duration_ms",
];

fn list(queued: &Queued, query: &str) -> Vec<Value> {
    json(queued.admin(), &format!("/api/v1/deliveries?{query}"))["deliveries"].as_array().unwrap().clone()
}

/// The id of the newest delivery.
fn newest(queued: &Queued) -> String {
    list(queued, "limit=1")[0]["id"].as_str().unwrap().to_owned()
}

/// Sends a delivery, which the handler takes; returns its id once that is stored.
fn delivered(queued: &mut Queued, delivery: &Delivery) -> String {
    queued.accepts(delivery);
    let id = queued.takes().one("hooklatch-delivery-id");
    let path = format!("/api/v1/deliveries/{id}");
    poll("delivered", || json(queued.admin(), &path)["state"] == "delivered");
    id
}

#[test]
fn a_summary_has_all_of_its_keys_and_null_where_nothing_applies() {
    let mut queued = Queued::start("retry: { min_backoff: 1h }");
    queued.accepts(&Delivery::circleci("{}").target("/hook?x").header("X-Request-Id", "id-1"));
    queued.fails("500 Oops");
    queued.wait_for_state("retrying", 1.0);
    let deliveries = list(&queued, "");
    let [delivery] = &deliveries[..] else { panic!("{deliveries:?}") };
    let members: Vec<&String> = delivery.as_object().unwrap().keys().collect();
    assert_eq!(members, SUMMARY);
    let expected = [
        ("route", json!("hook")),
        ("scheme", json!("circleci")),
        ("state", json!("retrying")),
        ("reason", Value::Null),
        ("status", json!(500)),
        ("event_id", Value::Null),
        ("request_id", json!("id-1")),
        ("method", json!("POST")),
        ("path", json!("/hook")),
        ("request_bytes", json!(2)),
        ("attempts", json!(1)),
    ];
    for (key, value) in expected {
        assert_eq!(delivery[key], value, "{key}");
    }
    for key in ["received_at", "next_attempt_at"] {
        let time = delivery[key].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{key}: {time}");
    }
    assert!(delivery["peer"].as_str().unwrap().starts_with("127.0.0.1"));
}

#[test]
fn pages_follow_one_another_without_a_gap_or_an_overlap() {
    let mut queued = Queued::start("");
    let mut sent = Vec::new();
    for _ in 0..7 {
        queued.accepts(&Delivery::circleci("{}"));
        sent.insert(0, queued.takes().one("hooklatch-delivery-id"));
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = json(queued.admin(), &format!("/api/v1/deliveries?limit=3{before}"));
        let ids = page["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, sent);
}

#[test]
fn a_wrong_question_is_refused_with_a_reason() {
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for query in [
        "unknown=1",
        "routes=hook",
        "route=a&route=a",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=",
        "limit=x",
        "limit=1&limit=1",
        "before=x",
        "before=",
        "state=unheard-of",
        "status=x",
        "since=yesterday",
        "q=%ff",
        "%ff=1",
        "q=%",
        "q=unheard-of:x",
        "q=%22open",
        "q=a&q=b",
        "signatures=true",
    ] {
        let refused = Call::get(&format!("/api/v1/deliveries?{query}")).send(gateway.admin);
        assert_eq!(problem(&refused), (400, "bad_query".to_owned()), "{query}");
    }
    let mistake = Call::get("/api/v1/deliveries?q=route:hook%20unheard-of:x").send(gateway.admin).json();
    assert_eq!(mistake["at"], 11, "{mistake}");
    for (path, query) in [
        ("routes", "x=1"),
        ("routes/hook", "x"),
        ("status", "x"),
        (&format!("deliveries/{id}"), "x=1"),
        (&format!("deliveries/{id}"), "signatures=yes"),
        (&format!("deliveries/{id}/body"), "signatures=true"),
        (&format!("deliveries/{id}/curl"), "signatures=true&signatures=true"),
    ] {
        let refused = Call::get(&format!("/api/v1/{path}?{query}")).send(gateway.admin);
        assert_eq!(problem(&refused), (400, "bad_query".to_owned()), "{path}?{query}");
    }
    let long = format!("/api/v1/deliveries?q={}", "x".repeat(60_000));
    assert_eq!(Call::get(&long).send(gateway.admin).status, 400);
    let longer = format!("/api/v1/deliveries?q={}", "x".repeat(100_000));
    let refused = Call::get(&longer).send(gateway.admin).status;
    assert!([414, 431].contains(&refused), "{refused}");
}

#[test]
fn an_unknown_or_malformed_id_is_not_found() {
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    for id in [
        "x",
        "%00",
        "%ff",
        "..",
        "%2e%2e",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5dac96774bbcceb302099a8057",
        "%7B01890a5d-ac96-774b-bcce-b302099a8057%7D",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        &"9".repeat(5_000),
    ] {
        for part in ["", "/body", "/http", "/curl", "/har"] {
            let refused = Call::get(&format!("/api/v1/deliveries/{id}{part}")).send(gateway.admin);
            assert_eq!(problem(&refused), (404, "not_found".to_owned()), "{id}{part}");
        }
    }
    for name in ["x", "%00", "%ff", "none"] {
        let refused = Call::get(&format!("/api/v1/routes/{name}")).send(gateway.admin);
        assert_eq!(problem(&refused), (404, "unknown_route".to_owned()), "{name}");
    }
}

#[test]
fn a_route_shows_its_queue_its_circuit_and_its_secrets() {
    let mut queued = Queued::start("circuit: { failures: 1 }, retry: { min_backoff: 1h }");
    let before = json(queued.admin(), "/api/v1/routes/hook");
    let expected = json!({
        "name": "hook",
        "path": "/hook",
        "host": null,
        "scheme": "circleci",
        "upstream": format!("http://{}/in", queued.upstream.address),
        "delivery": "queue",
        "record": "metadata",
        "queue": {},
        "oldest_waiting_seconds": null,
        "paused": false,
        "circuit": "closed",
        "secrets": [{ "id": "0", "last_match_at": null }],
        "capture": null,
        "last_hour": { "accepted": 0, "duplicate": 0, "rejected": 0 },
    });
    let mut shown = before.clone();
    shown["last_hour"].as_object_mut().unwrap().retain(|key, _| key != "duplicate");
    let mut wanted = expected;
    wanted["last_hour"].as_object_mut().unwrap().retain(|key, _| key != "duplicate");
    assert_eq!(shown, wanted);
    queued.accepts(&Delivery::circleci("{}"));
    queued.fails("503 Busy");
    queued.wait_for_state("retrying", 1.0);
    let refused = queued.send(&Delivery::unsigned("{}"));
    assert_eq!(refused.status, 401);
    let after = json(queued.admin(), "/api/v1/routes/hook");
    assert_eq!(after["queue"]["retrying"], 1);
    assert_eq!((&after["circuit"], &after["last_hour"]["accepted"]), (&"open".into(), &1.into()));
    assert_eq!(after["last_hour"]["rejected"], 1);
    assert!(after["oldest_waiting_seconds"].is_u64());
    assert!(after["secrets"][0]["last_match_at"].as_str().unwrap().ends_with('Z'), "{after}");
    let all = json(queued.admin(), "/api/v1/routes");
    assert_eq!(all["routes"].as_array().unwrap().len(), 1);
}

#[test]
fn the_status_shows_the_store_and_the_last_load() {
    let queued = Queued::start("");
    let status = json(queued.admin(), "/api/v1/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["ready"], &status["read_only"]), (&true.into(), &false.into()));
    let store = &status["store"];
    assert_eq!(
        (&store["kind"], &store["state"], &store["max"]),
        (&"sqlite".into(), &"good".into(), &(10_u64 << 30).into())
    );
    assert!(store["bytes"].as_u64().unwrap() > 0 && store["free"].as_u64().unwrap() > 0, "{status}");
    assert_eq!((&status["reload"]["successful"], &status["records"]["dropped"]), (&true.into(), &0.into()));
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let store = &json(gateway.admin, "/api/v1/status")["store"];
    assert_eq!((&store["kind"], &store["max"], &store["free"]), (&"memory".into(), &Value::Null, &Value::Null));
}

#[test]
fn a_body_is_served_as_an_attachment_byte_for_byte() {
    let mut queued = Queued::start("record: full");
    let body = b"{\"n\":\"\x00\xff\r\n\"}";
    let id = delivered(&mut queued, &Delivery::circleci(body));
    let response = Call::get(&format!("/api/v1/deliveries/{id}/body")).send(queued.admin());
    assert_eq!((response.status, response.body.as_slice()), (200, &body[..]));
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    assert!(response.header("content-disposition").unwrap().starts_with("attachment"));
    let detail = json(queued.admin(), &format!("/api/v1/deliveries/{id}"));
    assert_eq!(detail["body"]["bytes"], body.len());
    assert!(detail["body"]["base64"].is_string() && detail["body"].get("text").is_none(), "{detail}");
    let attempt = &detail["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["status"], &attempt["result"]), (&1.into(), &200.into(), &"2xx".into()));
    assert_eq!(attempt["replay"], false);
    assert!(attempt["response_headers"].is_array(), "{attempt}");
}

#[test]
fn signatures_are_shown_on_demand_and_credentials_never() {
    let mut queued = Queued::start("record: full");
    let delivery = Delivery::circleci("{}").header("Authorization", "Basic c2VjcmV0").header("Cookie", "c=s3cr3t");
    let bytes = String::from_utf8(delivery.bytes()).unwrap();
    let signature = bytes.lines().find_map(|line| line.strip_prefix("circleci-signature: ")).unwrap().to_owned();
    let id = delivered(&mut queued, &delivery);
    for part in ["", "/http", "/curl", "/har"] {
        let path = format!("/api/v1/deliveries/{id}{part}");
        let hidden = Call::get(&path).send(queued.admin());
        let shown = Call::get(&format!("{path}?signatures=true")).send(queued.admin());
        assert_eq!((hidden.status, shown.status), (200, 200), "{part}: {hidden:?}");
        let text = |response: &crate::support::http::Response| String::from_utf8(response.body.clone()).unwrap();
        assert!(!text(&hidden).contains(&signature), "{part}");
        assert!(text(&shown).contains(&signature), "{part}: {}", text(&shown));
        for response in [&hidden, &shown] {
            for secret in ["c2VjcmV0", "s3cr3t", SECRET] {
                assert!(!text(response).contains(secret), "{part}: {}", text(response));
            }
        }
    }
    let detail = json(queued.admin(), &format!("/api/v1/deliveries/{id}"));
    let headers = detail["request_headers"].as_array().unwrap();
    let value = |name: &str| {
        let pair = headers.iter().find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
        pair.unwrap_or_else(|| panic!("no {name} in {headers:?}"))[1].clone()
    };
    assert_eq!((value("circleci-signature"), value("authorization")), (json!("hidden"), json!("redacted")));
    assert_eq!(detail["verification"], json!({ "verified": true, "secret_id": "0" }));
}

#[test]
fn what_is_not_kept_is_not_found_and_what_was_erased_is_gone() {
    let mut queued = Queued::start("");
    let id = delivered(&mut queued, &Delivery::circleci("{}"));
    for part in ["body", "http", "curl", "har"] {
        let refused = Call::get(&format!("/api/v1/deliveries/{id}/{part}")).send(queued.admin());
        assert_eq!(problem(&refused), (404, "no_body".to_owned()), "{part}");
    }
    let erased = Call::post(&format!("/api/v1/deliveries/{id}/erase"), &json!({})).send(queued.admin());
    assert_eq!(erased.status, 200, "{erased:?}");
    for part in ["body", "http", "curl", "har"] {
        let refused = Call::get(&format!("/api/v1/deliveries/{id}/{part}")).send(queued.admin());
        assert_eq!(problem(&refused), (410, "gone".to_owned()), "{part}");
    }
    assert_eq!(json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["state"], "erased");
}

#[test]
fn the_raw_request_is_what_explain_reads() {
    let mut queued = Queued::start("record: full");
    let body = b"{\"n\":\"\x00\xff\r\n\"}";
    let id = delivered(&mut queued, &Delivery::circleci(body).target("/hook?a=%20").header("X-Empty", ""));
    let raw = Call::get(&format!("/api/v1/deliveries/{id}/http?signatures=true")).send(queued.admin());
    assert!(raw.body.starts_with(b"POST /hook?a=%20 HTTP/1.1\r\n") && raw.body.ends_with(body), "{raw:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("request"), &raw.body).unwrap();
    let file = route("circleci", "upstream: \"http://127.0.0.1:1\"");
    fs::write(folder.path().join("gateway.yaml"), format!("routes:\n{file}")).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_hooklatch"))
        .args(["explain", "hook", "--request", "request"])
        .current_dir(folder.path())
        .env("SECRET", SECRET)
        .output()
        .unwrap();
    assert!(explained.status.success(), "{explained:?}");
}

#[test]
fn the_command_sends_the_same_request_from_an_empty_folder_by_either_shell() {
    let mut queued = Queued::start("record: full");
    let text = "it's 100% \\n \"$HOME\" `id`\n\ttab \u{202e}";
    for (body, kind) in [
        (&b"{\"n\":\"\x00\xff\r\n\x1b'%s\\\"}"[..], Some("application/octet-stream")),
        (text.as_bytes(), Some("text/plain; charset=\"utf-8\"")),
        (b"-n x", None),
        (b"", None),
    ] {
        let delivery = Delivery::circleci(body)
            .target("/hook?a=%20b&c[]={x}")
            .header("X-Quote", "it's \"$HOME\" `id` \\")
            .header("X-Twice", "one")
            .header("X-Twice", "two")
            .header("X-Empty", "");
        let delivery = kind.iter().fold(delivery, |delivery, kind| delivery.header("Content-Type", kind));
        queued.accepts(&delivery);
        queued.takes();
        let id = newest(&queued);
        let path = format!("/api/v1/deliveries/{id}/curl?signatures=true");
        let response = Call::get(&path).send(queued.admin());
        assert_eq!(response.status, 200, "{response:?}");
        let command = String::from_utf8(response.body).unwrap();
        let server = Upstream::bind();
        let command = command.replace("gateway.example", &server.address.to_string());
        for shell in ["sh", "bash"] {
            let folder = tempfile::tempdir().unwrap();
            let script = folder.path().join("script");
            fs::write(&script, &command).unwrap();
            let empty = folder.path().join("empty");
            fs::create_dir(&empty).unwrap();
            let curl = Command::new(shell).arg(&script).current_dir(&empty).spawn().unwrap();
            let mut peer = server.accept();
            let seen = peer.request();
            peer.answer();
            assert!(curl.wait_with_output().unwrap().status.success());
            assert_eq!(seen.line(), "POST /hook?a=%20b&c[]={x} HTTP/1.1");
            assert_eq!(seen.body, body, "{command}");
            assert_eq!(seen.all("x-quote"), ["it's \"$HOME\" `id` \\"]);
            assert_eq!((seen.all("x-twice").len(), seen.all("x-empty")), (2, vec![String::new()]));
            for own in ["accept", "user-agent", "expect"] {
                assert!(seen.all(own).is_empty(), "{own}: {command}");
            }
            assert_eq!(seen.all("content-type"), kind.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(seen.all("circleci-signature").len(), 1);
            assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "no file is left");
        }
    }
}

#[test]
fn a_har_file_has_the_request_once() {
    let mut queued = Queued::start("record: full");
    queued.accepts(&Delivery::circleci("{}").target("/hook?a=b+c").header("Content-Type", "application/json"));
    queued.takes();
    let id = newest(&queued);
    let har = Call::get(&format!("/api/v1/deliveries/{id}/har")).send(queued.admin()).json();
    let entries = har["log"]["entries"].as_array().unwrap();
    let [entry] = &entries[..] else { panic!("{har}") };
    let request = &entry["request"];
    assert_eq!((&har["log"]["version"], &request["method"]), (&"1.2".into(), &"POST".into()));
    assert_eq!(request["url"], "http://gateway.example/hook?a=b+c");
    assert_eq!(request["queryString"], json!([{ "name": "a", "value": "b c" }]));
    assert_eq!(
        (&request["postData"]["text"], &request["postData"]["mimeType"]),
        (&"{}".into(), &"application/json".into())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_query_string_is_a_fault_of_the_gateway(texts in proptest::collection::vec("[ -~]{0,60}|\\PC{0,20}", 16)) {
        let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
        for text in texts {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let raw: String = text.chars().filter(|c| c.is_ascii_graphic() && *c != '#').collect();
            for query in [format!("q={encoded}"), format!("since={encoded}"), format!("state={encoded}"), raw] {
                let response = Call::get(&format!("/api/v1/deliveries?{query}")).send(gateway.admin);
                prop_assert!(matches!(response.status, 200 | 400), "{}: {:?}", query, response);
            }
        }
    }
}

#[test]
fn what_has_made_room_is_gone() {
    let mut queued = Queued::with_server("", "keep: { delivered: 0s }", "circleci", "delivery: queue");
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.takes().one("hooklatch-delivery-id");
    queued.wait_for_delivered(1.0);
    let path = format!("/api/v1/deliveries/{id}");
    poll("gone", || Call::get(&path).send(queued.admin()).status == 410);
    for part in ["", "/body", "/http", "/curl", "/har"] {
        let refused = Call::get(&format!("{path}{part}")).send(queued.admin());
        assert_eq!(problem(&refused), (410, "gone".to_owned()), "{part}");
    }
    for act in ["replay", "discard", "erase", "explain"] {
        let refused = Call::post(&format!("{path}/{act}"), &json!({})).send(queued.admin());
        assert_eq!(problem(&refused), (410, "gone".to_owned()), "{act}");
    }
}
