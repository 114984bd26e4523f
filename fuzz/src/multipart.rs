//! Bodies of `multipart/form-data`: one without a signature is refused, a signed one is accepted, and the simplest reading of
//! RFC 7578 finds the signature in one field.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use hooklatch::schemes::{RequestHead, SchemeOptions, Secret, Signed, SignedRequest, Spec, Unsigned, Verifier};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

/// The header that names a part.
const FIELD: &[u8] = b"content-disposition:";
/// The clock stands still.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// Signs the field `a`, with the signature in the field `s`.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let spec = Spec::parse(
        "name: multipart\ntitle: Multipart\ndocumentation: [https://example.com]\nconfidence: documented\n\
         signature: { at: { multipart: s }, encoding: hex }\nalgorithm: { hmac: sha256 }\nsecret: utf8\n\
         forms: [{ name: a, content: [{ multipart: a }] }]\ncovers: a field\n",
    );
    let secret = Secret::from(b"unknown to anybody".to_vec());
    spec.unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap()
});

/// The first byte of `data` chooses the content type, the rest is the body.
///
/// # Panics
/// When something passes that was not signed, or something does not that was.
pub fn check(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let types = ["multipart/form-data; boundary=b", "Multipart/Form-Data;boundary=\"b\"", "multipart/form-data"];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(types[usize::from(*which) % types.len()]));
    let head = RequestHead { method: &Method::POST, path: "/", query: None, headers: &headers };
    assert!(!accepts(head, body), "nobody has signed this");
    let Ok(Signed { headers: more, query: None, body: Some(signed) }) = VERIFIER.sign(0, &Unsigned { head, body }, NOW)
    else {
        return;
    };
    assert!(more.is_empty(), "the signature is in the body");
    assert!(accepts(head, &signed), "what we sign, we verify");
    let fields = simplest(&signed);
    let texts = |name: &[u8]| fields.iter().filter(|(found, _)| found == name).count();
    assert_eq!((texts(b"s"), texts(b"a")), (1, 1), "{}", String::from_utf8_lossy(&signed));
}

fn accepts(head: RequestHead<'_>, body: &[u8]) -> bool {
    let frames = [Bytes::copy_from_slice(body)];
    let request = SignedRequest { head, body: &frames };
    VERIFIER.inspect(head, NOW).and_then(|claim| VERIFIER.verify(&claim, &request, NOW)).is_ok()
}

/// The names of the parts with their bytes: what stands between two delimiters, wherever these are.
fn simplest(body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(3).position(|three| three == b"--b") {
        parts.push(&rest[..at]);
        rest = &rest[at + 3..];
    }
    let named = |part: &&[u8]| {
        let head = part.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = part[..head].split(|byte| *byte == b'\n');
        let line = lines.find(|line| line.len() > FIELD.len() && line[..FIELD.len()].eq_ignore_ascii_case(FIELD))?;
        let name = parameters(line).into_iter().find_map(|parameter| {
            let (name, value) = parameter.split_at_checked(5)?;
            name.eq_ignore_ascii_case(b"name=").then(|| value.strip_prefix(b"\"").unwrap_or(value))
        })?;
        Some((name.strip_suffix(b"\"").unwrap_or(name).to_vec(), part[head + 4..].to_vec()))
    };
    parts.iter().filter_map(named).collect()
}

/// What stands between the semicolons of a header line that are not in quotes, the first piece aside.
fn parameters(line: &[u8]) -> Vec<&[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_end = |byte: &u8| {
        is_quoted ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && is_quoted && !is_escaped;
        *byte == b';' && !is_quoted
    };
    line.split(is_end).skip(1).map(<[u8]>::trim_ascii).collect()
}
