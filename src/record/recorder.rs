//! Records deliveries that have ended, in the store: one record each, by the `record` of the route.
//!
//! A delivery that was queued has its record from the beginning; the others get theirs here, when the sender's answer is known.
//! Requests that match no route are recorded under the route `none`, without head and body.
//!
//! While a route is [captured](crate::routing::capture), its refused requests are recorded in full, whatever its `record` says.
//!
//! Recording never waits and never fails a delivery. Dropped, and counted, is
//!
//! 1. a refused delivery or a challenge, if its route had [`PER_SECOND`] of them within a second: they need no secret;
//! 2. what the store has no room or no time for.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use prometheus::IntCounter;
use smol_str::{SmolStr, ToSmolStr as _};
use uuid::Uuid;

use super::kept::{self, Origin};
use super::redact;
use crate::config::{self, NO_ROUTE};
use crate::delivery::request::RequestInfo;
use crate::delivery::response::FinalResponse;
use crate::delivery::timeline::{Event, Period};
use crate::delivery::trace_context::TraceContext;
use crate::http1::client::request::Head;
use crate::http1::field::first;
use crate::metrics::UpstreamResult;
use crate::reject::{Outcome, Reject};
use crate::routing::limits::RecordLimit;
use crate::routing::table::{Route, RouteShared};
use crate::schemes::Redacted;
use crate::store::details::{BODY, Brief, Details};
use crate::store::{Attempt, Delivery, KeptBody, Record, RequestId, State, Store, StoredDetails, received_at};

/// Refused deliveries of a route that are recorded in a second.
pub use crate::routing::limits::RECORDS_PER_SECOND as PER_SECOND;

/// Records deliveries, on one thread.
#[derive(Clone)]
pub struct Recorder {
    store: Store,
    /// Holds the records of requests without a route to [`PER_SECOND`], over all threads.
    unmatched: Arc<RecordLimit>,
    /// Counts what that, and its like on each route, drops.
    over_rate: IntCounter,
    /// The names of what became of an attempt: each thread has its own, so that threads do not count references on one place.
    results: Rc<[Arc<str>; UpstreamResult::LABELS.len()]>,
}

impl Recorder {
    /// A recorder for one thread. `unmatched` is shared by all threads; `over_rate` counts what is dropped for its rate.
    pub fn new(store: Store, unmatched: Arc<RecordLimit>, over_rate: IntCounter) -> Self {
        Self { store, unmatched, over_rate, results: Rc::new(UpstreamResult::LABELS.map(Arc::from)) }
    }

    /// Records a delivery that has ended with this answer.
    pub fn delivery(&self, info: &RequestInfo, answer: &FinalResponse, period: Period) {
        let route = answer.route.as_deref();
        let record = route.map_or(config::Record::Metadata, |route| route.shared.config.record);
        let Some(state) = state(answer.outcome) else { return };
        let now = period.end();
        let is_captured = state == State::Refused && route.is_some_and(|route| is_captured(info, route, now));
        if !is_captured
            && (record == config::Record::None || !self.admits(state, route.map(|route| &*route.shared), now))
        {
            return;
        }
        let full = match route {
            Some(route) if is_captured => Some((route, u64::MAX)),
            Some(route) if record == config::Record::Full => Some((route, route.shared.config.record_body)),
            _ => None,
        };
        // What finds no room is counted by the store.
        self.store.record(self.record(info, answer, state, period, full), now);
    }

    /// Records a refusal of bytes that form no request, or of a connection.
    pub fn without_request<B>(&self, id: Uuid, reject: Reject, response: &Response<B>, peer: SocketAddr, now: Instant) {
        if !self.admits(State::Refused, None, now) {
            return;
        }
        let request_id = response.headers().get("x-request-id");
        let record = Delivery {
            id,
            received_at: received_at(id),
            route: NO_ROUTE.into(),
            scheme: "".into(),
            state: State::Refused,
            reason: Some(Arc::from(reject.reason())),
            status: Some(response.status().as_u16()),
            event_type: None,
            event_id: None,
            request_id: request_id.and_then(text).map_or(RequestId::Unknown, RequestId::Named),
            peer: peer.ip().to_canonical().to_smolstr(),
            method: SmolStr::default(),
            path: SmolStr::default(),
            request_bytes: 0,
            duration_ms: None,
            head: Bytes::new(),
            body: None,
            details: StoredDetails::default(),
        };
        self.store.record(record, now);
    }

    /// Whether a delivery of this state is recorded now.
    fn admits(&self, state: State, route: Option<&RouteShared>, now: Instant) -> bool {
        let limit = match state {
            State::Refused | State::Challenge => route.map_or(&*self.unmatched, |route| route.limits.records()),
            _ => return true,
        };
        let admits = limit.admits(now);
        if !admits {
            self.over_rate.inc();
        }
        admits
    }

