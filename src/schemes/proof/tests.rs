//! The event's id, whether it is signed, and the digest of the signed content.

use std::time::Duration;

use http::{HeaderName, Method};

use super::*;
use crate::schemes::sign::Unsigned;
use crate::schemes::{SchemeOptions, Spec, find, names};

const NOW: Duration = Duration::from_secs(1_700_000_000);
const LATER: Duration = Duration::from_secs(1_700_000_100);

/// A delivery that was verified.
struct Delivered {
    verifier: Verifier,
    headers: HeaderMap,
    query: Option<String>,
    body: Vec<Bytes>,
    authentic: Authentic,
}

/// A delivery with these headers and this body, as the provider sends it at this time.
fn delivered(verifier: &Verifier, headers: &HeaderMap, body: &[u8], now: Duration) -> Delivered {
    let head = RequestHead { method: &Method::POST, path: "/", query: None, headers };
    let signed = verifier.sign(0, &Unsigned { head, body }, now).unwrap();
    let mut headers = headers.clone();
    signed.headers.into_iter().for_each(|(name, value)| drop(headers.insert(name, value)));
    let body = signed.body.unwrap_or_else(|| body.to_vec());
    // Where the body is cut has no influence.
    let (start, end) = body.split_at(body.len() / 2);
    let body = vec![Bytes::copy_from_slice(start), Bytes::copy_from_slice(end)];
    let head = RequestHead { query: signed.query.as_deref(), headers: &headers, ..head };
    let request = SignedRequest { head, body: &body };
    let claim = verifier.inspect(head, now).unwrap();
    let authentic = verifier.verify(&claim, &request, now).unwrap();
    Delivered { verifier: verifier.clone(), query: signed.query.clone(), headers, body, authentic }
}

impl Delivered {
    fn request(&self) -> SignedRequest<'_> {
        let head =
            RequestHead { method: &Method::POST, path: "/", query: self.query.as_deref(), headers: &self.headers };
        SignedRequest { head, body: &self.body }
    }

    /// The id as text, and whether it is signed.
    fn id(&self) -> Option<(String, bool)> {
        let id = self.verifier.event_id(&self.authentic, &self.request())?;
        Some((String::from_utf8(id.value).unwrap(), id.is_signed))
    }

    fn digest(&self) -> [u8; 32] {
        self.verifier.content_digest(&self.authentic, &self.request()).unwrap()
    }
}

fn verifier(scheme: &str) -> Verifier {
    compiled(find(scheme).unwrap(), &SchemeOptions::default())
}

