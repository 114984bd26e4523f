//! Deliveries that wait: stored, due, attempted, retried, settled.

use super::*;

on_each_store! {
    a_stored_delivery_is_due_with_its_bytes
    due_deliveries_come_oldest_first_but_those_that_are_claimed
    a_page_is_bounded_in_number_and_in_bytes
    a_known_key_gives_the_first_delivery_and_stores_nothing
    a_delivery_of_which_nothing_stays_is_forgotten_with_its_attempts
    a_record_has_the_attempt_that_was_made_at_once
    a_key_is_free_again_when_its_time_is_over
    an_id_that_is_stored_already_is_stored_once
    a_retry_is_due_at_its_time_and_counts_the_attempt
    a_settled_delivery_does_not_wait_and_has_its_attempts
    what_stays_of_a_settled_delivery_is_what_the_outcome_says
    a_secret_of_a_waiting_delivery_stays_until_it_is_settled
    each_destination_waits_for_itself
    claimed_tickets_are_told_before_the_commit_returns
    after_a_crash_what_was_attempted_is_due_again_and_the_numbers_are_right
    retention_takes_what_is_over_and_leaves_what_waits
    retention_leaves_what_waits_for_its_replay
    a_late_success_counts_though_it_was_discarded_and_a_late_failure_does_not
    an_attempt_cut_to_a_shorter_wait_is_due_then
}

fn key(byte: u8) -> DedupeKey {
    DedupeKey { key: [byte; 16], until: NOW + 1_000 }
}

fn a_stored_delivery_is_due_with_its_bytes(mut store: Fixture) {
    let ticket = store.accept(5);
    assert_eq!(store.due_at(NOW + 4).len(), 0);
    let due = store.due_at(NOW + 5);
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].ticket, due[0].id, due[0].received_at, due[0].waiting.due_at),
        (ticket, id(5), NOW + 5, NOW + 5)
    );
    assert_eq!((&due[0].head[..], &due[0].body[..]), (&b"head"[..], &b"body 5"[..]));
    assert_eq!(
        (due[0].waiting.attempts, due[0].waiting.counted, due[0].waiting.replay, due[0].waiting.once),
        (0, 0, false, false)
    );
    assert_eq!(store.reader.next_due("github", 0, NOW + 4).unwrap(), Some(NOW + 5));
    assert_eq!(store.reader.next_due("github", 0, NOW + 5).unwrap(), None);
    assert_eq!(store.reader.next_due("github", 1, 0).unwrap(), None);
    assert_eq!(store.reader.next_due("other", 0, 0).unwrap(), None);
    assert_eq!(store.reader.oldest("github").unwrap(), Some(NOW + 5));
    assert_eq!(store.counts(), [(Shown::Pending, 1)]);
}

fn due_deliveries_come_oldest_first_but_those_that_are_claimed(mut store: Fixture) {
    let tickets: Vec<Ticket> = [3, 1, 2].map(|number| store.accept(number)).into();
    let ids: Vec<Uuid> = store.due_at(NOW + 9).iter().map(|due| due.id).collect();
    assert_eq!(ids, [id(1), id(2), id(3)]);
    let claimed = HashSet::from([tickets[1]]);
    let ids: Vec<Uuid> = store.due_but(NOW + 9, &claimed, 1).iter().map(|due| due.id).collect();
    assert_eq!(ids, [id(2)]);
}

fn a_page_is_bounded_in_number_and_in_bytes(mut store: Fixture) {
    for number in 0..5 {
        store.accept(number);
    }
    assert_eq!(store.due_but(NOW + 9, &HashSet::new(), 3).len(), 3);
    let none = HashSet::new();
    let query = Due { route: "github", destination: 0, now: NOW + 9, limit: 9, max_bytes: 25, claimed: &none };
    assert_eq!(store.due(&query).len(), 2, "a head of 4 and a body of 6 bytes each");
    let query = Due { max_bytes: 1, ..query };
    assert_eq!(store.due(&query).len(), 1, "at least one");
}

