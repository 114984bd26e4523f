//! What people ask for: discard, erase, replay, pause, hold.

use super::*;
use crate::store::details::{Brief, Details};

on_each_store! {
    a_discarded_delivery_does_not_wait_and_only_what_waits_or_is_dead_can_be
    an_erased_delivery_keeps_its_id_and_its_times_alone
    an_erased_record_of_which_little_is_kept_has_nothing_left
    an_erased_delivery_stays_erased_whatever_its_attempt_comes_to
    a_replay_of_a_dead_delivery_waits_afresh_and_goes_on_with_the_numbers
    a_replay_of_a_delivered_one_is_one_attempt_that_changes_the_state_only_by_success
    a_replay_of_what_has_no_body_is_refused
    the_end_of_an_attempt_leaves_a_replay_alone_that_was_asked_for_meanwhile
    a_paused_and_a_held_route_are_kept
    a_held_route_shows_its_waiting_deliveries_as_held
}

const DISCARDED_FROM: &[State] = &[State::Pending, State::Dead];

fn discard(number: u64) -> Change {
    Change::Settle { id: id(number), from: DISCARDED_FROM, to: State::Discarded }
}

fn requeue(number: u64, from: &'static [State], once: bool) -> Change {
    Change::Requeue { id: id(number), from, destinations: 1, at: NOW + 50, once, head: None }
}

fn a_discarded_delivery_does_not_wait_and_only_what_waits_or_is_dead_can_be(mut store: Fixture) {
    store.accept(0);
    assert_eq!(store.change(discard(0)), Changed::Done(0));
    assert_eq!(store.shown(0), Shown::Settled(State::Discarded));
    assert_eq!(store.due_at(Millis::MAX).len(), 0);
    assert_eq!(store.change(discard(0)), Changed::Not(State::Discarded));
    assert_eq!(store.change(discard(7)), Changed::Unknown);
    assert_eq!(store.counts(), [(Shown::Settled(State::Discarded), 1)]);
}

fn an_erased_delivery_keeps_its_id_and_its_times_alone(mut store: Fixture) {
    let ticket = store.accept(0);
    store.complete(ticket, 1, Next::Retry(NOW));
    assert_eq!(store.change(Change::Erase { id: id(0) }), Changed::Done(1));
    let (stored, attempts) = store.get(0);
    assert_eq!(stored.shown, Shown::Settled(State::Erased));
    assert_eq!((stored.delivery.id, stored.delivery.received_at), (id(0), NOW));
    assert!(
        stored.delivery.head.is_empty()
            && stored.delivery.details.encoded().is_empty()
            && stored.delivery.peer.is_empty()
    );
    let Delivery { event_type, event_id, request_id, method, path, .. } = &stored.delivery;
    assert_eq!(
        (event_type, event_id, request_id, method.as_str(), path.as_str()),
        (&None, &None, &RequestId::Unknown, "", "")
    );
    assert!(
        attempts[0].response_head.is_empty() && attempts[0].response_body.is_empty() && attempts[0].error.is_none()
    );
    assert_eq!((attempts[0].at, attempts[0].status), (NOW, Some(500)));
    assert_eq!(store.reader.body(id(0)).unwrap(), None);
    assert_eq!(store.due_at(Millis::MAX).len(), 0);
}

fn an_erased_record_of_which_little_is_kept_has_nothing_left(mut store: Fixture) {
    let brief = Brief { host: Some("hooks.example.com".into()), verified: true, ..Brief::default() };
    let details = Details::from(brief.clone());
    let record = delivery(0, State::Forwarded);
    store.record(Delivery { request_id: RequestId::Own, details: StoredDetails::Brief(brief), body: None, ..record });
    let kept = store.get(0).0.delivery;
    assert_eq!((kept.details.decode(), kept.request_id().as_deref()), (Ok(details), Some(&*id(0).to_string())));
    let named = Filter { request_id: Some(id(0).to_string()), ..Filter::default() };
    assert_eq!(store.ids(&named), [0]);
    assert_eq!(store.change(Change::Erase { id: id(0) }), Changed::Done(0));
    let erased = store.get(0).0.delivery;
    assert_eq!((erased.details.decode(), erased.request_id()), (Ok(Details::default()), None));
    assert!(store.ids(&named).is_empty());
}

