//! What a list looks at, and where it ends before its page is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smol_str::SmolStr;
use tempfile::TempDir;

use super::*;
use crate::store::backend::{Backend, Write};
use crate::store::list::Condition;
use crate::store::sqlite::Sqlite;
use crate::store::tests::{NOW, delivery, id, on, open_sqlite};
use crate::store::types::{Delivery, RequestId, Shown};

/// A store with so many records, made as `change` says.
fn records(count: u64, change: impl Fn(u64, Delivery) -> Delivery) -> (TempDir, Sqlite) {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let record = |number| {
        let delivery = change(number, delivery(number, State::Forwarded));
        Write::Record(Arc::new(Delivery { body: None, ..delivery }.into()))
    };
    let batch: Vec<Write> = (0..count).map(record).collect();
    store.commit(&batch, NOW, &mut |_| ()).unwrap();
    (folder, store)
}

/// A condition that counts how often it is asked, and lets one delivery through.
fn only(wanted: u64) -> (Condition, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let holds = move |parts: &Parts<'_>| {
        count.fetch_add(1, Ordering::Relaxed);
        parts.stored.delivery.id == id(wanted)
    };
    (Condition { needs: Needs::Summary, holds: Arc::new(holds) }, asked)
}

#[test]
fn a_page_ends_when_it_has_looked_at_many_and_says_where_the_next_one_begins() {
    let count = LOOKED_AT + 2;
    let (_folder, store) = records(count.try_into().unwrap(), |_, delivery| delivery);
    let (condition, asked) = only(0);
    let mut filter = Filter { conditions: vec![condition], ..Filter::default() };
    let first = list(&store.connection, &filter, 10, || false).unwrap();
    assert!(first.deliveries.is_empty());
    assert_eq!((asked.load(Ordering::Relaxed), first.next), (LOOKED_AT, Some(id(2))));
    filter.before = first.next;
    let second = list(&store.connection, &filter, 10, || false).unwrap();
    assert_eq!((second.deliveries.len(), second.next), (1, None));
    assert_eq!(asked.load(Ordering::Relaxed), count);
}

#[test]
fn a_page_that_is_late_ends_and_goes_on_where_it_ended() {
    let (_folder, store) = records(5, |_, delivery| delivery);
    let (condition, asked) = only(1);
    let mut filter = Filter { conditions: vec![condition], ..Filter::default() };
    let mut found = 0;
    for before in [4, 3, 2, 1] {
        let page = list(&store.connection, &filter, 10, || true).unwrap();
        assert_eq!(page.next, Some(id(before)));
        found += page.deliveries.len();
        filter.before = page.next;
    }
    assert_eq!(list(&store.connection, &filter, 10, || true).unwrap().next, None);
    assert_eq!((found, asked.load(Ordering::Relaxed)), (1, 5));
}

/// Of these ranges, which are what the indexes have, the filter lets everything through.
#[test]
fn what_has_an_index_is_not_looked_for_one_by_one() {
    let (_folder, store) = records(2_000, |number, delivery| {
        let rare = number % 500 == 0;
        let state = if rare { State::Refused } else { State::Forwarded };
        let reason = rare.then(|| "stale_timestamp".into());
        on(if number % 2 == 0 { "even" } else { "odd" }, Delivery { state, reason, ..delivery })
    });
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let refused = Some(vec![Shown::Settled(State::Refused)]);
    let all = Filter::default;
    for (filter, looked_at) in [
        (Filter { states: refused.clone(), ..all() }, 4),
        (Filter { states: refused.clone(), routes: texts(&["odd", "nowhere"]), ..all() }, 0),
        (Filter { states: refused, routes: texts(&["odd", "even"]), ..all() }, 4),
        (Filter { reasons: texts(&["stale_timestamp", "no_route"]), ..all() }, 4),
        (Filter { reasons: texts(&["stale_timestamp"]), routes: texts(&["odd"]), ..all() }, 0),
        (Filter { routes: texts(&["even"]), since: Some(NOW + 1_990), ..all() }, 5),
        (Filter { event_id: Some("evt_7".to_owned()), ..all() }, 1),
        (Filter { request_id: Some("req_7".to_owned()), ..all() }, 1),
        (Filter { some_id: Some("req_7".to_owned()), ..all() }, 1),
        (Filter { some_id: Some(id(7).to_string()), ..all() }, 1),
        (Filter { some_id: Some("pay_7".to_owned()), ..all() }, 0),
        (Filter { states: Some(Vec::new()), ..all() }, 0),
        (Filter { routes: Some(Vec::new()), ..all() }, 0),
    ] {
        let routes = read_routes(&store.connection).unwrap();
        let (least, below) = filter.ids();
        let mut walk = Walk::new(&store.connection, sources(&filter, &routes), below, least).unwrap();
        let mut seen = Vec::new();
        while let Some((id, _)) = walk.next().unwrap() {
            seen.push(id);
        }
        assert_eq!(seen.len(), looked_at, "{filter:?}");
        assert!(seen.is_sorted_by(|newer, older| newer > older), "{filter:?}");
    }
}

#[test]
fn a_delivery_whose_event_and_request_have_one_id_comes_once() {
    let (_folder, store) = records(3, |_, delivery| {
        let id = SmolStr::new_static("same");
        Delivery { event_id: Some(id.clone()), request_id: RequestId::Named(id), ..delivery }
    });
    let filter = Filter { some_id: Some("same".to_owned()), ..Filter::default() };
    let page = list(&store.connection, &filter, 10, || false).unwrap();
    let ids: Vec<Uuid> = page.deliveries.iter().map(|stored| stored.delivery.id).collect();
    assert_eq!(ids, [id(2), id(1), id(0)]);
}
