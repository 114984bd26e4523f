//! What lists, deliveries, routes and the status look like, and what odd questions are answered.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::delivered;
use crate::support::api::{Call, json, problem};
use crate::support::gateway::Gateway;
use crate::support::http::Connection;
use crate::support::page::Page;
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

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

/// The newest delivery in a gateway with a route in proxy mode, once it is recorded.
fn newest(rig: &Rig) -> Value {
    let list = || json(rig.gateway.admin, "/api/v1/deliveries?limit=1")["deliveries"].clone();
    poll("it is recorded", || list()[0].is_object());
    json(rig.gateway.admin, &format!("/api/v1/deliveries/{}", list()[0]["id"].as_str().unwrap()))
}

#[test]
fn a_delivery_has_its_client_its_proxy_its_host_and_its_trace_in_memory_and_in_a_database() {
    let telemetry = "telemetry: { otlp: { endpoint: 'http://127.0.0.1:1/v1/traces' } }\n";
    for (server, client) in [("trusted_proxies: [127.0.0.1]", "192.0.2.1"), ("", "127.0.0.1")] {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let database = |folder: usize| format!("store: {{ path: {:?}, min_free: 0MiB }}\n", folders[folder].path());
        for sections in [String::new(), database(0), telemetry.to_owned(), database(1) + telemetry] {
            let mut rig = Rig::with_server_and_routes(server, |upstream| {
                format!("{}{sections}", route("circleci", &format!("upstream: \"http://{upstream}\"")))
            });
            rig.forwards(&Delivery::circleci("{}").header("X-Forwarded-For", "192.0.2.1"));
            let found = newest(&rig);
            assert_eq!([&found["client"], &found["peer"]], [client; 2], "{server} {sections}");
            assert_eq!(found["host"], "gateway.example");
            assert_eq!(found["verification"], json!({ "verified": true, "secret_id": "0" }));
            assert_eq!(found["trace_id"].is_string(), sections.contains("telemetry"), "{server} {sections}");
            assert_eq!(found["request_id"], found["id"]);
            let page = Page::get(rig.gateway.admin, &format!("/ui/deliveries/{}", found["id"].as_str().unwrap()));
            let from = if server.is_empty() { client.to_owned() } else { format!("{client} via 127.0.0.1") };
            assert!(page.html.contains(&format!(">{from}<")), "{from} in {}", page.html);
        }
    }
}

