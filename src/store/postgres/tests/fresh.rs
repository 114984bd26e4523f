//! Deliveries that are attempted as soon as they are stored.

use bytes::Bytes;

use super::*;
use crate::store::attempt::{KeptBody, Settled, Ticket};
use crate::store::types::{Change, Changed};

impl Gateway {
    /// Stores a delivery and attempts it at once.
    fn take(&mut self, number: u64) -> Ticket {
        match self.one(at_once(number)) {
            Answer::Stored(ticket) => ticket,
            other => panic!("not stored: {other:?}"),
        }
    }

    /// The first attempt of a delivery ends so.
    fn first(&mut self, number: u64, ticket: Ticket, next: Next, settled: Option<Settled>) {
        self.one(outcome(number, ticket, next, settled));
    }

    fn count(&self, shown: Shown) -> u64 {
        let book = self.backend.book();
        let book = lock(&book);
        book.counts.get(&("github".into(), shown)).copied().unwrap_or_default()
    }
}

fn at_once(number: u64) -> Write {
    let delivery = Box::new(delivery(number, State::Pending));
    Write::Accept { delivery, key: None, destinations: 1, claim: true }
}

fn outcome(number: u64, ticket: Ticket, next: Next, settled: Option<Settled>) -> Write {
    let since = delivery(number, State::Pending).received_at;
    let (id, attempt) = (id(number), attempt(1));
    Write::Complete(Box::new(AttemptOutcome { id, ticket, since, attempt, next, reason: None, settled }))
}

/// How many rows are fresh, how many are others, and how many wait in the queue.
fn rows(target: &Target) -> String {
    ask(target, "SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM deliveries), (SELECT count(*) FROM queue)")
}

#[test]
fn what_is_delivered_at_once_is_one_row_until_then_and_one_after_it() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let ticket = one.take(3);
    assert_eq!(rows(&target), "1|0|0");
    // Each gateway sees it, by all ways, as one that is under way.
    let (stored, attempts) = two.reader.get(id(3)).unwrap().unwrap();
    assert_eq!((stored.shown, attempts.len(), stored.next_attempt_at), (Shown::Pending, 0, Some(NOW + 3)));
    assert_eq!((&stored.delivery.head[..], stored.gateway.as_deref()), (&b"head"[..], Some("one")));
    assert_eq!(two.reader.body(id(3)).unwrap().as_deref(), Some(&b"body 3"[..]));
    assert_eq!(two.reader.summaries(&[id(3)]).unwrap().len(), 1);
    assert_eq!(two.reader.oldest("github").unwrap(), Some(NOW + 3));
    assert!(two.reader.is_claimed(id(3)).unwrap() && two.claim(9).is_empty() && one.claim(9).is_empty());
    for filter in [
        Filter::default(),
        Filter { event_id: Some("evt_3".to_owned()), ..Filter::default() },
        Filter { some_id: Some(id(3).to_string()), ..Filter::default() },
        Filter { states: Some(vec![Shown::Pending]), ..Filter::default() },
    ] {
        assert_eq!(two.reader.list(&filter, 9).unwrap().deliveries.len(), 1, "{filter:?}");
    }
    assert_eq!(one.count(Shown::Pending), 1);

    one.first(3, ticket, DELIVERED, None);
    assert_eq!(rows(&target), "0|1|0");
    assert_eq!(two.shown(3), (Shown::Settled(State::Delivered), 1));
    assert_eq!(two.reader.body(id(3)).unwrap().as_deref(), Some(&b"body 3"[..]));
    assert!(!two.reader.is_claimed(id(3)).unwrap());
    assert_eq!((one.count(Shown::Pending), one.count(Shown::Settled(State::Delivered)), one.late()), (0, 1, 0));
    while two.backend.maintain(NOW).unwrap() {}
    assert_eq!((two.count(Shown::Pending), two.count(Shown::Settled(State::Delivered))), (0, 1));
}

#[test]
fn of_what_is_delivered_at_once_stays_what_the_outcome_says() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    let head = Some(Bytes::from_static(b"he"));
    let (nothing, cut) = (KeptBody::Nothing, KeptBody::Only(Bytes::from_static(b"bo")));
    for (number, is_kept, kept, body) in
        [(0, true, nothing.clone(), None), (1, true, cut, Some(&b"bo"[..])), (2, false, nothing, None)]
    {
        let ticket = one.take(number);
        let stays = Settled { is_kept, head: head.clone(), body: kept, secret: false };
        one.first(number, ticket, DELIVERED, Some(stays));
        assert_eq!(one.reader.body(id(number)).unwrap().as_deref(), body);
        let found = one.reader.get(id(number)).unwrap();
        assert_eq!(found.map(|(stored, _)| stored.delivery.head), head.clone().filter(|_| is_kept));
    }
    assert_eq!(one.count(Shown::Settled(State::Delivered)), 2);
    assert!(lock(&one.backend.book()).removed.has(&id(2)));
    assert_eq!(ask(&target, "SELECT count(*) FROM attempts"), "2");
}

