//! Any headers and body for any scheme: what was not signed is refused, what was is accepted.

use std::sync::LazyLock;

use bytes::Bytes;
use hooklatch::schemes::{self, SchemeOptions, Secret, SignedRequest, Verifier};
use http::{HeaderMap, HeaderValue};

/// Each scheme with each way of taking its content, under secrets that no input knows.
static VERIFIERS: LazyLock<Vec<Verifier>> = LazyLock::new(|| {
    let mut verifiers = Vec::new();
    for name in schemes::names() {
        for signed_content in [None, Some("body"), Some("signed_data")] {
            for match_payload in [None, Some(false)] {
                let options = SchemeOptions { signed_content: signed_content.map(str::to_owned), match_payload };
                let secrets = ["one", "two"].map(|secret| Secret::from(format!("unknown-{secret}").into_bytes()));
                verifiers.extend(schemes::find(name).unwrap().compile(&options, &secrets));
            }
        }
    }
    verifiers
});

/// The first byte of `data` chooses the verifier, the second how the body is cut; lines follow, up to an empty one, each
/// the value of a signature header. What remains is the body.
///
/// # Panics
/// When something passes that was not signed, or something does not that was.
pub fn check(data: &[u8]) {
    let [which, cut, rest @ ..] = data else { return };
    let verifier = &VERIFIERS[usize::from(*which) % VERIFIERS.len()];
    let (head, body) = match rest.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest, &b""[..]),
    };
    let frames: Vec<Bytes> = body.chunks(usize::from(*cut) + 1).map(Bytes::copy_from_slice).collect();
    let mut headers = HeaderMap::new();
    for (line, name) in head.split(|byte| *byte == b'\n').zip(verifier.signature_headers().iter().cycle()) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let accepts = |headers: &HeaderMap, frames: &[Bytes]| {
        let claim = verifier.inspect(headers)?;
        verifier.verify(&claim, &SignedRequest { headers, body: frames }).map(|authentic| authentic.secret)
    };
    let refusal = accepts(&headers, &frames).expect_err("nobody has signed this");
    assert!(verifier.possible_errors().contains(&refusal), "{refusal:?}");

    for secret in [0, 1] {
        let Ok(signed) = verifier.sign(secret, body) else { return };
        let signed: HeaderMap = signed.into_iter().collect();
        assert_eq!(accepts(&signed, &frames), Ok(secret), "what we sign, we verify");
        let mut longer = frames.clone();
        longer.push(Bytes::from_static(b"x"));
        accepts(&signed, &longer).expect_err("another body");
    }
}
