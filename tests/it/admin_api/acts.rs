//! Calls that change something, and `explain`.

use serde_json::{Value, json};

use crate::support::api::{Call, json, problem};
use crate::support::http::Response;
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::Rig;
use crate::support::sender::Delivery;

fn post(queued: &Queued, path: &str, body: &Value) -> Response {
    Call::post(&format!("/api/v1/{path}"), body).send(queued.admin())
}

/// A delivery that is dead, and its id.
fn dead(queued: &mut Queued) -> String {
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.fails("410 Gone").one("hooklatch-delivery-id");
    poll("dead", || state(queued, &id) == "dead");
    id
}

fn state(queued: &Queued, id: &str) -> String {
    json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_replay_goes_on_with_the_numbers_of_the_attempts() {
    let mut queued = Queued::start("");
    let id = dead(&mut queued);
    let replayed = post(&queued, &format!("deliveries/{id}/replay"), &json!({}));
    assert_eq!((replayed.status, replayed.json()), (202, json!({ "attempt": 2 })));
    let seen = queued.takes();
    assert_eq!((seen.one("hooklatch-delivery-id"), seen.one("hooklatch-replay")), (id.clone(), "true".to_owned()));
    assert_eq!(seen.one("hooklatch-attempt"), "2");
    poll("delivered", || state(&queued, &id) == "delivered");
    let detail = json(queued.admin(), &format!("/api/v1/deliveries/{id}"));
    let replays: Vec<&Value> =
        detail["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["replay"]).collect();
    assert_eq!(replays, [false, true]);
    // The body of a delivered one is not kept.
    assert_eq!(problem(&post(&queued, &format!("deliveries/{id}/replay"), &json!({}))), (409, "no_body".to_owned()));
}

#[test]
fn what_is_in_flight_is_not_replayed() {
    let mut queued = Queued::start("");
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.request().one("hooklatch-delivery-id");
    assert_eq!(problem(&post(&queued, &format!("deliveries/{id}/replay"), &json!({}))), (409, "in_flight".to_owned()));
    queued.answer("200 OK", "");
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_discarded_delivery_is_not_sent_any_more() {
    let mut queued = Queued::start("retry: { min_backoff: 1h }");
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.fails("500 Oops").one("hooklatch-delivery-id");
    queued.wait_for_state("retrying", 1.0);
    assert_eq!(post(&queued, &format!("deliveries/{id}/discard"), &json!({})).status, 200);
    assert_eq!(state(&queued, &id), "discarded");
    assert_eq!(
        problem(&post(&queued, &format!("deliveries/{id}/discard"), &json!({}))),
        (409, "not_waiting".to_owned())
    );
}

#[test]
fn a_call_for_an_unknown_delivery_route_or_run_is_not_found() {
    let queued = Queued::start("");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for id in [id, "x", "%00"] {
        for act in ["replay", "discard", "erase", "explain"] {
            let refused = post(&queued, &format!("deliveries/{id}/{act}"), &json!({}));
            assert_eq!(refused.status, 404, "{id} {act}: {refused:?}");
            problem(&refused);
        }
        let run = format!("/api/v1/replays/{id}");
        assert_eq!(Call::get(&run).send(queued.admin()).status, 404);
        let stop = Call::of("DELETE", &run).line("Content-Type: application/json").send(queued.admin());
        assert_eq!(stop.status, 404);
    }
    for act in ["pause", "resume", "capture"] {
        let refused = post(&queued, &format!("routes/x/{act}"), &json!({}));
        assert_eq!(problem(&refused), (404, "unknown_route".to_owned()), "{act}");
    }
}

#[test]
fn a_paused_route_waits_until_it_is_resumed() {
    let mut queued = Queued::start("");
    let paused = post(&queued, "routes/hook/pause", &json!({}));
    assert_eq!((paused.status, paused.json()), (200, json!({ "paused": true })));
    assert_eq!(json(queued.admin(), "/api/v1/routes/hook")["paused"], true);
    queued.accepts(&Delivery::circleci("{}"));
    queued.wait_for_state("pending", 1.0);
    queued.upstream.expect_nothing();
    assert_eq!(post(&queued, "routes/hook/resume", &json!({})).json(), json!({ "paused": false }));
    queued.takes();
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_capture_says_until_when_and_how_many() {
    let queued = Queued::start("");
    let captured = post(&queued, "routes/hook/capture", &json!({ "for": "1m", "max": 3 }));
    assert_eq!(captured.status, 200);
    let captured = captured.json();
    assert_eq!(captured["left"], 3);
    assert!(captured["until"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json(queued.admin(), "/api/v1/routes/hook")["capture"]["left"], 3);
    for body in
        [json!({ "for": "1" }), json!({ "for": 5 }), json!({ "max": -1 }), json!({ "max": 1.5 }), json!({ "x": 1 })]
    {
        assert_eq!(problem(&post(&queued, "routes/hook/capture", &body)), (400, "bad_body".to_owned()), "{body}");
    }
}

#[test]
fn a_bulk_replay_counts_first_and_says_how_far_it_is() {
    let mut queued = Queued::start("max_concurrent: 1");
    for _ in 0..3 {
        dead(&mut queued);
    }
    let counted = post(&queued, "replays", &json!({ "q": "state:dead", "dry_run": true }));
    assert_eq!((counted.status, counted.json()), (200, json!({ "matched": 3 })));
    let started = post(&queued, "replays", &json!({ "q": "state:dead", "max": 2, "per_second": 1000 }));
    assert_eq!(started.status, 202, "{started:?}");
    let started = started.json();
    assert_eq!(started["matched"], 2);
    let run = format!("/api/v1/replays/{}", started["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(queued.takes().one("hooklatch-replay"), "true");
    }
    poll("done", || json(queued.admin(), &run)["state"] == "done");
    let done = json(queued.admin(), &run);
    assert_eq!((&done["done"], &done["failed"], &done["left"]), (&2.into(), &0.into(), &0.into()));
    queued.wait_for_delivered(2.0);
    let stopped = Call::of("DELETE", &run).line("Content-Type: application/json").send(queued.admin());
    assert_eq!((stopped.status, &stopped.json()["state"]), (200, &"done".into()));
    for body in [
        json!({}),
        json!({ "q": 5 }),
        json!({ "q": "", "max": 0 }),
        json!({ "q": "", "per_second": 0 }),
        json!({ "q": "", "dry_run": "yes" }),
        json!({ "q": "", "dry-run": true }),
        json!([]),
    ] {
        assert_eq!(problem(&post(&queued, "replays", &body)), (400, "bad_body".to_owned()), "{body}");
    }
    let wrong = post(&queued, "replays", &json!({ "q": "unheard-of:x" }));
    assert_eq!(problem(&wrong), (400, "bad_query".to_owned()));
}

#[test]
fn calls_without_parameters_take_none() {
    let mut queued = Queued::start("");
    let id = dead(&mut queued);
    for (path, body) in [
        (format!("deliveries/{id}/replay"), json!({ "x": 1 })),
        (format!("deliveries/{id}/discard"), json!([])),
        ("routes/hook/pause".to_owned(), json!({ "for": "1m" })),
    ] {
        assert_eq!(problem(&post(&queued, &path, &body)), (400, "bad_body".to_owned()), "{path}");
    }
    assert_eq!(state(&queued, &id), "dead");
    let empty = Call::post(&format!("/api/v1/deliveries/{id}/discard"), &json!({})).body(b"").send(queued.admin());
    assert_eq!(empty.status, 200);
}

#[test]
fn a_refused_delivery_is_explained_by_the_secrets_of_now() {
    let mut rig = Rig::with("record: full");
    let wrong = Delivery::circleci_with("another-secret", "{}");
    assert_eq!(rig.send(&wrong.bytes()).status, 401);
    rig.forwards(&Delivery::circleci("{}"));
    let list = || json(rig.gateway.admin, "/api/v1/deliveries")["deliveries"].as_array().unwrap().clone();
    poll("recorded", || list().len() == 2);
    let [forwarded, refused] = &list()[..] else { panic!() };
    let explain = |delivery: &Value| {
        let path = format!("/api/v1/deliveries/{}/explain", delivery["id"].as_str().unwrap());
        let explained = Call::post(&path, &json!({})).send(rig.gateway.admin);
        assert_eq!(explained.status, 200, "{explained:?}");
        explained.json()
    };
    let verdict = explain(refused);
    assert_eq!((&verdict["accepted"], &verdict["reason"]), (&false.into(), &"signature_mismatch".into()));
    assert!(verdict["causes"].is_array(), "{verdict}");
    let verdict = explain(forwarded);
    assert_eq!((&verdict["accepted"], &verdict["reason"]), (&true.into(), &Value::Null), "{verdict}");
    let path = format!("/api/v1/deliveries/{}/replay", refused["id"].as_str().unwrap());
    assert_eq!(problem(&Call::post(&path, &json!({})).send(rig.gateway.admin)), (409, "not_verified".to_owned()));
}
