//! What the store has of each delivery when the gateway has stopped, by the `record` of its route.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use hooklatch::acts::Refused;
use hooklatch::routing::capture::Captured;
use hooklatch::store::details::Details;
use hooklatch::store::{Attempt, Shown, State, Stored};

use crate::support::api::json;
use crate::support::gateway::{Gateway, SECRET};
use crate::support::http::Connection;
use crate::support::process::poll;
use crate::support::queued::{Queued, open};
use crate::support::rig::{is_problem, route};
use crate::support::sender::Delivery;

/// Everything that is kept of a delivery.
struct Record {
    stored: Stored,
    attempts: Vec<Attempt>,
    details: Details,
    body: Option<Bytes>,
}

impl Record {
    fn state(&self) -> State {
        match self.stored.shown {
            Shown::Settled(state) => state,
            other => panic!("{other:?} is not settled"),
        }
    }

    /// The lines of the recorded request's head.
    fn lines(&self) -> Vec<String> {
        let request = self.details.request.as_ref().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        request.fields.iter().map(|line| format!("{}: {}", text(&line.name), text(&line.value))).collect()
    }
}

/// What the store has, the oldest first. Stops the gateway.
fn records(queued: &mut Queued) -> Vec<Record> {
    queued.stop();
    let stored = queued.stored();
    let store = open(&queued.store());
    hooklatch::app::runtime().unwrap().block_on(async {
        let mut records = Vec::new();
        for stored in stored.iter().rev() {
            let id = stored.delivery.id;
            let (stored, attempts) = store.get(id).await.unwrap().unwrap();
            let details = stored.delivery.details.decode().unwrap();
            records.push(Record { stored, attempts, details, body: store.body(id).await.unwrap() });
        }
        records
    })
}

/// A delivery of CircleCI's with an event.
fn event(id: u32) -> Delivery {
    Delivery::circleci(format!("{{\"type\":\"ping\",\"id\":\"{id}\"}}"))
        .header("circleci-event-type", "ping")
        .header("X-Request-Id", &format!("request-{id}"))
}

/// Sends a delivery to a route in proxy mode, whose handler answers with these bytes.
fn forwards(queued: &mut Queued, delivery: &Delivery, answer: &str) {
    let mut sender = queued.sending(delivery);
    queued.request();
    queued.peer.as_mut().unwrap().write(answer);
    sender.receive();
}

const OK: &str = "HTTP/1.1 200 OK\r\nX-Handler: yes\r\nSet-Cookie: session=c4nary\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_proxied_delivery_is_recorded_with_what_became_of_it() {
    let mut queued = Queued::of("circleci", "delivery: proxy");
    forwards(&mut queued, &event(1).target("/hook?a=b"), OK);
    let [record] = &records(&mut queued)[..] else { panic!("one record") };
    assert_eq!(record.state(), State::Forwarded);
    let delivery = &record.stored.delivery;
    assert_eq!((&*delivery.route, &*delivery.scheme, &*delivery.peer), ("hook", "circleci", "127.0.0.1"));
    assert_eq!((&*delivery.method, &*delivery.path), ("POST", "/hook"));
    assert_eq!((delivery.reason.as_deref(), delivery.status), (None, Some(200)));
    assert_eq!((delivery.event_type.as_deref(), delivery.event_id.as_deref()), (Some("ping"), Some("1")));
    assert_eq!(delivery.request_id().as_deref(), Some("request-1"));
    assert_eq!(delivery.request_bytes, 24);
    assert!(delivery.duration_ms.is_some_and(|took| took < 10_000));
    let (seconds, _) = delivery.id.get_timestamp().unwrap().to_unix();
    assert_eq!(i64::try_from(seconds).unwrap(), delivery.received_at / 1000);

    let details = &record.details;
    assert!(details.verified && !details.tls && !details.body_cut);
    assert_eq!(details.secret_id.as_deref(), Some("0"));
    assert_eq!(details.host.as_deref(), Some("gateway.example"));
    for time in [details.body_done_us, details.verification_us, details.upstream_us] {
        assert!(time.is_some_and(|time| time < 10_000_000), "{details:?}");
    }

    let [attempt] = &record.attempts[..] else { panic!("one attempt") };
    assert_eq!((attempt.number, &*attempt.result, attempt.status), (1, "2xx", Some(200)));
    assert!(!attempt.replay && attempt.error.is_none());
    assert!((0..10_000).contains(&(attempt.at - delivery.received_at)));

    assert!(delivery.head.is_empty() && record.body.is_none() && details.request.is_none(), "metadata has no request");
    assert!(attempt.response_head.is_empty());
}

