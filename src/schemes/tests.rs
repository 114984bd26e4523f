//! Whole schemes: the published vectors, attacks, options and properties.

mod attacks;
mod keys;
mod options;
mod properties;
mod vectors;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

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
    SchemeOptions { signed_content: Some(form.to_owned()), ..SchemeOptions::default() }
}

/// What the clock says where it does not matter.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// What a delivery that verifies proves.
#[derive(Debug, PartialEq, Eq)]
struct Proven {
    secret: usize,
    content: Authenticated,
}

/// The head of a POST to `/` with these headers.
fn head(headers: &HeaderMap) -> RequestHead<'_> {
    RequestHead { method: &Method::POST, path: "/", query: None, headers }
}

/// Both steps, as a gateway takes them.
fn check_request(
    verifier: &Verifier,
    head: RequestHead<'_>,
    frames: &[&[u8]],
    now: Duration,
) -> Result<Proven, VerifyError> {
    let body: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    let claim = verifier.inspect(head, now)?;
    let request = SignedRequest { head, body: &body };
    let authentic = verifier.verify(&claim, &request, now)?;
    Ok(Proven { secret: authentic.secret, content: verifier.authenticated(&authentic, &request) })
}

/// The same for a POST to `/` at [`NOW`].
fn check(verifier: &Verifier, headers: &HeaderMap, frames: &[&[u8]]) -> Result<Proven, VerifyError> {
    check_request(verifier, head(headers), frames, NOW)
}

fn header(name: &'static str, value: &[u8]) -> HeaderMap {
    let value = http::HeaderValue::from_bytes(value).unwrap();
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

fn signed(verifier: &Verifier, secret: usize, body: &[u8]) -> HeaderMap {
    sign(verifier, secret, body).unwrap().into_iter().collect()
}

/// The headers of a signed POST to `/`.
fn sign(verifier: &Verifier, secret: usize, body: &[u8]) -> Result<Vec<(HeaderName, http::HeaderValue)>, SignError> {
    verifier.sign_body(secret, body, NOW)
}

#[test]
fn who_makes_a_secret_and_where_is_said_by_a_page_that_the_file_names() {
    // Repositories of others, which say how a signature is checked and nothing of the provider's settings.
    const OTHERS: [&str; 2] =
        ["https://github.com/fluxcd/notification-controller", "https://github.com/go-playground/webhooks"];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schemes/catalogue");
    for name in names() {
        let spec = find(name).unwrap();
        if spec.setup.is_none() && spec.secret_from == spec::SecretFrom::Provider {
            continue;
        }
        let of_provider = spec.documentation.iter().any(|page| !OTHERS.contains(&page.as_str()));
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        assert!(of_provider || text.contains("# Source of these two: https://"), "{name}");
    }
}
