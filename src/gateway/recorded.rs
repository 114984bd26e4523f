//! Judges a recorded request as the stages would judge it now: for a person who wants to know why it is refused, or to have it
//! sent after all.
//!
//! Refuses, in the order of the stages:
//! 1. `bad_request`, `no_route`: the request's host or path is not the route's;
//! 2. `method_not_allowed`, `ip_not_allowed`;
//! 3. `body_too_large`;
//! 4. what [`verify`] refuses, with the secrets of now, at the time of receipt.
//!
//! Limits, deadlines and dedupe depend on the moment and are not judged.

use std::time::Duration;

use super::route::{check, host};
use super::verify::{self, NotProven, Proven};
use crate::config::{PathPattern, Route};
use crate::delivery::request::RequestInfo;
use crate::http1::payload::Payload;
use crate::reject::Reject;
use crate::routing::table::{RouteShared, canonical_host};

/// The verdict on a recorded request.
pub enum Verdict<'a> {
    /// The route accepts it.
    Accepted(Proven<'a>),
    /// The route accepts its head; its body is not known.
    NeedsBody,
    /// The gateway answers it itself: an endpoint's challenge.
    Challenge,
    /// The route refuses it.
    Refused(Reject),
}

/// The verdict on a request for `route`; `payload` is `None` if its body is not known. `now` is the time of its receipt since
/// 1970-01-01T00:00:00Z.
pub fn judge<'a>(
    route: &'a RouteShared,
    info: &'a RequestInfo,
    payload: Option<&'a Payload>,
    now: Duration,
) -> Verdict<'a> {
    if let Err(reject) = place(&route.config, info) {
        return Verdict::Refused(reject);
    }
    match check(&route.config, &info.head, &info.peer) {
        Err(reject) => return Verdict::Refused(reject),
        Ok(Some(_)) => return Verdict::Challenge,
        Ok(None) => {}
    }
    if payload.is_some_and(|payload| payload.len() > route.config.max_body) {
        return Verdict::Refused(Reject::BodyTooLarge);
    }
    match verify::recorded(route, info, payload, now) {
        Ok(Some(proven)) => Verdict::Accepted(proven),
        Ok(None) => Verdict::NeedsBody,
        Err(NotProven::Challenge) => Verdict::Challenge,
        Err(NotProven::Signature(error)) => Verdict::Refused(error.into()),
    }
}

/// Whether path and host are those of the route.
fn place(route: &Route, info: &RequestInfo) -> Result<(), Reject> {
    let host = host(info.head.version, &info.head.uri, &info.head.headers)?;
    let path = info.head.uri.path();
    let fits = match &route.path {
        PathPattern::Exact(own) => path == own,
        PathPattern::Prefix(own) => path.starts_with(own),
    };
    let is_its_host = route.host.as_ref().is_none_or(|own| host.is_some_and(|host| canonical_host(host) == *own));
    if fits && is_its_host { Ok(()) } else { Err(Reject::NoRoute) }
}
