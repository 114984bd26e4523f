//! Any request for any scheme: an unsigned one is refused, a signed one is accepted.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use hooklatch::schemes::{
    self, Authenticated, RequestHead, SchemeOptions, Secret, Signed, SignedRequest, Unsigned, Verifier,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The clock stands still.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// What makes any body another one.
const ADDED: &[u8] = b"&zqx=1";

/// Secrets that no input knows, in the encodings that schemes ask for.
const SECRETS: [&str; 5] = [
    "756e6b6e6f776e20746f20616e79626f6479",
    "user:756e6b6e6f776e20746f20616e79626f6479",
    "signkey-test-756e6b6e6f776e20746f20616e79626f6479",
    "unknown to anybody",
    // A public key: the first of RFC 8032 section 7.1.
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
];

/// Each scheme with each way of taking its content.
static VERIFIERS: LazyLock<Vec<(&str, Vec<Verifier>)>> = LazyLock::new(|| {
    let mut all = Vec::new();
    let mut without = Vec::new();
    for name in schemes::names() {
        let spec = schemes::find(name).unwrap();
        let mut verifiers = Vec::new();
        let contents = spec.signed_content_values().into_iter().map(|value| Some(value.to_owned()));
        for signed_content in contents.chain([None]) {
            for match_payload in [None, Some(false)] {
                let open = spec.parameters.iter().filter(|one| !one.secret);
                let options = SchemeOptions {
                    signed_content: signed_content.clone(),
                    match_payload,
                    public_url: spec.needs_public_url().then(|| "https://hooks.example.com/in".to_owned()),
                    parameters: open.map(|one| (one.name.clone(), "p".to_owned())).collect(),
                    ..SchemeOptions::default()
                };
                let own = spec.vectors.iter().map(|vector| vector.secret.as_str());
                let mut compiled = SECRETS
                    .into_iter()
                    .chain(own)
                    .filter_map(|secret| spec.compile(&options, &[Secret::from(secret.as_bytes().to_vec())]).ok());
                verifiers.extend(compiled.next());
            }
        }
        if !verifiers.is_empty() {
            all.push((name, verifiers));
        } else if spec.unsupported.is_none() {
            without.push(name);
        }
    }
    assert!(without.is_empty(), "no secret fits {without:?}");
    assert!(all.len() <= 256, "a byte chooses one of them");
    all
});

/// The first byte of `data` chooses the scheme, the second how the body is cut. Lines follow, up to an empty one: a
/// query (`?…`), a header (`name: value`), or else the value of the next header that carries a signature. What remains
/// is the body.
///
/// # Panics
/// When something passes that was not signed, or something does not that was.
pub fn check(data: &[u8]) {
    let [which, cut, rest @ ..] = data else { return };
    let (scheme, verifiers) = &VERIFIERS[usize::from(*which) % VERIFIERS.len()];
    let size = usize::from(*cut) + 1;
    verifiers.iter().for_each(|verifier| check_one(scheme, verifier, size, rest));
}

fn check_one(scheme: &str, verifier: &Verifier, size: usize, rest: &[u8]) {
    let (head, body) = match rest.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest, &b""[..]),
    };
    let (headers, query) = read_head(head, &verifier.signature_headers());
    let head = RequestHead { method: &Method::POST, path: "/in", query: query.as_deref(), headers: &headers };
    match accepts(verifier, head, body, size) {
        Ok((_, content)) => panic!("{scheme}: nobody has signed this: {content:?}"),
        Err(refusal) => assert!(verifier.possible_errors().contains(&refusal), "{scheme}: {refusal:?}"),
    }

    let headers = HeaderMap::new();
    let head = RequestHead { headers: &headers, ..head };
    let Ok(Signed { headers, query, body: replaced }) = verifier.sign(0, &Unsigned { head, body }, NOW) else { return };
    let headers: HeaderMap = headers.into_iter().collect();
    let head = RequestHead { headers: &headers, query: query.as_deref().or(head.query), ..head };
    let signed = replaced.as_deref().unwrap_or(body);
    let (secret, content) = accepts(verifier, head, signed, size)
        .unwrap_or_else(|refusal| panic!("{scheme}: what we sign, we verify: {refusal:?}"));
    assert_eq!(secret, 0, "{scheme}");
    // A further field: the same field once more can be the same form.
    let longer = [signed, ADDED].concat();
    if content == Authenticated::Body && replaced.is_none() && !signed.windows(ADDED.len()).any(|part| part == ADDED) {
        assert!(accepts(verifier, head, &longer, size).is_err(), "{scheme}: another body");
    }
}

fn accepts(
    verifier: &Verifier,
    head: RequestHead<'_>,
    body: &[u8],
    size: usize,
) -> Result<(usize, Authenticated), schemes::VerifyError> {
    let frames: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let claim = verifier.inspect(head, NOW)?;
    let request = SignedRequest { head, body: &frames };
    let authentic = verifier.verify(&claim, &request, NOW)?;
    Ok((authentic.secret, verifier.authenticated(&authentic, &request)))
}

fn read_head(head: &[u8], signatures: &[HeaderName]) -> (HeaderMap, Option<String>) {
    let mut headers = HeaderMap::new();
    let mut query = None;
    let mut signatures = signatures.iter().cycle();
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(text) = line.strip_prefix(b"?") {
            query = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).map(str::to_owned);
            continue;
        }
        let named = line
            .windows(2)
            .position(|two| two == b": ")
            .and_then(|at| Some((HeaderName::from_bytes(&line[..at]).ok()?, &line[at + 2..])));
        let (name, value) = match named {
            Some((name, value)) => (Some(name), value),
            None => (signatures.next().cloned(), line),
        };
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    (headers, query)
}
