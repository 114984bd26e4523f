//! Deliveries with a known verdict: those of the catalogue, and those of `tests/vectors`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::schemes::spec::{Fact, Grammar, Place};

/// A vector of `tests/vectors`. Keys that play no part here are ignored.
#[derive(Deserialize)]
struct Published {
    secret: String,
    #[serde(default = "post")]
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
    now_unix: Option<u64>,
    accept: bool,
    reason: Option<VerifyError>,
    kind: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

fn post() -> String {
    "POST".to_owned()
}

impl Published {
    fn check(&self, spec: &Spec) -> Result<Proven, VerifyError> {
        let headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let url: http::Uri = self.url.parse().unwrap();
        let method = Method::from_bytes(self.method.as_bytes()).unwrap();
        let head = RequestHead { method: &method, path: url.path(), query: url.query(), headers: &headers };
        let now = self.now_unix.map_or(NOW, Duration::from_secs);
        let options = SchemeOptions {
            public_url: spec.needs_public_url().then(|| self.url.clone()),
            parameters: self.options.clone(),
            ..SchemeOptions::default()
        };
        let verifier = spec.compile(&options, &[self.secret.as_bytes().to_vec().into()]).unwrap();
        check_request(&verifier, head, &[self.body.as_bytes()], now)
    }
}

fn load(scheme: &str) -> Vec<Published> {
    serde_json::from_str(vectors(scheme).unwrap()).unwrap_or_else(|error| panic!("{scheme}: {error}"))
}

/// The built-in schemes whose deliveries can be verified.
fn supported() -> impl Iterator<Item = &'static Arc<Spec>> {
    names().map(|name| find(name).unwrap()).filter(|spec| spec.unsupported.is_none())
}

/// Options with something in all that this scheme needs.
fn some_options(spec: &Spec) -> SchemeOptions {
    let open = spec.parameters.iter().filter(|parameter| !parameter.secret);
    SchemeOptions {
        public_url: spec.needs_public_url().then(|| "https://hooks.example.com/in".to_owned()),
        parameters: open.map(|parameter| (parameter.name.clone(), "p".to_owned())).collect(),
        ..SchemeOptions::default()
    }
}

/// A secret that most schemes take.
const SECRETS: [&str; 3] = ["736563726574736563726574", "user:736563726574", "signkey-test-736563726574"];

