//! Lists with filters, page by page.

use std::borrow::Cow;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

on_each_store! {
    a_list_comes_newest_first_by_id_whatever_the_order_of_writing
    each_filter_lets_through_what_it_names
    a_condition_sees_what_it_needs_of_what_the_rest_lets_through
    pages_follow_one_another_without_gap_or_repetition
    a_delivery_of_an_unknown_id_is_none
    a_request_id_is_kept_as_it_was_named
}

fn a_request_id_is_kept_as_it_was_named(mut store: Fixture) {
    let text = |number| id(number).to_string();
    // No id, the id of another delivery, and the delivery's own.
    let kept = [
        (RequestId::Unknown, None),
        (RequestId::Named(text(0).into()), Some(text(0))),
        (RequestId::Own, Some(text(2))),
    ];
    for (number, (request_id, text)) in (0..).zip(kept) {
        store.record(Delivery { request_id, ..delivery(number, State::Forwarded) });
        assert_eq!(store.get(number).0.delivery.request_id().map(Cow::into_owned), text);
    }
    let by = |request_id: String| Filter { request_id: Some(request_id), ..Filter::default() };
    assert_eq!((store.ids(&by(text(0))), store.ids(&by(text(1)))), (vec![1], Vec::new()));
    assert_eq!(store.ids(&by(text(2))), [2]);
    assert!(store.ids(&by(text(2).to_uppercase())).is_empty());
    assert_eq!(store.ids(&Filter { some_id: Some(id(0).to_string()), ..Filter::default() }), [1, 0]);
}

fn a_list_comes_newest_first_by_id_whatever_the_order_of_writing(mut store: Fixture) {
    for number in [4, 1, 3, 0, 2] {
        store.record(delivery(number, State::Forwarded));
    }
    assert_eq!(store.ids(&Filter::default()), [4, 3, 2, 1, 0]);
    let page = store.reader.list(&Filter::default(), 1).unwrap();
    let listed = &page.deliveries[0].delivery;
    assert!(listed.head.is_empty() && listed.details.encoded().is_empty() && listed.body.is_none());
    assert_eq!((listed.method.as_str(), listed.request_bytes), ("POST", 6));
}

fn each_filter_lets_through_what_it_names(mut store: Fixture) {
    let refused = Delivery { reason: Some("signature_mismatch".into()), ..delivery(0, State::Refused) };
    let failed = Delivery { status: Some(502), event_type: Some("ping".into()), ..delivery(1, State::Failed) };
    store.record(refused);
    store.record(on("stripe", failed));
    store.accept(2);
    let ticket = store.accept(3);
    store.complete(ticket, 1, Next::Retry(NOW));
    let all = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    for (filter, expected) in [
        (Filter { routes: texts(&["stripe"]), ..all() }, &[1][..]),
        (Filter { routes: texts(&["github"]), ..all() }, &[3, 2, 0]),
        (Filter { routes: texts(&["nowhere"]), ..all() }, &[]),
        (Filter { states: Some(vec![Shown::Pending]), ..all() }, &[2]),
        (Filter { states: Some(vec![Shown::Retrying]), ..all() }, &[3]),
        (
            Filter { states: Some(vec![Shown::Settled(State::Failed), Shown::Settled(State::Refused)]), ..all() },
            &[1, 0],
        ),
        (Filter { states: Some(vec![Shown::Settled(State::Failed)]), routes: texts(&["github"]), ..all() }, &[]),
        (Filter { reasons: texts(&["signature_mismatch"]), ..all() }, &[0]),
        (Filter { event_id: text("evt_2"), ..all() }, &[2]),
        (Filter { event_id: text("evt_2"), routes: texts(&["stripe"]), ..all() }, &[]),
        (Filter { request_id: text("req_3"), ..all() }, &[3]),
        (Filter { some_id: text("req_3"), ..all() }, &[3]),
        (Filter { some_id: text("evt_2"), routes: texts(&["github"]), ..all() }, &[2]),
        (Filter { some_id: Some(id(1).to_string()), ..all() }, &[1]),
        (Filter { some_id: text("req_3"), states: Some(vec![Shown::Pending]), ..all() }, &[]),
        (Filter { routes: texts(&["stripe", "github"]), reasons: texts(&["signature_mismatch", "x"]), ..all() }, &[0]),
        (Filter { states: Some(Vec::new()), ..all() }, &[]),
        (Filter { routes: Some(Vec::new()), ..all() }, &[]),
        (Filter { since: Some(NOW + 1), until: Some(NOW + 3), ..all() }, &[2, 1]),
        (Filter { before: Some(id(2)), ..all() }, &[1, 0]),
    ] {
        assert_eq!(store.ids(&filter), expected, "{filter:?}");
    }
}

