//! The times and sizes of a delivery, for its line in the access log and its spans.
//!
//! Stages note values that they have anyway; nothing is searched or parsed until the line or the span is made.
//!
//! The type and id of the event are logged as the delivery has them, even if the signature is wrong or does not cover them.
//! They are cut to [`MAX_VALUE`] bytes, and every byte that is not visible ASCII becomes `?`, so that they are safe in a log.
//! A header that carries a signature is never logged, and a body of more than [`MAX_BODY`] bytes is not searched.

use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use smol_str::SmolStr;

use crate::delivery::trace_context::TraceContext;
use crate::http1::field::first;
use crate::http1::payload::Payload;
use crate::schemes::Spec;
use crate::schemes::spec::{Fact, Place};

/// The longest event type or id that is logged, in bytes.
const MAX_VALUE: usize = 128;
/// The longest body that is searched for an event type or id, in bytes.
const MAX_BODY: u64 = 64 << 10;

/// The notes about one delivery. A value is empty until its stage has run.
#[derive(Default)]
pub struct Timeline {
    /// The trace that the delivery belongs to.
    trace: OnceCell<Box<TraceContext>>,
    /// The whole body.
    payload: OnceCell<Payload>,
    /// When the signature was checked.
    verified: Cell<Option<Period>>,
    /// From sending the request to the upstream's response head.
    sent: Cell<Option<Period>>,
    /// The position of the upstream's URL that the request was sent to.
    upstream_url: Cell<usize>,
    /// The status of the upstream's response.
    upstream_status: Cell<Option<StatusCode>>,
    /// Why the upstream gave no response.
    upstream_error: OnceCell<String>,
    /// The position of the secret that verified the delivery.
    secret: Cell<Option<usize>>,
    /// What was sent to the upstream, as the store keeps it; only where it is kept.
    message: OnceCell<Bytes>,
    /// Its refusal has a place in the capture of its route.
    captured: Cell<bool>,
}

/// A span of time.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// The beginning.
    pub start: Instant,
    /// How long it is.
    pub length: Duration,
}

/// The event that a delivery is about, in a form that is safe to log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The type of the event.
    pub kind: Option<SmolStr>,
    /// The provider's id of the event.
    pub id: Option<SmolStr>,
}

impl Timeline {
    /// Notes the trace that the delivery belongs to, once.
    pub fn trace_by(&self, trace: TraceContext) {
        self.trace.get_or_init(|| Box::new(trace));
    }

    /// Notes the body once it has arrived in full.
    pub fn body(&self, payload: &Payload) {
        self.payload.get_or_init(|| payload.clone());
    }

    /// Notes when the signature was checked.
    pub fn verification(&self, period: Period) {
        self.verified.set(Some(period));
    }

    /// Notes when the delivery was with the upstream, at which of its URLs, and the status of the response, if the upstream
    /// answered.
    pub fn upstream(&self, period: Period, url: usize, status: Option<StatusCode>) {
        self.upstream_url.set(url);
        self.sent.set(Some(period));
        self.upstream_status.set(status);
    }

    /// Notes why the upstream gave no response, once.
    pub fn upstream_failed(&self, error: String) {
        self.upstream_error.get_or_init(|| error);
    }

    /// Notes which secret verified the delivery.
    pub fn verified_by(&self, secret: usize) {
        self.secret.set(Some(secret));
    }

    /// Notes what goes to the upstream, as the store keeps it, once.
    pub fn message(&self, message: Bytes) {
        self.message.get_or_init(|| message);
    }

    /// Notes that it has a place in the capture of its route.
    pub fn capture(&self) {
        self.captured.set(true);
    }

    /// Whether it has a place in the capture of its route.
    pub fn is_captured(&self) -> bool {
        self.captured.get()
    }

