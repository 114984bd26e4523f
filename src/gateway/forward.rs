//! The last stage in proxy mode: sends the verified delivery to the upstream, and returns the upstream's response.
//!
//! Fails with:
//! 1. `upstream_unreachable`: no connection;
//! 2. `upstream_failed`: the connection ended before a complete response head, or the upstream switches protocols;
//! 3. `upstream_timeout`: no response head within the route's `timeout`, connecting included.
//!
//! The response is passed on unchanged, 5xx included: only the handler knows whether it has accepted the delivery. But it loses
//! a `Location` that names the inside, see [`redirect`](crate::upstream::redirect). The body is streamed. If it
//! ends early, or pauses for longer than `idle_timeout`, the gateway aborts the sender's connection, so that the sender does not
//! take the response for complete.

use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::prepare::prepare;
use super::verify::Verified;
use crate::clock::Clock;
use crate::config::Record;
use crate::delivery::response::{Body, Completed, StageResult};
use crate::delivery::timeline::Period;
use crate::http1::client::request::Head;
use crate::observe::log_limit::LogLimit;
use crate::queue::stored;
use crate::record::redact;
use crate::reject::{Outcome, Reject};
use crate::upstream::pool::SendError;
use crate::upstream::redirect::{REDIRECT_HINT, hide_inside, location};
use crate::upstream::send::send;

/// The values of the worker thread that the forwarding stage uses.
#[derive(Clone)]
pub struct ForwardContext {
    /// Measures durations.
    pub clock: Clock,
    /// Limits the log lines about failing upstreams.
    pub log_limit: Rc<LogLimit>,
    /// The longest pause that an upstream may make in a response's body.
    pub pause: Duration,
}

/// The stage: sends the delivery and returns the upstream's response.
pub async fn forward(context: ForwardContext, verified: Verified) -> StageResult {
    let (message, started) = (prepare(&verified.proven())?, verified.at());
    let (route, info) = verified.into_route_and_info();
    if route.shared.config.record == Record::Full {
        let redacted = redact::message(&route.shared.credentials, &message);
        info.timeline.message(stored::encode(redacted.as_ref().unwrap_or(&message)));
    }
    let sent = send(&route.shared.endpoint, &route.pools, message, &Head::default(), &context.clock, started).await;
    let period = Period { start: started, length: sent.took };
    info.timeline.upstream(period, sent.url, sent.result.as_ref().ok().map(Response::status));
    match sent.result {
        Ok(mut response) => {
            if let Some(location) = location(response.status(), response.headers()) {
                context.warn_of_redirect(&location, &route.shared.config.name);
            }
            hide_inside(response.headers_mut(), &route.shared.config.upstream);
            Ok(Completed {
                response: response.map(|body| Body::upstream(body.pausing_at_most(context.pause))),
                outcome: Outcome::Forwarded,
            })
        }
        Err(error) => {
            let reject = Reject::from(&error);
            if route.shared.config.record != Record::None {
                info.timeline.upstream_failed(error.to_string());
            }
            if let Some(suppressed) = context.log_limit.admit(context.clock.now()) {
                let (route, upstream) = (&route.shared.config.name, &route.shared.config.upstream);
                let reason = reject.reason();
                tracing::warn!(route, reason, %upstream, %error, suppressed, "no answer from the upstream");
            }
            Err(reject.into())
        }
    }
}

impl ForwardContext {
    /// Tells the operator that the handler redirects.
    fn warn_of_redirect(&self, location: &str, route: &str) {
        if let Some(suppressed) = self.log_limit.admit(self.clock.now()) {
            tracing::warn!(route, location, suppressed, hint = REDIRECT_HINT, "the handler redirects");
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
