//! The one way out: sends a message to an upstream and waits for the head of its response.
//!
//! A response with status 101 is a failure: the gateway never asks for another protocol (RFC 9110 section 7.8).

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::InvalidHeaderValue;
use http::{HeaderValue, Response, StatusCode};

use super::message::Message;
use super::pool::{Pool, Resending, ResponseBody, SendError};
use super::target::target;
use crate::clock::Clock;
use crate::config::{self, HostHeader};
use crate::http1::client::request::Head;
use crate::metrics::{UpstreamMetrics, UpstreamResult};

/// Where the messages of a route go. The same for all threads; each has connections of its own, in a [`Pool`].
pub struct Endpoint {
    /// The path of the upstream's URL.
    path: String,
    /// The upstream's own `Host`.
    host: HeaderValue,
    /// Whether the host that the sender asked for becomes `Host` instead, if there is one.
    preserves_host: bool,
    /// Whether a message is sent again if a reused connection breaks off, even if bytes of it had been written.
    resends: bool,
    /// How long the head of the response may take, connecting included.
    timeout: Duration,
    metrics: UpstreamMetrics,
}

/// How sending ended, and when.
pub struct Sent {
    /// The response, or why there is none.
    pub result: Result<Response<ResponseBody>, SendError>,
    /// When the head of the response was there, or sending failed.
    pub ended: Instant,
}

impl Endpoint {
    /// The upstream of `route`. Counts with `metrics`.
    ///
    /// # Errors
    /// A host that cannot be a field value, which loading the configuration rules out.
    pub fn new(route: &config::Route, metrics: UpstreamMetrics) -> Result<Self, InvalidHeaderValue> {
        let upstream = &route.upstream;
        Ok(Self {
            path: upstream.path.clone(),
            host: HeaderValue::from_str(&upstream.authority)?,
            preserves_host: upstream.host_header == HostHeader::Preserve,
            resends: upstream.resend,
            timeout: route.timeout,
            metrics,
        })
    }
}

/// Sends `message` to `endpoint` over a connection of `pool`, at `started`, with the field lines `also` of this attempt.
/// Counts the answer, or the lack of one.
pub async fn send(
    endpoint: &Endpoint,
    pool: &Rc<Pool>,
    message: Message,
    also: &Head,
    clock: &Clock,
    started: Instant,
) -> Sent {
    let Message { method, target: below, host, fields, payload } = message;
    let mut head = Head::new(method, &target(&endpoint.path, below.rest(), below.query()), payload.len());
    head.line(&http::header::HOST, host.as_ref().filter(|_| endpoint.preserves_host).unwrap_or(&endpoint.host));
    head.lines(&fields);
    head.lines(also);
    let resending = Resending { allowed: endpoint.resends, count: &endpoint.metrics.resends };
    let sent = pool.send(head.with(payload), resending, started, started + endpoint.timeout).await;
    let ended = clock.now();
    endpoint.metrics.duration.observe(ended.saturating_duration_since(started).as_secs_f64());
    let result = match sent {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(SendError::Failed(io::Error::other("the upstream switches protocols without being asked to")))
        }
        result => result,
    };
    endpoint.metrics.result(match &result {
        Ok(response) => UpstreamResult::Status(response.status().as_u16()),
        Err(SendError::Unreachable(_)) => UpstreamResult::Unreachable,
        Err(SendError::Failed(_)) => UpstreamResult::Failed,
        Err(SendError::Late) => UpstreamResult::Timeout,
    });
    Sent { result, ended }
}
