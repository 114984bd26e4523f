//! What is noted of a delivery on its way, for its line in the log and its spans.
//!
//! Stages note what they have at hand; nothing is looked for or parsed before they are made. A delivery that neither
//! can tell of has an empty trail, and noting costs nothing.
//!
//! What a delivery says of its event is told as it came, also where its signature is wrong or does not cover it. It is
//! cut to [`MAX_VALUE`] bytes, and what is not visible ASCII is told as `?`, so that it can do no harm in a log. A header
//! that carries a signature is never told, nor is a body of more than [`MAX_BODY`] bytes looked into.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::delivery::Payload;
use super::trace::TraceContext;
use crate::schemes::Spec;
use crate::schemes::spec::{Fact, Place};

/// The longest value that is told of an event, in bytes.
const MAX_VALUE: usize = 128;
/// The longest body that is searched for one, in bytes.
const MAX_BODY: u64 = 64 << 10;

/// The notes of one delivery; a clone shares them.
#[derive(Clone, Default)]
pub struct Trail(Option<Rc<Notes>>);

/// What has been noted.
#[derive(Default)]
pub struct Notes {
    trace: Option<TraceContext>,
    event_type: RefCell<Option<HeaderValue>>,
    event_id: RefCell<Option<HeaderValue>>,
    payload: RefCell<Option<Payload>>,
    verification: Cell<Option<Period>>,
    upstream: Cell<Option<Period>>,
    upstream_status: Cell<Option<StatusCode>>,
}

/// From when to when something took place.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// Its beginning.
    pub start: Instant,
    /// Its end.
    pub end: Instant,
}

/// What a delivery says of its event, fit to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: Option<String>,
    /// The provider's id of it.
    pub id: Option<String>,
}

impl Trail {
    /// One that keeps what is noted, of a delivery that may belong to a trace.
    pub fn kept(trace: Option<TraceContext>) -> Self {
        Self(Some(Rc::new(Notes { trace, ..Notes::default() })))
    }

    /// The notes, if they are kept.
    pub fn notes(&self) -> Option<&Notes> {
        self.0.as_deref()
    }

    /// Notes the headers that say what the event is.
    pub fn head(&self, scheme: &Spec, headers: &HeaderMap) {
        let Some(notes) = self.notes() else { return };
        let header = |fact: &Option<Fact>| match &fact.as_ref()?.place {
            Place::Header(name) => headers.get(name).cloned(),
            _ => None,
        };
        notes.event_type.replace(header(&scheme.event_type));
        notes.event_id.replace(header(&scheme.event_id));
    }

    /// Notes a body that has come in full.
    pub fn body(&self, payload: &Payload) {
        if let Some(notes) = self.notes() {
            notes.payload.replace(Some(payload.clone()));
        }
    }

    /// Notes when the signature was checked.
    pub fn verification(&self, period: Period) {
        if let Some(notes) = self.notes() {
            notes.verification.set(Some(period));
        }
    }

    /// Notes when the upstream had the delivery, and with which status it answered, if it did.
    pub fn upstream(&self, period: Period, status: Option<StatusCode>) {
        if let Some(notes) = self.notes() {
            notes.upstream.set(Some(period));
            notes.upstream_status.set(status);
        }
    }
}

impl Notes {
    /// The trace that the delivery belongs to, if there is one.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// The length of the body in bytes, if it has come in full.
    pub fn body_bytes(&self) -> Option<u64> {
        self.payload.borrow().as_ref().map(Payload::len)
    }

    /// When the signature was checked, if it was.
    pub fn verification(&self) -> Option<Period> {
        self.verification.get()
    }

    /// When the upstream had the delivery, if it got so far.
    pub fn upstream(&self) -> Option<Period> {
        self.upstream.get()
    }

    /// The status of the upstream's response, if there was one.
    pub fn upstream_status(&self) -> Option<StatusCode> {
        self.upstream_status.get()
    }

    /// What the delivery says of its event, in the places that its scheme names. Searches the body.
    pub fn event(&self, scheme: &Spec, query: Option<&str>) -> Event {
        let payload = self.payload.borrow();
        let searched = payload.as_ref().filter(|payload| payload.len() <= MAX_BODY);
        let frames = searched.map_or(&[][..], Payload::frames);
        let find = |fact: &Option<Fact>, header: &RefCell<Option<HeaderValue>>| {
            if let Some(header) = &*header.borrow() {
                return (!header.is_sensitive()).then(|| told(header.as_bytes()));
            }
            fact.as_ref()?.place.in_query_or_body(query, frames).map(|value| told(&value))
        };
        Event { kind: find(&scheme.event_type, &self.event_type), id: find(&scheme.event_id, &self.event_id) }
    }
}

impl Period {
    /// How long it took.
    pub fn length(self) -> Duration {
        self.end.saturating_duration_since(self.start)
    }
}

/// What can stand in a log line.
fn told(value: &[u8]) -> String {
    let visible = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' };
    value.iter().take(MAX_VALUE).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::schemes;

    fn event(scheme: &str, headers: &[(&'static str, &[u8])], body: &'static [u8]) -> Event {
        let scheme = schemes::find(scheme).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let trail = Trail::kept(None);
        trail.head(scheme, &map);
        trail.body(&Bytes::from_static(body).into());
        trail.notes().unwrap().event(scheme, None)
    }

    fn both(kind: &str, id: &str) -> Event {
        Event { kind: Some(kind.to_owned()), id: Some(id.to_owned()) }
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
        let trail = Trail::kept(None);
        trail.body(&Bytes::from(format!(r#"{{"id":"7","x":"{}"}}"#, "x".repeat(64 << 10))).into());
        let notes = trail.notes().unwrap();
        assert_eq!(notes.event(scheme, None), Event::default());
        assert!(notes.body_bytes().unwrap() > MAX_BODY);
    }

    #[test]
    fn a_header_with_a_signature_is_not_told() {
        let scheme = schemes::find("github").unwrap();
        let mut value = HeaderValue::from_static("signature");
        value.set_sensitive(true);
        let trail = Trail::kept(None);
        trail.head(scheme, &HeaderMap::from_iter([(http::HeaderName::from_static("x-github-event"), value)]));
        assert_eq!(trail.notes().unwrap().event(scheme, None), Event::default());
    }

    #[test]
    fn an_empty_trail_stays_empty() {
        let trail = Trail::default();
        trail.body(&Payload::default());
        assert!(trail.notes().is_none());
    }
}
