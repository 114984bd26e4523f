//! Deliveries that the providers publish, through the whole gateway.

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::rig::{is_problem, route};
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;
use crate::support::vectors::load;

/// Every vector of a scheme, to a gateway of its own: what must be accepted gets to the upstream, nothing else does.
fn all_have_the_verdict_that_they_say(scheme: &str) {
    for (position, vector) in load(scheme).iter().enumerate() {
        let upstream = Upstream::bind();
        let keys = format!("upstream: \"http://{}\", secrets: [{{ env: VECTOR }}]", upstream.address);
        let gateway = Gateway::start_with("threads: 1", &route(scheme, &keys), &[("VECTOR", &vector.secret)]);
        let headers = vector.headers.iter();
        let delivery =
            headers.fold(Delivery::unsigned(&vector.body), |delivery, (name, value)| delivery.header(name, value));
        let mut sender = http::Connection::open(gateway.server);
        sender.write(&delivery.bytes());
        if vector.accept {
            let mut peer = upstream.accept();
            let seen = peer.request();
            peer.answer();
            assert_eq!(sender.receive().status, 200, "{scheme}[{position}]");
            assert_eq!(seen.body, vector.body.as_bytes());
            assert_eq!(seen.one("hooklatch-verified"), "true");
            for (name, value) in &vector.headers {
                assert_eq!(seen.one(&name.to_lowercase()), *value);
            }
        } else {
            let response = sender.receive();
            let reason = response.json()["reason"].as_str().unwrap().to_owned();
            is_problem(&response, 401, vector.reason.as_deref().unwrap_or(&reason));
            upstream.expect_nothing();
        }
        drop((sender, gateway));
    }
}

#[test]
fn every_vector_of_icr_has_the_verdict_that_it_says() {
    all_have_the_verdict_that_they_say("icr");
}

#[test]
fn every_vector_of_civo_has_the_verdict_that_it_says() {
    all_have_the_verdict_that_they_say("civo");
}

#[test]
fn every_vector_of_circleci_has_the_verdict_that_it_says() {
    all_have_the_verdict_that_they_say("circleci");
}
