//! Writes lines of heads (RFC 9112 section 5), of requests and of responses.
//!
//! What is written comes from parsed names and values, so no line can become two.

use std::io::Write;

use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue};

/// Adds a line.
pub fn line(bytes: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// Adds the `Content-Length` of a body of so many bytes (RFC 9112 section 6.2).
pub fn content_length(bytes: &mut Vec<u8>, length: u64) {
    write!(bytes, "{CONTENT_LENGTH}: {length}\r\n").expect("memory can be written to");
}
