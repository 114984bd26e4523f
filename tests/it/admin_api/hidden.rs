//! A secret in the body of a delivery that waits: no call shows it, and no search tells of it.

use serde_json::json;

use crate::support::api::{Call, Events, json};
use crate::support::gateway::SECRET;
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::sender::Delivery;

/// Microsoft's deliveries have the secret in their body.
fn body() -> String {
    format!("{{\"value\":[{{\"clientState\":\"{SECRET}\",\"id\":\"an-event\"}}]}}")
}

/// A gateway with one delivery that its handler has refused, and the delivery's id.
fn waiting(record: &str) -> (Queued, String) {
    let keys = format!("delivery: queue, dedupe: false, {record}, retry: {{ min_backoff: 1h }}");
    let mut queued = Queued::of("microsoft-graph", &keys);
    queued.accepts(&Delivery::unsigned(body()).header("Authorization", "Bearer c4nary"));
    let id = queued.fails("500 Oops").one("hooklatch-delivery-id");
    queued.wait_for_state("retrying", 1.0);
    (queued, id)
}

#[test]
fn whatever_is_recorded_the_secret_of_a_delivery_that_may_be_sent_is_replaced() {
    for record in ["record: none", "record: metadata", "record: full", "record: full, record_body: 20B"] {
        let (queued, id) = waiting(record);
        let path = format!("/api/v1/deliveries/{id}");
        let shown_without_secret = || {
            for part in ["", "/body", "/http", "/curl", "/har"] {
                let response = Call::get(&format!("{path}{part}?")).send(queued.admin());
                let text = String::from_utf8_lossy(&response.body).into_owned();
                assert!(!text.contains(SECRET) && !text.contains("c4nary"), "{record} {part}: {text}");
            }
            let detail = json(queued.admin(), &path);
            assert_eq!(detail["body"]["text"], body().replace(SECRET, "redacted"), "{record}");
            assert_eq!(detail["redacted"], json!(["header authorization", "body"]), "{record}");
            assert_eq!(detail["body_cut"], false, "{record}");
            let served = Call::get(&format!("{path}/body")).send(queued.admin());
            assert_eq!(served.header("hooklatch-body-cut"), None, "{record}");
        };
        shown_without_secret();
        assert_eq!(Call::post(&format!("{path}/discard"), &json!({})).send(queued.admin()).status, 200);
        shown_without_secret();
    }
}

#[test]
fn no_search_tells_of_a_body_that_has_a_secret() {
    let (mut queued, id) = waiting("record: full");
    let found = |queued: &Queued, query: &str| {
        let page = json(queued.admin(), &format!("/api/v1/deliveries?q={query}"));
        page["deliveries"].as_array().unwrap().len()
    };
    let part = &SECRET[..4];
    for query in [format!("body:{part}"), format!("-body:{part}"), "body:zzzz".to_owned(), "-body:zzzz".to_owned()] {
        assert_eq!(found(&queued, &query), 0, "{query}");
    }
    assert_eq!(found(&queued, "has:body"), 1);

    // Nor does a stream: the first that these tell is a delivery that has no secret any more.
    let search = |query: &str| Call::get(&format!("/api/v1/stream?q={query}"));
    let mut known = Events::open(queued.admin(), &search("has:body"));
    let mut guessed = Events::open(queued.admin(), &search("-body:zzzz"));
    let replay = Call::post(&format!("/api/v1/deliveries/{id}/replay"), &json!({}));
    assert_eq!(replay.send(queued.admin()).status, 202);
    assert_eq!(known.ids("update"), [id.as_str()]);
    queued.fails("500 Oops");
    poll("failed twice", || json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["attempts"][1]["status"] == 500);
    queued.accepts(&Delivery::unsigned(body()));
    let delivered = queued.takes().one("hooklatch-delivery-id");
    assert_eq!(guessed.ids("update"), [delivered]);
    assert_eq!((found(&queued, "body:redacted"), found(&queued, &format!("body:{part}"))), (1, 0));
}

#[test]
fn a_token_is_in_no_record_wherever_its_sender_has_put_it() {
    for keys in ["delivery: queue, record: full", "delivery: proxy, record: full"] {
        let mut queued = Queued::of("gitlab", keys);
        let delivery = Delivery::unsigned(format!("{{\"token\":\"{SECRET}\",\"kept\":\"yes\"}}"))
            .target(&format!("/hook?again={SECRET}&a=b"))
            .header("X-Gitlab-Token", SECRET)
            .header("X-Copy", &format!("before {SECRET}"))
            .header("Referer", &format!("https://gitlab.example/?{SECRET}"))
            .header("X-Request-Id", SECRET);
        let mut sender = queued.sending(&delivery);
        let seen = queued.takes();
        assert_eq!(sender.receive().status, 200);
        assert_eq!(seen.one("x-copy"), format!("before {SECRET}"), "the handler gets all as it came");
        let path = format!("/api/v1/deliveries/{}", seen.one("hooklatch-delivery-id"));
        poll("recorded", || {
            let response = Call::get(&path).send(queued.admin());
            response.status == 200 && ["delivered", "forwarded"].iter().any(|state| response.json()["state"] == *state)
        });
        for part in ["?", "/body?", "/http?signatures=true", "/curl?signatures=true", "/har?signatures=true"] {
            // The body takes no key of the query.
            let response = Call::get(&format!("{path}{part}")).send(queued.admin());
            let text = String::from_utf8(response.body).unwrap();
            assert_eq!(response.status, 200, "{part}: {text}");
            assert!(!text.contains(SECRET), "{keys} {part}: {text}");
        }
        let detail = json(queued.admin(), &path);
        assert_eq!(detail["body"]["text"], "{\"token\":\"redacted\",\"kept\":\"yes\"}");
        assert_eq!(
            (&detail["request_id"], &detail["target"]),
            (&json!("redacted"), &json!("/hook?again=redacted&a=b"))
        );
        queued.stop();
        for stored in queued.stored() {
            assert!(!format!("{stored:?}").contains(SECRET), "{stored:?}");
        }
    }
}
