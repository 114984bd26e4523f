//! Writes the line of a delivery in the log. `docs/logs.md` says what its fields mean.
//!
//! Does not tell: queries, bodies, signatures, secrets.

use std::net::IpAddr;

use http_body::Body as _;

use crate::delivery::peer::Peer;
use crate::delivery::request::Arrival;
use crate::delivery::response::Answer;
use crate::delivery::timeline::Period;
use crate::delivery::trace_context::TraceContext;
use crate::metrics::NO_ROUTE;
use crate::reject::Reject;

/// Writes the line. `suppressed` lines have been left out before it.
pub fn log(arrival: &Arrival, answer: &Answer, period: Period, suppressed: u64) {
    let Arrival { head, peer, request_id, trail, .. } = arrival;
    let route = answer.route.as_deref();
    let event = arrival.event(route);
    let seconds = |period: Option<Period>| period.map(|period| period.length().as_secs_f64());
    tracing::info!(
        route = route.map_or(NO_ROUTE, |route| &route.config.name),
        scheme = route.map_or(NO_ROUTE, |route| &route.config.scheme.name),
        outcome = answer.outcome.as_str(),
        reason = answer.rejected.map(Reject::reason),
        status = answer.response.status().as_u16(),
        request_id = request_id.to_str().ok(),
        trace_id = trail.trace().map(TraceContext::trace_id),
        event_type = event.kind,
        event_id = event.id,
        method = head.method.as_str(),
        path = head.uri.path(),
        peer = %peer.address,
        client = forwarded_client(peer).map(tracing::field::display),
        request_bytes = trail.body_bytes(),
        response_bytes = answer.response.body().size_hint().exact(),
        seconds = period.length().as_secs_f64(),
        verification_seconds = seconds(trail.verified()),
        upstream_seconds = seconds(trail.sent()),
        upstream_status = trail.upstream_status().map(|status| status.as_u16()),
        suppressed = (suppressed > 0).then_some(suppressed),
        hint = answer.rejected.map(Reject::hint),
        "delivery"
    );
}

/// The client, where that is not the peer itself.
fn forwarded_client(peer: &Peer) -> Option<IpAddr> {
    (peer.client != peer.address.ip()).then_some(peer.client)
}
