//! The trace that a delivery belongs to, by W3C trace context (<https://www.w3.org/TR/trace-context/>).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::ContextFrom;
use crate::http1::client::request::Head;
use crate::http1::field::single;

/// `traceparent`: the trace and the span in which a request was made.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`: data of tracing systems, which is passed along with the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that a span gets, in characters. The standard requires at least this many (section 3.3.1.5).
const MAX_STATE: usize = 512;

/// The id of a trace.
pub type TraceId = [u8; 16];
/// The id of a span within a trace.
pub type SpanId = [u8; 8];

/// A span of another service, as its `traceparent` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The trace that the span belongs to.
    pub trace: TraceId,
    /// The id of the span.
    pub span: SpanId,
    /// Whether the other service records the span.
    pub sampled: bool,
}

/// The trace of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the trace: the sender's if its trace is continued, otherwise a new one.
    pub trace: TraceId,
    /// The id of the span of the whole delivery.
    pub receive: SpanId,
    /// The id of the span of the request to the upstream.
    pub forward: SpanId,
    /// The sender's span, if its trace is continued.
    pub parent: Option<Remote>,
    /// The sender's span, if its trace is not continued.
    pub link: Option<Remote>,
    /// The sender's `tracestate`, if its trace is continued and the value is short.
    pub state: Option<String>,
    /// Whether the gateway exports spans of the delivery.
    pub sampled: bool,
}

/// Which deliveries are traced.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// The share of deliveries that are traced, 0 to 1.
    pub share: f64,
    /// `telemetry.context_from`: the senders whose traces are continued.
    pub context_from: ContextFrom,
}

/// Random values for a new trace: the id of the trace, the ids of two spans, and a number from 0 to 1 that decides about
/// sampling.
pub type Drawn = (TraceId, SpanId, SpanId, f64);

impl Remote {
    /// The span that the `traceparent` in `headers` names; `None` if the field is missing, repeated or malformed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(single(headers, &TRACEPARENT)?.as_bytes())
    }

    /// Parses by section 3.2. Of a later version it reads the fields that every version has (section 4).
    fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = value.splitn(5, |byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        let (trace, span, [flags]) = (hex(fields.next()?)?, hex(fields.next()?)?, hex(fields.next()?)?);
        let fits = version != 0xff && (version != 0 || fields.next().is_none());
        (fits && trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Decodes lower-case hexadecimal of exactly `N` bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (text.len() == 2 * N).then_some(())?;
    base16ct::lower::decode(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The `tracestate` of a request, joined from its lines (section 3.3.1); `None` if it is missing or too long.
pub fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str).collect();
    let state = lines.ok()?.join(",");
    (!state.is_empty() && state.len() <= MAX_STATE).then_some(state)
}

impl TraceContext {
    /// The trace of a request whose sender names the span `remote`. `trusted` says whether a trusted proxy forwarded the request.
    pub fn begin(sampling: &Sampling, remote: Option<Remote>, trusted: bool, drawn: Drawn) -> Self {
        let (trace, receive, forward, draw) = drawn;
        let continued = match sampling.context_from {
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
            sampled: decided.unwrap_or(draw < sampling.share),
        }
    }

    /// Adds the gateway's `traceparent` to the request to the upstream. It stands in for the fields that it
    /// [replaces](Self::replaces).
    pub fn propagate(&self, head: &mut Head) {
        if let Ok(value) = HeaderValue::from_str(&self.traceparent()) {
            head.line(&TRACEPARENT, &value);
        }
    }

    /// Whether the sender's field of this name is not passed on.
    pub fn replaces(&self, name: &HeaderName) -> bool {
        *name == TRACEPARENT || (*name == TRACESTATE && self.parent.is_none())
    }

    /// The id of the trace in hexadecimal.
    pub fn trace_id(&self) -> String {
        base16ct::lower::encode_string(&self.trace)
    }

    fn traceparent(&self) -> String {
        let span = base16ct::lower::encode_string(&self.forward);
        format!("00-{}-{span}-{:02x}", self.trace_id(), u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceId = [0x4b; 16];
    const DRAWN: Drawn = ([1; 16], [2; 8], [3; 8], 0.5);

    fn sampling(context_from: ContextFrom, share: f64) -> Sampling {
        Sampling { share, context_from }
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
        let begin =
            |from, sample, remote, trusted| TraceContext::begin(&sampling(from, sample), remote, trusted, DRAWN);
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

    #[test]
    fn the_upstream_is_told_of_the_gateways_own_span() {
        let told = |context: &TraceContext| {
            let mut head = Head::default();
            context.propagate(&mut head);
            String::from_utf8(head.bytes().to_vec()).unwrap()
        };
        let mut continued = TraceContext::begin(&sampling(ContextFrom::Nobody, 1.0), None, false, DRAWN);
        continued.parent = Some(Remote { trace: [1; 16], span: [9; 8], sampled: true });
        let span = "01010101010101010101010101010101-0303030303030303";
        assert_eq!(told(&continued), format!("traceparent: 00-{span}-01\r\n"));
        assert!(continued.replaces(&TRACEPARENT) && !continued.replaces(&TRACESTATE));
        let own = TraceContext { parent: None, sampled: false, ..continued };
        assert_eq!(told(&own), format!("traceparent: 00-{span}-00\r\n"));
        assert!(own.replaces(&TRACEPARENT) && own.replaces(&TRACESTATE));
    }
}
