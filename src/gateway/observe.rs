//! Counts and times every delivery, and writes its line in the log.
//!
//! The outermost stage that knows deliveries: what it sees is what the sender gets.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntGauge;
use tower::{BoxError, Service};

use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::request::Arrived;
use crate::delivery::response::{Answer, Body};
use crate::delivery::timeline::Period;
use crate::gateway::stage::Here;
use crate::metrics::ObserveMetrics;
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

/// Takes one off a gauge when it goes, also when a sender's disconnect drops the delivery half-way.
struct InFlight(IntGauge);

/// The body of a response; its delivery is in flight until the whole of it is on its way.
pub struct Observed {
    body: Body,
    _in_flight: InFlight,
}

impl InFlight {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The stage: counts, times and logs.
pub async fn observe<S>(here: Rc<Here<ObserveContext, S>>, arrived: Arrived) -> Result<Response<Observed>, Infallible>
where
    S: Service<Arrived, Response = Answer, Error = Infallible> + Clone,
{
    let context = &here.context;
    let in_flight = InFlight::new(&context.in_flight);
    let arrival = arrived.arrival.clone();
    if let Some(tracer) = &context.tracer {
        arrival.trail.trace_by(tracer.begin(&arrival.head.headers, &arrival.peer));
    }
    let answer = here.next(arrived).await?;
    let period = Period { start: arrival.received, end: context.clock.now() };
    let metrics = answer.route.as_ref().map_or(&*context.unmatched, |route| &route.metrics.observe);
    metrics.delivery(answer.outcome, period.length().as_secs_f64());
    if let Some(reject) = answer.rejected {
        metrics.rejection(reject);
    }
    if let Some(suppressed) = admit(context, answer.outcome, period.end) {
        log(&arrival, &answer, period, suppressed);
    }
    if let Some(tracer) = &context.tracer {
        tracer.end(&arrival, &answer, period, context.clock.unix());
    }
    Ok(answer.response.map(|body| Observed { body, _in_flight: in_flight }))
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a line is to be written about a delivery that ended so at `ended`: how many have been left out before it.
fn admit(context: &ObserveContext, outcome: Outcome, ended: Instant) -> Option<u64> {
    match (context.access_log, outcome) {
        (AccessLog::None, _) | (AccessLog::Refused, Outcome::Forwarded | Outcome::Challenge) => None,
        (AccessLog::All, Outcome::Forwarded | Outcome::Challenge) => Some(0),
        (_, Outcome::Rejected | Outcome::UpstreamError) => context.log_limit.admit(ended),
    }
}
