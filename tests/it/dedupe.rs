//! Deliveries that were there before.

use crate::support::gateway::series;
use crate::support::http::{Connection, Response};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::is_problem;
use crate::support::sender::Delivery;

const PROXY: &str = "delivery: proxy, dedupe: { key: auto }";

/// That a response says that the delivery was there before.
#[track_caller]
fn is_duplicate(response: &Response) {
    assert_eq!((response.status, response.all("hooklatch-duplicate")), (200, vec!["true"]), "{response:?}");
}

/// Sends a delivery that a proxying route must pass on, and answers it with `status`.
#[track_caller]
fn forwards(queued: &mut Queued, delivery: &Delivery, status: &str) {
    let mut sender = queued.sending(delivery);
    queued.request();
    queued.answer(status, "");
    let response = sender.receive();
    let expected: u16 = status.split(' ').next().unwrap().parse().unwrap();
    assert_eq!((response.status, response.header("hooklatch-duplicate")), (expected, None), "{response:?}");
}

fn outcome(queued: &Queued, outcome: &str) -> f64 {
    let labels = [("route", "hook"), ("scheme", "circleci"), ("outcome", outcome)];
    queued.metrics().all()[&series("hooklatch_requests_total", &labels)]
}

#[test]
fn the_second_of_two_equal_deliveries_is_answered_as_accepted_and_not_sent() {
    let mut queued = Queued::start("response: { status: 200, body: taken }");
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    queued.accepts(&delivery);
    // Whether or not the handler has taken the first one.
    let second = queued.send(&delivery);
    is_duplicate(&second);
    assert_eq!(second.body, b"taken");
    queued.takes();
    queued.wait_for_delivered(1.0);
    is_duplicate(&queued.send(&delivery));
    assert_eq!((outcome(&queued, "accepted"), outcome(&queued, "duplicate")), (1.0, 2.0));
    queued.accepts(&Delivery::circleci("{\"id\":\"b\"}"));
    assert_eq!(queued.takes().body, b"{\"id\":\"b\"}");
}

#[test]
fn twins_that_come_at_the_same_time_are_one_delivery() {
    let mut queued = Queued::start("");
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    let mut senders: Vec<_> = (0..8).map(|_| queued.sending(&delivery)).collect();
    let answers: Vec<Response> = senders.iter_mut().map(Connection::receive).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let duplicates = answers.iter().filter(|answer| answer.header("hooklatch-duplicate").is_some()).count();
    assert_eq!(duplicates, 7);
    queued.takes();
    queued.wait_for_delivered(1.0);
    assert_eq!((outcome(&queued, "accepted"), outcome(&queued, "duplicate")), (1.0, 7.0));
}

#[test]
fn a_refused_delivery_uses_up_no_key() {
    let mut queued = Queued::start("");
    is_problem(&queued.send(&Delivery::circleci("{\"id\":\"b\"}").body("{\"id\":\"a\"}")), 401, "signature_mismatch");
    queued.accepts(&Delivery::circleci("{\"id\":\"a\"}"));
    queued.takes();
}

#[test]
fn in_proxy_mode_a_2xx_commits_a_key_and_anything_else_releases_it() {
    let mut queued = Queued::of("circleci", PROXY);
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    let mut sender = queued.sending(&delivery);
    queued.request();
    queued.peer = None;
    is_problem(&sender.receive(), 502, "upstream_failed");
    for status in ["500 Internal Server Error", "404 Not Found", "302 Found"] {
        forwards(&mut queued, &delivery, status);
    }
    forwards(&mut queued, &delivery, "202 Accepted");
    let duplicate = queued.send(&delivery);
    is_duplicate(&duplicate);
    assert_eq!(duplicate.body, b"");
    assert_eq!(outcome(&queued, "duplicate"), 1.0);
}

