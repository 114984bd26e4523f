//! Counts and times every delivery, and writes its line in the log.
//!
//! The outermost stage that knows deliveries: what it sees is what the sender gets.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntGauge;
use tower::{BoxError, Service};

use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::stages::Arrived;
use crate::delivery::timeline::Period;
use crate::gateway::respond::{Answer, Body};
use crate::gateway::stage::Here;
use crate::metrics::{ObserveMetrics, Outcome};
use crate::observe::access_log::log;
use crate::observe::trace::Tracer;

/// Lines about refused deliveries that one thread writes in a second; the rest is counted in the next line.
const LINES_PER_SECOND: u32 = 20;

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

/// A bound on log lines, so that a flood of bad deliveries does not fill the disk.
#[derive(Default)]
pub struct LogLimit {
    window: Cell<Option<Instant>>,
    lines: Cell<u32>,
    suppressed: Cell<u64>,
}

/// Takes one off a gauge when it goes, also when a sender's disconnect drops the delivery half-way.
struct InFlight(IntGauge);

/// The body of a response; its delivery is in flight until the whole of it is on its way.
pub struct Observed {
    body: Body,
    _in_flight: InFlight,
}

impl LogLimit {
    /// Whether a line may be written at `now`, and how many have been left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let window = self.window.get().filter(|start| now.duration_since(*start) < Duration::from_secs(1));
        if window.is_none() {
            self.window.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() == LINES_PER_SECOND {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.suppressed.take())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_counted_and_told_with_the_next_one() {
        let limit = LogLimit::default();
        let start = Clock::system().now();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(limit.admit(start), Some(0));
        }
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + Duration::from_millis(999)), None);
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(2));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(0));
    }
}