#[test]
fn every_way_in_which_a_delivery_can_end_has_its_state() {
    let mut queued = Queued::of("circleci", "delivery: proxy, dedupe: { window: 1h, key: auto }");
    forwards(&mut queued, &event(1), "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    forwards(&mut queued, &event(1), OK);
    let duplicate = queued.send(&event(1));
    assert_eq!(duplicate.header("hooklatch-duplicate"), Some("true"));
    is_problem(&queued.send(&event(2).body("{}")), 401, "signature_mismatch");
    is_problem(&queued.send(&event(3).target("/elsewhere")), 404, "no_route");
    let garbage = crate::support::http::send(queued.server(), b"GET / HTTP/9\r\n\r\n");
    assert_eq!(garbage.status, 400);
    let mut sender = queued.sending(&event(4));
    queued.request();
    queued.peer.take().unwrap().slam();
    queued.upstream.accept().slam();
    is_problem(&sender.receive(), 502, "upstream_failed");

    let records = records(&mut queued);
    let told = records.iter().map(|record| {
        let delivery = &record.stored.delivery;
        (record.state(), &*delivery.route, delivery.status, delivery.reason.as_deref(), record.attempts.len())
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (State::Forwarded, "hook", Some(500), None, 1),
            (State::Forwarded, "hook", Some(200), None, 1),
            (State::Duplicate, "hook", Some(200), None, 0),
            (State::Refused, "hook", Some(401), Some("signature_mismatch"), 0),
            (State::Refused, "none", Some(404), Some("no_route"), 0),
            (State::Refused, "none", Some(400), Some("bad_request"), 0),
            (State::Failed, "hook", Some(502), Some("upstream_failed"), 1),
        ]
    );
    assert_eq!(*records[0].attempts[0].result, *"5xx");
    let failed = &records[6].attempts[0];
    assert_eq!((&*failed.result, failed.status), ("failed", None));
    assert!(failed.error.as_deref().is_some_and(|error| !error.is_empty()));
    assert!(!records[3].details.verified && records[3].details.secret_id.is_none());
    assert_eq!(records[4].stored.delivery.path, "/elsewhere");
}

#[test]
fn a_challenge_is_recorded_without_what_proves_the_provider() {
    let mut queued = Queued::of("smartsheet", "delivery: proxy, record: full");
    queued.send(&Delivery::unsigned("{}").header("Smartsheet-Hook-Challenge", "a-challenge"));
    let [record] = &records(&mut queued)[..] else { panic!("one record") };
    assert_eq!((record.state(), record.attempts.len()), (State::Challenge, 0));
    assert!(record.stored.delivery.head.is_empty(), "it cannot be sent to a handler");
}

#[test]
fn with_record_none_there_is_no_record() {
    let mut queued = Queued::of("circleci", "delivery: proxy, record: none");
    forwards(&mut queued, &event(1), OK);
    is_problem(&queued.send(&event(2).body("{}")), 401, "signature_mismatch");
    assert!(records(&mut queued).is_empty());

    let mut queued = Queued::start("record: none");
    queued.accepts(&event(1));
    queued.fails("500 No");
    queued.wait_for("hooklatch_queue_attempts_total", &[("result", "5xx")], 1.0);
    queued.wait_for_state("retrying", 1.0);
    queued.restart("record: none, retry: { min_backoff: 1ms, max_backoff: 1ms }");
    queued.takes();
    queued.wait_for_delivered(1.0);
    assert!(records(&mut queued).is_empty(), "it is kept only until it is delivered");
}

#[test]
fn with_record_full_head_and_body_are_kept_and_the_body_is_cut() {
    let mut queued = Queued::of("circleci", "delivery: proxy, record: full, record_body: 30B");
    forwards(&mut queued, &event(1).header("X-Two", "a").header("X-Two", "b").target("/hook?a=%20"), OK);
    let long = format!("{{\"id\":\"2\",\"x\":\"{}\"}}", "y".repeat(40_000));
    forwards(&mut queued, &Delivery::circleci(&long), OK);
    is_problem(&queued.send(&Delivery::circleci("{}").body("{\"id\":3}")), 401, "signature_mismatch");
    let [first, cut, refused] = &records(&mut queued)[..] else { panic!("three records") };

    assert_eq!(first.body.as_deref(), Some(&b"{\"type\":\"ping\",\"id\":\"1\"}"[..]));
    assert!(!first.details.body_cut && first.details.redacted.is_empty());
    let request = first.details.request.as_ref().unwrap();
    assert_eq!(
        (request.method.as_str(), request.target.as_str(), request.version.as_str()),
        ("POST", "/hook?a=%20", "HTTP/1.1")
    );
    let lines = first.lines();
    assert!(lines.contains(&"Host: gateway.example".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("circleci-signature: v1=")), "signatures are kept: {lines:?}");
    let twos: Vec<_> = lines.iter().filter(|line| line.starts_with("X-Two")).collect();
    assert_eq!(twos, ["X-Two: a", "X-Two: b"]);
    assert!(!first.stored.delivery.head.is_empty(), "it can be sent again");
    let head = String::from_utf8(first.attempts[0].response_head.to_vec()).unwrap();
    assert!(head.contains("x-handler: yes\r\n") && !head.contains("c4nary"), "{head}");

    assert_eq!((cut.body.as_deref(), cut.details.body_cut), (Some(&long.as_bytes()[..30]), true));
    assert_eq!(cut.stored.delivery.request_bytes, long.len() as u64);

    assert_eq!((refused.state(), refused.body.as_deref()), (State::Refused, Some(&b"{\"id\":3}"[..])));
    assert!(refused.details.request.is_some() && refused.stored.delivery.head.is_empty());
}

#[test]
fn a_queued_delivery_has_all_it_needs_until_it_is_delivered_and_then_what_the_route_keeps() {
    let long = format!("{{\"id\":\"1\",\"x\":\"{}\"}}", "y".repeat(1_000));
    for (keys, head, body) in [
        ("record: metadata", false, None),
        ("record: full, record_body: 20B", true, Some(&long[..20])),
        ("record: full", true, Some(&long[..])),
    ] {
        let mut queued = Queued::start(&format!("{keys}, retry: {{ min_backoff: 1h }}"));
        queued.accepts(&Delivery::circleci(&long));
        queued.fails("500 No");
        queued.wait_for_state("retrying", 1.0);
        let [waits] = &records(&mut queued)[..] else { panic!("one record") };
        assert_eq!(waits.body.as_deref(), Some(long.as_bytes()), "{keys}");
        assert!(waits.details.verified && !waits.stored.delivery.head.is_empty(), "{keys}");
        assert_eq!(waits.details.body_cut, keys.contains("20B"), "{keys}");

        queued.restart(&format!("{keys}, retry: {{ min_backoff: 1ms, max_backoff: 1ms }}"));
        assert_eq!(queued.takes().body, long.as_bytes());
        queued.wait_for_delivered(1.0);
        let [delivered] = &records(&mut queued)[..] else { panic!("one record") };
        assert_eq!((delivered.state(), delivered.attempts.len()), (State::Delivered, 2), "{keys}");
        assert_eq!(delivered.body.as_deref(), body.map(str::as_bytes), "{keys}");
        assert_eq!(!delivered.stored.delivery.head.is_empty(), head, "{keys}");
        assert_eq!(delivered.details.request.is_some(), head, "{keys}");
    }
}

/// Whether any file of the store has these bytes.
fn on_disk(queued: &Queued, bytes: &str) -> bool {
    fs::read_dir(queued.store()).unwrap().any(|file| {
        // SQLite removes its other files when it closes.
        let content = fs::read(file.unwrap().path()).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    })
}

#[test]
fn a_secret_is_nowhere_on_the_disk_once_its_delivery_does_not_wait() {
    for keys in ["delivery: proxy, record: full", "delivery: proxy", "delivery: queue, dedupe: false, record: full"] {
        let mut queued = Queued::of("gitlab", keys);
        let delivery = Delivery::unsigned("{\"a\":\"kept-in-the-body\"}")
            .header("X-Gitlab-Token", SECRET)
            .header("Authorization", "Bearer c4nary-authorization")
            .header("Cookie", "c4nary-cookie=1");
        if keys.contains("queue") {
            queued.accepts(&delivery);
            let seen = queued.request();
            assert_eq!(seen.one("x-gitlab-token"), SECRET, "the handler gets it");
            assert!(
                on_disk(&queued, SECRET) && on_disk(&queued, "c4nary-cookie"),
                "a delivery that waits has all it needs"
            );
            queued.answer("200 OK", "");
            queued.wait_for_delivered(1.0);
        } else {
            forwards(&mut queued, &delivery, OK);
        }
        is_problem(
            &queued.send(&delivery.clone().header("X-Gitlab-Token", "c4nary-another")),
            401,
            "ambiguous_signature",
        );
        is_problem(
            &queued.send(&Delivery::unsigned("{}").header("X-Gitlab-Token", "c4nary-wrong")),
            401,
            "signature_mismatch",
        );
        if keys.contains("full") {
            poll("the record is written", || on_disk(&queued, "kept-in-the-body"));
        }
        poll("the secret has left all files", || !on_disk(&queued, SECRET) && !on_disk(&queued, "c4nary"));
        let records = records(&mut queued);
        assert_eq!(records.len(), 3, "{keys}");
        assert!(!on_disk(&queued, SECRET) && !on_disk(&queued, "c4nary"), "{keys}");
        if keys.contains("full") {
            let lines = records[0].lines();
            for name in ["X-Gitlab-Token", "Authorization", "Cookie"] {
                assert!(lines.contains(&format!("{name}: redacted")), "{lines:?}");
                let redacted = format!("header {}", name.to_ascii_lowercase());
                assert!(records[0].details.redacted.contains(&redacted), "{keys}");
            }
            assert!(!records[0].stored.delivery.head.is_empty() && records[0].body.is_some(), "{keys}");
        }
    }
}

#[test]
fn a_secret_does_not_stay_because_its_route_has_another_scheme_by_now() {
    let in_header = Delivery::unsigned("{\"id\":1}").header("X-Gitlab-Token", SECRET);
    let in_body = Delivery::unsigned(format!("{{\"value\":[{{\"clientState\":\"{SECRET}\",\"id\":1}}]}}"));
    for (scheme, delivery) in [("gitlab", &in_header), ("microsoft-graph", &in_body)] {
        for record in ["metadata", "full"] {
            let keys = |times: &str| format!("delivery: queue, dedupe: false, record: {record}, retry: {{ {times} }}");
            let mut queued = Queued::of(scheme, &keys("min_backoff: 1h"));
            queued.accepts(delivery);
            queued.fails("500 No");
            queued.wait_for_state("retrying", 1.0);
            queued.restart_of("github", &keys("min_backoff: 1ms, max_backoff: 1ms"));
            queued.takes();
            queued.wait_for_delivered(1.0);
            poll("the secret has left all files", || !on_disk(&queued, SECRET));
            let [record] = &records(&mut queued)[..] else { panic!("one record") };
            assert_eq!(record.state(), State::Delivered, "{scheme}");
            assert!(!on_disk(&queued, SECRET), "{scheme}");
        }
    }
}

#[test]
fn a_secret_in_the_body_is_replaced_there() {
    let mut queued = Queued::of("microsoft-graph", "delivery: proxy, record: full");
    let body = format!("{{\"value\":[{{\"clientState\":\"{SECRET}\",\"id\":1}}]}}");
    forwards(&mut queued, &Delivery::unsigned(&body), OK);
    // It cannot be read, so the place of the secret is unknown.
    let broken = format!("{{\"value\":[{{\"clientState\":\"{SECRET}\"");
    assert_eq!(queued.send(&Delivery::unsigned(&broken)).status, 401);
    let records = records(&mut queued);
    assert!(!on_disk(&queued, SECRET));
    let replaced = body.replace(SECRET, "redacted");
    assert_eq!(records[0].body.as_deref(), Some(replaced.as_bytes()));
    assert_eq!(records[0].details.redacted, ["body"]);
    assert_eq!((&records[1].body, &records[1].details.redacted[..]), (&None, &["body".to_owned()][..]));
}

#[test]
fn a_flood_of_refusals_is_recorded_in_part_and_counted() {
    let mut queued = Queued::of("circleci", "delivery: proxy");
    let dropped =
        |queued: &Queued, reason| queued.metrics().get("hooklatch_records_dropped_total", &[("reason", reason)]);
    assert_eq!((dropped(&queued, "rate"), dropped(&queued, "full")), (0.0, 0.0), "there from the start");
    forwards(&mut queued, &event(1), OK);
    let mut sent = 0;
    while dropped(&queued, "rate") < 10.0 {
        for _ in 0..20 {
            assert_eq!(queued.send(&Delivery::unsigned("{}")).status, 401);
        }
        sent += 20;
    }
    let over = dropped(&queued, "rate") as usize;
    assert_eq!(json(queued.admin(), "/api/v1/status")["records"]["dropped"], over);
    forwards(&mut queued, &event(2), OK);
    let records = records(&mut queued);
    let of = |state| records.iter().filter(|record| record.state() == state).count();
    assert_eq!((of(State::Forwarded), of(State::Refused)), (2, sent - over));
}

#[test]
fn records_outlive_a_restart() {
    let mut queued = Queued::of("circleci", "delivery: proxy");
    forwards(&mut queued, &event(1), OK);
    queued.restart_of("circleci", "delivery: proxy");
    forwards(&mut queued, &event(2), OK);
    let records = records(&mut queued);
    let ids: Vec<_> = records.iter().map(|record| record.stored.delivery.event_id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), Some("2")]);
}