    fn record(
        &self,
        info: &RequestInfo,
        answer: &FinalResponse,
        state: State,
        period: Period,
        full: Option<(&Route, u64)>,
    ) -> Record {
        let route = answer.route.as_deref();
        let event = info.event(route.map(|route| &*route.shared));
        let kept = full.map(|(route, most)| head_and_body(info, route, (state, event.kind.as_ref()), most));
        let id = if matches!(answer.rejected, Some(Reject::StorageSlow | Reject::StorageFailed)) {
            beside(info.delivery_id)
        } else {
            info.delivery_id
        };
        let details = details(info, route, full.map(|(_, most)| most), Came::Answered(answer.rejected));
        let mut delivery = received(info, route, id, event, details);
        delivery.state = state;
        delivery.reason = answer.rejected.map(|reject| Arc::from(reject.reason()));
        delivery.status = Some(answer.response.status().as_u16());
        delivery.duration_ms = Some(u32::try_from(period.length.as_millis()).unwrap_or(u32::MAX));
        if let Some(kept) = kept {
            (delivery.head, delivery.body) = kept;
        }
        Record::new(delivery, self.attempt(info, answer, state, full.is_some()))
    }

    /// The attempt to hand a delivery to the upstream at once; none if it did not come so far. What the upstream answered goes
    /// through unseen: its head is kept with `record: full`, its body never.
    fn attempt(&self, info: &RequestInfo, answer: &FinalResponse, state: State, full: bool) -> Option<Attempt> {
        let sent = info.timeline.sent().filter(|_| matches!(state, State::Forwarded | State::Failed))?;
        let status = info.timeline.upstream_status().filter(|_| state == State::Forwarded);
        let result = match (status, answer.rejected) {
            (Some(status), _) => UpstreamResult::Status(status.as_u16()),
            (None, Some(Reject::UpstreamUnreachable)) => UpstreamResult::Unreachable,
            (None, Some(Reject::UpstreamTimeout)) => UpstreamResult::Timeout,
            (None, _) => UpstreamResult::Failed,
        };
        let waited = sent.start.saturating_duration_since(info.received);
        Some(Attempt {
            destination: 0,
            number: 1,
            at: received_at(info.delivery_id).saturating_add(crate::store::millis(waited)),
            result: self.results.get(result.index()).map_or_else(|| Arc::from(result.label()), Arc::clone),
            status: status.map(|status: StatusCode| status.as_u16()),
            error: info.timeline.upstream_error().map(str::to_owned),
            duration_ms: u32::try_from(sent.length.as_millis()).unwrap_or(u32::MAX),
            replay: false,
            gateway: None,
            response_head: if full && status.is_some() {
                response_head(answer.response.headers())
            } else {
                Bytes::new()
            },
            response_body: Bytes::new(),
        })
    }
}

/// Whether a refused request is captured. One that was refused by its head has its place since then, one whose body had been
/// read already gets it now, and no other is: the record would have nothing more.
fn is_captured(info: &RequestInfo, route: &Route, now: Instant) -> bool {
    info.timeline.is_captured() || (info.timeline.payload().is_some() && route.shared.limits.capture().take(now))
}

/// The state of a delivery that has ended so; `None` for a queued one, which has its record already.
fn state(outcome: Outcome) -> Option<State> {
    match outcome {
        Outcome::Accepted => None,
        Outcome::Forwarded => Some(State::Forwarded),
        Outcome::UpstreamError => Some(State::Failed),
        Outcome::Rejected => Some(State::Refused),
        Outcome::Duplicate => Some(State::Duplicate),
        Outcome::Challenge => Some(State::Challenge),
    }
}

/// What became of a delivery when it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Came {
    /// It was queued: the store has its secrets.
    Queued,
    /// It was answered, with a refusal or without.
    Answered(Option<Reject>),
}

/// What is stored of a delivery by its request alone: it is pending, without head and body.
pub fn received(info: &RequestInfo, route: Option<&Route>, id: Uuid, event: Event, details: StoredDetails) -> Delivery {
    Delivery {
        id,
        received_at: received_at(id),
        route: route.map_or_else(|| NO_ROUTE.into(), |route| route.name.clone()),
        scheme: route.map_or_else(|| "".into(), |route| route.scheme.clone()),
        state: State::Pending,
        reason: None,
        status: None,
        event_type: event.kind,
        event_id: event.id,
        request_id: request_id(info, route, id),
        peer: client(info),
        method: method(info),
        path: path(info, route),
        request_bytes: info.timeline.body_bytes().unwrap_or_default(),
        duration_ms: None,
        head: Bytes::new(),
        body: None,
        details,
    }
}

/// What is kept of a request where requests are: its message, if it was sent, and up to `most` bytes of its body.
fn head_and_body(
    info: &RequestInfo,
    route: &Route,
    (state, event_type): (State, Option<&SmolStr>),
    most: u64,
) -> (Bytes, Option<Bytes>) {
    let was_sent = matches!(state, State::Forwarded | State::Failed);
    let head = info.timeline.sent_message().filter(|_| was_sent);
    let body = info.timeline.payload().and_then(|payload| {
        let redacted = redact::body(&route.shared.credentials, payload);
        if let Some(head) = head {
            let (scheme, event_type) = (route.scheme.clone(), event_type.cloned());
            let origin = Origin { scheme, event_type, details: StoredDetails::default() };
            kept::copy(&route.shared, (info.delivery_id, &origin), &redacted, payload, || head.clone());
        }
        match kept::body(redacted, payload, most) {
            KeptBody::AsItIs => Some(kept::first(payload, usize::MAX)),
            KeptBody::Only(body) => Some(body),
            KeptBody::Nothing => None,
        }
    });
    (head.cloned().unwrap_or_default(), body)
}

