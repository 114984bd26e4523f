//! Writes the field lines of requests and responses (RFC 9112 section 5).
//!
//! Names and values have been parsed, so that none can contain a line end.

use http::HeaderValue;

/// Appends a field line.
pub fn line(bytes: &mut Vec<u8>, name: &[u8], value: &HeaderValue) {
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// Appends the line of `Content-Length` (RFC 9112 section 6.2), spelt like `name`.
pub fn content_length(bytes: &mut Vec<u8>, name: &str, length: u64) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}
