//! Sends a message to an upstream and waits for the head of the response. Every message to an upstream goes through here.
//!
//! A response with status 101 is a failure, because the gateway never asks for another protocol (RFC 9110 section 7.8).

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::InvalidHeaderValue;
use http::{HeaderValue, Response, StatusCode};

use super::message::Message;
use super::pool::{Pool, Resending, ResponseBody, SendError};
use super::signature::MessageSigner;
use super::target::target;
use crate::clock::Clock;
use crate::config::{self, HostHeader};
use crate::http1::client::request::Head;
use crate::metrics::{UpstreamMetrics, UpstreamResult};

/// The destination of a route's messages. All threads share it; each has its own connections, in a [`Pool`].
pub struct Endpoint {
    /// The path of the upstream's URL.
    path: String,
    /// The host of the upstream's URL, the default for `Host`.
    host: HeaderValue,
    /// `host_header: preserve`: `Host` is the host that the sender asked for, if the request names one.
    preserves_host: bool,
    /// `resend`: whether a message is sent again if a reused connection fails after bytes of the message were written.
    resends: bool,
    /// The time until the head of the response must have arrived, connecting included.
    timeout: Duration,
    /// `sign`: how messages are signed for the handler.
    signer: Option<MessageSigner>,
    metrics: UpstreamMetrics,
}

/// The result of sending a message, and its time.
pub struct Sent {
    /// The response, or the failure.
    pub result: Result<Response<ResponseBody>, SendError>,
    /// When the head of the response had arrived, or sending failed.
    pub ended: Instant,
}

impl Endpoint {
    /// The upstream of `route`. `metrics` counts its responses.
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
            signer: route.sign.as_ref().map(MessageSigner::new),
            metrics,
        })
    }
}

/// Sends `message` to `endpoint` over a connection of `pool`, at the time `started`, with the field lines `also` of this
/// attempt. Counts the response or the failure.
pub async fn send(
    endpoint: &Endpoint,
    pool: &Rc<Pool>,
    message: Message,
    also: &Head,
    clock: &Clock,
    started: Instant,
) -> Sent {
    let Message { id, method, target: below, host, fields: mut head, payload } = message;
    let host = host.as_ref().filter(|_| endpoint.preserves_host).unwrap_or(&endpoint.host);
    head.begin(method, &target(&endpoint.path, below.rest(), below.query()), Some(host));
    head.lines(also);
    if let Some(signer) = &endpoint.signer {
        signer.write(&mut head, id, clock.unix_at(started), &payload);
    }
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
