//! The language: what each term finds, and what is said of mistakes.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::query::{MAX_LEN, MAX_TERMS};
use super::*;
use crate::store::details::{Details, FieldLine, RequestRecord};
use crate::store::list::{matches, matches_summary};
use crate::store::{Delivery, Millis, RequestId, Shown, State, Stored, StoredDetails};

/// 2026-01-31T12:00:00Z
const NOW: Millis = 1_769_860_800_000;
const ID: &str = "019c13eb-b3a0-7000-8000-000000000001";

fn stored(change: impl FnOnce(&mut Stored)) -> Stored {
    let delivery = Delivery {
        id: ID.parse().unwrap(),
        received_at: NOW - 60_000,
        route: "stripe".into(),
        scheme: "stripe".into(),
        state: State::Refused,
        reason: Some("signature_mismatch".into()),
        status: Some(401),
        event_type: Some("invoice.paid".into()),
        event_id: Some("evt_1".into()),
        request_id: RequestId::Named("req-Ünique".into()),
        peer: "192.0.2.7".into(),
        method: "POST".into(),
        path: "/webhooks/Stripe".into(),
        request_bytes: 65_536,
        duration_ms: Some(1_000),
        head: Bytes::from_static(b"head"),
        body: Some(Bytes::from_static(b"{\"id\": \"pi_123 *\"}")),
        details: StoredDetails::default(),
    };
    let mut stored = Stored {
        shown: Shown::of(delivery.state, 0, false),
        delivery,
        attempts: 0,
        next_attempt_at: None,
        gateway: None,
    };
    change(&mut stored);
    stored
}

fn in_state(shown: Shown) -> Stored {
    stored(|stored| stored.shown = shown)
}

fn query(text: &str) -> Result<Query, Mistake> {
    let mut query = Query::new(NOW);
    query.text(text).map(|()| query)
}