fn a_condition_sees_what_it_needs_of_what_the_rest_lets_through(mut store: Fixture) {
    for number in 0..4 {
        store.record(Delivery {
            details: Bytes::from(format!("details {number}")).into(),
            ..delivery(number, State::Forwarded)
        });
    }
    store.record(Delivery { body: None, ..delivery(4, State::Refused) });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let condition = |needs, holds: fn(&Parts<'_>) -> bool| {
        let seen = Arc::clone(&seen);
        let holds = move |parts: &Parts<'_>| {
            seen.lock().unwrap().push((needs, number(parts.stored.delivery.id)));
            holds(parts)
        };
        Condition { needs, holds: Arc::new(holds) }
    };
    let conditions = vec![
        condition(Needs::Body, |parts| parts.body != Some(b"body 1")),
        condition(Needs::Details, |parts| {
            *parts.stored.delivery.details.encoded() != *b"details 2"
                && &*parts.stored.delivery.head == b"head"
                && parts.kept == 6
        }),
        condition(Needs::Summary, |parts| parts.stored.delivery.event_id.as_deref() != Some("evt_3")),
    ];
    let filter = Filter { states: Some(vec![Shown::Settled(State::Forwarded)]), conditions, ..Filter::default() };
    assert_eq!(store.ids(&filter), [0]);
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_unstable();
    use Needs::{Body, Details, Summary};
    assert_eq!(
        seen,
        [
            (Summary, 0),
            (Summary, 1),
            (Summary, 2),
            (Summary, 3),
            (Details, 0),
            (Details, 1),
            (Details, 2),
            (Body, 0),
            (Body, 1),
        ]
    );
    let without_body = condition(Needs::Body, |parts| parts.body.is_none() && parts.kept == 0);
    assert_eq!(store.ids(&Filter { conditions: vec![without_body], ..Filter::default() }), [4]);
    let listed = store.reader.list(&filter, 10).unwrap();
    let delivery = &listed.deliveries[0].delivery;
    assert!(delivery.head.is_empty() && delivery.details.encoded().is_empty() && delivery.body.is_none());
}

fn pages_follow_one_another_without_gap_or_repetition(mut store: Fixture) {
    let batch: Vec<Write> = (0..700)
        .map(|number| {
            let state = if number % 3 == 0 { State::Refused } else { State::Forwarded };
            let delivery = on(if number % 2 == 0 { "even" } else { "odd" }, delivery(number, state));
            Write::Record(Arc::new(delivery.into()))
        })
        .collect();
    store.commit(&batch);
    let states = vec![Shown::Settled(State::Refused), Shown::Settled(State::Forwarded)];
    for filter in [Filter::default(), Filter { states: Some(states), ..Filter::default() }] {
        let mut seen = Vec::new();
        let mut filter = filter;
        loop {
            let page = store.reader.list(&filter, 97).unwrap();
            seen.extend(page.deliveries.iter().map(|stored| number(stored.delivery.id)));
            let Some(next) = page.next else { break };
            filter.before = Some(next);
        }
        assert_eq!(seen, (0..700).rev().collect::<Vec<_>>());
    }
}

