//! Deliveries with a known verdict: those of the catalogue, and those of `tests/vectors`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::schemes::spec::{Confidence, Fact, Place};

/// A vector of `tests/vectors`. Keys that play no part here are ignored.
#[derive(Deserialize)]
struct Published {
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
    accept: bool,
    reason: Option<VerifyError>,
    kind: String,
}

fn load(scheme: &str) -> Vec<Published> {
    let path = format!("{}/tests/vectors/{scheme}.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Vec<Published> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!vectors.is_empty(), "{scheme} has no vectors");
    vectors
}

#[test]
fn every_vector_of_the_catalogue_has_the_verdict_it_says() {
    let mut checked = 0;
    for name in names() {
        let spec = find(name).unwrap();
        for vector in &spec.vectors {
            let what = format!("{name}: {} ({:?})", vector.source, vector.note);
            let verdict = check(&verifier(name, &vector.secret), &vector.headers.to_map(), &[vector.body.as_bytes()]);
            assert_eq!(verdict.err(), vector.reason, "{what}");
            checked += 1;
        }
        assert!(spec.vectors.iter().any(|vector| vector.accept), "{name} has no vector that is accepted");
        assert!(spec.vectors.iter().any(|vector| !vector.accept), "{name} has no vector that is refused");
    }
    assert!(checked >= 24);
}

#[test]
fn every_published_vector_has_the_verdict_it_says() {
    for name in names() {
        for (position, vector) in load(name).iter().enumerate() {
            let what = format!("{name}[{position}] ({})", vector.kind);
            let headers: HeaderMap = vector
                .headers
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            let verdict = check(&verifier(name, &vector.secret), &headers, &[vector.body.as_bytes()]);
            assert_eq!(verdict.is_ok(), vector.accept, "{what}: {verdict:?}");
            if let Some(reason) = vector.reason {
                assert_eq!(verdict, Err(reason), "{what}");
            }
        }
    }
}

#[test]
fn what_circleci_publishes_is_what_we_sign() {
    let published: Vec<Published> =
        load("circleci").into_iter().filter(|vector| vector.kind == "published" && vector.accept).collect();
    assert_eq!(published.len(), 4);
    for vector in published {
        let headers = signed(&verifier("circleci", &vector.secret), 0, vector.body.as_bytes());
        assert_eq!(headers["circleci-signature"], vector.headers["circleci-signature"]);
    }
}

#[test]
fn every_sample_is_json_without_a_signature_that_signs_and_verifies_and_holds_its_facts() {
    for name in names() {
        let spec = find(name).unwrap();
        let verifier = verifier(name, "secret");
        let sample = spec.sample.headers.to_map();
        assert_eq!(sample["content-type"], "application/json");
        assert!(verifier.signature_headers().iter().all(|header| !sample.contains_key(header)), "{name}");
        let body: serde_json::Value = serde_json::from_str(&spec.sample.body).unwrap();
        for Fact { place, .. } in spec.event_id.iter().chain(&spec.event_type) {
            match place {
                Place::Header(header) => assert!(sample.contains_key(header), "{name}: {header}"),
                Place::Json(pointer) => assert!(body.get(pointer.key()).is_some(), "{name}: {}", pointer.key()),
            }
        }
        let headers = signed(&verifier, 0, spec.sample.body.as_bytes());
        check(&verifier, &headers, &[spec.sample.body.as_bytes()]).unwrap();
    }
}

#[test]
fn the_sample_with_a_payload_is_signed_over_the_payload() {
    let spec = find("icr").unwrap();
    let verifier = with_options("icr", &pinned("signed_data"), &["secret"]);
    let headers = signed(&verifier, 0, spec.sample.body.as_bytes());
    let authentic = check(&verifier, &headers, &[spec.sample.body.as_bytes()]).unwrap();
    let Authenticated::Payload(payload) = authentic.content else { panic!("no payload") };
    let mut body: serde_json::Value = serde_json::from_str(&spec.sample.body).unwrap();
    body.as_object_mut().unwrap().remove("signedData");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap(), body);
}

#[test]
fn the_facts_are_those_that_the_providers_document() {
    let seconds = |name| find(name).unwrap().deadline().map(|deadline| deadline.as_secs());
    assert_eq!(seconds("civo"), Some(5));
    assert_eq!(seconds("circleci"), Some(10));
    assert_eq!(seconds("icr"), None);
    for name in names() {
        let spec = find(name).unwrap();
        assert_eq!(spec.confidence, Confidence::Documented);
        assert!(spec.documentation.iter().all(|address| address.starts_with("https://")));
        assert!(!spec.notes.is_empty());
    }
    assert!(find("icr").unwrap().event_id.is_none());
    assert!(!find("civo").unwrap().event_id.as_ref().unwrap().signed);
    assert!(find("circleci").unwrap().event_id.as_ref().unwrap().signed);
}