fn finds(text: &str, stored: &Stored) -> bool {
    matches(&query(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}")).filter(), stored)
}

fn mistake(text: &str) -> Mistake {
    query(text).expect_err(text)
}

#[test]
fn each_term_finds_what_it_names_and_its_negation_the_rest() {
    let delivery = stored(|_| ());
    for (found, not_found) in [
        ("evt_1", "evt_2"),
        ("VT_", "signature"),
        ("INVOICE", "POST"),
        ("req-ünique", "192.0.2.7"),
        ("/webhooks/stripe", "/webhooks/stripe/"),
        ("web*stripe", "stripe*web"),
        (ID, "019c13eb-b3a0-7000-8000-00000000000"),
        ("\"evt_1\"", "\"evt_1 \""),
        ("route:stripe", "route:strip"),
        ("route:str*", "route:Stripe"),
        ("ROUTE:stripe", "route:none"),
        ("state:refused", "state:dead"),
        ("reason:signature_*", "reason:signature"),
        ("status:401", "status:402"),
        ("status:4xx", "status:5XX"),
        ("status:>=401", "status:>401"),
        ("status:<402", "status:<401"),
        ("event:invoice.*", "event:invoice"),
        ("event:\"invoice.paid\"", "event:\"invoice.*\""),
        ("event_type:invoice.paid", "event_type:paid"),
        ("event_id:evt_1", "event_id:evt_10"),
        ("event_id:evt_*", "event_id:x*"),
        ("request_id:req-Ünique", "request_id:req-ünique"),
        ("id:evt_1", "id:evt"),
        ("id:req-Ünique", "id:019c13eb"),
        ("id:019c13eb*", "id:*eb"),
        ("peer:192.0.2.7", "peer:192.0.2.8"),
        ("peer:192.0.2.0/24", "peer:2001:db8::/32"),
        ("since:1m", "since:59s"),
        ("until:59s", "until:1m"),
        ("since:2026-01-31T11:59:00Z", "since:2026-01-31T11:59:00.001Z"),
        ("until:2026-01-31T13:00:00+01:00", "until:2026-01-31T11:59:00Z"),
        ("since:2026-01-31", "until:2026-01-31"),
        ("size:64KiB", "size:>64KiB"),
        ("size:>=64KiB", "size:<64KiB"),
        ("size:<=64KiB", "size:<0B"),
        ("took:>999ms", "took:>1s"),
        ("took:<=1s", "took:<1s"),
        ("is:refused", "is:waiting"),
        ("has:body", "-has:body"),
        ("body:pi_123", "body:PI_123"),
        ("body:\"pi_123 *\"", "body:\"123  *\""),
        (r#"body:"\"id\": \"pi""#, r#"body:"\\id""#),
        ("-state:dead evt_1", "-state:refused"),
        ("route:a route:stripe", "route:a -route:stripe"),
        ("state:dead state:refused", "state:dead state:forwarded"),
        ("reason:a reason:signature_mismatch", "reason:a reason:b"),
        ("event_id:evt_1 event_id:evt_2", "event_id:evt_3 event_id:evt_2"),
        ("evt_1 invoice", "evt_1 other"),
        ("peer:10.0.0.0/8 peer:192.0.0.0/8", "is:refused is:dead"),
        ("-since:59s", "-since:1m"),
        ("-until:1m", "-until:59s"),
        ("", "x"),
        ("  \u{3000} ", "-stripe"),
    ] {
        assert!(finds(found, &delivery), "{found}");
        assert!(!finds(not_found, &delivery), "{not_found}");
    }
    for text in ["evt_1", "route:str*", "peer:192.0.2.0/24", "took:>999ms", "id:evt_1", "body:pi", "state:refused"] {
        assert!(!finds(&format!("-{text}"), &delivery), "-{text}");
    }
}

#[test]
fn what_a_delivery_does_not_have_is_found_by_negation_alone() {
    let bare = stored(|stored| {
        let delivery = &mut stored.delivery;
        (delivery.reason, delivery.status, delivery.event_type) = (None, None, None);
        (delivery.event_id, delivery.request_id, delivery.duration_ms) = Default::default();
        delivery.peer = "".into();
        delivery.body = None;
    });
    for text in ["reason:*", "status:>=100", "event:*", "event_id:*", "request_id:*", "took:>=0s", "has:body", "body:i"]
    {
        assert!(!finds(text, &bare), "{text}");
        assert!(finds(&format!("-{text}"), &bare), "-{text}");
    }
    assert!(!finds("peer:0.0.0.0/0", &bare));
}

#[test]
fn a_header_is_looked_for_in_the_recorded_head() {
    let line = |name: &'static str, value: &'static str| FieldLine {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        redacted: value == "redacted",
    };
    let fields = vec![line("x-foo", "bar"), line("x-foo", "a=b c"), line("authorization", "redacted")];
    let request = RequestRecord { fields, ..RequestRecord::default() };
    let recorded = stored(|stored| {
        stored.delivery.details = Details { request: Some(request), ..Details::default() }.into();
    });
    for text in
        ["header:x-foo", "header:X-Foo=bar", "header:x-foo=b*", "header:x-foo=\"a=b c\"", "header:authorization"]
    {
        assert!(finds(text, &recorded), "{text}");
        assert!(!finds(&format!("-{text}"), &recorded), "-{text}");
        assert!(!finds(text, &stored(|_| ())), "{text}");
    }
    for text in ["header:x-fo", "header:x-foo=BAR", "header:x-foo=", "header:authorization=redacted"] {
        assert!(!finds(text, &recorded), "{text}");
    }
    let garbage = stored(|stored| stored.delivery.details = Bytes::from_static(b"\xff").into());
    assert!(!finds("header:x-foo", &garbage) && finds("-header:x-foo", &garbage));
}

#[test]
fn pending_finds_retrying_too_and_waiting_finds_held() {
    for (text, shown) in [
        ("state:pending", &[Shown::Pending, Shown::Retrying][..]),
        ("is:pending", &[Shown::Pending, Shown::Retrying]),
        ("state:retrying", &[Shown::Retrying]),
        ("state:held", &[Shown::Held]),
        ("is:waiting", &[Shown::Pending, Shown::Retrying, Shown::Held]),
        ("state:pending -state:retrying", &[Shown::Pending]),
    ] {
        for state in Shown::ALL {
            assert_eq!(finds(text, &in_state(state)), shown.contains(&state), "{text} {state:?}");
        }
    }
    for state in Shown::ALL {
        assert!(finds(&format!("state:{}", state.name()), &in_state(state)), "{state:?}");
        assert!(!finds(&format!("-state:{}", state.name()), &in_state(state)), "{state:?}");
    }
}

#[test]
fn no_search_looks_at_a_body_that_has_a_secret() {
    let details =
        Details { redacted: vec!["header authorization".to_owned(), "body".to_owned()], ..Details::default() };
    let with_secret = |shown| {
        stored(|stored| {
            stored.shown = shown;
            stored.delivery.details = details.clone().into();
        })
    };
    for shown in Shown::ALL {
        let is_searched = matches!(shown, Shown::Settled(state) if !matches!(state, State::Dead | State::Discarded));
        let delivery = with_secret(shown);
        assert_eq!(finds("body:pi_123", &delivery), is_searched, "{shown:?}");
        assert_eq!(finds("-body:other", &delivery), is_searched, "{shown:?}");
        assert!(!finds("body:other", &delivery) && !finds("-body:pi_123", &delivery), "{shown:?}");
        assert!(finds("has:body", &delivery), "{shown:?}");
    }
}

#[test]
fn what_has_an_index_is_looked_up() {
    let filter = query("route:a state:dead reason:b event_id:c request_id:d id:e since:1h until:1s").unwrap().filter();
    assert!(filter.conditions.is_empty());
    assert_eq!((filter.routes, filter.reasons), (Some(vec!["a".to_owned()]), Some(vec!["b".to_owned()])));
    assert_eq!(filter.states, Some(vec![Shown::Settled(State::Dead)]));
    assert_eq!((filter.event_id.as_deref(), filter.request_id.as_deref()), (Some("c"), Some("d")));
    assert_eq!(filter.some_id.as_deref(), Some("e"));
    assert_eq!((filter.since, filter.until), (Some(NOW - 3_600_000), Some(NOW - 1_000)));
}

#[test]
fn a_mistake_says_where_it_is_and_what_to_write() {
    for (text, at, says) in [
        ("evt_1 foo:bar", 6, "there is no key \"foo\"; the keys are route, state"),
        ("rout:a", 0, "did you mean \"route\"?"),
        ("é stat:dead", 3, "\"stat\""),
        ("-foo:x", 1, "Quotes make it a word"),
        ("route:", 0, "route needs a value: write route:stripe"),
        ("a route:\"\"", 2, "route needs a value"),
        ("state:deed", 6, "did you mean \"dead\"?; the states are pending"),
        ("state:DEAD", 6, "there is no state"),
        ("state:dea*", 6, "there is no state"),
        ("is:waitin", 3, "did you mean \"waiting\"?"),
        ("status:999999", 7, "is no status"),
        ("status:99", 7, "is no status"),
        ("status:0xx", 7, "is no status"),
        ("status:>5xx", 7, "is no status"),
        ("status:+20", 7, "is no status"),
        ("peer:192.0.2", 5, "is no address"),
        ("peer:192.0.2.0/33", 5, "is no address"),
        ("since:yesterday", 6, "is no time"),
        ("since:1700000000", 6, "is no time"),
        ("since:2026-02-30", 6, "is no time"),
        ("until:-1h", 6, "is no time"),
        ("size:>64", 5, "64B for bytes"),
        ("size:>", 5, "not a size"),
        ("size:>99999999999999999999KiB", 5, "too large"),
        ("took:>1", 5, "write 1s for seconds"),
        ("took:fast", 5, "not a duration"),
        ("has:bodies", 4, "has knows \"body\" alone"),
        ("header:=x", 7, "is no name of a header"),
        ("header:x y:z", 9, "there is no key \"y\""),
        ("a \"b c", 2, "this quote has no end"),
        ("body:\"x\\\"", 5, "this quote has no end"),
        ("a -", 2, "- stands in front"),
        ("\"\"", 0, "nothing in these quotes"),
        ("-\"\"", 0, "- stands in front"),
    ] {
        let mistake = mistake(text);
        assert_eq!(mistake.at, at, "{text}: {mistake}");
        assert!(mistake.message.contains(says), "{text}: {mistake}");
    }
    assert_eq!(mistake(&"a".repeat(MAX_LEN + 1)).at, MAX_LEN);
    assert!(query(&"a".repeat(MAX_LEN)).is_ok());
    assert_eq!(mistake(&"a ".repeat(MAX_TERMS + 1)).at, 2 * MAX_TERMS);
    assert!(query(&"a ".repeat(MAX_TERMS)).is_ok());
}

#[test]
fn a_mistake_shows_no_control_character_and_no_long_text() {
    let mistake = mistake(&format!("state:\u{1b}\u{202e}{}", "x".repeat(3000)));
    assert!(mistake.message.contains(r"\u{1b}\u{202e}"), "{mistake}");
    assert!(mistake.message.len() < 400 && !mistake.message.contains(['\u{1b}', '\u{202e}']), "{mistake}");
}

#[test]
fn a_text_with_a_mistake_adds_nothing() {
    let mut query = Query::new(NOW);
    query.text("route:a state:deed").unwrap_err();
    assert!(query.filter().routes.is_none());
}

#[test]
fn keys_of_a_query_string_take_the_same_values() {
    let with = |terms: &[(&str, &str)]| {
        let mut query = Query::new(NOW);
        terms.iter().try_for_each(|(key, value)| query.term(key, value)).map(|()| query.filter())
    };
    for (terms, found) in [
        (&[("state", "dead"), ("state", "refused")][..], true),
        (&[("state", "pending")], false),
        (&[("event_type", "invoice.*"), ("status", "4xx"), ("route", "stripe")], true),
        (&[("event_id", "evt_1"), ("request_id", "req-Ünique"), ("reason", "signature_mismatch")], true),
        (&[("since", "1h"), ("until", "2026-01-31T12:00:00Z")], true),
        (&[("event_type", "\"invoice.paid\"")], false),
        (&[("route", "-a")], false),
    ] {
        assert_eq!(matches(&with(terms).unwrap(), &stored(|_| ())), found, "{terms:?}");
    }
    for (terms, says) in [
        (&[("route", "")][..], "a value is missing: write route:stripe"),
        (&[("peer", "192.0.2.1")], "there is no key \"peer\""),
        (&[("event", "x")], "there is no key \"event\""),
        (&[("Route", "x")], "there is no key \"Route\""),
        (&[("", "x")], "there is no key \"\""),
        (&[("route", "a"), ("route", "a")], "route is there twice"),
        (&[("state", "x")], "there is no state"),
        (&[("since", "2026-01-31T12:00:00 01:00")], "is no time"),
    ] {
        let mistake = with(terms).unwrap_err();
        assert!(mistake.message.contains(says), "{terms:?}: {mistake}");
    }
    let long = "x".repeat(MAX_LEN + 1);
    assert!(with(&[("event_id", &long)]).is_err());
}

#[test]
fn a_query_string_and_a_text_must_both_hold() {
    let mut query = Query::new(NOW);
    query.text("state:dead state:refused").unwrap();
    query.term("state", "refused").unwrap();
    query.term("state", "forwarded").unwrap();
    assert_eq!(query.filter().states, Some(vec![Shown::Settled(State::Refused)]));
}

#[test]
fn what_a_list_shows_is_not_enough_to_know_of_the_body() {
    let summary = stored(|stored| (stored.delivery.head, stored.delivery.body) = (Bytes::new(), None));
    for text in ["body:x", "-body:x", "has:body", "-has:body", "header:x", "-header:x"] {
        assert!(!matches_summary(&query(text).unwrap().filter(), &summary), "{text}");
    }
    assert!(matches_summary(&query("-peer:203.0.113.1").unwrap().filter(), &summary));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", key in "[a-z_]{0,12}") {
        for text in [text.clone(), format!("-{key}:{text}"), format!("{key}:\"{text}")] {
            match query(&text) {
                Ok(query) => { matches(&query.filter(), &stored(|_| ())); }
                Err(mistake) => prop_assert!(mistake.at <= text.len() && text.is_char_boundary(mistake.at)),
            }
        }
        let _ = Query::new(NOW).term(&key, &text);
    }

    #[test]
    fn any_text_can_be_looked_for_in_quotes(text in "\\PC{1,50}") {
        let quoted = format!("event_id:\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let delivery = stored(|stored| stored.delivery.event_id = Some(text.as_str().into()));
        prop_assert!(finds(&quoted, &delivery));
        prop_assert!(!finds(&quoted, &stored(|stored| stored.delivery.id = Uuid::nil())) || text == "evt_1");
    }
}
