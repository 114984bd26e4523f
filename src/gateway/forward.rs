//! Sends what was verified to the upstream, and its response back.
//!
//! Fails with, in this order:
//! 1. `upstream_unreachable`: no connection;
//! 2. `upstream_failed`: it broke off before a complete response head, or switches protocols (RFC 9110 section 7.8:
//!    the gateway never asks for that);
//! 3. `upstream_timeout`: no response head within the route's `timeout`, connecting included.
//!
//! A response is passed on as it is, 5xx included: only the handler knows whether it has the delivery. Its body is
//! streamed; one that breaks off half-way, or pauses for longer than `idle_timeout`, breaks the sender's connection off
//! too, so that nobody takes it for whole.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::clock::Clock;
use crate::delivery::request::Arrival;
use crate::delivery::response::Body;
use crate::delivery::timeline::Period;
use crate::gateway::headers;
use crate::gateway::verify::{Verified, VerifiedParts};
use crate::http1::client::request::{Head, OutgoingRequest};
use crate::http1::payload::Payload;
use crate::metrics::UpstreamResult;
use crate::observe::log_limit::LogLimit;
use crate::reject::{Refusal, Reject};
use crate::routing::table::Route;
use crate::upstream::pool::{Resending, SendError};
use crate::upstream::target::target;

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
    let VerifiedParts { arrival, route, payload, secret, at: started } = verified.into_parts();
    let request = request(&route, &arrival, payload, secret)?;
    let metrics = &route.metrics.upstream;
    let resending = Resending { allowed: route.config.upstream.resend, count: &metrics.resends };
    let sent = route.pool.send(request, resending, started, started + route.config.timeout).await;
    let period = Period { start: started, end: context.clock.now() };
    metrics.duration.observe(period.length().as_secs_f64());
    arrival.trail.upstream(period, sent.as_ref().ok().map(Response::status));
    let error = match sent {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            SendError::Failed(io::Error::other("the upstream switches protocols, which nobody asked it for"))
        }
        Ok(response) => {
            metrics.result(UpstreamResult::Status(response.status().as_u16()));
            return Ok(response.map(|body| Body::upstream(body.pausing_at_most(context.pause))));
        }
        Err(error) => error,
    };
    let (reject, result) = match &error {
        SendError::Unreachable(_) => (Reject::UpstreamUnreachable, UpstreamResult::Unreachable),
        SendError::Failed(_) => (Reject::UpstreamFailed, UpstreamResult::Failed),
        SendError::Late => (Reject::UpstreamTimeout, UpstreamResult::Timeout),
    };
    metrics.result(result);
    if let Some(suppressed) = context.log_limit.admit(context.clock.now()) {
        let (route, upstream) = (&route.config.name, &route.config.upstream);
        tracing::warn!(route, reason = reject.reason(), %upstream, %error, suppressed, "no answer from the upstream");
    }
    Err(reject.into())
}

/// The request for the upstream.
fn request(
    route: &Route,
    arrival: &Arrival,
    payload: Payload,
    secret: Option<usize>,
) -> Result<OutgoingRequest, Reject> {
    let Parts { method, uri, headers, .. } = &arrival.head;
    let authority = uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let authority = authority.transpose().map_err(|_| Reject::BadRequest)?;
    let host = authority.as_ref().or(headers.get(HOST));
    let target = target(&route.config.path, &route.config.upstream, uri.path(), uri.query());
    let mut head = Head::new(method.clone(), &target, payload.len());
    headers::write(&route.headers, &mut head, arrival, host, secret, payload.len());
    Ok(head.with(payload))
}