fn a_known_key_gives_the_first_delivery_and_stores_nothing(mut store: Fixture) {
    let batch = [accept(1, Some(key(1))), accept(2, Some(key(1))), accept(3, Some(key(2)))];
    let answers = store.commit(&batch);
    assert!(matches!(answers[0], Answer::Stored(_)));
    assert_eq!(answers[1], Answer::Duplicate(id(1)), "a twin in the same batch");
    assert!(matches!(answers[2], Answer::Stored(_)));
    assert_eq!(store.one(accept(4, Some(key(1)))), Answer::Duplicate(id(1)));
    assert_eq!(store.reader.key(&[1; 16], NOW).unwrap(), Some(id(1)));
    assert_eq!(store.one(Write::Key(id(9), key(9))), Answer::Done);
    assert_eq!(store.one(accept(5, Some(key(9)))), Answer::Duplicate(id(9)));
    assert_eq!(store.counts(), [(Shown::Pending, 2)]);
    let mut store = store.crash();
    assert_eq!(store.one(accept(6, Some(key(2)))), Answer::Duplicate(id(3)), "over a restart, too");
}

fn a_key_is_free_again_when_its_time_is_over(mut store: Fixture) {
    store.one(accept(1, Some(key(1))));
    assert_eq!(store.reader.key(&[1; 16], NOW + 999).unwrap(), Some(id(1)));
    assert_eq!(store.reader.key(&[1; 16], NOW + 1_000).unwrap(), None);
    while store.backend.maintain(NOW + 1_000).unwrap() {}
    assert_eq!(store.reader.key(&[1; 16], NOW).unwrap(), None, "it was removed");
    let again = store.backend.commit(&[accept(2, Some(key(1)))], NOW + 1_000, &mut |_| ()).unwrap();
    assert!(matches!(again[0], Answer::Stored(_)));
}

fn an_id_that_is_stored_already_is_stored_once(mut store: Fixture) {
    store.accept(0);
    assert_eq!(store.one(accept(0, Some(key(1)))), Answer::Duplicate(id(0)));
    store.record(delivery(0, State::Failed));
    assert_eq!(store.due_at(NOW).len(), 1);
    assert_eq!(store.counts(), [(Shown::Pending, 1)]);
}

fn a_retry_is_due_at_its_time_and_counts_the_attempt(mut store: Fixture) {
    let ticket = store.accept(0);
    store.complete(ticket, 1, Next::Retry(NOW + 500));
    assert_eq!(store.due_at(NOW + 499).len(), 0);
    let due = store.due_at(NOW + 500);
    assert_eq!((due[0].waiting.attempts, due[0].waiting.counted, due[0].waiting.since), (1, 1, NOW));
    assert_eq!(store.counts(), [(Shown::Retrying, 1)]);
    let (stored, attempts) = store.get(0);
    assert_eq!((stored.shown, stored.attempts, stored.next_attempt_at), (Shown::Retrying, 1, Some(NOW + 500)));
    assert_eq!(stored.delivery.status, Some(500));
    assert_eq!(attempts, [attempt(1)]);
}

fn a_settled_delivery_does_not_wait_and_has_its_attempts(mut store: Fixture) {
    let ticket = store.accept(0);
    store.complete(ticket, 1, Next::Retry(NOW));
    store.one(Write::Complete(Box::new(AttemptOutcome {
        reason: Some("age".into()),
        ..outcome(ticket, 2, settled(State::Dead))
    })));
    assert_eq!(store.due_at(Millis::MAX).len(), 0);
    assert_eq!(store.reader.oldest("github").unwrap(), None);
    let (stored, attempts) = store.get(0);
    assert_eq!((stored.shown, stored.attempts), (Shown::Settled(State::Dead), 2));
    assert_eq!(stored.delivery.reason.as_deref(), Some("age"));
    assert_eq!(attempts, [attempt(1), attempt(2)]);
    assert_eq!(store.counts(), [(Shown::Settled(State::Dead), 1)]);
    assert_eq!(store.reader.body(id(0)).unwrap().as_deref(), Some(&b"body 0"[..]));
}

fn what_stays_of_a_settled_delivery_is_what_the_outcome_says(mut store: Fixture) {
    let cut = Bytes::from_static(b"bod");
    let bodies = [
        (KeptBody::Nothing, None),
        (KeptBody::Only(cut.clone()), Some(cut)),
        (KeptBody::AsItIs, Some(Bytes::from_static(b"body 2"))),
    ];
    for (number, (stays, body)) in (0..).zip(bodies) {
        let ticket = store.accept(number);
        let stays = Settled { is_kept: true, head: Some(Bytes::from_static(b"he")), body: stays, secret: true };
        let outcome = AttemptOutcome { settled: Some(stays), ..outcome(ticket, 1, settled(State::Delivered)) };
        store.one(Write::Complete(Box::new(outcome)));
        assert_eq!(&store.get(number).0.delivery.head[..], b"he");
        assert_eq!(store.reader.body(id(number)).unwrap(), body);
    }
}