#[test]
fn the_sizes_of_the_store_are_told_also_while_nothing_comes() {
    let queued = Queued::of("circleci", "delivery: proxy");
    poll("bytes", || queued.metrics().get("hooklatch_store_bytes", &[]) > 0.0);
    assert!(queued.metrics().get("hooklatch_store_free_bytes", &[]) > 0.0);
    let other = queued.store().join("another");
    fs::write(&other, vec![0; 3 << 20]).unwrap();
    poll("what was added", || queued.metrics().get("hooklatch_store_bytes", &[]) > f64::from(3 << 20));

    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:9/\""));
    assert_eq!(gateway.metrics().get("hooklatch_store_free_bytes", &[]), 0.0, "memory has no file system");
}

#[test]
fn duplicates_are_counted_by_their_route_from_the_start() {
    let mut queued = Queued::start("dedupe: { window: 1h, key: auto }");
    assert_eq!(queued.metric("hooklatch_duplicates_total", &[]), 0.0);
    assert_eq!(queued.metrics().get("hooklatch_dedupe_evicted_total", &[]), 0.0);
    queued.accepts(&event(1));
    queued.takes();
    queued.wait_for_delivered(1.0);
    assert_eq!(queued.send(&event(1)).header("hooklatch-duplicate"), Some("true"));
    assert_eq!(queued.metric("hooklatch_duplicates_total", &[]), 1.0);
}

