//! A request to an upstream, apart from where it goes.

use http::{HeaderValue, Method, Uri};

use crate::http1::client::request::Head;
use crate::http1::payload::Payload;

/// A request that can be sent, kept, and sent again, also to another address: all of it but what its
/// [endpoint](super::send::Endpoint) adds, which is the upstream's own path and `Host`.
///
/// On the way in, only [`prepare`](crate::gateway::prepare) makes one, and only of what has verified.
pub struct Message {
    /// The request's method.
    pub method: Method,
    /// What it asks for below the upstream's URL.
    pub target: Target,
    /// The host that the sender asked for. It becomes `Host` where the route says `host_header: preserve`.
    pub host: Option<HeaderValue>,
    /// All field lines but `Host`, with the `Content-Length` of the payload.
    pub fields: Head,
    /// The body.
    pub payload: Payload,
}

/// The part of a request target that does not depend on the upstream.
pub struct Target {
    uri: Uri,
    /// Where in the path begins what goes below the upstream's own path; `None` on a route for one exact path.
    below: Option<usize>,
}

impl Target {
    /// The query of `uri`, and what follows the first `prefix` bytes of its path; without a prefix, nothing of its path.
    pub fn new(uri: Uri, prefix: Option<usize>) -> Self {
        Self { uri, below: prefix }
    }

    /// Path and query as the sender wrote them, and the length of the prefix of the path that does not go to the upstream.
    pub fn parts(&self) -> (String, Option<usize>) {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        (target.to_owned(), self.below)
    }

    /// What follows the upstream's path, if anything does.
    pub fn rest(&self) -> Option<&str> {
        self.below.map(|from| self.uri.path().get(from..).unwrap_or_default())
    }

    /// The query, as the sender wrote it.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }
}