fn a_delivery_of_which_nothing_stays_is_forgotten_with_its_attempts(mut store: Fixture) {
    store.accept(0);
    let ticket = store.accept(1);
    let stays = Settled { is_kept: false, head: None, body: KeptBody::Nothing, secret: false };
    for next in [Next::Retry(NOW), settled(State::Delivered)] {
        let outcome = AttemptOutcome { settled: Some(stays.clone()), ..outcome(ticket, 1, next) };
        store.one(Write::Complete(Box::new(outcome)));
    }
    assert!(store.reader.get(id(1)).unwrap().is_none());
    assert!(store.reader.body(id(1)).unwrap().is_none());
    assert_eq!(store.counts(), [(Shown::Pending, 1)]);
    assert_eq!(store.due_at(NOW).len(), 1);
}

fn a_record_has_the_attempt_that_was_made_at_once(mut store: Fixture) {
    let record = Record::new(delivery(0, State::Failed), Some(attempt(1)));
    store.one(Write::Record(Arc::new(record)));
    let (stored, attempts) = store.get(0);
    assert_eq!((stored.shown, stored.attempts), (Shown::Settled(State::Failed), 1));
    assert_eq!(attempts, [attempt(1)]);
    let replayed = store.change(Change::Requeue {
        id: id(0),
        from: &[State::Failed],
        destinations: 1,
        at: NOW,
        once: true,
        head: None,
    });
    assert_eq!(replayed, Changed::Done(1));
    let due = store.due_at(NOW);
    assert_eq!((due.len(), due[0].waiting.attempts), (1, 1), "the next attempt is the second");
    store.complete(due[0].ticket, 2, settled(State::Delivered));
    assert_eq!(store.get(0).1, [attempt(1), attempt(2)]);
    store.change(Change::Erase { id: id(0) });
    assert!(store.get(0).1.iter().all(|attempt| attempt.response_head.is_empty() && attempt.response_body.is_empty()));
}

fn a_secret_of_a_waiting_delivery_stays_until_it_is_settled(mut store: Fixture) {
    let ticket = store.accept(0);
    let stays = Settled { is_kept: true, head: Some(Bytes::from_static(b"he")), body: KeptBody::Nothing, secret: true };
    let outcome = AttemptOutcome { settled: Some(stays), ..outcome(ticket, 1, Next::Retry(NOW)) };
    store.one(Write::Complete(Box::new(outcome)));
    let due = store.due_at(NOW);
    assert_eq!((&due[0].head[..], &due[0].body[..]), (&b"head"[..], &b"body 0"[..]));
}

fn each_destination_waits_for_itself(mut store: Fixture) {
    let delivery = Box::new(delivery(0, State::Pending));
    store.one(Write::Accept { delivery, key: None, destinations: 2, claim: false });
    let none = HashSet::new();
    let query = Due { route: "github", destination: 1, now: NOW, limit: 9, max_bytes: 1 << 20, claimed: &none };
    let second = store.due(&query).remove(0).ticket;
    let first = store.due_at(NOW).remove(0).ticket;
    assert_eq!((first.destination(), second.destination()), (0, 1));
    store.complete(first, 1, settled(State::Delivered));
    assert_eq!(store.shown(0), Shown::Retrying, "the second destination still waits");
    assert_eq!(store.due_at(NOW).len(), 0);
    let mut last = outcome(second, 1, settled(State::Delivered));
    last.attempt.destination = 1;
    store.one(Write::Complete(Box::new(last)));
    assert_eq!(store.shown(0), Shown::Settled(State::Delivered));
    assert_eq!(store.get(0).1.len(), 2);
}

