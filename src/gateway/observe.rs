//! Counts and times every delivery, records it, and writes its line to the access log.
//!
//! Every stage that can refuse a delivery is inside this one, so the counters match the responses that senders get.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use http::Response;
use prometheus::IntGauge;
use tower::Service;

use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::request::Received;
use crate::delivery::response::{Body, FinalResponse};
use crate::delivery::timeline::Period;
use crate::gateway::stage::Next;
use crate::metrics::{GaugeGuard, ObserveMetrics};
use crate::observe::access_log::log;
use crate::observe::log_limit::LogLimit;
use crate::observe::trace::Tracer;
use crate::record::recorder::Recorder;
use crate::reject::Outcome;

/// The values of the worker thread that the observing stage uses.
#[derive(Clone)]
pub struct ObserveContext {
    /// Measures durations.
    pub clock: Clock,
    /// `hooklatch_in_flight_requests`: deliveries whose responses have not been sent in full.
    pub in_flight: IntGauge,
    /// The counters of requests that match no route.
    pub unmatched: Rc<ObserveMetrics>,
    /// `server.access_log`: the deliveries that get a line.
    pub access_log: AccessLog,
    /// Limits the lines about refused deliveries.
    pub log_limit: Rc<LogLimit>,
    /// Records deliveries.
    pub recorder: Recorder,
    /// Traces deliveries; `None` without a `telemetry` section in the configuration.
    pub tracer: Option<Tracer>,
}

/// The stage: counts, times, records and logs.
pub async fn observe<S>(next: Rc<Next<ObserveContext, S>>, received: Received) -> Result<Response<Body>, Infallible>
where
    S: Service<Received, Response = FinalResponse, Error = Infallible> + Clone,
{
    let context = &next.context;
    let in_flight = GaugeGuard::new(&context.in_flight);
    let info = received.info.clone();
    if let Some(tracer) = &context.tracer {
        info.timeline.trace_by(tracer.begin(&info.head.headers, &info.peer));
    }
    let answer = next.run(received).await?;
    let ended = context.clock.now();
    let period = Period::between(info.received, ended);
    let metrics = answer.route.as_ref().map_or(&*context.unmatched, |route| &route.shared.metrics.observe);
    metrics.delivery(answer.outcome, period.length.as_secs_f64());
    if let Some(reject) = answer.rejected {
        metrics.rejection(reject);
    }
    context.recorder.delivery(&info, &answer, period);
    if let Some(suppressed) = admit(context, answer.outcome, ended) {
        log(&info, &answer, period, suppressed);
    }
    if let Some(tracer) = &context.tracer {
        tracer.end(&info, &answer, period, context.clock.unix());
    }
    Ok(answer.response.map(|body| body.counted_by(in_flight)))
}

/// Whether to write a line about a delivery with this `outcome`. `Some` holds the number of lines left out since the last one.
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
