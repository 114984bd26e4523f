//! The request id: the same in the request to the upstream, in the response and in the log.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

use crate::http1::field::single;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is passed on, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The sender's request id among these headers. It is not taken if it is empty, too long, repeated, or has other characters
/// than can stand in any log.
pub fn senders_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte);
    single(headers, &X_REQUEST_ID)
        .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_sane))
}

/// The id of a delivery that is received `since_epoch`, the time since 1970-01-01T00:00:00Z: a UUID of version 7 (RFC 9562
/// section 5.7). The bits behind the milliseconds are the fraction of one (section 6.2, method 3), so that ids have the order of
/// receipt also within a millisecond.
pub fn delivery_id(since_epoch: Duration) -> Uuid {
    let millis = since_epoch.as_secs().saturating_mul(1000).saturating_add(since_epoch.subsec_millis().into());
    let fraction = u64::from(since_epoch.subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
    let [.., high, low] = fraction.to_be_bytes();
    let mut bytes: [u8; 10] = rand::random();
    let [first, second, ..] = &mut bytes;
    (*first, *second) = (high, low);
    Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// A random request id (RFC 9562 section 5.4).
pub fn new_request_id() -> HeaderValue {
    uuid_value(Uuid::new_v4())
}

/// A UUID as a field value.
pub fn uuid_value(id: Uuid) -> HeaderValue {
    let mut text = [0; Hyphenated::LENGTH];
    let id = id.hyphenated().encode_lower(&mut text);
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
        let kept = |value: &str| senders_id(&map(&[("x-request-id", value)])).is_some_and(|id| id == value);
        assert!(kept("f058ebd6-02f7-4d3f-942e-904344e8cde5"));
        assert!(kept(&"a".repeat(MAX_REQUEST_ID)));
        assert!(!kept(&"a".repeat(MAX_REQUEST_ID + 1)));
        assert!(!kept(""));
        assert!(!kept("a b"));
        assert!(!kept("a\"b"));
        assert_eq!(senders_id(&map(&[("x-request-id", "a"), ("x-request-id", "a")])), None);
        assert_eq!(senders_id(&HeaderMap::new()), None);
    }

    #[test]
    fn delivery_ids_are_ordered_by_time_and_differ_within_a_millisecond() {
        let at = |millis| delivery_id(Duration::from_millis(millis));
        assert!(at(1_000) < at(1_001));
        let within = |micros: u64| delivery_id(Duration::from_micros(1_000_000 + micros));
        assert!((0..1_000_u64).step_by(10).all(|micros| within(micros) < within(micros + 10)));
        assert!(within(999) < at(1_001));
        assert_ne!(at(1_000), at(1_000));
        assert_eq!(at(1_000).get_version_num(), 7);
    }
}
