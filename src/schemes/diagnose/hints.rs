//! Hints for a delivery that no attempt explains.

use http::header::CONTENT_ENCODING;
use serde_json::Value;

use super::json::Json;
use super::line::Line;
use super::words;
use crate::schemes::content::{Body, Given};
use crate::schemes::error::VerifyError;
use crate::schemes::gzip;
use crate::schemes::key::signature_len;
use crate::schemes::request::SignedRequest;
use crate::schemes::spec::{Encoding, Form, Location, Part, Payload};
use crate::schemes::{codec, multipart, payload};

/// Possible reasons, and what to check.
pub(super) fn all(lines: &[Line<'_>], request: &SignedRequest<'_>, body: &Body<'_>, error: VerifyError) -> Vec<String> {
    let mut hints = of_head(lines, request, error);
    if hints.is_empty() {
        hints.push(
            "nothing that was tried makes the signature right: most likely it was made with a wrong secret, one that the \
             configuration does not have"
                .to_owned(),
        );
    }
    hints.extend(of_form(lines, request, body));
    if lines.iter().any(Line::covers_body) && error == VerifyError::SignatureMismatch {
        hints.extend(of_body(request, body));
    }
    hints
}

/// Those of a signature that is not there, or cannot be read. None, if a body is needed to judge it.
pub(super) fn of_head(lines: &[Line<'_>], request: &SignedRequest<'_>, error: VerifyError) -> Vec<String> {
    let mut hints = Vec::new();
    let expected = || {
        let formats = lines.iter().map(|line| words::format(&line.way.signature, signature_len(&line.way.algorithm)));
        formats.collect::<Vec<_>>().join("; or ")
    };
    match error {
        VerifyError::MissingSignature => {
            let places: Vec<String> = lines.iter().map(|line| words::location(&line.way.signature.at)).collect();
            hints.push(format!(
                "there is no signature in {}: has the provider been given a secret?",
                places.join(" or ")
            ));
            hints.extend(look_alikes(lines, request));
        }
        VerifyError::AmbiguousSignature => hints.push("the signature is repeated".to_owned()),
        VerifyError::MalformedSignature => {
            hints.push(format!("the signature is not in the scheme's format; expected: {}", expected()));
        }
        _ => {}
    }
    hints
}

/// What keeps a body that is a form in parts from being read.
fn of_form(lines: &[Line<'_>], request: &SignedRequest<'_>, body: &Body<'_>) -> Option<String> {
    let headers = request.head.headers;
    if !multipart::is_said(headers) {
        return None;
    }
    let reads = |line: &Line<'_>, at: fn(&Location) -> bool, part: fn(&Part) -> bool| {
        at(&line.way.signature.at) || line.way.forms.iter().any(|form| Part::any(&form.content, &part))
    };
    let in_parts = |line: &Line<'_>| {
        reads(line, |at| matches!(at, Location::Multipart(_)), |part| matches!(part, Part::Multipart(_)))
    };
    let encoded = |line: &Line<'_>| {
        let part = |part: &Part| matches!(part, Part::Form(_) | Part::SortedForm(_));
        reads(line, |at| matches!(at, Location::Form(_)), part)
    };
    if lines.iter().any(in_parts) {
        (!multipart::is_readable(headers, body.bytes())).then(|| {
            "the body is called multipart/form-data and is none that every parser reads alike, so no field of it is read"
                .to_owned()
        })
    } else {
        lines.iter().any(encoded).then(|| {
            "the body is multipart/form-data, and the scheme reads the fields of application/x-www-form-urlencoded"
                .to_owned()
        })
    }
}

/// Headers that carry signatures elsewhere.
fn look_alikes(lines: &[Line<'_>], request: &SignedRequest<'_>) -> Option<String> {
    let own = |name: &http::HeaderName| lines.iter().any(|line| line.compiled.reader.names().contains(name));
    let names = request.head.headers.keys().filter(|name| !own(name)).map(http::HeaderName::as_str);
    let alike: Vec<&str> =
        names.filter(|name| ["signature", "hmac", "token", "-sig"].iter().any(|word| name.contains(word))).collect();
    (!alike.is_empty()).then(|| format!("headers that this scheme does not read: {}", alike.join(", ")))
}

fn of_body(request: &SignedRequest<'_>, body: &Body<'_>) -> Vec<String> {
    let mut hints = Vec::new();
    let bytes = body.bytes();
    if bytes.is_empty() {
        hints.push("the body is empty: did something on the way read it?".to_owned());
    }
    let coding = request.head.headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if coding.eq_ignore_ascii_case(b"gzip") && !gzip::is_gzip(bytes) {
        hints.push(
            "Content-Encoding says gzip, and the body is not: something on the way decompressed it, and what was signed \
             may be the compressed bytes"
                .to_owned(),
        );
    }
    if Json::read(bytes).is_some_and(|json| json.is_sorted()) {
        hints.push(
            "the keys of the body are in alphabetical order: if something on the way sorted them, what was signed cannot \
             be found out"
                .to_owned(),
        );
    }
    hints
}

/// Which keys of the body differ from the payload that was signed.
pub(super) fn difference(form: &Form, given: Given<'_>) -> String {
    let general = "the signature is right, but the body differs from the payload that was signed".to_owned();
    let Some(Payload { key, encoding, equals: _ }) = &form.payload else { return general };
    let body: Option<Value> = serde_json::from_slice(given.body.bytes()).ok();
    let signed = body.as_ref().and_then(|body| body.get(key)?.as_str()).map(str::as_bytes);
    let payload = signed.and_then(|signed| payload::open(*encoding, signed));
    let payload: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    let (Some(Value::Object(body)), Some(Value::Object(payload))) = (body, payload) else { return general };
    let names = body.keys().chain(payload.keys()).filter(|name| *name != key);
    let mut differing: Vec<&str> =
        names.filter(|name| body.get(*name) != payload.get(*name)).map(String::as_str).collect();
    differing.sort_unstable();
    differing.dedup();
    match differing.is_empty() {
        true => format!("{general}: a key is repeated, or a number is written in another way"),
        false => format!("{general}, at: {}", differing.join(", ")),
    }
}

/// The algorithm that a token names in its header.
pub(super) fn token_algorithm(token: &[u8]) -> Option<String> {
    let header = token.split(|byte| *byte == b'.').next()?;
    let header = codec::decode(&[Encoding::Base64url], None, header)?;
    let header: Value = serde_json::from_slice(header.as_bytes()).ok()?;
    Some(header.get("alg")?.as_str()?.chars().filter(char::is_ascii_alphanumeric).take(16).collect())
}
