//! The parts of a request that signatures depend on.

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

/// A request to verify.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The request's head.
    pub head: RequestHead<'a>,
    /// The whole body, in order, in the pieces in which it arrived. The verdict does not depend on where it is cut.
    pub body: &'a [Bytes],
}
