//! Refuses a delivery by its head; while its route is captured, with its body for the record.
//!
//! A person may ask that the refused requests of a route are recorded for a time, see
//! [`routing::capture`](crate::routing::capture). Their bodies are then read within the same bounds as those of any delivery:
//! `max_body`, `body_timeout`, `buffered_bytes`. The answer is the same as without a capture, and later by that time. What is
//! refused because the gateway is short of something, or ends, is not read.

use super::body;
use super::discard;
use crate::delivery::request::{RequestBody, RequestInfo};
use crate::reject::{Refusal, Reject};
use crate::routing::limits::Budget;
use crate::routing::table::Route;

/// Refuses a delivery to `route` of which only the head has been read.
pub async fn refuse(
    budget: &Budget,
    info: &RequestInfo,
    route: &Route,
    body: RequestBody,
    reject: impl Into<Reject>,
) -> Refusal {
    let reject = reject.into();
    let is_short = matches!(reject, Reject::Draining | Reject::Overloaded);
    // A place is taken before the body is read, so that no more bodies are read than asked for.
    if is_short || !route.shared.limits.capture().take(info.received) {
        return discard::refuse(&info.head.headers, body, reject).await;
    }
    info.timeline.capture();
    // In a box, since this is rare and the future of every delivery would have room for it.
    match Box::pin(body::collect(budget, &route.shared, body, route.shared.config.max_body)).await {
        Ok(payload) => {
            info.timeline.body(&payload);
            reject.into()
        }
        Err(_) => Refusal::unread(reject),
    }
}