// --- Captures ------------------------------------------------------------------------------------------------------------

/// Asks for a capture of the only route.
fn capture(queued: &Queued, max: u32) -> Captured {
    queued.acts().capture("hook", Duration::from_secs(60), max).unwrap()
}

#[test]
fn while_a_route_is_captured_its_refused_requests_are_kept_whole_and_then_no_more() {
    for keys in ["record: metadata", "record: none", "record: full, record_body: 1KiB"] {
        let mut queued = Queued::of("circleci", &format!("delivery: proxy, {keys}"));
        let long = format!("\"{}\"", "x".repeat(100_000));
        assert_eq!(queued.acts().captured("hook"), Ok(None));
        assert_eq!(capture(&queued, 3).left, 3);
        forwards(&mut queued, &event(1), OK);
        // By its head, in one piece and in chunks, and by its signature.
        is_problem(&queued.send(&Delivery::unsigned(&long).header("X-Number", "1")), 401, "missing_signature");
        let chunked = Delivery::circleci(&long).method("PUT").chunked(5_000).header("X-Number", "2");
        is_problem(&queued.send(&chunked), 405, "method_not_allowed");
        assert_eq!(queued.acts().captured("hook").unwrap().map(|captured| captured.left), Some(1));
        is_problem(&queued.send(&Delivery::circleci("{}").body("{ }")), 401, "signature_mismatch");
        assert_eq!(queued.acts().captured("hook"), Ok(None));
        is_problem(&queued.send(&Delivery::unsigned(&long)), 401, "missing_signature");
        let kept: Vec<Record> = records(&mut queued);
        let refused: Vec<&Record> = kept.iter().filter(|record| record.state() == State::Refused).collect();
        let bodies: Vec<_> = refused.iter().map(|record| record.body.as_deref()).collect();
        assert_eq!(bodies[..3], [Some(long.as_bytes()), Some(long.as_bytes()), Some(b"{ }".as_slice())], "{keys}");
        assert!(bodies[3..].iter().all(Option::is_none), "{keys}");
        assert!(refused[..2].iter().zip(1..).all(|(record, n)| record.lines().contains(&format!("X-Number: {n}"))));
        assert!(refused[..3].iter().all(|record| !record.details.body_cut));
    }
}