#[test]
fn what_fails_at_once_waits_as_any_other() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let failed = one.take(0);
    let delivered = one.take(1);
    // Both in one batch, and with it a new one.
    let batch = [
        outcome(0, failed, Next::Retry(NOW + 500), None),
        outcome(1, delivered, DELIVERED, None),
        at_once(2),
        accept(3, None),
    ];
    one.backend.commit(&batch, NOW, &mut |_| ()).unwrap();
    assert_eq!(rows(&target), "1|3|2");
    assert_eq!((one.shown(0), one.shown(1)), ((Shown::Retrying, 1), (Shown::Settled(State::Delivered), 1)));
    let claimed = two.claim(9);
    assert_eq!(claimed.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), [id(3), id(0)]);
    assert_eq!((claimed[1].waiting.attempts, &claimed[1].body[..]), (1, &b"body 0"[..]));
    two.end(&claimed[1], DELIVERED);
    assert_eq!(one.shown(0), (Shown::Settled(State::Delivered), 2));
    one.backend.read_counts().unwrap();
    assert_eq!((one.count(Shown::Pending), one.count(Shown::Settled(State::Delivered))), (2, 2));
}

#[test]
fn what_a_gateway_that_died_was_attempting_is_due_at_the_others() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let ticket = one.take(0);
    let_leases_end(&target, "one");
    while two.backend.maintain(NOW).unwrap() {}
    assert_eq!(rows(&target), "0|1|1");
    let claimed = two.claim(9).remove(0);
    assert_eq!((claimed.id, claimed.ticket), (id(0), ticket));
    // The first one lives after all, and its outcome comes late.
    one.first(0, ticket, DELIVERED, None);
    assert_eq!((one.late(), one.shown(0)), (1, (Shown::Pending, 0)));
    two.end(&claimed, DELIVERED);
    assert_eq!(two.shown(0), (Shown::Settled(State::Delivered), 1));
    // What it stores from now on is under another session.
    one.take(1);
    while two.backend.maintain(NOW).unwrap() {}
    assert!(two.claim(9).is_empty() && two.reader.is_claimed(id(1)).unwrap());
}

#[test]
fn a_gateway_that_starts_finds_what_was_left_by_sessions_that_nobody_knows() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    one.take(0);
    drop(one);
    ask(&target, "DELETE FROM sessions");
    assert_eq!(Gateway::new(&target, "two").claim(9).len(), 1);
}

#[test]
fn what_a_gateway_was_attempting_as_it_ended_in_order_is_due_at_once() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.take(0);
    one.backend.close().unwrap();
    assert_eq!(two.claim(9).len(), 1);
}

#[test]
fn an_outcome_of_what_was_attempted_at_once_counts_once_though_it_is_written_twice() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    for (number, next, shown) in
        [(0, DELIVERED, Shown::Settled(State::Delivered)), (1, Next::Retry(NOW + 9_000), Shown::Retrying)]
    {
        let ticket = one.take(number);
        let lease = one.backend.leases.of(ticket).unwrap();
        one.first(number, ticket, next.clone(), None);
        // As if the answer to the commit had been lost.
        one.backend.leases.hold(ticket, lease);
        one.first(number, ticket, next, None);
        assert_eq!(one.shown(number), (shown, 1));
        assert_eq!(one.reader.get(id(number)).unwrap().unwrap().0.attempts, 1);
    }
    one.backend.read_counts().unwrap();
    assert_eq!((one.count(Shown::Retrying), one.count(Shown::Settled(State::Delivered))), (1, 1));
}

#[test]
fn what_people_change_of_a_delivery_that_is_attempted_at_once_stays() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let discard =
        |number| Write::Change(Change::Settle { id: id(number), from: &[State::Pending], to: State::Discarded });
    for (number, change, next, expected) in [
        (0, discard(0), Next::Retry(NOW), State::Discarded),
        (1, discard(1), DELIVERED, State::Delivered),
        (2, Write::Change(Change::Erase { id: id(2) }), DELIVERED, State::Erased),
    ] {
        let ticket = one.take(number);
        assert_eq!(two.one(change), Answer::Changed(Changed::Done(0)));
        one.first(number, ticket, next, None);
        assert_eq!((two.shown(number), one.late()), ((Shown::Settled(expected), 1), 0));
    }
    // In the batch of the outcome.
    let ticket = one.take(3);
    let batch = [discard(3), outcome(3, ticket, Next::Retry(NOW), None)];
    one.backend.commit(&batch, NOW, &mut |_| ()).unwrap();
    assert_eq!(two.shown(3), (Shown::Settled(State::Discarded), 1));
    assert_eq!(rows(&target), "0|4|0");
}

#[test]
fn beside_a_gateway_of_version_2_it_waits_in_the_queue_under_its_claim() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    ask(&target, "INSERT INTO sessions (gateway, lease_until) VALUES ('older', clock_timestamp() + interval '1 hour')");
    one.backend.renew().unwrap();
    let ticket = one.take(0);
    assert_eq!((rows(&target), two.claim(9).len()), ("0|1|1".to_owned(), 0));
    one.first(0, ticket, DELIVERED, None);
    assert_eq!(one.shown(0), (Shown::Settled(State::Delivered), 1));
    let_leases_end(&target, "older");
    one.backend.renew().unwrap();
    one.take(1);
    assert_eq!(rows(&target), "1|1|0");
}
