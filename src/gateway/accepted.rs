//! The gateway's own answers to deliveries that it takes.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};

use crate::config;
use crate::delivery::response::{Body, Completed};
use crate::reject::{Outcome, Refusal, Reject};
use crate::routing::table::RouteShared;
use crate::store::StoreError;

const HOOKLATCH_DUPLICATE: HeaderName = HeaderName::from_static("hooklatch-duplicate");

/// What a provider gets for a delivery that was there before: the route's success answer, and a field that says so.
pub fn duplicate(route: &RouteShared) -> Completed {
    let mut response = success(route);
    response.headers_mut().insert(HOOKLATCH_DUPLICATE, HeaderValue::from_static("true"));
    Completed { response, outcome: Outcome::Duplicate }
}

/// The route's answer to a delivery that is taken: `response` with a queue, 200 and an empty body without.
pub fn success(route: &RouteShared) -> Response<Body> {
    let config::Delivery::Queue(queue) = &route.config.delivery else {
        return Response::new(Body::text(Bytes::new()));
    };
    let mut response = Response::new(Body::text(queue.response.body.clone()));
    *response.status_mut() = queue.response.status;
    if !queue.response.body.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, queue.response.content_type.clone());
    }
    response
}

/// The refusal of a delivery that the store has not taken. A database that cannot be reached may be there again in a moment.
pub fn not_stored(error: &StoreError) -> Refusal {
    let reject = match error {
        StoreError::Full => Reject::StorageFull,
        StoreError::Slow | StoreError::TimedOut => Reject::StorageSlow,
        StoreError::Unreachable(_) | StoreError::Failed(_) | StoreError::Closed => Reject::StorageFailed,
    };
    let retry_after = matches!(error, StoreError::Unreachable(_)).then_some(1);
    Refusal { retry_after, ..reject.into() }
}
