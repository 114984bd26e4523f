//! Begins the trace of a delivery, by W3C trace context (<https://www.w3.org/TR/trace-context/>), and collects the data of its
//! spans.
//!
//! `context_from` decides whether the trace in a sender's `traceparent` is continued. Only a trusted proxy can decide whether a
//! delivery is sampled; for every other sender the gateway draws a random number, which does not depend on the sender's ids.
//! A `traceparent` that is not continued becomes a link of the span, so that each trace leads to the other. A `traceparent`
//! that is repeated or malformed is ignored.
//!
//! The upstream gets the gateway's `traceparent`, and the sender's `tracestate` only if the sender's trace is continued.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as _;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::delivery::peer::{ForwardedBy, Peer};
use crate::delivery::request::RequestInfo;
use crate::delivery::response::FinalResponse;
use crate::delivery::timeline::{Event, Period};
use crate::delivery::trace_context::{Remote, Sampling, TraceContext, state};
use crate::reject::{Outcome, Reject};
use crate::routing::table::RouteShared;

/// The methods that spans name (RFC 9110 section 9, RFC 5789).
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// The name of every other method in a span, since a sender can choose any.
pub const OTHER_METHOD: &str = "_OTHER";
/// The longest path in a span, in characters.
const MAX_PATH: usize = 1024;

/// Begins traces, and hands ended deliveries over for export.
#[derive(Clone)]
pub struct Tracer {
    /// Which deliveries are traced.
    pub sampling: Sampling,
    /// The queue of ended deliveries. A full queue is not waited for.
    pub ended: mpsc::Sender<EndedDelivery>,
    /// Counts the spans of deliveries that found the queue full.
    pub dropped: IntCounter,
}

/// A traced delivery that has ended: the data of its spans. It copies the values that it needs, so it does not keep the buffer
/// into which the head was read.
pub struct EndedDelivery {
    /// The trace of the delivery.
    pub context: TraceContext,
    /// The route, if one matched.
    pub route: Option<Arc<RouteShared>>,
    /// The request's method; [`OTHER_METHOD`] if it is not one of [`METHODS`].
    pub method: &'static str,
    /// The request's path, cut to [`MAX_PATH`] characters.
    pub path: String,
    /// The request's version of HTTP.
    pub version: Version,
    /// Whether the connection used TLS.
    pub tls: bool,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The address of the client that sent the request.
    pub client: IpAddr,
    /// The request id.
    pub request_id: Option<String>,
    /// The event that the delivery is about.
    pub event: Event,
    /// How the delivery ended.
    pub outcome: Outcome,
    /// Why the delivery was refused, or why the upstream did not answer.
    pub rejected: Option<Reject>,
    /// The status of the response to the sender.
    pub status: StatusCode,
    /// The length of the request's body in bytes, if it has arrived in full.
    pub request_bytes: Option<u64>,
    /// The length of the response's body in bytes, if it is known.
    pub response_bytes: Option<u64>,
    /// From the request's head to the response's head.
    pub period: Period,
    /// The end of `period`, since 1970-01-01T00:00:00Z.
    pub at: Duration,
    /// When the signature was checked, if it was.
    pub verification: Option<Period>,
    /// When the delivery was with the upstream, if it was sent.
    pub upstream: Option<Period>,
    /// At which of the upstream's URLs it was.
    pub upstream_url: usize,
    /// The status of the upstream's response, if the upstream answered.
    pub upstream_status: Option<StatusCode>,
}

/// The name of a method in a span.
fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

impl Tracer {
    /// Begins the trace of a request with these field lines.
    pub fn begin(&self, headers: &HeaderMap, peer: &Peer) -> TraceContext {
        let trusted = !matches!(peer.forwarded_by, ForwardedBy::Direct);
        let context = TraceContext::begin(&self.sampling, Remote::of(headers), trusted, rand::random());
        TraceContext { state: context.parent.and_then(|_| state(headers)), ..context }
    }

    /// Hands a delivery over for export, if it is sampled. `at` is the end of `period`, since 1970-01-01T00:00:00Z.
    pub fn end(&self, info: &RequestInfo, answer: &FinalResponse, period: Period, at: Duration) {
        let RequestInfo { head, peer, timeline, .. } = info;
        let Some(context) = timeline.trace().filter(|context| context.sampled) else { return };
        let ended = EndedDelivery {
            context: context.clone(),
            route: answer.route.as_ref().map(|route| route.shared.clone()),
            method: method(&head.method),
            path: head.uri.path().chars().take(MAX_PATH).collect(),
            version: head.version,
            tls: peer.tls,
            peer: peer.address,
            client: peer.client,
            request_id: info.shown_id(answer.route.as_deref().map(|route| &*route.shared)).map(str::to_owned),
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
            upstream_url: timeline.upstream_url(),
            upstream_status: timeline.upstream_status(),
        };
        self.hand_over(ended);
    }

    fn hand_over(&self, ended: EndedDelivery) {
        let spans = ended.spans();
        if self.ended.try_send(ended).is_err() {
            self.dropped.inc_by(spans);
        }
    }
}

impl EndedDelivery {
    /// The number of the delivery's spans: the delivery, reading the body, checking the signature, and the upstream's request.
    pub fn spans(&self) -> u64 {
        1 + 2 * u64::from(self.verification.is_some()) + u64::from(self.upstream.is_some())
    }

    /// Converts a moment of the delivery to nanoseconds since 1970-01-01T00:00:00Z.
    pub fn nanos(&self, moment: Instant) -> u64 {
        let before_end = self.period.end().saturating_duration_since(moment);
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

    fn ended(tracer: &Tracer) -> EndedDelivery {
        let now = Clock::system().now();
        let period = Period { start: now, length: Duration::from_millis(5) };
        EndedDelivery {
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
            upstream_url: 0,
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
        assert_eq!(ended.nanos(ended.period.end()), 1_000_000_000_000);
        assert_eq!(ended.nanos(ended.period.start), 999_995_000_000);
    }
}