#[test]
fn every_vector_of_a_scheme_file_has_the_verdict_it_says() {
    let mut wrong = Vec::new();
    for spec in supported() {
        for (position, vector) in spec.vectors.iter().enumerate() {
            let headers = vector.headers.to_map();
            let target: http::Uri = vector.target.as_deref().unwrap_or("/").parse().unwrap();
            let method = &vector.method.0;
            let head = RequestHead { method, path: target.path(), query: target.query(), headers: &headers };
            let mut options = SchemeOptions { parameters: vector.options.clone(), ..SchemeOptions::default() };
            options.public_url = options.parameters.remove("public_url");
            let verifier = spec.compile(&options, &[vector.secret.as_bytes().to_vec().into()]).unwrap();
            let now = if vector.now_unix == 0 { NOW } else { Duration::from_secs(vector.now_unix) };
            let verdict = check_request(&verifier, head, &[vector.body.as_bytes()], now);
            if verdict.as_ref().err() != vector.reason.as_ref() {
                wrong.push(format!("{}.yaml vectors[{position}] ({:?}): {verdict:?}", spec.name, vector.note));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_published_vector_has_the_verdict_it_says() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for spec in supported() {
        for (position, vector) in load(&spec.name).iter().enumerate() {
            checked += 1;
            let verdict = vector.check(spec);
            let right = verdict.is_ok() == vector.accept
                && vector.reason.is_none_or(|reason| verdict.as_ref().err() == Some(&reason));
            if !right {
                wrong.push(format!("{}.json[{position}] ({}): {verdict:?}", spec.name, vector.kind));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 18);
}

#[test]
fn every_scheme_has_a_vector_that_is_accepted_and_one_that_is_refused() {
    let mut lacking = Vec::new();
    for spec in supported() {
        let published = load(&spec.name).into_iter().map(|vector| vector.accept);
        let verdicts: Vec<bool> = published.chain(spec.vectors.iter().map(|vector| vector.accept)).collect();
        if !verdicts.contains(&true) || !verdicts.contains(&false) {
            lacking.push(spec.name.as_str());
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
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
fn what_we_sign_we_verify_for_every_sample_unless_only_the_provider_can_sign() {
    let mut wrong = Vec::new();
    for spec in supported() {
        let Some(verifier) = SECRETS
            .iter()
            .find_map(|secret| spec.compile(&some_options(spec), &[secret.as_bytes().to_vec().into()]).ok())
        else {
            // A public key: a secret of no other kind is refused.
            let public = spec.check_secret(&Secret::from(b"secret".to_vec())).unwrap_err().to_string();
            assert!(public.contains("public key"), "{}: {public}", spec.name);
            continue;
        };
        let mut headers = spec.sample.headers.to_map();
        let query = spec.sample.query.as_deref();
        let head = RequestHead { method: &Method::POST, path: "/in", query, headers: &headers };
        let signed = match verifier.sign(0, &Unsigned { head, body: spec.sample.body.as_bytes() }, NOW) {
            Ok(signed) => signed,
            Err(error) => {
                wrong.push(format!("{}: not signed: {error}", spec.name));
                continue;
            }
        };
        headers.extend(signed.headers);
        let query = signed.query.or_else(|| spec.sample.query.clone());
        let body = signed.body.unwrap_or_else(|| spec.sample.body.clone().into_bytes());
        let head = RequestHead { method: &Method::POST, path: "/in", query: query.as_deref(), headers: &headers };
        if let Err(error) = check_request(&verifier, head, &[&body], NOW) {
            wrong.push(format!("{}: signed, but {error:?}", spec.name));
        }
        let empty = HeaderMap::new();
        let unsigned = RequestHead { method: &Method::POST, path: "/in", query: None, headers: &empty };
        let verdict = check_request(&verifier, unsigned, &[spec.sample.body.as_bytes()], NOW);
        if verdict.is_ok() {
            wrong.push(format!("{}: passes without a signature", spec.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_changed_byte_of_a_signed_sample_is_refused_wherever_the_body_is_covered() {
    for spec in supported().filter(|spec| spec.covers.is_none()) {
        let secret = |secret: &&str| spec.compile(&some_options(spec), &[secret.as_bytes().to_vec().into()]).ok();
        let Some(verifier) = SECRETS.iter().find_map(secret) else { continue };
        let mut headers = spec.sample.headers.to_map();
        let head = RequestHead { method: &Method::POST, path: "/in", query: None, headers: &headers };
        let signed = verifier.sign(0, &Unsigned { head, body: spec.sample.body.as_bytes() }, NOW).unwrap();
        headers.extend(signed.headers);
        let body = signed.body.unwrap_or_else(|| spec.sample.body.clone().into_bytes());
        let head =
            RequestHead { method: &Method::POST, path: "/in", query: signed.query.as_deref(), headers: &headers };
        assert!(check_request(&verifier, head, &[&body], NOW).is_ok(), "{}", spec.name);
        // What follows the sample's own bytes is the signature, of which a label may be part.
        for position in 0..body.len().min(spec.sample.body.len()) {
            let mut changed = body.clone();
            changed[position] ^= 1;
            let verdict = check_request(&verifier, head, &[&changed], NOW);
            assert!(verdict.is_err(), "{}: byte {position} of {}", spec.name, String::from_utf8_lossy(&changed));
        }
        for changed in [body[1..].to_vec(), [&body, b" ".as_slice()].concat(), Vec::new()] {
            let same_json = verifier.possible_errors().contains(&VerifyError::PayloadMismatch);
            let verdict = check_request(&verifier, head, &[&changed], NOW);
            assert!(verdict.is_err() || same_json, "{}: {}", spec.name, String::from_utf8_lossy(&changed));
        }
    }
}

/// How many bytes of a signature header only name the key, which nothing covers.
fn label(spec: &Spec, value: &http::HeaderValue) -> usize {
    let Grammar::List { assign, key, .. } = &spec.ways[0].signature.grammar else { return 0 };
    let text = value.to_str().unwrap();
    if key.iter().any(|key| key == "*") { text.find(assign).unwrap_or(0) } else { 0 }
}

#[test]
fn a_changed_character_of_what_was_signed_into_the_head_is_refused_for_every_scheme() {
    for spec in supported() {
        let secret = |secret: &&str| spec.compile(&some_options(spec), &[secret.as_bytes().to_vec().into()]).ok();
        let Some(verifier) = SECRETS.iter().find_map(secret) else { continue };
        let mut headers = spec.sample.headers.to_map();
        let query = spec.sample.query.as_deref();
        let head = RequestHead { method: &Method::POST, path: "/in", query, headers: &headers };
        let signed = verifier.sign(0, &Unsigned { head, body: spec.sample.body.as_bytes() }, NOW).unwrap();
        headers.extend(signed.headers.clone());
        let query = signed.query.or_else(|| spec.sample.query.clone());
        let body = signed.body.unwrap_or_else(|| spec.sample.body.clone().into_bytes());
        for (name, value) in &signed.headers {
            for position in label(spec, value)..value.len() {
                let mut changed = value.as_bytes().to_vec();
                changed[position] ^= 1;
                let mut headers = headers.clone();
                headers.insert(name, changed.as_slice().try_into().unwrap());
                let head =
                    RequestHead { method: &Method::POST, path: "/in", query: query.as_deref(), headers: &headers };
                let verdict = check_request(&verifier, head, &[&body], NOW);
                assert!(verdict.is_err(), "{}: byte {position} of {name}: {value:?}", spec.name);
            }
        }
    }
}

#[test]
fn every_sample_has_its_facts_and_no_signature() {
    let mut wrong = Vec::new();
    for spec in supported() {
        let name = &spec.name;
        let headers = spec.sample.headers.to_map();
        let some = SECRETS
            .iter()
            .find_map(|secret| spec.compile(&some_options(spec), &[secret.as_bytes().to_vec().into()]).ok());
        for header in some.iter().flat_map(Verifier::signature_headers) {
            if headers.contains_key(&header) {
                wrong.push(format!("{name}: sample.headers has the signature {header}"));
            }
        }
        let body = Bytes::copy_from_slice(spec.sample.body.as_bytes());
        for Fact { place, .. } in spec.event_id.iter().chain(&spec.event_type) {
            let there = match place {
                Place::Header(header) => headers.contains_key(header),
                Place::Json(pointer) => {
                    let found = payload::find(&body, pointer, payload::Kind::Scalar);
                    matches!(found, fields::Found::Once(Some(_)))
                }
                Place::Form(name) => matches!(fields::find(&body, name), fields::Found::Once(Some(_))),
                Place::Query(name) => {
                    let query = spec.sample.query.as_deref().unwrap_or_default();
                    matches!(fields::find(query.as_bytes(), name), fields::Found::Once(Some(_)))
                }
                Place::Claim(_) => true,
            };
            if !there {
                wrong.push(format!("{name}: the sample lacks {place:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    for spec in names().map(|name| find(name).unwrap()) {
        assert!(spec.documentation.iter().all(|address| address.starts_with("https://")), "{}", spec.name);
    }
    assert!(find("icr").unwrap().event_id.is_none());
    assert!(!find("civo").unwrap().event_id.as_ref().unwrap().signed);
    assert!(find("circleci").unwrap().event_id.as_ref().unwrap().signed);
}
