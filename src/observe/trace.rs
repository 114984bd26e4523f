//! The trace that a delivery belongs to, by W3C trace context (<https://www.w3.org/TR/trace-context/>), and what its spans
//! are made from.
//!
//! A sender's `traceparent` is continued as `context_from` says. Strangers never decide what is sampled, nor do the ids
//! that they choose: whether a delivery is traced is drawn anew, unless a trusted proxy has decided it. A `traceparent`
//! that is not continued is told as a link, so that either end can still be found from the other. One that is there
//! twice, or is not of the standard's form, counts for nothing.
//!
//! The upstream gets the gateway's own `traceparent`, and the sender's `tracestate` only with a trace that is continued.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as _;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::delivery::peer::{ForwardedBy, Peer};
use crate::delivery::request::RequestInfo;
use crate::delivery::response::Answer;
use crate::delivery::timeline::{Event, Period};
use crate::delivery::trace_context::{Remote, Sampling, TraceContext, state};
use crate::reject::{Outcome, Reject};
use crate::routing::table::RouteShared;

/// Methods that are told by name (RFC 9110 section 9, RFC 5789); others could be anything.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// What all others are told as.
pub const OTHER_METHOD: &str = "_OTHER";
/// The longest path that is told with a span, in characters.
const MAX_PATH: usize = 1024;

/// Begins traces, and hands over what ended for export.
#[derive(Clone)]
pub struct Tracer {
    /// Which deliveries are traced.
    pub sampling: Sampling,
    /// Where deliveries go that have ended. Never waited for.
    pub ended: mpsc::Sender<Ended>,
    /// Counts the spans of those for which there is no room.
    pub dropped: IntCounter,
}

/// A traced delivery that has ended: all that its spans say. Nothing in it keeps the buffer that its head was read into.
pub struct Ended {
    /// Its trace.
    pub context: TraceContext,
    /// Its route, if one matched.
    pub route: Option<Arc<RouteShared>>,
    /// The request's method, [`OTHER_METHOD`] if that is none of [`METHODS`].
    pub method: &'static str,
    /// Its path, cut to [`MAX_PATH`] characters.
    pub path: String,
    /// Its version of HTTP.
    pub version: Version,
    /// Whether it came by TLS.
    pub tls: bool,
    /// Where the connection came from.
    pub peer: SocketAddr,
    /// Who sent it.
    pub client: IpAddr,
    /// Its id in logs.
    pub request_id: Option<String>,
    /// What it says of its event.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused, or the upstream did not answer.
    pub rejected: Option<Reject>,
    /// What the sender got.
    pub status: StatusCode,
    /// The length of its body, if it has come in full.
    pub request_bytes: Option<u64>,
    /// The length of the response's body, if it is known.
    pub response_bytes: Option<u64>,
    /// From its head to the response's head.
    pub period: Period,
    /// The end of `period`, since 1970-01-01T00:00:00Z.
    pub at: Duration,
    /// When the signature was checked, if it was.
    pub verification: Option<Period>,
    /// When the upstream had it, if it got so far.
    pub upstream: Option<Period>,
    /// What the upstream answered.
    pub upstream_status: Option<StatusCode>,
}

/// A method as spans tell it.
fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

impl Tracer {
    /// The trace of a request with these headers.
    pub fn begin(&self, headers: &HeaderMap, peer: &Peer) -> TraceContext {
        let trusted = !matches!(peer.forwarded_by, ForwardedBy::Direct);
        let context = TraceContext::begin(&self.sampling, Remote::of(headers), trusted, rand::random());
        TraceContext { state: context.parent.and_then(|_| state(headers)), ..context }
    }

    /// Hands a delivery that ended at `at` (since 1970-01-01T00:00:00Z) over for export, if it is traced.
    pub fn end(&self, info: &RequestInfo, answer: &Answer, period: Period, at: Duration) {
        let RequestInfo { head, peer, request_id, timeline, .. } = info;
        let Some(context) = timeline.trace().filter(|context| context.sampled) else { return };
        let ended = Ended {
            context: context.clone(),
            route: answer.route.as_ref().map(|route| route.shared.clone()),
            method: method(&head.method),
            path: head.uri.path().chars().take(MAX_PATH).collect(),
            version: head.version,
            tls: peer.tls,
            peer: peer.address,
            client: peer.client,
            request_id: request_id.to_str().ok().map(str::to_owned),
            event: info.event(answer.route.as_deref().map(|route| &*route.shared)),
            outcome: answer.outcome,
            rejected: answer.rejected,
            status: answer.response.status(),
            request_bytes: timeline.body_bytes(),
            response_bytes: answer.response.body().size_hint().exact(),
            period,
            at,
            verification: timeline.verified(),
            upstream: timeline.sent(),
            upstream_status: timeline.upstream_status(),
        };
        self.hand_over(ended);
    }

    fn hand_over(&self, ended: Ended) {
        let spans = ended.spans();
        if self.ended.try_send(ended).is_err() {
            self.dropped.inc_by(spans);
        }
    }
}

impl Ended {
    /// How many spans are made of it: its own, the body's and the check's, the upstream's.
    pub fn spans(&self) -> u64 {
        1 + 2 * u64::from(self.verification.is_some()) + u64::from(self.upstream.is_some())
    }

    /// A moment of it, in nanoseconds since 1970-01-01T00:00:00Z.
    pub fn nanos(&self, moment: Instant) -> u64 {
        let before_end = self.period.end.saturating_duration_since(moment);
        u64::try_from(self.at.saturating_sub(before_end).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::ContextFrom;

    fn tracer() -> Tracer {
        let sampling = Sampling { share: 1.0, context_from: ContextFrom::Nobody };
        Tracer { sampling, ended: mpsc::channel(1).0, dropped: IntCounter::new("d", "d").unwrap() }
    }

    fn ended(tracer: &Tracer) -> Ended {
        let now = Clock::system().now();
        let period = Period { start: now, end: now + Duration::from_millis(5) };
        Ended {
            context: TraceContext::begin(&tracer.sampling, None, false, rand::random()),
            route: None,
            method: "POST",
            path: "/".to_owned(),
            version: Version::HTTP_11,
            tls: false,
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            client: IpAddr::from([127, 0, 0, 1]),
            request_id: Some("id-1".to_owned()),
            event: Event::default(),
            outcome: Outcome::Rejected,
            rejected: Some(Reject::NoRoute),
            status: StatusCode::NOT_FOUND,
            request_bytes: None,
            response_bytes: None,
            period,
            at: Duration::from_secs(1000),
            verification: Some(period),
            upstream: None,
            upstream_status: None,
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_at_once_and_its_spans_counted() {
        let (ends, mut queue) = mpsc::channel(1);
        let tracer = Tracer { ended: ends, ..tracer() };
        tracer.hand_over(ended(&tracer));
        assert_eq!(tracer.dropped.get(), 0);
        tracer.hand_over(ended(&tracer));
        assert_eq!(tracer.dropped.get(), 3);
        assert!(queue.try_recv().is_ok());
        tracer.hand_over(ended(&tracer));
        assert_eq!(tracer.dropped.get(), 3);
        drop(queue);
        tracer.hand_over(ended(&tracer));
        assert_eq!(tracer.dropped.get(), 6, "nobody takes them");
    }

    #[test]
    fn the_moments_of_a_delivery_are_told_by_the_time_of_its_end() {
        let ended = ended(&tracer());
        assert_eq!(ended.nanos(ended.period.end), 1_000_000_000_000);
        assert_eq!(ended.nanos(ended.period.start), 999_995_000_000);
    }
}
