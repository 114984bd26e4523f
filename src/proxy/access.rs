//! Writes the line of a delivery in the log. `docs/logs.md` says what its fields mean.
//!
//! Does not tell: queries, bodies, signatures, secrets.

use std::net::IpAddr;
use std::rc::Rc;

use http::{HeaderValue, Method, Uri, Version};
use http_body::Body as _;

use super::delivery::{Arrived, Peer};
use super::reject::Reject;
use super::respond::Answer;
use super::route::Route;
use super::trace::TraceContext;
use super::trail::{Event, Notes, Period, Trail};
use crate::metrics::NO_ROUTE;

/// What is told of the request, in a line or in spans.
pub struct Subject {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its version of HTTP.
    pub version: Version,
    /// Its id.
    pub request_id: HeaderValue,
    /// Its sender.
    pub peer: Rc<Peer>,
    /// What is noted of it on its way.
    pub trail: Trail,
}

impl Subject {
    /// A request that has been taken up, and what will be noted of it.
    pub fn of(arrived: &Arrived) -> Self {
        Self {
            method: arrived.head.method.clone(),
            uri: arrived.head.uri.clone(),
            version: arrived.head.version,
            request_id: arrived.request_id.clone(),
            peer: arrived.peer.clone(),
            trail: arrived.trail.clone(),
        }
    }

    /// Writes the line. `suppressed` lines have been left out before it.
    pub fn log(&self, answer: &Answer, period: Period, suppressed: u64) {
        let route = answer.route.as_deref();
        let notes = self.trail.notes();
        let event = self.event(route);
        let seconds = |period: Option<Period>| period.map(|period| period.length().as_secs_f64());
        tracing::info!(
            route = route.map_or(NO_ROUTE, |route| &route.config.name),
            scheme = route.map_or(NO_ROUTE, |route| &route.config.scheme.name),
            outcome = answer.outcome.as_str(),
            reason = answer.rejected.map(Reject::reason),
            status = answer.response.status().as_u16(),
            request_id = self.request_id.to_str().ok(),
            trace_id = notes.and_then(Notes::trace).map(TraceContext::trace_id),
            event_type = event.kind,
            event_id = event.id,
            method = self.method.as_str(),
            path = self.uri.path(),
            peer = %self.peer.address,
            client = forwarded_client(&self.peer).map(tracing::field::display),
            request_bytes = notes.and_then(Notes::body_bytes),
            response_bytes = answer.response.body().size_hint().exact(),
            seconds = period.length().as_secs_f64(),
            verification_seconds = seconds(notes.and_then(Notes::verification)),
            upstream_seconds = seconds(notes.and_then(Notes::upstream)),
            upstream_status = notes.and_then(Notes::upstream_status).map(|status| status.as_u16()),
            suppressed = (suppressed > 0).then_some(suppressed),
            hint = answer.rejected.map(Reject::hint),
            "delivery"
        );
    }

    /// What it says of its event, if it has a route.
    pub fn event(&self, route: Option<&Route>) -> Event {
        let found = route.zip(self.trail.notes());
        found.map(|(route, notes)| notes.event(&route.config.scheme, self.uri.query())).unwrap_or_default()
    }
}

/// The client, where that is not the peer itself.
fn forwarded_client(peer: &Peer) -> Option<IpAddr> {
    (peer.client != peer.address.ip()).then_some(peer.client)
}