#[test]
fn a_host_that_is_not_ascii_is_not_recorded() {
    let rig = Rig::start();
    let response = rig.send("POST /hook HTTP/1.1\r\nHost: \u{202e}example.com\r\nContent-Length: 0\r\n\r\n".as_bytes());
    assert_eq!(response.status, 400);
    let found = newest(&rig);
    assert_eq!((&found["state"], &found["host"]), (&json!("refused"), &Value::Null));
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
        "upstreams": [{ "url": format!("http://{}/in", queued.upstream.address), "reachable": null }],
        "delivery": "queue",
        "record": "metadata",
        "queue": { "pending": 0, "retrying": 0, "dead": 0, "held": 0 },
        "oldest_waiting_seconds": null,
        "paused": false,
        "circuit": "closed",
        "secrets": [{ "id": "0", "last_match_at": null }],
        "capture": null,
        "last_hour": { "accepted": 0, "duplicate": 0, "rejected": 0 },
        "handler_ms": { "p50": null, "p95": null },
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
    let [p50, p95] = ["p50", "p95"].map(|part| after["handler_ms"][part].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p95, "{after}");
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
    let max = (32_u64 << 20).into();
    assert_eq!((&store["kind"], &store["max"], &store["free"]), (&"memory".into(), &max, &Value::Null));
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
fn the_first_token_of_notion_can_be_read_until_its_record_is_erased() {
    const TOKEN: &str = r#"{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}"#;
    let queued = Queued::of("notion", "delivery: proxy, record: full");
    assert_eq!(queued.send(&Delivery::unsigned(TOKEN).header("Content-Type", "application/json")).status, 200);
    poll("a record", || list(&queued, "").len() == 1);
    let id = list(&queued, "")[0]["id"].as_str().unwrap().to_owned();
    let body = || Call::get(&format!("/api/v1/deliveries/{id}/body")).send(queued.admin());
    assert_eq!((body().status, body().body.as_slice()), (200, TOKEN.as_bytes()));
    let is_in_a_file = || {
        std::fs::read_dir(queued.store()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
            memchr::memmem::find(&bytes, b"secret_tMrlL1qK5vuQ").is_some()
        })
    };
    assert!(is_in_a_file());
    let erased = Call::post(&format!("/api/v1/deliveries/{id}/erase"), &json!({})).send(queued.admin());
    assert_eq!(erased.status, 200, "{erased:?}");
    assert_eq!(body().status, 410);
    poll("the token has left every file", || !is_in_a_file());
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
    let erased = json(queued.admin(), &format!("/api/v1/deliveries/{id}"));
    assert_eq!(erased["state"], "erased");
    for key in ["peer", "method", "path", "event_type", "event_id", "request_id"] {
        assert_eq!(erased[key], Value::Null, "{key}");
    }
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

#[test]
fn what_became_of_a_request_is_its_state() {
    let mut rig = Rig::with("record: full");
    let states = |rig: &Rig| -> Vec<(String, String, Value, Value)> {
        let list = json(rig.gateway.admin, "/api/v1/deliveries");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of = |one: &Value| (text(&one["route"]), text(&one["state"]), one["reason"].clone(), one["status"].clone());
        list["deliveries"].as_array().unwrap().iter().map(of).collect()
    };
    rig.forwards(&Delivery::circleci("{\"forwarded\":1}"));
    assert_eq!(
        rig.send(&Delivery::unsigned("{\"refused\":1}").header("circleci-signature", "v1=00").bytes()).status,
        401
    );
    assert_eq!(rig.send(&Delivery::unsigned("{}").target("/elsewhere").bytes()).status, 404);
    poll("recorded", || states(&rig).len() == 3);
    let hook = |state: &str, reason: Value, status: u16| ("hook".to_owned(), state.to_owned(), reason, json!(status));
    assert_eq!(
        states(&rig),
        [
            ("none".to_owned(), "refused".to_owned(), json!("no_route"), json!(404)),
            hook("refused", json!("malformed_signature"), 401),
            hook("forwarded", Value::Null, 200),
        ]
    );
    let query = |query: &str| json(rig.gateway.admin, &format!("/api/v1/deliveries?{query}"))["deliveries"].clone();
    for (search, found) in [
        ("route=none", 1),
        ("state=refused", 2),
        ("state=refused&state=forwarded", 3),
        ("reason=no_route", 1),
        ("status=4xx", 2),
        ("q=is:refused%20-route:none", 1),
        ("since=1h", 3),
        ("until=1h", 0),
        ("q=path:x", 400),
    ] {
        let response = Call::get(&format!("/api/v1/deliveries?{search}")).send(rig.gateway.admin);
        let count =
            if response.status == 200 { query(search).as_array().unwrap().len() } else { response.status.into() };
        assert_eq!(count, found, "{search}");
    }
    let forwarded = query("state=forwarded")[0]["id"].as_str().unwrap().to_owned();
    let detail = json(rig.gateway.admin, &format!("/api/v1/deliveries/{forwarded}"));
    assert_eq!(detail["body"], json!({ "bytes": 15, "kept": 15, "text": "{\"forwarded\":1}" }));
    assert_eq!((&detail["attempts"][0]["number"], &detail["attempts"][0]["status"]), (&1.into(), &200.into()));
    let garbage = crate::support::http::send(rig.gateway.server, b"GET / HTTP/9\r\n\r\n");
    assert_eq!(garbage.status, 400);
    let no_request = || json(rig.gateway.admin, "/api/v1/deliveries?reason=bad_request")["deliveries"][0].clone();
    poll("recorded", || !no_request().is_null());
    for key in ["scheme", "method", "path"] {
        assert_eq!(no_request()[key], Value::Null, "{key}");
    }
}

#[test]
fn a_long_body_holds_no_other_answer_up() {
    let mut queued = Queued::start("record: full, max_body: 24MiB, record_body: 24MiB");
    let body = vec![0xff; 20 << 20];
    let id = delivered(&mut queued, &Delivery::circleci(&body));
    let mut slow = Connection::open(queued.admin());
    slow.write(&Call::get(&format!("/api/v1/deliveries/{id}")).bytes());
    for _ in 0..5 {
        assert_eq!(Call::get("/livez").send(queued.admin()).status, 200);
    }
    slow.stream().tcp().set_nonblocking(true).unwrap();
    let peeked = slow.stream().tcp().peek(&mut [0]);
    assert_eq!(peeked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the long answer is not there yet");
    slow.stream().tcp().set_nonblocking(false).unwrap();
    let detail = slow.receive().json();
    assert_eq!(detail["body"]["kept"], body.len());
}
