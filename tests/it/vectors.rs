//! Deliveries that the providers publish, through the whole gateway.

use std::time::{Duration, SystemTime};

use hooklatch::clock::Clock;
use hooklatch::schemes::{self, Spec};

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::rig::is_problem;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;
use crate::support::vectors::{Vector, load};

/// What the clock says where it does not matter.
const NOW: u64 = 1_700_000_000;

/// One vector to a gateway of its own: what must be accepted gets to the upstream, nothing else does.
fn has_its_verdict(spec: &Spec, position: usize, vector: &Vector) {
    let place = format!("{}[{position}]", spec.name);
    let target: ::http::Uri = vector.url.parse().unwrap();
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    let mut scheme = vector.options.clone();
    scheme.insert("name".to_owned(), spec.name.clone());
    let upstream = Upstream::bind();
    let gateway = Gateway::start_at(
        Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(vector.now_unix.unwrap_or(NOW))),
        &format!(
            "  - {{ name: hook, path: /*, scheme: {}, methods: [{}], secrets: [{{ env: VECTOR }}], \
             reject_status: 401, upstream: \"http://{}\" }}\n",
            serde_json::to_string(&scheme).unwrap(),
            vector.method,
            upstream.address
        ),
        &[("VECTOR", &vector.secret)],
    );
    let delivery = Delivery::unsigned(&vector.body).method(&vector.method).target(target);
    let delivery = vector.headers.iter().fold(delivery, |delivery, (name, value)| delivery.header(name, value));
    let mut sender = http::Connection::open(gateway.server);
    sender.write(&delivery.bytes());
    if vector.accept {
        let mut peer = upstream.accept();
        let seen = peer.request();
        peer.answer();
        assert_eq!(sender.receive().status, 200, "{place}");
        assert_eq!(seen.body, vector.body.as_bytes(), "{place}");
        assert_eq!(seen.one("hooklatch-verified"), "true", "{place}");
        for (name, value) in &vector.headers {
            assert_eq!(seen.one(&name.to_lowercase()), *value, "{place}");
        }
    } else {
        let response = sender.receive();
        assert_eq!(response.status, 401, "{place}: {response:?}");
        let reason = response.json()["reason"].as_str().unwrap().to_owned();
        is_problem(&response, 401, vector.reason.as_deref().unwrap_or(&reason));
        upstream.expect_nothing();
    }
}

#[test]
fn every_vector_of_every_scheme_has_the_verdict_that_it_says() {
    let specs = schemes::names().map(|name| schemes::find(name).unwrap());
    let mut count = 0;
    for spec in specs.filter(|spec| spec.unsupported.is_none()) {
        for (position, vector) in load(spec).iter().enumerate() {
            has_its_verdict(spec, position, vector);
            count += 1;
        }
    }
    assert!(count >= 180, "{count}");
}
