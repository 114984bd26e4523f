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

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::config::ContextFrom;
use crate::delivery::stages::{Arrival, Peer, Word};
use crate::delivery::timeline::{Event, Period};
use crate::gateway::respond::Answer;
use crate::http1::client::request::Head;
use crate::metrics::Outcome;
use crate::observe::access_log::event;
use crate::reject::Reject;
use crate::routing::table::Common;

/// `traceparent`: the trace and the span that a request was made in.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`: what tracing systems want to be told again.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that is told with a span; the standard asks for no less (section 3.3.1.5).
const MAX_STATE: usize = 512;

/// Methods that are told by name (RFC 9110 section 9, RFC 5789); others could be anything.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// What all others are told as.
pub const OTHER_METHOD: &str = "_OTHER";
/// The longest path that is told with a span, in characters.
const MAX_PATH: usize = 1024;

/// Names a trace.
pub type TraceId = [u8; 16];
/// Names a span within a trace.
pub type SpanId = [u8; 8];

/// A span of another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded there.
    pub sampled: bool,
}

/// The trace of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Its id: the sender's if that trace is continued, else a new one.
    pub trace: TraceId,
    /// The span of the whole delivery.
    pub receive: SpanId,
    /// The span of the request to the upstream.
    pub forward: SpanId,
    /// The sender's span, if its trace is continued.
    pub parent: Option<Remote>,
    /// The sender's span, if it is not.
    pub link: Option<Remote>,
    /// The sender's `tracestate` with a trace that is continued, if it is short.
    pub state: Option<String>,
    /// Whether spans are made of it.
    pub sampled: bool,
}

/// Begins traces, and hands over what ended for export.
#[derive(Clone)]
pub struct Tracer {
    /// The share of deliveries that are traced, 0 to 1.
    pub sample: f64,
    /// Whose traces are continued.
    pub context_from: ContextFrom,
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
    pub route: Option<Arc<Common>>,
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

impl Remote {
    /// What the one `traceparent` among `headers` says.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::parse(value.as_bytes()) }
    }