fn compiled(spec: &Spec, options: &SchemeOptions) -> Verifier {
    let secrets = ["secret", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"].map(|secret| secret.as_bytes().to_vec().into());
    secrets.into_iter().find_map(|secret| spec.compile(options, &[secret]).ok()).unwrap()
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    lines.iter().map(line).collect()
}

#[test]
fn an_id_in_a_header_that_is_not_signed_is_told_as_such() {
    let verifier = verifier("github");
    let sent = delivered(&verifier, &headers(&[("x-github-delivery", "72d3162e")]), b"{}", NOW);
    assert_eq!(sent.id(), Some(("72d3162e".to_owned(), false)));
    assert!(!verifier.signs_event_id());
}

#[test]
fn an_id_in_a_signed_body_is_signed() {
    let verifier = verifier("circleci");
    let sent = delivered(&verifier, &HeaderMap::new(), br#"{"id":"3888f21b","happened_at":"now"}"#, NOW);
    assert_eq!(sent.id(), Some(("3888f21b".to_owned(), true)));
    assert!(verifier.signs_event_id());
}

#[test]
fn an_id_in_a_signed_header_is_signed() {
    for (scheme, name) in [("standard-webhooks", "webhook-id"), ("svix", "svix-id")] {
        let verifier = verifier(scheme);
        let sent = delivered(&verifier, &headers(&[(name, "msg_1")]), b"{}", NOW);
        assert_eq!(sent.id(), Some(("msg_1".to_owned(), true)), "{scheme}");
        assert!(verifier.signs_event_id(), "{scheme}");
    }
}

#[test]
fn civo_has_an_id_that_is_not_signed_and_icr_has_none() {
    let civo = verifier("civo");
    assert!(!civo.signs_event_id());
    let Some(Place::Header(name)) = &civo.ways[0].event_id else { panic!("a header") };
    let sent = delivered(&civo, &HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("e1"))]), b"{}", NOW);
    assert_eq!(sent.id(), Some(("e1".to_owned(), false)));
    let icr = verifier("icr");
    assert!(!icr.signs_event_id() && icr.signs_content());
    assert_eq!(delivered(&icr, &HeaderMap::new(), br#"{"id":1}"#, NOW).id(), None);
}

/// The scheme `icr` with an event's id in the body.
fn icr_with_id(match_payload: bool) -> Verifier {
    let source = crate::schemes::source("icr").unwrap();
    let spec = Spec::parse(&format!("{source}\nevent_id: {{ where: {{ json: /id }}, signed: true }}\n")).unwrap();
    compiled(&spec, &SchemeOptions { match_payload: Some(match_payload), ..SchemeOptions::default() })
}

#[test]
fn of_a_signed_payload_the_id_within_it_counts_and_not_the_one_beside_it() {
    // eyJpZCI6ImEifQ== is {"id":"a"}.
    let verifier = icr_with_id(false);
    let sent = delivered(&verifier, &HeaderMap::new(), br#"{"id":"b","signedData":"eyJpZCI6ImEifQ=="}"#, NOW);
    let signed_data = sent.verifier.authenticated(&sent.authentic, &sent.request());
    assert_eq!(signed_data, Authenticated::Payload(br#"{"id":"a"}"#.to_vec()));
    assert_eq!(sent.id(), Some(("a".to_owned(), true)));
    let matching = icr_with_id(true);
    let sent = delivered(&matching, &HeaderMap::new(), br#"{"id":"a","signedData":"eyJpZCI6ImEifQ=="}"#, NOW);
    assert_eq!(sent.id(), Some(("a".to_owned(), true)));
}

#[test]
fn an_id_that_is_missing_null_empty_or_there_twice_is_none() {
    let verifier = verifier("circleci");
    for body in [&b"{}"[..], br#"{"id":null}"#, br#"{"id":""}"#, br#"{"id":{}}"#, br#"{"id":"a","id":"b"}"#, b"no JSON"]
    {
        assert_eq!(delivered(&verifier, &HeaderMap::new(), body, NOW).id(), None, "{body:?}");
    }
    let sent = delivered(&verifier, &HeaderMap::new(), br#"{"id":7}"#, NOW);
    assert_eq!(sent.id(), Some(("7".to_owned(), true)));
}

#[test]
fn the_digest_is_the_same_at_another_time_and_another_for_another_content() {
    for (scheme, lines) in
        [("stripe", &[][..]), ("standard-webhooks", &[("webhook-id", "msg_1")]), ("slack", &[]), ("github", &[])]
    {
        let verifier = verifier(scheme);
        let headers = headers(lines);
        let digest = |body: &[u8], now| delivered(&verifier, &headers, body, now).digest();
        let first = delivered(&verifier, &headers, b"{\"a\":1}", NOW);
        let again = delivered(&verifier, &headers, b"{\"a\":1}", LATER);
        assert_eq!(first.headers != again.headers, scheme != "github", "{scheme}: signed at another time");
        assert_eq!(first.digest(), again.digest(), "{scheme}");
        assert_ne!(first.digest(), digest(b"{\"a\":2}", NOW), "{scheme}");
    }
}

#[test]
fn a_time_in_the_body_or_in_a_form_is_left_out() {
    let time = "{ json: /at }, format: unix_seconds }";
    let form = "{ form: at }, format: unix_seconds }";
    for (at, first, again, other) in [
        (time, "{\"at\":1700000000,\"a\":1}", "{\"at\":1700000100,\"a\":1}", "{\"at\":1700000000,\"a\":2}"),
        (time, "{\"at\":\"1700000000\"}", "{\"at\":\"1700000100\"}", "{\"at\":1700000000}"),
        (form, "at=1700000000&a=1", "at=1700000100&a=1", "at=1700000000&a=2"),
    ] {
        let scheme = serde_yaml::from_str(&format!(
            "signature: {{ at: {{ header: x-sig }}, encoding: hex }}\nalgorithm: {{ hmac: sha256 }}\nsecret: utf8\n\
             timestamp: {{ at: {at}\nforms: [{{ name: body, content: [body] }}]\n"
        ));
        let verifier = compiled(&Spec::custom("timed", scheme.unwrap()).unwrap(), &SchemeOptions::default());
        let digest = |body: &str| {
            let now = if body.contains("1700000100") { LATER } else { NOW };
            delivered(&verifier, &HeaderMap::new(), body.as_bytes(), now).digest()
        };
        assert_eq!(digest(first), digest(again), "{first}");
        assert_ne!(digest(first), digest(other), "{first}");
    }
}

#[test]
fn a_digest_belongs_to_the_content_and_not_to_the_secret() {
    let spec = find("circleci").unwrap();
    let digest = |secret: &str| {
        let verifier = spec.compile(&SchemeOptions::default(), &[secret.as_bytes().to_vec().into()]).unwrap();
        delivered(&verifier, &HeaderMap::new(), b"{}", NOW).digest()
    };
    assert_eq!(digest("one"), digest("two"));
}

#[test]
fn a_token_has_no_content() {
    let verifier = verifier("gitlab");
    let sent = delivered(&verifier, &HeaderMap::new(), b"{}", NOW);
    assert_eq!(sent.verifier.content_digest(&sent.authentic, &sent.request()), None);
    assert!(!verifier.signs_content() && !verifier.signs_event_id());
}

#[test]
fn the_catalogue_says_of_every_id_whether_it_is_signed_as_the_verifier_does() {
    let mut wrong = Vec::new();
    for spec in names().map(|name| find(name).unwrap()) {
        let Some(fact) = &spec.event_id else { continue };
        let covers = |way: &crate::schemes::spec::Way| {
            let place = way.event_id.as_ref().unwrap();
            match way.forms.is_empty() {
                true => way.algorithm.covers(place),
                false => way.forms.iter().all(|form| way.covers(form, place)),
            }
        };
        if spec.ways.iter().all(covers) != fact.signed {
            wrong.push(format!("{}: {:?}", spec.name, fact));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