#[test]
fn in_proxy_mode_a_twin_of_a_delivery_under_way_is_told_to_come_again() {
    let mut queued = Queued::of("circleci", PROXY);
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    let mut first = queued.sending(&delivery);
    queued.request();
    let before = queued.metrics();
    let twin = queued.send(&delivery);
    is_problem(&twin, 503, "duplicate_in_flight");
    assert_eq!(twin.all("retry-after"), ["1"]);
    let labels = [("route", "hook"), ("scheme", "circleci"), ("reason", "duplicate_in_flight")];
    let counted = queued.metrics().counted_since(&before);
    assert_eq!(counted.get(&series("hooklatch_rejections_total", &labels)), Some(&1.0), "{counted:?}");
    queued.answer("200 OK", "");
    assert_eq!(first.receive().status, 200);
    is_duplicate(&queued.send(&delivery));
}

#[test]
fn a_sender_that_resets_its_connection_while_the_handler_works_releases_the_key() {
    let mut queued = Queued::of("circleci", PROXY);
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    let sender = queued.sending(&delivery);
    queued.request();
    sender.reset();
    queued.peer.as_mut().unwrap().expect_end();
    queued.peer = None;
    forwards(&mut queued, &delivery, "200 OK");
    is_duplicate(&queued.send(&delivery));
}

#[test]
fn deliveries_without_an_id_are_never_duplicates() {
    let mut queued = Queued::start("");
    for body in ["{}", "{\"id\":null}", "not JSON", "{\"other\":1}"] {
        for _ in 0..2 {
            queued.accepts(&Delivery::circleci(body));
            assert_eq!(queued.takes().body, body.as_bytes());
        }
    }
    for body in ["{\"id\":1}", "{\"id\":\"text\"}"] {
        queued.accepts(&Delivery::circleci(body));
        queued.takes();
        is_duplicate(&queued.send(&Delivery::circleci(body)));
    }
}

#[test]
fn the_same_id_with_other_content_is_a_duplicate_where_the_signature_covers_the_id() {
    let mut queued = Queued::start("");
    queued.accepts(&Delivery::circleci("{\"id\":\"a\",\"n\":1}"));
    queued.takes();
    is_duplicate(&queued.send(&Delivery::circleci("{\"id\":\"a\",\"n\":2}")));
}

#[test]
fn an_id_that_is_not_signed_counts_together_with_the_signed_content() {
    let mut queued = Queued::of("civo", "delivery: queue, dedupe: { key: auto }");
    let with_id = |id: &str, body: &str| Delivery::civo(body).without("x-civo-event").header("X-Civo-Event", id);
    for (id, body) in [("a", "{\"n\":1}"), ("a", "{\"n\":2}"), ("b", "{\"n\":1}")] {
        queued.accepts(&with_id(id, body));
        assert_eq!(queued.takes().body, body.as_bytes());
    }
    is_duplicate(&queued.send(&with_id("a", "{\"n\":1}")));
    is_duplicate(&queued.send(&with_id("b", "{\"n\":1}")));
}

#[test]
fn a_queue_of_a_scheme_whose_id_is_not_signed_dedupes_only_if_it_is_told_to() {
    let mut queued = Queued::of("civo", "delivery: queue");
    for _ in 0..2 {
        queued.accepts(&Delivery::civo("{}"));
        queued.takes();
    }
}

#[test]
fn the_key_content_is_what_the_signature_covers() {
    let mut queued = Queued::start("dedupe: { key: content }");
    queued.accepts(&Delivery::circleci("{\"id\":1}").header("X-Custom", "1"));
    queued.takes();
    is_duplicate(&queued.send(&Delivery::circleci("{\"id\":1}").header("X-Custom", "2")));
    queued.accepts(&Delivery::circleci("{\"id\":1,\"n\":2}"));
    queued.takes();
}

