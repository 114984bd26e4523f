//! Whole schemes: the published vectors, attacks, options and properties.

mod attacks;
mod options;
mod properties;
mod vectors;

use http::{HeaderMap, HeaderName};

use super::*;

/// A verifier of a built-in scheme with the default options.
fn verifier(scheme: &str, secret: &str) -> Verifier {
    with_options(scheme, &SchemeOptions::default(), &[secret])
}

fn with_options(scheme: &str, options: &SchemeOptions, secrets: &[&str]) -> Verifier {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| secret.as_bytes().to_vec().into()).collect();
    find(scheme).unwrap().compile(options, &secrets).unwrap()
}

fn pinned(form: &str) -> SchemeOptions {
    SchemeOptions { signed_content: Some(form.to_owned()), match_payload: None }
}

/// Both steps, as a gateway takes them.
fn check(verifier: &Verifier, headers: &HeaderMap, frames: &[&[u8]]) -> Result<Authentic, VerifyError> {
    let body: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    let claim = verifier.inspect(headers)?;
    verifier.verify(&claim, &SignedRequest { headers, body: &body })
}

fn header(name: &'static str, value: &[u8]) -> HeaderMap {
    let value = http::HeaderValue::from_bytes(value).unwrap();
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

fn signed(verifier: &Verifier, secret: usize, body: &[u8]) -> HeaderMap {
    verifier.sign(secret, body).unwrap().into_iter().collect()
}