fn claimed_tickets_are_told_before_the_commit_returns(mut store: Fixture) {
    let delivery = Box::new(delivery(0, State::Pending));
    let batch = [accept(1, None), Write::Accept { delivery, key: None, destinations: 2, claim: true }];
    let mut told = Vec::new();
    let answers = store.backend.commit(&batch, NOW, &mut |ticket| told.push(ticket)).unwrap();
    let Answer::Stored(ticket) = answers[1] else { panic!("stored") };
    assert_eq!(told, [ticket, Ticket { destination: 1, ..ticket }]);
}

fn after_a_crash_what_was_attempted_is_due_again_and_the_numbers_are_right(mut store: Fixture) {
    let tickets: Vec<Ticket> = (0..4).map(|number| store.accept(number)).collect();
    store.complete(tickets[0], 1, settled(State::Delivered));
    store.complete(tickets[1], 1, Next::Retry(NOW + 7));
    store.change(Change::Pause { route: "github".into(), paused: true });
    let mut store = store.crash();
    let ids: Vec<Uuid> = store.due_at(NOW + 9).iter().map(|due| due.id).collect();
    assert_eq!(ids, [id(2), id(3), id(1)]);
    assert_eq!(store.counts(), [(Shown::Pending, 2), (Shown::Retrying, 1), (Shown::Settled(State::Delivered), 1)]);
    let book = store.backend.book();
    assert_eq!(lock(&book).routes["github"], RouteState { paused: true, ..RouteState::default() });
    let fresh = store.accept(9);
    assert!(!tickets.contains(&fresh));
}

fn retention_takes_what_is_over_and_leaves_what_waits(mut store: Fixture) {
    store.accept(0);
    let dead = store.accept(1);
    store.complete(dead, 1, settled(State::Dead));
    store.record(delivery(2, State::Refused));
    store.record(delivery(3, State::Forwarded));
    let mut left = |now| {
        while store.backend.maintain(now).unwrap() {}
        store.ids(&Filter::default())
    };
    assert_eq!(left(NOW + KEEP.refused - 1), [3, 2, 1, 0]);
    assert_eq!(left(NOW + KEEP.refused + 2_000), [3, 1, 0]);
    assert_eq!(left(NOW + KEEP.delivered + 2_000), [1, 0]);
    assert_eq!(left(NOW + KEEP.dead + 2_000), [0]);
    assert_eq!(left(Millis::MAX / 2), [0]);
    assert_eq!(store.counts(), [(Shown::Pending, 1)]);
}

fn retention_leaves_what_waits_for_its_replay(mut store: Fixture) {
    store.record(delivery(0, State::Failed));
    let replay =
        Change::Requeue { id: id(0), from: &[State::Failed], destinations: 1, at: NOW, once: true, head: None };
    assert_eq!(store.change(replay), Changed::Done(0));
    while store.backend.maintain(NOW + KEEP.delivered + 2_000).unwrap() {}
    let due = store.due_at(NOW);
    assert_eq!(due.len(), 1);
    store.complete(due[0].ticket, 1, Next::Keep);
    while store.backend.maintain(NOW + KEEP.delivered + 4_000).unwrap() {}
    assert!(store.reader.get(id(0)).unwrap().is_none());
}

fn a_late_success_counts_though_it_was_discarded_and_a_late_failure_does_not(mut store: Fixture) {
    for (number, next, expected) in [
        (0, settled(State::Delivered), State::Delivered),
        (1, settled(State::Dead), State::Discarded),
        (2, Next::Retry(NOW), State::Discarded),
    ] {
        let ticket = store.accept(number);
        store.change(Change::Settle { id: id(number), from: &[State::Pending], to: State::Discarded });
        store.complete(ticket, 1, next);
        assert_eq!(store.shown(number), Shown::Settled(expected));
        assert_eq!(store.due_at(Millis::MAX).len(), 0);
    }
}

fn an_attempt_cut_to_a_shorter_wait_is_due_then(mut store: Fixture) {
    let ticket = store.accept(0);
    store.complete(ticket, 1, Next::Retry(NOW + 5_000));
    let cut = Change::Cut { route: "github".into(), latest: NOW + 5_000 };
    assert_eq!(store.change(cut), Changed::Done(0));
    let cut = Change::Cut { route: "github".into(), latest: NOW + 4_999 };
    assert_eq!(store.change(cut), Changed::Done(1));
    assert_eq!(store.due_at(NOW + 4_998).len(), 0);
    assert_eq!(store.due_at(NOW + 4_999).len(), 1);
}
