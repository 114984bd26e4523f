//! Properties over arbitrary input: of the modules where no socket is needed, of the whole gateway where it is.

use std::time::Duration;

use bytes::Bytes;
use hooklatch::delivery::peer::ForwardedBy;
use hooklatch::gateway::headers::going_on;
use hooklatch::gateway::request_id::senders_id;
use hooklatch::schemes::{self, RequestHead, SchemeOptions, Secret, SignedRequest};
use http::Method;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::gateway::SECRET;
use crate::support::rig::Rig;
use crate::support::sender::Delivery;

/// Headers that are meant for one connection only, whatever `Connection` says (RFC 9110 section 7.6.1).
const ALWAYS: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn name() -> impl Strategy<Value = HeaderName> {
    let invented = "[a-z][a-z0-9-]{0,8}".prop_map(|name| name.parse().unwrap());
    prop_oneof![
        3 => invented,
        1 => proptest::sample::select(&ALWAYS[..]).prop_map(HeaderName::from_static)
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')], 0..20)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

/// A `Connection` line: names in any case, with white space, empty and nonsensical elements between.
fn connection(names: Vec<HeaderName>) -> impl Strategy<Value = HeaderValue> {
    vec((0..names.len().max(1), any::<bool>(), "[ \t]{0,2}", "(|,| , ,|close,|\"x\",|a b,)"), 0..4).prop_map(
        move |elements| {
            let element = |(at, upper, space, before): (usize, bool, String, String)| {
                let name = names.get(at).map(HeaderName::as_str).unwrap_or_default();
                let name = if upper { name.to_uppercase() } else { name.to_owned() };
                format!("{before}{space}{name}{space}")
            };
            let line: Vec<String> = elements.into_iter().map(element).collect();
            HeaderValue::from_str(&line.join(",")).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn no_hop_by_hop_header_survives_and_every_other_does_in_order(
        (lines, connections) in vec((name(), value()), 0..12).prop_flat_map(|lines| {
            let names = lines.iter().map(|(name, _)| name.clone()).collect();
            (Just(lines), vec(connection(names), 0..3))
        })
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().filter(|(name, _)| name != CONNECTION) {
            headers.append(name, value.clone());
        }
        for line in &connections {
            headers.append(CONNECTION, line.clone());
        }
        let named: Vec<String> = connections
            .iter()
            .flat_map(|line| line.to_str().unwrap().split(',').map(|name| name.trim().to_lowercase()))
            .collect();
        for name in headers.keys() {
            let stays = ALWAYS.contains(&name.as_str()) || named.iter().any(|named| named == name.as_str());
            let left: Vec<_> = going_on(&headers, &ForwardedBy::Direct).filter(|line| line.0 == name).map(|line| line.1).collect();
            let all: Vec<_> = headers.get_all(name).iter().collect();
            prop_assert_eq!(left, if stays { Vec::new() } else { all }, "{}", name);
        }
    }

    #[test]
    fn a_request_id_is_harmless_in_a_log(id in value()) {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", id);
        let id = senders_id(&headers).map_or("-", |id| id.to_str().unwrap());
        let harmful = |c: char| c.is_whitespace() || "\"'{}<>\\,".contains(c);
        prop_assert!(!id.is_empty() && !id.contains(harmful), "{}", id);
    }

    #[test]
    fn what_is_signed_for_a_body_verifies_for_it_however_it_is_cut(
        body in vec(any::<u8>(), 0..200),
        secret in "[ -~]{1,40}",
        cut in any::<prop::sample::Index>(),
    ) {
        for scheme in ["circleci", "civo"] {
            let secret = Secret::from(secret.clone().into_bytes());
            let verifier = schemes::find(scheme).unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
            let headers: HeaderMap = verifier.sign_body(0, &body, Duration::ZERO).unwrap().into_iter().collect();
            let (begin, end) = body.split_at(cut.index(body.len() + 1));
            let frames = [Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end)];
            let head = RequestHead { method: &Method::POST, path: "/", query: None, headers: &headers };
            let claim = verifier.inspect(head, Duration::ZERO).unwrap();
            let authentic = verifier.verify(&claim, &SignedRequest { head, body: &frames }, Duration::ZERO);
            prop_assert_eq!(authentic.map(|authentic| authentic.secret), Ok(0));
        }
    }
}

#[test]
fn what_the_gateway_signs_the_gateway_lets_in_byte_for_byte() {
    let mut rigs = ["circleci", "civo", "icr"].map(|scheme| {
        let secret = Secret::from(SECRET.as_bytes().to_vec());
        let verifier = schemes::find(scheme).unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
        (Rig::of(scheme, ""), verifier)
    });
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let json = "[a-z]{1,9}".prop_map(|key| format!("{{\"{key}\":[1.0,null,\"\\u00e4\"]}}").into_bytes());
    let cases = (vec(any::<u8>(), 0..3000), json, proptest::option::of(1_usize..500));
    let rigs = std::cell::RefCell::new(&mut rigs);
    runner
        .run(&cases, |(bytes, json, chunks)| {
            for (at, (rig, verifier)) in rigs.borrow_mut().iter_mut().enumerate() {
                // ICR takes JSON objects alone.
                let body = if at == 2 { &json } else { &bytes };
                let signed = verifier.sign_body(0, body, Duration::ZERO).unwrap();
                let mut delivery = Delivery::unsigned(body);
                for (name, value) in signed {
                    delivery = delivery.header(name.as_str(), value.to_str().unwrap());
                }
                if let Some(size) = chunks {
                    delivery = delivery.chunked(size);
                }
                prop_assert_eq!(&rig.forwards(&delivery).body, body);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_flipped_bit_of_body_or_signature_is_refused_by_the_gateway() {
    let rig = Rig::start();
    let right = Delivery::circleci("a body of a few bytes").bytes();
    let begin = right.windows(3).position(|bytes| bytes == b"v1=").unwrap() + 3;
    let signature = begin..begin + 64;
    let body = right.len() - 21..right.len();
    let mut runner = TestRunner::new(Config { cases: 80, failure_persistence: None, ..Config::default() });
    runner
        .run(&(any::<prop::sample::Index>(), 0..8_u8), |(at, bit)| {
            let places: Vec<usize> = signature.clone().chain(body.clone()).collect();
            let at = places[at.index(places.len())];
            let mut request = right.clone();
            request[at] ^= 1 << bit;
            // A letter's case means nothing in hex.
            prop_assume!(!signature.contains(&at) || !request[at].eq_ignore_ascii_case(&right[at]));
            let response = rig.send(&request);
            prop_assert!(matches!(response.status, 400 | 401), "{:?}", response);
            rig.upstream.expect_nothing();
            Ok(())
        })
        .unwrap();
}
