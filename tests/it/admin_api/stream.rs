//! Server-sent events: what comes, what is left out, who is turned away.

use crate::support::api::{Call, Events, json, problem};
use crate::support::gateway::Gateway;
use crate::support::http::Connection;
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::Rig;
use crate::support::sender::Delivery;

const STREAM: &str = "/api/v1/stream";
const LIST: &str = "/api/v1/deliveries";

/// The id of the delivery that the handler has just got.
fn id_of(seen: &crate::support::upstream::Seen) -> String {
    seen.one("hooklatch-delivery-id")
}

#[test]
fn a_delivery_comes_once_it_is_stored_and_again_when_it_is_delivered() {
    let mut queued = Queued::start("");
    let mut events = Events::open(queued.admin(), &Call::get(STREAM));
    queued.accepts(&Delivery::circleci("{}"));
    let seen = queued.request();
    let event = events.next().unwrap();
    assert_eq!((event.name.as_str(), event.id.as_deref()), ("delivery", Some(id_of(&seen).as_str())));
    assert_eq!((&event.data["state"], &event.data["id"]), (&"pending".into(), &id_of(&seen).into()));
    queued.answer("200 OK", "");
    let event = events.next().unwrap();
    assert_eq!((event.name.as_str(), event.id), ("update", None));
    assert_eq!((&event.data["state"], &event.data["attempts"]), (&"delivered".into(), &1.into()));
    let members: Vec<&String> = event.data.as_object().unwrap().keys().collect();
    assert_eq!(members.len(), 17, "{members:?}");
}

#[test]
fn a_search_lets_through_what_it_finds() {
    let mut queued = Queued::start("");
    let mut dead = Events::open(queued.admin(), &Call::get(&format!("{STREAM}?q=state:delivered")));
    queued.accepts(&Delivery::circleci("{}"));
    let id = id_of(&queued.takes());
    assert_eq!(dead.ids("update"), [id]);
}

#[test]
fn after_the_last_event_id_come_the_newer_ones_first() {
    let mut queued = Queued::start("");
    let mut ids = Vec::new();
    for _ in 0..3 {
        queued.accepts(&Delivery::circleci("{}"));
        ids.push(id_of(&queued.takes()));
    }
    let delivered = format!("{LIST}?state=delivered");
    poll("delivered", || json(queued.admin(), &delivered)["deliveries"].as_array().unwrap().len() == 3);
    let resumed = Call::get(STREAM).line(&format!("Last-Event-ID: {}", ids[0]));
    let mut events = Events::open(queued.admin(), &resumed);
    let event = events.next().unwrap();
    let sent: Vec<_> = event.deliveries().iter().map(|delivery| delivery["id"].clone()).collect();
    assert_eq!((event.name.as_str(), sent), ("delivery", vec![ids[1].as_str().into(), ids[2].as_str().into()]));
    assert_eq!(event.id.as_ref(), Some(&ids[2]));
    queued.accepts(&Delivery::circleci("{}"));
    let id = id_of(&queued.takes());
    assert_eq!(events.ids("delivery"), [id]);

    poll("delivered", || json(queued.admin(), &delivered)["deliveries"].as_array().unwrap().len() == 4);

    // An id that is none is passed over.
    for last in ["x", "", "01890a5dac96774bbcceb302099a8057"] {
        let call = Call::get(STREAM).line(&format!("Last-Event-ID: {last}"));
        let mut events = Events::open(queued.admin(), &call);
        queued.accepts(&Delivery::circleci("{}"));
        let id = id_of(&queued.takes());
        assert_eq!(events.ids("delivery"), [id], "{last}");
        assert_eq!(events.next().unwrap().name, "update");
    }
}

