//! Writes the line of a delivery to the access log. `docs/logs.md` explains its fields.
//!
//! Never logs queries, bodies, signatures or secrets.

use std::net::{IpAddr, SocketAddr};

use http::Response;
use http_body::Body as _;

use crate::delivery::peer::Peer;
use crate::delivery::request::RequestInfo;
use crate::delivery::response::FinalResponse;
use crate::delivery::timeline::Period;
use crate::delivery::trace_context::TraceContext;
use crate::metrics::NO_ROUTE;
use crate::reject::{Outcome, Reject};

/// Writes the line of a delivery. `suppressed` is the number of lines left out since the last one.
pub fn log(info: &RequestInfo, answer: &FinalResponse, period: Period, suppressed: u64) {
    let RequestInfo { head, peer, timeline, .. } = info;
    let route = answer.route.as_deref();
    let event = info.event(route.map(|route| &*route.shared));
    let seconds = |period: Option<Period>| period.map(|period| period.length.as_secs_f64());
    tracing::info!(
        route = route.map_or(NO_ROUTE, |route| &route.shared.config.name),
        scheme = route.map_or(NO_ROUTE, |route| &route.shared.config.scheme.name),
        outcome = answer.outcome.as_str(),
        reason = answer.rejected.map(Reject::reason),
        status = answer.response.status().as_u16(),
        request_id = info.shown_id(route.map(|route| &*route.shared)),
        trace_id = timeline.trace().map(TraceContext::trace_id),
        event_type = event.kind.as_deref(),
        event_id = event.id.as_deref(),
        method = head.method.as_str(),
        path = head.uri.path(),
        peer = %peer.address,
        client = forwarded_client(peer).map(tracing::field::display),
        request_bytes = timeline.body_bytes(),
        response_bytes = answer.response.body().size_hint().exact(),
        seconds = period.length.as_secs_f64(),
        verification_seconds = seconds(timeline.verified()),
        upstream_seconds = seconds(timeline.sent()),
        upstream_status = timeline.upstream_status().map(|status| status.as_u16()),
        suppressed = (suppressed > 0).then_some(suppressed),
        hint = answer.rejected.map(Reject::hint),
        "delivery"
    );
}

/// Writes the line of a refusal without a request. `suppressed` is the number of lines left out since the last one.
pub fn log_without_request<B>(reject: Reject, response: &Response<B>, peer: SocketAddr, suppressed: u64) {
    tracing::info!(
        route = NO_ROUTE,
        scheme = NO_ROUTE,
        outcome = Outcome::from(reject).as_str(),
        reason = reject.reason(),
        status = response.status().as_u16(),
        request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()),
        %peer,
        suppressed = (suppressed > 0).then_some(suppressed),
        hint = reject.hint(),
        "delivery"
    );
}

/// The client; `None` if the peer itself is the client.
fn forwarded_client(peer: &Peer) -> Option<IpAddr> {
    peer.is_proxy().then_some(peer.client)
}
