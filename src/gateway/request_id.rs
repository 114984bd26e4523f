//! The request id: the same in the request to the upstream, in the response and in the log.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::http1::field::single;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is passed on, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The request id for a request with these field lines: the sender's, or a new one if that is missing, repeated, empty, too
/// long, or has characters that are not safe in a log.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte);
    let said = single(headers, &X_REQUEST_ID)
        .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_sane));
    said.cloned().unwrap_or_else(new_request_id)
}

/// A new, unique request id: a random UUID (RFC 9562 section 5.4).
pub fn new_request_id() -> HeaderValue {
    let mut text = [0; Hyphenated::LENGTH];
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(id).expect("a UUID is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_request_id_is_kept_only_if_it_is_sane() {
        let kept = |value: &str| request_id(&map(&[("x-request-id", value)])) == value;
        assert!(kept("f058ebd6-02f7-4d3f-942e-904344e8cde5"));
        assert!(kept(&"a".repeat(MAX_REQUEST_ID)));
        assert!(!kept(&"a".repeat(MAX_REQUEST_ID + 1)));
        assert!(!kept(""));
        assert!(!kept("a b"));
        assert!(!kept("a\"b"));
        let id = request_id(&map(&[("x-request-id", "a"), ("x-request-id", "a")]));
        assert_ne!(id, "a");
        assert_ne!(request_id(&HeaderMap::new()), id);
    }
}