fn an_erased_delivery_stays_erased_whatever_its_attempt_comes_to(mut store: Fixture) {
    for (number, next) in [(0, settled(State::Delivered)), (1, settled(State::Dead)), (2, Next::Retry(NOW))] {
        let ticket = store.accept(number);
        store.change(Change::Erase { id: id(number) });
        let stays = Settled {
            is_kept: true,
            head: Some(Bytes::from_static(b"x")),
            body: KeptBody::Only(Bytes::from_static(b"x")),
            secret: false,
        };
        store.one(Write::Complete(Box::new(AttemptOutcome { settled: Some(stays), ..outcome(ticket, 1, next) })));
        let (stored, attempts) = store.get(number);
        assert_eq!(stored.shown, Shown::Settled(State::Erased));
        assert!(stored.delivery.head.is_empty() && attempts[0].response_body.is_empty());
        assert_eq!(store.reader.body(id(number)).unwrap(), None);
    }
    assert_eq!(store.counts(), [(Shown::Settled(State::Erased), 3)]);
}

fn a_replay_of_a_dead_delivery_waits_afresh_and_goes_on_with_the_numbers(mut store: Fixture) {
    let ticket = store.accept(0);
    store.complete(ticket, 1, Next::Retry(NOW));
    store.complete(ticket, 2, settled(State::Dead));
    assert_eq!(store.change(requeue(0, &[State::Delivered], false)), Changed::Not(State::Dead));
    assert_eq!(store.change(requeue(0, &[State::Dead], false)), Changed::Done(2));
    let due = store.due_at(NOW + 50).remove(0);
    assert_eq!(
        (due.waiting.attempts, due.waiting.counted, due.waiting.since, due.waiting.replay, due.waiting.once),
        (2, 0, NOW + 50, true, false)
    );
    assert_eq!(store.shown(0), Shown::Retrying);
    assert_eq!(store.change(requeue(0, &[State::Dead], false)), Changed::Not(State::Pending), "it waits already");
    let again = requeue(0, &[State::Pending], false);
    assert_eq!(store.change(again), Changed::Not(State::Pending), "this very replay waits");
    let failed = outcome(due.ticket, 3, Next::Retry(NOW + 60));
    store.one(Write::Complete(Box::new(AttemptOutcome { since: due.waiting.since, ..failed })));
    let retried = store.due_at(NOW + 60).remove(0);
    assert_eq!((retried.waiting.attempts, retried.waiting.replay), (3, false), "nobody has asked for this attempt");
    store.complete(retried.ticket, 4, settled(State::Delivered));
    assert_eq!(store.get(0).1.len(), 4);
    assert_eq!(store.counts(), [(Shown::Settled(State::Delivered), 1)]);
}

fn a_replay_of_a_delivered_one_is_one_attempt_that_changes_the_state_only_by_success(mut store: Fixture) {
    store.record(delivery(0, State::Failed));
    for (attempt, next, expected) in [(1, Next::Keep, State::Failed), (2, settled(State::Delivered), State::Delivered)]
    {
        assert!(matches!(store.change(requeue(0, &[State::Failed], true)), Changed::Done(_)));
        assert_eq!(store.shown(0), Shown::Settled(State::Failed), "unchanged while it waits");
        assert_eq!(store.change(requeue(0, &[State::Failed], true)), Changed::Not(State::Failed), "once at a time");
        let due = store.due_at(NOW + 50).remove(0);
        assert!(due.waiting.once && due.waiting.replay);
        store.complete(due.ticket, attempt, next);
        assert_eq!(store.shown(0), Shown::Settled(expected));
        assert_eq!(store.due_at(Millis::MAX).len(), 0);
    }
    assert_eq!(store.counts(), [(Shown::Settled(State::Delivered), 1)]);
}