/// What is kept of a delivery beside its summary; with `full` the head of its request too, where so many bytes of its body are
/// kept. Of a delivery that is queued, where its secrets stand is kept whatever the route records: the store has them.
pub fn details(info: &RequestInfo, route: Option<&Route>, full: Option<u64>, came: Came) -> StoredDetails {
    let brief = brief(info, route);
    if full.is_none() && came == Came::Answered(None) && info.timeline.trace().is_none() {
        return StoredDetails::Brief(brief);
    }
    let route = route.map(|route| &*route.shared);
    let trace_id = info.timeline.trace().map(TraceContext::trace_id);
    let has_secrets = came == Came::Queued || full.is_some();
    let redacted = route.filter(|_| has_secrets).map(|route| secrets(info, route)).unwrap_or_default();
    let request =
        route.filter(|_| full.is_some()).map(|route| redact::request(&route.credentials, &info.head, &info.sent));
    let body_cut = full.is_some_and(|most| info.timeline.payload().is_some_and(|payload| payload.len() > most));
    let refused = match came {
        Came::Answered(Some(reject)) => Some(reject.reason().to_owned()),
        Came::Answered(None) | Came::Queued => None,
    };
    Details { request, body_cut, redacted, trace_id, refused, ..brief.into() }.into()
}

/// What is kept of every delivery that came as a request.
fn brief(info: &RequestInfo, route: Option<&Route>) -> Brief {
    let timeline = &info.timeline;
    let secret_id = route.zip(timeline.secret()).and_then(|(route, secret)| route.secret_ids.get(secret));
    Brief {
        host: host(info, route),
        tls: info.peer.tls,
        proxy: info.peer.is_proxy().then(|| info.peer.text.clone()),
        secret_id: secret_id.cloned(),
        verified: secret_id.is_some(),
        // The check begins when the body is there.
        body_done: timeline.verified().map(|check| check.start.saturating_duration_since(info.received)),
        verification: timeline.verified().map(|check| check.length),
        upstream: timeline.sent().map(|sent| sent.length),
    }
}

/// Where secrets stand in head and body, in the words of [`Details::redacted`].
fn secrets(info: &RequestInfo, route: &RouteShared) -> Vec<String> {
    let credentials = &route.credentials;
    let mut secrets = redact::taken_out(credentials, &info.head);
    let payload = info.timeline.payload();
    if payload.is_some_and(|payload| redact::body(credentials, payload) != Redacted::Unchanged) {
        secrets.push(BODY.to_owned());
    }
    secrets
}

/// The client's address as text.
fn client(info: &RequestInfo) -> SmolStr {
    if info.peer.is_proxy() { info.peer.client.to_smolstr() } else { info.peer.text.clone() }
}

/// The method of the request.
fn method(info: &RequestInfo) -> SmolStr {
    // Nearly all requests are POST.
    if info.head.method == Method::POST { SmolStr::new_static("POST") } else { info.head.method.as_str().into() }
}

/// The path of the request, without the query.
fn path(info: &RequestInfo, route: Option<&Route>) -> SmolStr {
    let exact = route.and_then(|route| route.exact_path.clone());
    exact.unwrap_or_else(|| info.head.uri.path().into())
}

/// The host that the request was for.
fn host(info: &RequestInfo, route: Option<&Route>) -> Option<SmolStr> {
    let host = info.head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| Some(first(&info.head.headers, &HOST)?.as_bytes()))?;
    match route {
        Some(route) => route.last_host.of(host),
        // Nothing has checked it, so it may be any bytes.
        None => host.is_ascii().then(|| str::from_utf8(host).ok().map(SmolStr::new)).flatten(),
    }
}

/// What is kept of the request id in the record with this id.
fn request_id(info: &RequestInfo, route: Option<&Route>, id: Uuid) -> RequestId {
    if !info.has_senders_id && id == info.delivery_id {
        return RequestId::Own;
    }
    info.shown_id(route.map(|route| &*route.shared)).map_or(RequestId::Unknown, |text| RequestId::Named(text.into()))
}

/// The id for the record of a refusal beside a delivery that may be stored all the same, under its own id: its sender has waited
/// too long, or the answer to the commit was lost.
fn beside(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() ^ 1)
}

fn text(value: &HeaderValue) -> Option<SmolStr> {
    value.to_str().ok().map(SmolStr::new)
}

/// The head of a response as HTTP/1.1 writes it, without the cookies that it sets.
pub fn response_head(headers: &HeaderMap) -> Bytes {
    let mut head = Head::default();
    for (name, value) in headers.iter().filter(|(name, _)| !redact::is_never_recorded(name.as_str().as_bytes())) {
        head.line(name, value);
    }
    Bytes::copy_from_slice(head.bytes())
}
