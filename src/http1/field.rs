//! Reads field lines (RFC 9110 section 5) about the connection and the message itself.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The most field lines that a head may have.
pub const MAX_LINES: usize = 100;

/// The field names in `Connection` lines (RFC 9110 section 7.6.1).
pub fn connection_options<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = HeaderName> {
    lines.flat_map(elements).filter_map(|option| HeaderName::from_bytes(option).ok())
}

/// The value of a `Content-Length` line: digits only, no sign, list or blank (RFC 9110 section 8.6).
pub fn content_length(line: &HeaderValue) -> Option<u64> {
    let digits = line.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok())
}

/// The elements of a list (RFC 9110 section 5.6.1), empty ones included.
pub fn elements(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// The value of the first line of a field. In a head of a few lines this costs less than the map's own look-up, which hashes the
/// name.
pub fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// The value of a field that has exactly one line.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a field is meant for one connection only, even if `Connection` does not name it (RFC 9110 section 7.6.1).
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    )
}

/// Whether a request target has only characters that can stand in one (RFC 9112 section 3.2). An upstream would drop what follows
/// a `#`, and read a control character or a byte of UTF-8 as it likes.
pub fn is_target(target: &str) -> bool {
    target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Whether a byte may be part of a host with a port: `host [":" port]` (RFC 3986 section 3.2), without user information.
pub fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// Whether a value is one host, with or without a port. A comma counts as the separator of a list.
pub fn is_host(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(|byte| is_host_byte(*byte) && *byte != b',')
}
