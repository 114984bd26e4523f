//! Requests as far as signatures go.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, raw.
    pub path: &'a str,
    /// The query without `?`, raw.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// The head of a request.
    pub fn of(parts: &'a Parts) -> Self {
        Self { method: &parts.method, path: parts.uri.path(), query: parts.uri.query(), headers: &parts.headers }
    }
}

/// What a signature is checked against.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The request's head.
    pub head: RequestHead<'a>,
    /// The whole body, in order, in the pieces that it came in. Where they are cut has no influence on the verdict.
    pub body: &'a [Bytes],
}
