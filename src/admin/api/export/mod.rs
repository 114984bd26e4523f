//! A recorded request for other programs: raw HTTP, a shell command, a HAR file. Redacted fields are left out, and signatures
//! unless they are asked for.

mod curl;
mod har;

use super::detail::Found;
use super::recorded::RecordedRequest;
pub use curl::curl;
pub use har::har;

/// The request as HTTP/1.1 writes it, which `hooklatch explain --request` reads. Of a body that is cut, `Content-Length` says how
/// long it was, so that the message does not pass for a complete one.
pub fn http(found: &Found, request: &RecordedRequest, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value);
        message.extend_from_slice(b"\r\n");
    };
    if let Some(host) = request.host() {
        line("host", host.as_bytes());
    }
    for field in request.sendable() {
        line(&field.name, &field.value);
    }
    line("content-length", length(found, body).to_string().as_bytes());
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body);
    message
}

/// The length of the body of which this is kept.
fn length(found: &Found, body: &[u8]) -> u64 {
    if found.is_body_cut() { found.stored.delivery.request_bytes } else { body.len() as u64 }
}

/// The URL that the request was for.
fn url(request: &RecordedRequest) -> String {
    let scheme = if request.tls { "https" } else { "http" };
    let target = if request.target.starts_with('/') { request.target.as_str() } else { "/" };
    format!("{scheme}://{}{target}", host(request))
}

/// The host, if it is one that a URL can have.
fn host(request: &RecordedRequest) -> &str {
    let plain = |host: &&str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
    };
    request.host().filter(plain).unwrap_or("localhost")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::admin::api::recorded::Field;

    pub(super) fn request(target: &str, fields: &[(&str, &'static [u8])]) -> RecordedRequest {
        let field = |(name, value): &(&str, &'static [u8])| Field {
            name: (*name).to_owned(),
            value: Bytes::from_static(value),
            shown: true,
        };
        RecordedRequest {
            method: "POST".to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            tls: false,
            host: Some("hooks.example.com:8080".to_owned()),
            hides_parameter: false,
            fields: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn a_url_has_the_host_that_the_request_was_for() {
        assert_eq!(url(&request("/a?b=%20", &[])), "http://hooks.example.com:8080/a?b=%20");
        assert_eq!(url(&request("/", &[("host", b"a b")])), "http://localhost/");
        assert_eq!(url(&request("*", &[("Host", b"[::1]:1")])), "http://[::1]:1/");
    }
}
