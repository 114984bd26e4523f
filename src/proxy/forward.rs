//! Sends what was verified to the upstream, and its response back.
//!
//! Fails with, in this order:
//! 1. `upstream_unreachable`: no connection;
//! 2. `upstream_failed`: it broke off before a complete response head, or switches protocols (RFC 9110 section 7.8:
//!    the gateway never asks for that);
//! 3. `upstream_timeout`: no response head within the route's `timeout`, connecting included.
//!
//! A response is passed on as it is, 5xx included: only the handler knows whether it has the delivery. Its body is
//! streamed; one that breaks off half-way, or pauses for longer than `idle_timeout`, breaks the sender's connection off too, so that nobody takes it for whole.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};

use super::delivery::Peer;
use super::headers::{X_REQUEST_ID, join_cookies, remove_hop_by_hop};
use super::observe::LogLimit;
use super::pool::{Resending, SendError};
use super::reject::{Refusal, Reject};
use super::respond::Body;
use super::route::Route;
use super::trail::{Notes, Period};
use super::verify::{Verified, VerifiedParts};
use crate::clock::Clock;
use crate::config::{PathPattern, Upstream};
use crate::metrics::UpstreamResult;

/// What the forwarding stage needs of its thread.
#[derive(Clone)]
pub struct ForwardContext {
    /// For durations.
    pub clock: Clock,
    /// Bounds the lines about upstreams that fail.
    pub log_limit: Rc<LogLimit>,
    /// How long an upstream may pause in a response's body.
    pub pause: Duration,
}

/// The last stage: sends the request and returns the response.
pub async fn forward(context: ForwardContext, verified: Verified) -> Result<Response<Body>, Refusal> {
    let VerifiedParts { route, peer, mut head, payload, secret, at: started, trail } = verified.into_parts();
    prepare(&route, &peer, &mut head, payload.len(), secret)?;
    if let Some(trace) = trail.notes().and_then(Notes::trace) {
        trace.propagate(&mut head.headers);
    }
    let metrics = &route.metrics.upstream;
    let resending = Resending { allowed: route.config.upstream.resend, count: &metrics.resends };
    let send = route.pool.send(Request::from_parts(*head, payload), resending, started);
    let sent = tokio::time::timeout(route.config.timeout, send).await;
    let period = Period { start: started, end: context.clock.now() };
    metrics.duration.observe(period.length().as_secs_f64());
    trail.upstream(period, sent.as_ref().ok().and_then(|sent| Some(sent.as_ref().ok()?.status())));
    let (reject, result, error) = match sent {
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let error = "the upstream switches protocols, which nobody asked it for".to_owned();
            (Reject::UpstreamFailed, UpstreamResult::Failed, error)
        }
        Ok(Ok(response)) => {
            metrics.result(UpstreamResult::Status(response.status().as_u16()));
            return Ok(received(response.map(|body| Body::upstream(body.pausing_at_most(context.pause)))));
        }
        Ok(Err(error @ SendError::Unreachable(_))) => {
            (Reject::UpstreamUnreachable, UpstreamResult::Unreachable, error.to_string())
        }
        Ok(Err(error @ SendError::Failed(_))) => (Reject::UpstreamFailed, UpstreamResult::Failed, error.to_string()),
        Err(elapsed) => (Reject::UpstreamTimeout, UpstreamResult::Timeout, elapsed.to_string()),
    };
    metrics.result(result);
    if let Some(suppressed) = context.log_limit.admit(context.clock.now()) {
        let (route, upstream) = (&route.config.name, &route.config.upstream);
        tracing::warn!(route, reason = reject.reason(), %upstream, error, suppressed, "no answer from the upstream");
    }
    Err(reject.into())
}

/// Turns the head that the sender sent into the one that the upstream gets, with a body of `length` bytes.
fn prepare(route: &Route, peer: &Peer, head: &mut Parts, length: u64, secret: Option<usize>) -> Result<(), Reject> {
    let target = target(&route.config.path, &route.config.upstream, head.uri.path(), head.uri.query())?;
    let host = match head.uri.authority() {
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| Reject::BadRequest)?),
        None => head.headers.get(HOST).cloned(),
    };
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    route.headers.apply(&mut head.headers, secret, peer, host, length);
    head.uri = target;
    head.version = Version::HTTP_11;
    Ok(())
}

/// The upstream's response without what was meant for the upstream's connection only.
fn received(mut response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key(TRANSFER_ENCODING) {
        // It overrides a length, which is then not that of the body (RFC 9112 section 6.3).
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(response.headers_mut());
    // The gateway's own is set further out, the same as in the request.
    response.headers_mut().remove(X_REQUEST_ID);
    // The version of this hop, not of the other one (RFC 9110 section 2.5).
    *response.version_mut() = Version::HTTP_11;
    response
}

/// The request target for the upstream: its own path for an exact route, its path and what follows the prefix for a
/// prefix route; the query as it came.
///
/// # Errors
/// [`Reject::BadRequest`]: together they are no request target.
pub fn target(pattern: &PathPattern, upstream: &Upstream, path: &str, query: Option<&str>) -> Result<Uri, Reject> {
    let base = upstream.path.as_str();
    let mut target = String::with_capacity(base.len() + path.len() + query.map_or(0, str::len) + 2);
    match pattern {
        PathPattern::Exact(_) => target.push_str(if base.is_empty() { "/" } else { base }),
        PathPattern::Prefix(prefix) => {
            target.push_str(base.strip_suffix('/').unwrap_or(base));
            target.push('/');
            target.push_str(path.get(prefix.len()..).unwrap_or_default());
        }
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(target).map(Uri::from).map_err(|_| Reject::BadRequest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostHeader;

    fn mapped(pattern: PathPattern, upstream: &str, uri: &str) -> String {
        let upstream = Upstream {
            tls: false,
            host: "h".into(),
            port: 80,
            authority: "h".into(),
            path: upstream.into(),
            connect_timeout: Duration::from_secs(1),
            resend: true,
            host_header: HostHeader::Upstream,
            certificates: None,
        };
        let uri: Uri = uri.parse().unwrap();
        target(&pattern, &upstream, uri.path(), uri.query()).unwrap().to_string()
    }

    #[test]
    fn an_exact_route_goes_to_the_upstreams_path_with_the_query_verbatim() {
        let exact = || PathPattern::Exact("/in".into());
        assert_eq!(mapped(exact(), "/log", "/in?a=%20&b"), "/log?a=%20&b");
        assert_eq!(mapped(exact(), "/log/", "/in?"), "/log/?");
        assert_eq!(mapped(exact(), "", "/in"), "/");
    }

    #[test]
    fn a_prefix_route_hands_on_what_follows_the_prefix_untouched() {
        let prefix = || PathPattern::Prefix("/hooks/".into());
        assert_eq!(mapped(prefix(), "/base", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(mapped(prefix(), "/base/", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(mapped(prefix(), "", "/hooks/"), "/");
        assert_eq!(mapped(prefix(), "", "/hooks/%2e%2e//;x"), "/%2e%2e//;x");
        assert_eq!(mapped(PathPattern::Prefix("/".into()), "", "/a"), "/a");
    }
}
