use hooklatch::http1::client::request::Head;
use hooklatch::queue::stored;
use hooklatch::upstream::message::{Message, Target};

use super::*;
use crate::support::gateway::{OLD_SECRET, SECRET};

#[test]
fn what_waits_for_its_next_attempt_is_tried_now() {
    let mut queued = Queued::start(PATIENT);
    let first = failed_once(&mut queued, "{\"id\":1}");
    assert_eq!(first.all("hooklatch-replay"), [""; 0]);
    assert_eq!(done(queued.acts().replay(id(&first))), Ok(2));
    let second = queued.takes();
    assert_eq!((second.one("hooklatch-attempt"), second.one("hooklatch-replay")), ("2".into(), "true".into()));
    assert_eq!((id(&second), &second.body), (id(&first), &first.body));
    queued.wait_for_delivered(1.0);
    assert_eq!(queued.metric("hooklatch_replays_total", &[]), 1.0);
}

#[test]
fn a_dead_delivery_is_retried_afresh_and_its_numbers_go_on() {
    let mut queued = Queued::start("circuit: false, retry: { schedule: [20ms], max_attempts: 2 }");
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    for _ in 0..2 {
        queued.fails("500 Internal Server Error");
    }
    queued.wait_for_state("dead", 1.0);
    queued.stop();
    let dead = queued.stored()[0].delivery.id;
    queued.restart("circuit: false, retry: { schedule: [20ms], max_attempts: 2 }");
    assert_eq!(done(queued.acts().replay(dead)), Ok(3));
    let seen = queued.fails("500 Internal Server Error");
    assert_eq!((seen.one("hooklatch-attempt"), seen.one("hooklatch-replay")), ("3".into(), "true".into()));
    // This attempt is a retry, not a replay.
    let seen = queued.fails("500 Internal Server Error");
    assert_eq!((seen.one("hooklatch-attempt"), seen.all("hooklatch-replay")), ("4".into(), Vec::new()));
    poll("it is replayed", || done(queued.acts().replay(dead)) == Ok(5));
    queued.takes();
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_replay_that_waits_already_is_not_asked_for_twice() {
    let mut queued = Queued::start(GIVES_UP);
    let dead = id(&failed_once(&mut queued, "{\"id\":1}"));
    queued.wait_for_state("dead", 1.0);
    assert_eq!(done(queued.acts().pause("hook")), Ok(()));
    assert_eq!(done(queued.acts().replay(dead)), Ok(2));
    assert_eq!(done(queued.acts().replay(dead)), Err(Refused::InFlight));
    assert_eq!(queued.metric("hooklatch_replays_total", &[]), 1.0);
    assert_eq!(done(queued.acts().resume("hook")), Ok(()));
    assert_eq!(queued.takes().one("hooklatch-attempt"), "2");
    queued.wait_for_delivered(1.0);
}

#[test]
fn an_attempt_under_way_is_waited_for() {
    let mut queued = Queued::start(PATIENT);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    let seen = queued.request();
    assert_eq!(done(queued.acts().replay(id(&seen))), Err(Refused::InFlight));
    queued.answer("500 Internal Server Error", "");
    poll("it can be replayed", || done(queued.acts().replay(id(&seen))) == Ok(2));
    queued.takes();
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_discarded_delivery_can_be_sent_after_all() {
    let mut queued = Queued::start(PATIENT);
    let first = failed_once(&mut queued, "{\"id\":1}");
    assert_eq!(done(queued.acts().discard(id(&first))), Ok(()));
    queued.wait_for_state("retrying", 0.0);
    assert_eq!(done(queued.acts().discard(id(&first))), Err(Refused::NotWaiting));
    assert_eq!(done(queued.acts().replay(id(&first))), Ok(2));
    assert_eq!(queued.takes().one("hooklatch-attempt"), "2");
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_delivery_that_is_not_kept_cannot_be_replayed() {
    let mut queued = Queued::start(PATIENT);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    let seen = queued.takes();
    queued.wait_for_delivered(1.0);
    poll("it is delivered", || done(queued.acts().replay(id(&seen))) == Err(Refused::NoBody));
    assert_eq!(done(queued.acts().replay(Uuid::nil())), Err(Refused::NotFound));
    assert_eq!(done(queued.acts().erase(id(&seen))), Ok(()));
    assert_eq!(done(queued.acts().replay(id(&seen))), Err(Refused::NoBody));
    assert_eq!(queued.metric("hooklatch_replays_total", &[]), 0.0);
}

#[test]
fn a_duplicate_and_a_challenge_are_never_sent() {
    for state in [State::Duplicate, State::Challenge] {
        let mut queued = Queued::start(PATIENT);
        queued.stop();
        let kept = record(state, "{}");
        let id = kept.id;
        queued.record(kept);
        queued.restart(PATIENT);
        assert_eq!(done(queued.acts().replay(id)), Err(Refused::NotVerified));
        queued.upstream.expect_nothing();
    }
}

#[test]
fn a_refused_delivery_is_sent_once_it_verifies_with_the_secrets_of_now() {
    for keys in ["delivery: queue, circuit: false", "delivery: proxy"] {
        let lines = [("circleci-signature", &*signature(SECRET, "{\"id\":1}")), ("X-Custom", "value")];
        let (mut queued, id) = refused(keys, &request(&lines), "{\"id\":1}");
        // One attempt, whose failure leaves it as it is.
        for number in ["1", "2"] {
            poll("it is replayed", || done(queued.acts().replay(id)).is_ok());
            let seen = queued.fails("500 Internal Server Error");
            assert_eq!(seen.line(), "POST /in?a=%20 HTTP/1.1");
            assert_eq!((seen.one("hooklatch-attempt"), seen.one("hooklatch-replay")), (number.into(), "true".into()));
            assert_eq!((seen.one("hooklatch-verified"), seen.one("x-custom")), ("true".into(), "value".into()));
            assert!(seen.headers().contains(&&b"X-Custom: value"[..]));
            assert_eq!((seen.one("x-request-id"), seen.one("x-forwarded-for")), ("id-1".into(), "192.0.2.1".into()));
            assert_eq!((seen.one("x-forwarded-proto"), super::id(&seen)), ("https".into(), id));
            assert_eq!(seen.body, b"{\"id\":1}");
        }
        assert_eq!(queued.metric("hooklatch_replays_total", &[]), 2.0);
        queued.stop();
        let left: Vec<_> = queued.stored().iter().map(|stored| (stored.shown, stored.attempts)).collect();
        assert_eq!(left, [(Shown::Settled(State::Refused), 2)]);
        queued.restart_of("circleci", keys);
        assert_eq!(done(queued.acts().replay(id)), Ok(3));
        queued.takes();
        queued.stop();
        assert_eq!(queued.stored()[0].shown, Shown::Settled(State::Delivered));
    }
}

#[test]
fn a_refused_delivery_that_does_not_verify_now_is_not_sent() {
    let stays = request(&[("circleci-signature", &signature(OLD_SECRET, "{}"))]);
    let of_other_body = request(&[("circleci-signature", &signature(SECRET, "{ }"))]);
    let elsewhere = Details {
        request: Some(RequestRecord {
            target: "/other".to_owned(),
            ..request(&[("circleci-signature", &signature(SECRET, "{}"))]).request.unwrap()
        }),
        ..Details::default()
    };
    for details in [stays, of_other_body, elsewhere, request(&[])] {
        let (queued, id) = refused("delivery: queue", &details, "{}");
        assert_eq!(done(queued.acts().replay(id)), Err(Refused::NotVerified));
        queued.upstream.expect_nothing();
    }
}

#[test]
fn a_refused_delivery_without_its_head_its_body_or_its_token_is_not_sent() {
    let signed = request(&[("circleci-signature", &signature(SECRET, "{}"))]);
    let redacted = Details { redacted: vec!["body".to_owned()], ..signed.clone() };
    let token = Details {
        redacted: vec!["header circleci-signature".to_owned()],
        ..request(&[("circleci-signature", "redacted")])
    };
    for details in [Details::default(), redacted, token] {
        let (queued, id) = refused("delivery: queue", &details, "{}");
        assert_eq!(done(queued.acts().replay(id)), Err(Refused::NoBody));
    }
    let (mut queued, _) = refused("delivery: queue", &signed, "{}");
    queued.stop();
    let cut = store::Delivery { details: signed.into(), request_bytes: 3, ..record(State::Refused, "{}") };
    let cut = store::Delivery { id: Uuid::from_u128(cut.id.as_u128() + 1), ..cut };
    let id = cut.id;
    queued.record(cut);
    queued.restart(PATIENT);
    assert_eq!(done(queued.acts().replay(id)), Err(Refused::NoBody));
    queued.upstream.expect_nothing();
}

#[test]
fn a_proxied_delivery_is_sent_once_more_and_no_route_without_a_queue_has_series_of_one() {
    let mut queued = Queued::of("circleci", "delivery: proxy, dedupe: { window: 1h, key: content }");
    queued.stop();
    let mut fields = Head::default();
    fields.text_line("X-Custom", "value");
    fields.content_length(2);
    let kept = record(State::Failed, "{}");
    let id = kept.id;
    let message = Message {
        id,
        method: "POST".parse().unwrap(),
        target: Target::new("/hook?q".parse().unwrap(), None),
        host: None,
        fields,
        payload: Bytes::from_static(b"{}").into(),
    };
    queued.record(store::Delivery { head: stored::encode(&message), ..kept });
    queued.restart_of("circleci", "delivery: proxy, dedupe: { window: 1h, key: content }");
    for (number, status) in [("1", "500 Internal Server Error"), ("2", "200 OK")] {
        poll("it is replayed", || done(queued.acts().replay(id)).is_ok());
        let seen = queued.fails(status);
        assert_eq!((seen.line(), seen.one("hooklatch-attempt")), ("POST /in?q HTTP/1.1".into(), number.into()));
        assert_eq!((seen.one("x-custom"), seen.one("hooklatch-replay")), ("value".into(), "true".into()));
        assert!(seen.headers().contains(&&b"X-Custom: value"[..]));
    }
    let metrics = queued.metrics();
    assert_eq!(metrics.get("hooklatch_replays_total", &[("route", "hook")]), 2.0);
    assert!(!metrics.all().keys().any(|series| series.starts_with("hooklatch_queue_")), "{metrics:#?}");
}

#[test]
fn what_waits_when_a_route_loses_its_queue_is_sent_all_the_same() {
    let mut queued = Queued::start(PATIENT);
    let first = failed_once(&mut queued, "{\"id\":1}");
    queued.stop();
    queued.restart_of("circleci", "delivery: proxy");
    assert_eq!(queued.metric("hooklatch_queue_deliveries", &[("state", "retrying")]), 1.0);
    assert_eq!(done(queued.acts().replay(id(&first))), Ok(2));
    assert_eq!(id(&queued.takes()), id(&first));
    poll("no series of a queue is left", || {
        !queued.metrics().all().keys().any(|series| series.starts_with("hooklatch_queue_"))
    });
}