fn a_delivery_of_an_unknown_id_is_none(mut store: Fixture) {
    assert!(store.reader.get(id(0)).unwrap().is_none());
    assert_eq!(store.reader.body(id(0)).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_stores_list_alike(
        rows in proptest::collection::vec((0_u64..10_000, 0_u8..10, 0_usize..3), 1..60),
        states in proptest::collection::vec(0_u8..10, 0..3),
        route in proptest::option::of(0_usize..3),
        since in proptest::option::of(0_i64..10_000),
        limit in 1_usize..20,
    ) {
        let routes = ["a", "b", "c"];
        let mut stores: Vec<Fixture> = [Some(Fixture::memory()), Some(Fixture::sqlite()), Fixture::postgres()].into_iter().flatten().collect();
        let mut seen = HashSet::new();
        for (number, state, route) in rows {
            let state = State::from_number(state).unwrap();
            if !seen.insert(number) { continue; }
            for store in &mut stores {
                store.record(on(routes[route], delivery(number, state)));
            }
        }
        let shown = states.into_iter().map(|state| Shown::of(State::from_number(state).unwrap(), 0, false));
        let filter = Filter {
            states: Some(shown.collect()).filter(|states: &Vec<Shown>| !states.is_empty()),
            routes: route.map(|route| vec![routes[route].to_owned()]),
            since: since.map(|since| NOW + since),
            ..Filter::default()
        };
        let lists: Vec<_> = stores.iter_mut().map(|store| {
            let page = store.reader.list(&filter, limit).unwrap();
            page.deliveries.iter().map(|stored| number(stored.delivery.id)).collect::<Vec<_>>()
        }).collect();
        prop_assert!(lists.iter().all(|list| *list == lists[0]), "{:?}", lists);
    }
}

/// What a store in memory of 100 deliveries keeps of these, by state.
fn kept_of(states: impl IntoIterator<Item = State>) -> Vec<(Shown, u64)> {
    let bounds = Bounds { deliveries: 100, ..Bounds::default() };
    let mut memory = Memory::new(bounds, KEEP);
    for (number, state) in (0..).zip(states) {
        memory.commit(&[Write::Record(Arc::new(delivery(number, state).into()))], NOW, &mut |_| ()).unwrap();
    }
    let book = memory.book();
    lock(&book).counts.iter().map(|((_, shown), count)| (*shown, *count)).collect()
}

#[test]
fn in_memory_refused_deliveries_take_no_more_than_a_tenth_from_the_others() {
    use std::iter::repeat_n;
    let forwarded = |count| (Shown::Settled(State::Forwarded), count);
    let refused = |count| (Shown::Settled(State::Refused), count);
    assert_eq!(kept_of(repeat_n(State::Forwarded, 300)), [forwarded(100)]);
    assert_eq!(kept_of(repeat_n(State::Refused, 300)), [refused(100)]);
    let flood = repeat_n(State::Forwarded, 100).chain(repeat_n(State::Refused, 300));
    assert_eq!(kept_of(flood), [forwarded(90), refused(10)]);
    let after = repeat_n(State::Refused, 300).chain(repeat_n(State::Forwarded, 300));
    assert_eq!(kept_of(after), [forwarded(90), refused(10)]);
    let few = repeat_n(State::Refused, 300).chain(repeat_n(State::Forwarded, 5));
    assert_eq!(kept_of(few), [forwarded(5), refused(95)]);
}

#[test]
fn in_memory_the_oldest_make_room_when_the_bytes_are_used_up() {
    let bounds = Bounds { bytes: 100_000, ..Bounds::default() };
    let mut memory = Memory::new(bounds, KEEP);
    for number in 0..50 {
        let record = Delivery { body: Some(vec![0; 9_500].into()), ..delivery(number, State::Forwarded) };
        memory.commit(&[Write::Record(Arc::new(record.into()))], NOW, &mut |_| ()).unwrap();
    }
    let used = memory.sizes().unwrap().used;
    assert!((80_000..=100_000).contains(&used), "{used}");
    let page = memory.reader().unwrap().list(&Filter::default(), 100).unwrap();
    let newest: Vec<_> = page.deliveries.iter().map(|stored| stored.delivery.id).collect();
    assert_eq!(newest, (50 - newest.len() as u64..50).rev().map(id).collect::<Vec<_>>());
}
