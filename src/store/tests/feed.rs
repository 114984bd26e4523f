//! What those who follow a store are told.

use super::super::feed::Feed;
use super::*;

on_each_store! {
    deliveries_are_found_by_their_ids_in_that_order
    what_has_made_room_is_remembered
    what_is_new_is_told_as_lists_show_it
}

fn what_is_new_is_told_as_lists_show_it(mut store: Fixture) {
    let channel = Feed::channel();
    let (feed, mut follower) = (Feed::new(channel.clone()), channel.subscribe());
    let attempt = Attempt { destination: 0, number: 1, ..attempt(1) };
    let recorded = Record::new(delivery(1, State::Forwarded), Some(attempt));
    let writes = [
        accept(0, None),
        Write::Record(Arc::new(recorded)),
        Write::Record(Arc::new(delivery(2, State::Refused).into())),
    ];
    let answers = store.commit(&writes);
    feed.tell(&writes, &answers, false);
    let told = follower.try_recv().unwrap();
    let told: Vec<String> =
        told.notices.iter().map(|notice| format!("{:?}", notice.stored.as_ref().unwrap())).collect();
    let read = store.reader.summaries(&[0, 1, 2].map(id)).unwrap();
    // Which gateway took it is read, where gateways share the store.
    let read = read.into_iter().map(|stored| format!("{:?}", Stored { gateway: None, ..stored }));
    assert_eq!(told, read.collect::<Vec<_>>());
}

fn deliveries_are_found_by_their_ids_in_that_order(mut store: Fixture) {
    store.accept(0);
    store.record(delivery(1, State::Refused));
    let found = store.reader.summaries(&[0, 9, 1].map(id)).unwrap();
    let found: Vec<_> = found.iter().map(|stored| (number(stored.delivery.id), stored.shown)).collect();
    assert_eq!(found, [(0, Shown::Pending), (1, Shown::Settled(State::Refused))]);
}

fn what_has_made_room_is_remembered(mut store: Fixture) {
    store.record(delivery(0, State::Refused));
    let has = |store: &Fixture| lock(&store.backend.book()).removed.has(&id(0));
    assert!(!has(&store));
    while store.backend.maintain(NOW + KEEP.refused + 2_000).unwrap() {}
    assert!(store.reader.get(id(0)).unwrap().is_none());
    assert!(has(&store));
}

#[test]
fn who_follows_is_told_what_is_new_and_what_has_changed() {
    let channel = Feed::channel();
    let feed = Feed::new(channel.clone());
    let mut store = Fixture::memory();
    let settle = |number| Write::Change(Change::Settle { id: id(number), from: &[State::Dead], to: State::Discarded });
    let mut commit = |writes: &[Write]| {
        let answers = store.commit(writes);
        feed.tell(writes, &answers, false);
    };
    // Without a follower.
    commit(&[accept(0, None)]);
    let mut follower = channel.subscribe();
    let key = DedupeKey { key: [1; 16], until: NOW + 1 };
    commit(&[accept(1, Some(key)), Write::Record(Arc::new(delivery(2, State::Dead).into()))]);
    // A duplicate is no delivery of its own, and a change that is not made is none.
    commit(&[accept(3, Some(key)), settle(1), settle(2)]);
    commit(&[settle(9)]);
    let news = follower.try_recv().unwrap();
    let told = |news: &News| -> Vec<_> {
        news.notices.iter().map(|notice| (notice.id, notice.stored.as_ref().map(|new| new.delivery.id))).collect()
    };
    let new = |number| (id(number), Some(id(number)));
    assert_eq!((news.first, told(&news)), (0, vec![new(1), new(2)]));
    let news = follower.try_recv().unwrap();
    assert_eq!((news.first, told(&news)), (2, vec![(id(2), None)]));
    assert!(follower.try_recv().is_err());
}
