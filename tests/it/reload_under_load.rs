//! Reloads under constant traffic: no connection is dropped and no delivery lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::process::poll;
use crate::support::served::{Served, delivery, route};

const SENDERS: u64 = 4;
const RELOADS: usize = 40;

#[test]
fn every_delivery_arrives_once_on_connections_that_stay_open_through_many_reloads() {
    let routes = |turn: usize| {
        let secrets =
            if turn.is_multiple_of(2) { "[{ file: one }, { file: two }]" } else { "[{ file: one, id: one }]" };
        let extra = route("extra", "[{ file: two }]", &format!("timeout: {}s", turn + 1));
        route("hook", secrets, &format!("max_body: {}KiB", turn + 1)) + if turn.is_multiple_of(3) { "" } else { &extra }
    };
    let mut served = Served::start(&routes(0), &[("one", "secret-one"), ("two", "secret-two")]);
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let totals: Vec<u64> = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let mut connection = served.connect();
                let (stop, sent) = (&stop, &sent);
                scope.spawn(move || {
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let body = format!("{sender}-{number}");
                        connection.write(&delivery("/hook", "secret-one", body.as_bytes()));
                        let response = connection.receive();
                        assert_eq!(response.status, 200, "{response:?}");
                        number += 1;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    number
                })
            })
            .collect();
        for turn in 1..=RELOADS {
            // Some deliveries between any two reloads.
            let before = sent.load(Ordering::Relaxed);
            poll("deliveries", || {
                sent.load(Ordering::Relaxed) > before + SENDERS
                    || senders.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            served.configure(&routes(turn));
            served.reload();
        }
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });

    let mut arrived: HashMap<String, u32> = HashMap::new();
    for entry in served.upstream.entries() {
        *arrived.entry(String::from_utf8(entry.body).unwrap()).or_default() += 1;
    }
    for (sender, total) in totals.iter().enumerate() {
        for number in 0..*total {
            assert_eq!(arrived.remove(&format!("{sender}-{number}")), Some(1), "{sender}-{number}");
        }
    }
    assert!(arrived.is_empty(), "{arrived:?}");
    assert_eq!(served.metric(r#"hooklatch_upstream_resends_total{route="hook"}"#), Some(0.0));
    assert!(served.metric(r#"hooklatch_config_reloads_total{result="success"}"#) >= Some(RELOADS as f64));
    assert_eq!(served.metric(r#"hooklatch_config_reloads_total{result="failure"}"#), Some(0.0));
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
}