    /// Section 3.2. Of later versions, what they must have in common with this one (section 4).
    fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = value.splitn(5, |byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        let (trace, span, [flags]) = (hex(fields.next()?)?, hex(fields.next()?)?, hex(fields.next()?)?);
        let fits = version != 0xff && (version != 0 || fields.next().is_none());
        (fits && trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Lower-case hexadecimal of exactly this many bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (text.len() == 2 * N).then_some(())?;
    base16ct::lower::decode(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The `tracestate` of a request, which may stand in several lines (section 3.3.1), if it is short.
fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str).collect();
    let state = lines.ok()?.join(",");
    (!state.is_empty() && state.len() <= MAX_STATE).then_some(state)
}

/// A method as spans tell it.
fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

impl TraceContext {
    /// The trace of a request whose sender says `remote`. `drawn` is a new trace's id, two spans' and a number from 0 to 1.
    fn begin(tracer: &Tracer, remote: Option<Remote>, trusted: bool, drawn: (TraceId, SpanId, SpanId, f64)) -> Self {
        let (trace, receive, forward, draw) = drawn;
        let continued = match tracer.context_from {
            ContextFrom::TrustedProxies => trusted,
            ContextFrom::Anyone => true,
            ContextFrom::Nobody => false,
        };
        let parent = remote.filter(|_| continued);
        let decided = parent.filter(|_| trusted).map(|parent| parent.sampled);
        Self {
            trace: parent.map_or(trace, |parent| parent.trace),
            receive,
            forward,
            parent,
            link: remote.filter(|_| !continued),
            state: None,
            sampled: decided.unwrap_or(draw < tracer.sample),
        }
    }

    /// Tells the upstream of it, in place of what it [replaces](Self::replaces).
    pub fn propagate(&self, head: &mut Head) {
        if let Ok(value) = HeaderValue::from_str(&self.traceparent()) {
            head.line(&TRACEPARENT, &value);
        }
    }

    /// Whether a header of the sender does not go on.
    pub fn replaces(&self, name: &HeaderName) -> bool {
        *name == TRACEPARENT || (*name == TRACESTATE && self.parent.is_none())
    }

    /// The trace's id as it is written.
    pub fn trace_id(&self) -> String {
        base16ct::lower::encode_string(&self.trace)
    }

    fn traceparent(&self) -> String {
        let span = base16ct::lower::encode_string(&self.forward);
        format!("00-{}-{span}-{:02x}", self.trace_id(), u8::from(self.sampled))
    }
}

impl Tracer {
    /// The trace of a request with these headers.
    pub fn begin(&self, headers: &HeaderMap, peer: &Peer) -> TraceContext {
        let trusted = !matches!(peer.word, Word::Nobody);
        let context = TraceContext::begin(self, Remote::of(headers), trusted, rand::random());
        TraceContext { state: context.parent.and_then(|_| state(headers)), ..context }
    }

    /// Hands a delivery that ended at `at` (since 1970-01-01T00:00:00Z) over for export, if it is traced.
    pub fn end(&self, arrival: &Arrival, answer: &Answer, period: Period, at: Duration) {
        let Arrival { head, peer, request_id, trail, .. } = arrival;
        let Some(context) = trail.trace().filter(|context| context.sampled) else { return };
        let ended = Ended {
            context: context.clone(),
            route: answer.route.as_ref().map(|route| route.common()),
            method: method(&head.method),
            path: head.uri.path().chars().take(MAX_PATH).collect(),
            version: head.version,
            tls: peer.tls,
            peer: peer.address,
            client: peer.client,
            request_id: request_id.to_str().ok().map(str::to_owned),
            event: event(arrival, answer.route.as_deref()),
            outcome: answer.outcome,
            rejected: answer.rejected,
            status: answer.response.status(),
            request_bytes: trail.body_bytes(),
            response_bytes: answer.response.body().size_hint().exact(),
            period,
            at,
            verification: trail.verified(),
            upstream: trail.sent(),
            upstream_status: trail.upstream_status(),
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

    const TRACE: TraceId = [0x4b; 16];
    const DRAWN: (TraceId, SpanId, SpanId, f64) = ([1; 16], [2; 8], [3; 8], 0.5);

    fn tracer(context_from: ContextFrom, sample: f64) -> Tracer {
        let dropped = IntCounter::new("d", "d").unwrap();
        Tracer { sample, context_from, ended: mpsc::channel(1).0, dropped }
    }

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let trace = "4b".repeat(16);
        let parse = |text: &str| Remote::parse(text.as_bytes());
        let expected = |sampled| Some(Remote { trace: TRACE, span: [0xa; 8], sampled });
        let span = "0a".repeat(8);
        assert_eq!(parse(&format!("00-{trace}-{span}-01")), expected(true));
        assert_eq!(parse(&format!("00-{trace}-{span}-00")), expected(false));
        assert_eq!(parse(&format!("00-{trace}-{span}-03")), expected(true), "other flags");
        assert_eq!(parse(&format!("cc-{trace}-{span}-01-what-may-come")), expected(true), "a later version");
        let zeros = "0".repeat(32);
        for wrong in [
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}-01-"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{zeros}-{span}-01"),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}{span}-01"),
            format!("0-{trace}-{span}-01"),
            format!(" 00-{trace}-{span}-01"),
            String::new(),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_traceparent_that_is_there_twice_counts_for_nothing() {
        let value = HeaderValue::from_str(&format!("00-{}-{}-01", "4b".repeat(16), "0a".repeat(8))).unwrap();
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, value.clone());
        assert!(Remote::of(&headers).is_some());
        headers.append(TRACEPARENT, value);
        assert!(Remote::of(&headers).is_none());
    }

    #[test]
    fn a_tracestate_is_told_in_one_if_it_is_short() {
        let told = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (TRACESTATE, HeaderValue::from_static(line)));
            state(&HeaderMap::from_iter(lines))
        };
        assert_eq!(told(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let long: &'static str = "x".repeat(MAX_STATE).leak();
        assert_eq!(told(&[long]).as_deref(), Some(long));
        for none in [&[][..], &[""], &[long, "a=1"]] {
            assert_eq!(told(none), None);
        }
    }

    #[test]
    fn strangers_do_not_decide_what_is_sampled() {
        let remote = |sampled| Some(Remote { trace: TRACE, span: [9; 8], sampled });
        let begin = |from, sample, remote, trusted| TraceContext::begin(&tracer(from, sample), remote, trusted, DRAWN);
        use ContextFrom::{Anyone, Nobody, TrustedProxies};
        for (from, trusted, continued) in [
            (TrustedProxies, true, true),
            (TrustedProxies, false, false),
            (Anyone, true, true),
            (Anyone, false, true),
            (Nobody, true, false),
            (Nobody, false, false),
        ] {
            for says in [true, false] {
                let decides = trusted && continued;
                let always = begin(from, 1.0, remote(says), trusted);
                let never = begin(from, 0.0, remote(says), trusted);
                assert_eq!(always.sampled, !decides || says, "{from:?} {trusted} {says}");
                assert_eq!(never.sampled, decides && says, "{from:?} {trusted} {says}");
                assert_eq!(always.trace, if continued { TRACE } else { [1; 16] });
                assert_eq!((always.parent.is_some(), always.link.is_some()), (continued, !continued));
            }
        }
        let own = begin(TrustedProxies, 0.6, None, true);
        assert_eq!((own.trace, own.parent, own.link, own.sampled), ([1; 16], None, None, true));
        assert!(!begin(TrustedProxies, 0.5, None, true).sampled);
    }

    fn ended(tracer: &Tracer) -> Ended {
        let now = Clock::system().now();
        let period = Period { start: now, end: now + Duration::from_millis(5) };
        Ended {
            context: TraceContext::begin(tracer, None, false, DRAWN),
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
        let tracer = Tracer { ended: ends, ..tracer(ContextFrom::Nobody, 1.0) };
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
        let ended = ended(&tracer(ContextFrom::Nobody, 1.0));
        assert_eq!(ended.nanos(ended.period.end), 1_000_000_000_000);
        assert_eq!(ended.nanos(ended.period.start), 999_995_000_000);
    }

    #[test]
    fn the_upstream_is_told_of_the_gateways_own_span() {
        let told = |context: &TraceContext| {
            let mut head = Head::default();
            context.propagate(&mut head);
            String::from_utf8(head.bytes().to_vec()).unwrap()
        };
        let mut continued = TraceContext::begin(&tracer(ContextFrom::Nobody, 1.0), None, false, DRAWN);
        continued.parent = Some(Remote { trace: [1; 16], span: [9; 8], sampled: true });
        let span = "01010101010101010101010101010101-0303030303030303";
        assert_eq!(told(&continued), format!("traceparent: 00-{span}-01\r\n"));
        assert!(continued.replaces(&TRACEPARENT) && !continued.replaces(&TRACESTATE));
        let own = TraceContext { parent: None, sampled: false, ..continued };
        assert_eq!(told(&own), format!("traceparent: 00-{span}-00\r\n"));
        assert!(own.replaces(&TRACEPARENT) && own.replaces(&TRACESTATE));
    }
}