#[test]
fn a_search_sees_the_body_of_a_delivery_that_is_kept_for_those_who_listen_alone() {
    let mut queued = Queued::start("record: none");
    let listening = format!("{STREAM}?copies_of=hook");
    let _listening = Events::open(queued.admin(), &Call::get(&listening));
    let mut ids = Vec::new();
    for body in ["{}", r#"{"a":"a-word"}"#, "{}"] {
        queued.accepts(&Delivery::circleci(body));
        ids.push(id_of(&queued.takes()));
    }
    poll("none is stored", || json(queued.admin(), LIST)["deliveries"].as_array().unwrap().is_empty());
    for (search, found) in [("body:a-word", 1), ("-body:a-word", 2)] {
        let resumed = Call::get(&format!("{listening}&q={search}")).line(&format!("Last-Event-ID: {}", ids[0]));
        let event = Events::open(queued.admin(), &resumed).next().unwrap();
        let sent: Vec<_> = event.deliveries().iter().map(|delivery| delivery["id"].clone()).collect();
        assert_eq!(sent, [ids[found].as_str()], "{search}");
    }
}

#[test]
fn many_come_together_in_few_events() {
    let queued = Queued::start("max_concurrent: 4");
    queued.upstream.answer_always();
    let mut events = Events::open(queued.admin(), &Call::get(STREAM));
    let mut sender = Connection::open(queued.server());
    let count = 200;
    for _ in 0..count {
        sender.write(&Delivery::circleci("{}").bytes());
        assert_eq!(sender.receive().status, 200);
    }
    queued.wait_for_delivered(f64::from(count));
    let (mut new, mut delivered, mut read) = (0, 0, 0);
    while delivered < count {
        let event = events.next().unwrap();
        read += 1;
        for delivery in event.deliveries() {
            match event.name.as_str() {
                "delivery" => new += 1,
                "update" => delivered += i32::from(delivery["state"] == "delivered"),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(new, count);
    assert!(read < count, "{read} events");
}

#[test]
fn a_slow_reader_gets_a_gap_and_then_the_end_and_holds_nobody_up() {
    let rig = Rig::start();
    rig.upstream.answer_always();
    let admin = rig.gateway.admin;
    let mut slow = Connection::open(admin);
    socket2::SockRef::from(slow.stream().tcp()).set_recv_buffer_size(4096).unwrap();
    slow.write(&Call::get(STREAM).bytes());
    let mut watching = Events::open(admin, &Call::get(STREAM));
    let count = 10_000;
    let reader = std::thread::spawn(move || {
        let mut told = 0;
        while told < count {
            let event = watching.next().expect("the stream of who reads goes on");
            told += if event.name == "gap" {
                event.data["count"].as_u64().unwrap()
            } else {
                event.deliveries().len() as u64
            };
        }
    });
    let delivery = Delivery::circleci("{}").header("X-Request-Id", &"x".repeat(128)).bytes();
    let mut sender = rig.connect();
    for _ in 0..count {
        sender.write(&delivery);
        assert_eq!(sender.receive().status, 200);
    }
    reader.join().unwrap();
    let rest = String::from_utf8(slow.receive_rest()).unwrap();
    let gap = rest.rfind("event: gap\ndata: {\"count\":").expect("a gap");
    assert!(rest.rfind("event: delivery").unwrap() < gap, "the gap is the last event");
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "the body ends regularly");
}

#[test]
fn there_are_so_many_streams_and_no_more() {
    let gateway = Gateway::start(&crate::support::rig::route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let open = || Events::open(gateway.admin, &Call::get(STREAM));
    let mut streams: Vec<Events> = (0..32).map(|_| open()).collect();
    let refused = Call::get(STREAM).send(gateway.admin);
    assert_eq!(problem(&refused), (503, "too_many_streams".to_owned()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(Call::get("/livez").send(gateway.admin).status, 200);
    drop(streams.pop());
    poll("a place is free", || {
        let mut connection = Connection::open(gateway.admin);
        connection.write(&Call::get(STREAM).bytes());
        connection.receive_head().status == 200
    });
}

#[test]
fn a_wrong_search_is_refused() {
    let gateway = Gateway::start(&crate::support::rig::route("circleci", "upstream: \"http://127.0.0.1:1\""));
    for query in ["q=unknown:x", "q=%22", "x=1", "q=a&q=b", "route=hook"] {
        let refused = Call::get(&format!("{STREAM}?{query}")).send(gateway.admin);
        assert_eq!(problem(&refused), (400, "bad_query".to_owned()), "{query}");
    }
}