#[test]
fn a_key_can_be_a_header() {
    let mut queued = Queued::start("dedupe: { key: { header: X-Event } }");
    queued.accepts(&Delivery::circleci("{\"n\":1}").header("X-Event", "a"));
    queued.takes();
    is_duplicate(&queued.send(&Delivery::circleci("{\"n\":2}").header("x-event", "a")));
    for delivery in [
        Delivery::circleci("{\"n\":1}").header("X-Event", "b"),
        Delivery::circleci("{\"n\":1}"),
        Delivery::circleci("{\"n\":1}"),
        Delivery::circleci("{\"n\":1}").header("X-Event", ""),
        Delivery::circleci("{\"n\":1}").header("X-Event", ""),
    ] {
        queued.accepts(&delivery);
        queued.takes();
    }
}

#[test]
fn a_key_can_be_a_field_of_the_body() {
    let mut queued = Queued::start("dedupe: { key: { json: /event/number } }");
    queued.accepts(&Delivery::circleci("{\"event\":{\"number\":7},\"n\":1}"));
    queued.takes();
    is_duplicate(&queued.send(&Delivery::circleci("{\"event\":{\"number\":7},\"n\":2}")));
    for body in ["{\"event\":{\"number\":8}}", "{\"event\":{}}", "{\"event\":{}}", "{\"event\":{\"number\":null}}"] {
        queued.accepts(&Delivery::circleci(body));
        queued.takes();
    }
}

#[test]
fn without_dedupe_each_delivery_is_sent() {
    let mut queued = Queued::start("dedupe: false");
    for _ in 0..2 {
        queued.accepts(&Delivery::circleci("{\"id\":\"a\"}"));
        queued.takes();
    }
}

#[test]
fn routes_do_not_share_keys() {
    let mut queued = Queued::of(
        "circleci",
        "delivery: queue, secrets: [{ env: SECRET }], upstream: UPSTREAM }\n  - { name: other, path: /other, scheme: circleci, secrets: [{ env: SECRET }], \
         upstream: \"http://127.0.0.1:9/\", delivery: queue, paused: true",
    );
    queued.accepts(&Delivery::circleci("{\"id\":\"a\"}").target("/other"));
    queued.accepts(&Delivery::circleci("{\"id\":\"a\"}"));
    queued.takes();
    is_duplicate(&queued.send(&Delivery::circleci("{\"id\":\"a\"}").target("/other")));
}

#[test]
fn a_key_is_forgotten_when_its_window_is_over() {
    for mode in ["delivery: queue", "delivery: proxy"] {
        let mut queued = Queued::of("circleci", &format!("{mode}, dedupe: {{ window: 500ms }}"));
        let delivery = Delivery::circleci("{\"id\":\"a\"}");
        let mut first = queued.sending(&delivery);
        queued.takes();
        assert_eq!(first.receive().status, 200);
        // The next one that is no duplicate reaches the handler.
        queued.answer_always();
        poll("the window is over", || queued.send(&delivery).header("hooklatch-duplicate").is_none());
    }
}

#[test]
fn with_a_store_keys_outlive_a_restart_and_reservations_do_not() {
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    let mut queued = Queued::start("");
    queued.accepts(&delivery);
    queued.takes();
    queued.wait_for_delivered(1.0);
    queued.restart("");
    is_duplicate(&queued.send(&delivery));

    let mut queued = Queued::with_server("shutdown_grace: 100ms", "", "circleci", PROXY);
    let _sender = queued.sending(&delivery);
    queued.request();
    queued.restart_of("circleci", PROXY);
    forwards(&mut queued, &delivery, "200 OK");
    queued.restart_of("circleci", PROXY);
    is_duplicate(&queued.send(&delivery));
}

#[test]
fn without_a_store_keys_are_kept_in_memory() {
    let mut rig = crate::support::rig::Rig::with("dedupe: { key: auto }");
    let delivery = Delivery::circleci("{\"id\":\"a\"}");
    rig.forwards(&delivery);
    is_duplicate(&rig.send(&delivery.bytes()));
}