#[test]
fn a_captured_request_whose_body_breaks_a_bound_is_answered_as_without_a_capture() {
    let mut queued = Queued::of("circleci", "delivery: proxy, max_body: 10B, body_timeout: 200ms");
    capture(&queued, 10);
    is_problem(&queued.send(&Delivery::unsigned("a longer body")), 401, "missing_signature");
    let short = Delivery::unsigned("body");
    let mut sender = Connection::open(queued.server());
    sender.write(&short.head());
    sender.write(b"b");
    is_problem(&sender.receive(), 401, "missing_signature");
    let kept = records(&mut queued);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|record| record.body.is_none() && record.details.request.is_some()));
}

#[test]
fn a_capture_takes_no_credentials_and_lets_a_person_know_why_and_send_it() {
    let mut queued = Queued::of("circleci", "delivery: proxy");
    capture(&queued, 1);
    let delivery = Delivery::circleci("{}").method("PUT").header("Authorization", "Bearer c4nary");
    is_problem(&queued.send(&delivery), 405, "method_not_allowed");
    let id = records(&mut queued)[0].stored.delivery.id;
    assert!(
        !fs::read_dir(queued.store())
            .unwrap()
            .any(|file| { memchr::memmem::find(&fs::read(file.unwrap().path()).unwrap(), b"c4nary").is_some() })
    );
    queued.restart_of("circleci", "delivery: proxy");
    let runtime = hooklatch::app::runtime().unwrap();
    let told = runtime.block_on(queued.acts().explain(id)).unwrap();
    assert_eq!((told.reason, told.causes), (Some("method_not_allowed"), vec!["the route takes POST".to_owned()]));
    assert_eq!(runtime.block_on(queued.acts().replay(id)), Err(Refused::NotVerified));
    queued.stop();
    queued.restart_of("circleci", "delivery: proxy, methods: [PUT]");
    assert_eq!(runtime.block_on(queued.acts().replay(id)), Ok(1));
    let seen = queued.takes();
    assert_eq!((seen.line(), seen.body.as_slice()), ("PUT /in HTTP/1.1".to_owned(), b"{}".as_slice()));
    assert_eq!(seen.all("authorization"), [""; 0]);
}