    /// The trace that the delivery belongs to, if it is traced.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.get().map(|trace| &**trace)
    }

    /// The length of the body in bytes, if it has arrived in full.
    pub fn body_bytes(&self) -> Option<u64> {
        self.payload.get().map(Payload::len)
    }

    /// The body, if it has arrived in full.
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.get()
    }

    /// The position of the secret that verified the delivery, if one did.
    pub fn secret(&self) -> Option<usize> {
        self.secret.get()
    }

    /// What went to the upstream, as the store keeps it, if that was noted.
    pub fn sent_message(&self) -> Option<&Bytes> {
        self.message.get()
    }

    /// Why the upstream gave no response, if it gave none.
    pub fn upstream_error(&self) -> Option<&str> {
        self.upstream_error.get().map(String::as_str)
    }

    /// When the signature was checked, if it was.
    pub fn verified(&self) -> Option<Period> {
        self.verified.get()
    }

    /// When the delivery was with the upstream, if it was sent.
    pub fn sent(&self) -> Option<Period> {
        self.sent.get()
    }

    /// The position of the upstream's URL that it was sent to, if it was sent.
    pub fn upstream_url(&self) -> usize {
        self.upstream_url.get()
    }

    /// The status of the upstream's response, if the upstream answered.
    pub fn upstream_status(&self) -> Option<StatusCode> {
        self.upstream_status.get()
    }

    /// The event of the delivery with this head, from the places that `scheme` names. Searches the body.
    pub fn event(&self, scheme: &Spec, head: &Parts) -> Event {
        let searched = self.payload.get().filter(|payload| payload.len() <= MAX_BODY);
        let frames = searched.map_or(&[][..], Payload::frames);
        let find = |fact: &Option<Fact>| match &fact.as_ref()?.place {
            Place::Header(name) => {
                first(&head.headers, name).filter(|value| !value.is_sensitive()).map(|value| told(value.as_bytes()))
            }
            place => place.first_in_query_or_body(head.uri.query(), frames, told),
        };
        Event { kind: find(&scheme.event_type), id: find(&scheme.event_id) }
    }
}

impl Period {
    /// The time from one moment to another.
    pub fn between(start: Instant, end: Instant) -> Self {
        Self { start, length: end.saturating_duration_since(start) }
    }

    /// The end.
    pub fn end(self) -> Instant {
        self.start + self.length
    }
}

/// A value as it is logged: short, and of visible ASCII.
fn told(value: &[u8]) -> SmolStr {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~');
    let value = value.get(..MAX_VALUE).unwrap_or(value);
    // It looks at all bytes, so that the compiler can compare many at once.
    if value.iter().fold(true, |all, byte| all & is_visible(byte)) {
        return std::str::from_utf8(value).map(SmolStr::new).unwrap_or_default();
    }
    value.iter().map(|byte| if is_visible(byte) { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::schemes;

    fn head(headers: &[(&'static str, &[u8])]) -> Parts {
        let mut head = Request::new(()).into_parts().0;
        for (name, value) in headers {
            head.headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        head
    }

    fn event(scheme: &str, headers: &[(&'static str, &[u8])], body: &'static [u8]) -> Event {
        let timeline = Timeline::default();
        timeline.body(&Bytes::from_static(body).into());
        timeline.event(schemes::find(scheme).unwrap(), &head(headers))
    }

    fn both(kind: &str, id: &str) -> Event {
        Event { kind: Some(kind.into()), id: Some(id.into()) }
    }

    #[test]
    fn an_event_is_told_from_headers_and_bodies() {
        assert_eq!(
            event("github", &[("x-github-event", b"push"), ("x-github-delivery", b"1-2")], b""),
            both("push", "1-2")
        );
        assert_eq!(event("circleci", &[("circleci-event-type", b"ping")], br#"{"id":"7"}"#), both("ping", "7"));
        assert_eq!(event("circleci", &[], b"no JSON"), Event::default());
    }

    #[test]
    fn what_is_told_is_short_and_visible() {
        let long = [b'x'; MAX_VALUE + 1];
        let told = event("github", &[("x-github-event", b"a\tb\xff c"), ("x-github-delivery", &long)], b"");
        assert_eq!(told, both("a?b? c", &"x".repeat(MAX_VALUE)));
        assert_eq!(event("circleci", &[], br#"{"id":"a\nb\u001b[31m"}"#).id.as_deref(), Some("a?b?[31m"));
    }

    #[test]
    fn a_long_body_is_not_searched() {
        let scheme = schemes::find("circleci").unwrap();
        let timeline = Timeline::default();
        timeline.body(&Bytes::from(format!(r#"{{"id":"7","x":"{}"}}"#, "x".repeat(64 << 10))).into());
        assert_eq!(timeline.event(scheme, &head(&[])), Event::default());
        assert!(timeline.body_bytes().unwrap() > MAX_BODY);
    }

    #[test]
    fn a_header_with_a_signature_is_not_told() {
        let scheme = schemes::find("github").unwrap();
        let mut head = head(&[("x-github-event", b"signature")]);
        head.headers.values_mut().for_each(|value| value.set_sensitive(true));
        assert_eq!(Timeline::default().event(scheme, &head), Event::default());
    }
}
