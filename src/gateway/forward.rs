//! The last stage in proxy mode: sends what has verified to the upstream, and its response back.
//!
//! Fails with, in this order:
//! 1. `upstream_unreachable`: no connection;
//! 2. `upstream_failed`: it broke off before a complete response head, or switches protocols;
//! 3. `upstream_timeout`: no response head within the route's `timeout`, connecting included.
//!
//! A response is passed on as it is, 5xx included: only the handler knows whether it has the delivery. Its body is
//! streamed. A body that breaks off half-way, or pauses for longer than `idle_timeout`, breaks the sender's connection off
//! too, so that the sender does not take it for complete.

use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::prepare::prepare;
use super::verify::Verified;
use crate::clock::Clock;
use crate::delivery::response::{Body, Completed, StageResult};
use crate::delivery::timeline::Period;
use crate::http1::client::request::Head;
use crate::observe::log_limit::LogLimit;
use crate::reject::{Outcome, Reject};
use crate::upstream::pool::SendError;
use crate::upstream::send::send;

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

/// The stage: sends the delivery and returns the upstream's response.
pub async fn forward(context: ForwardContext, verified: Verified) -> StageResult {
    let (message, started) = (prepare(&verified)?, verified.at());
    let (route, info) = verified.into_route_and_info();
    let sent = send(&route.shared.endpoint, &route.pool, message, &Head::default(), &context.clock, started).await;
    let period = Period { start: started, end: sent.ended };
    info.timeline.upstream(period, sent.result.as_ref().ok().map(Response::status));
    match sent.result {
        Ok(response) => Ok(Completed {
            response: response.map(|body| Body::upstream(body.pausing_at_most(context.pause))),
            outcome: Outcome::Forwarded,
        }),
        Err(error) => {
            let reject = Reject::from(&error);
            if let Some(suppressed) = context.log_limit.admit(context.clock.now()) {
                let (route, upstream) = (&route.shared.config.name, &route.shared.config.upstream);
                let reason = reject.reason();
                tracing::warn!(route, reason, %upstream, %error, suppressed, "no answer from the upstream");
            }
            Err(reject.into())
        }
    }
}

impl From<&SendError> for Reject {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Unreachable(_) => Self::UpstreamUnreachable,
            SendError::Failed(_) => Self::UpstreamFailed,
            SendError::Late => Self::UpstreamTimeout,
        }
    }
}
