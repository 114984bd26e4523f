//! Writes lines of heads (RFC 9112 section 5), of requests and of responses.
//!
//! What is written comes from parsed names and values, so no line can become two.

use http::{HeaderName, HeaderValue};

/// Adds a line.
pub fn line(bytes: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// Adds the `Content-Length` of a body of so many bytes (RFC 9112 section 6.2).
pub fn content_length(bytes: &mut Vec<u8>, length: u64) {
    bytes.extend_from_slice(b"content-length: ");
    bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}