fn a_replay_of_what_has_no_body_is_refused(mut store: Fixture) {
    store.record(Delivery { body: None, ..delivery(0, State::Failed) });
    assert_eq!(store.change(requeue(0, &[State::Failed], true)), Changed::NoBody);
    assert_eq!(store.change(requeue(1, &[State::Failed], true)), Changed::Unknown);
    for (number, body) in [(2, "short"), (3, "redacted")] {
        store.record(Delivery { body: Some(body.into()), ..delivery(number, State::Failed) });
        assert_eq!(store.change(requeue(number, &[State::Failed], true)), Changed::NoBody, "{body} for 6 bytes");
    }
}

fn the_end_of_an_attempt_leaves_a_replay_alone_that_was_asked_for_meanwhile(mut store: Fixture) {
    let ends = [Next::Retry(NOW + 9_000), settled(State::Delivered), settled(State::Dead), Next::Keep];
    for (number, next) in (0..).zip(ends) {
        let ticket = store.accept(number);
        let since = NOW + Millis::try_from(number).unwrap();
        store.change(discard(number));
        assert_eq!(store.change(requeue(number, &[State::Discarded], false)), Changed::Done(0));
        let stays = Settled { is_kept: false, head: None, body: KeptBody::Nothing, secret: false };
        let ended = AttemptOutcome { since, settled: Some(stays), ..outcome(ticket, 1, next) };
        store.one(Write::Complete(Box::new(ended)));
        let due = store.due_at(NOW + 50).pop().unwrap();
        assert_eq!(
            (due.id, due.waiting.attempts, due.waiting.counted, due.waiting.since),
            (id(number), 1, 0, NOW + 50)
        );
        assert_eq!((store.shown(number), store.get(number).1.len()), (Shown::Retrying, 1));
        store.complete(due.ticket, 2, settled(State::Delivered));
        assert_eq!((store.shown(number), store.get(number).1.len()), (Shown::Settled(State::Delivered), 2));
    }
}

fn a_paused_and_a_held_route_are_kept(mut store: Fixture) {
    let route: Arc<str> = "stripe".into();
    store.commit(&[
        Write::Change(Change::Pause { route: Arc::clone(&route), paused: true }),
        Write::Change(Change::Hold { route: Arc::clone(&route), held: true }),
    ]);
    let mut store = store.crash();
    let state = |store: &Fixture| lock(&store.backend.book()).routes["stripe"];
    assert_eq!(state(&store), RouteState { paused: true, held: true, paused_by_file: false });
    store.change(Change::Pause { route: Arc::clone(&route), paused: false });
    assert_eq!(state(&store), RouteState { paused: false, held: true, paused_by_file: false });
    store.change(Change::PauseByFile { route: Arc::clone(&route), paused: true });
    let mut store = store.crash();
    assert_eq!(state(&store), RouteState { paused: true, held: true, paused_by_file: true });
    store.change(Change::Pause { route, paused: false });
    assert_eq!(state(&store), RouteState { paused: false, held: true, paused_by_file: true });
}

fn a_held_route_shows_its_waiting_deliveries_as_held(mut store: Fixture) {
    let ticket = store.accept(0);
    store.accept(1);
    store.record(delivery(2, State::Refused));
    store.complete(ticket, 1, Next::Retry(NOW));
    store.change(Change::Hold { route: "github".into(), held: true });
    assert_eq!((store.shown(0), store.shown(1)), (Shown::Held, Shown::Held));
    assert_eq!(store.ids(&Filter { states: Some(vec![Shown::Held]), ..Filter::default() }), [1, 0]);
    assert!(store.ids(&Filter { states: Some(vec![Shown::Pending, Shown::Retrying]), ..Filter::default() }).is_empty());
    store.change(Change::Hold { route: "github".into(), held: false });
    assert_eq!((store.shown(0), store.shown(1)), (Shown::Retrying, Shown::Pending));
    assert!(store.ids(&Filter { states: Some(vec![Shown::Held]), ..Filter::default() }).is_empty());
}
