//! A request to an upstream, without its destination.

use http::{HeaderValue, Method, Uri};
use uuid::Uuid;

use crate::http1::client::request::Head;
use crate::http1::payload::Payload;

/// A request that can be sent, stored, and sent again, also to another address. Its
/// [endpoint](super::send::Endpoint) adds the upstream's path and `Host`.
///
/// For a delivery, only [`prepare`](crate::gateway::prepare) makes a message, and only from a verified one.
pub struct Message {
    /// The delivery's id, the same over all attempts.
    pub id: Uuid,
    /// The request's method.
    pub method: Method,
    /// The path below the upstream's URL, and the query.
    pub target: Target,
    /// The host that the sender asked for. It becomes `Host` on a route with `host_header: preserve`.
    pub host: Option<HeaderValue>,
    /// All field lines except `Host`, including the `Content-Length` of the payload.
    pub fields: Head,
    /// The body.
    pub payload: Payload,
}

/// The part of a request target that does not depend on the upstream: on a prefix route the rest of the path, and the query.
pub struct Target {
    uri: Uri,
    /// The position in the path after the route's prefix; `None` on a route for one exact path.
    below: Option<usize>,
}

impl Target {
    /// The target of a request for `uri`. `prefix` is the length of the route's prefix; `None` on a route for one exact path.
    pub fn new(uri: Uri, prefix: Option<usize>) -> Self {
        Self { uri, below: prefix }
    }

    /// Path and query as the sender wrote them, and the length of the prefix of the path that does not go to the upstream.
    pub fn parts(&self) -> (String, Option<usize>) {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        (target.to_owned(), self.below)
    }

    /// The part of the path after the route's prefix; `None` on a route for one exact path.
    pub fn rest(&self) -> Option<&str> {
        self.below.map(|from| self.uri.path().get(from..).unwrap_or_default())
    }

    /// The query, as the sender wrote it.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }
}
