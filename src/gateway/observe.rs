//! Counts and times every delivery, and writes its line in the log.
//!
//! It stands outside of all that refuses, so what it counts is what the sender gets.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use http::Response;
use prometheus::IntGauge;
use tower::Service;

use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::request::Received;
use crate::delivery::response::{Answer, Body};
use crate::delivery::timeline::Period;
use crate::gateway::stage::Next;
use crate::metrics::{GaugeGuard, ObserveMetrics};
use crate::observe::access_log::log;
use crate::observe::log_limit::LogLimit;
use crate::observe::trace::Tracer;
use crate::reject::Outcome;

/// What the observing stage needs of its thread.
#[derive(Clone)]
pub struct ObserveContext {
    /// For durations.
    pub clock: Clock,
    /// Deliveries being worked on.
    pub in_flight: IntGauge,
    /// Counts what matches no route.
    pub unmatched: Rc<ObserveMetrics>,
    /// Which deliveries get a line.
    pub access_log: AccessLog,
    /// Bounds the lines about refused deliveries.
    pub log_limit: Rc<LogLimit>,
    /// Traces deliveries, if they are traced.
    pub tracer: Option<Tracer>,
}

/// The stage: counts, times and logs.
pub async fn observe<S>(next: Rc<Next<ObserveContext, S>>, received: Received) -> Result<Response<Body>, Infallible>
where
    S: Service<Received, Response = Answer, Error = Infallible> + Clone,
{
    let context = &next.context;
    let in_flight = GaugeGuard::new(&context.in_flight);
    let info = received.info.clone();
    if let Some(tracer) = &context.tracer {
        info.timeline.trace_by(tracer.begin(&info.head.headers, &info.peer));
    }
    let answer = next.run(received).await?;
    let period = Period { start: info.received, end: context.clock.now() };
    let metrics = answer.route.as_ref().map_or(&*context.unmatched, |route| &route.shared.metrics.observe);
    metrics.delivery(answer.outcome, period.length().as_secs_f64());
    if let Some(reject) = answer.rejected {
        metrics.rejection(reject);
    }
    if let Some(suppressed) = admit(context, answer.outcome, period.end) {
        log(&info, &answer, period, suppressed);
    }
    if let Some(tracer) = &context.tracer {
        tracer.end(&info, &answer, period, context.clock.unix());
    }
    Ok(answer.response.map(|body| body.counted_by(in_flight)))
}

/// Whether a line is to be written about a delivery that ended so at `ended`: how many have been left out before it.
fn admit(context: &ObserveContext, outcome: Outcome, ended: Instant) -> Option<u64> {
    match (context.access_log, outcome) {
        (AccessLog::None, _)
        | (AccessLog::Refused, Outcome::Forwarded | Outcome::Accepted | Outcome::Duplicate | Outcome::Challenge) => {
            None
        }
        (AccessLog::All, Outcome::Forwarded | Outcome::Accepted | Outcome::Duplicate | Outcome::Challenge) => Some(0),
        (_, Outcome::Rejected | Outcome::UpstreamError) => context.log_limit.admit(ended),
    }
}
