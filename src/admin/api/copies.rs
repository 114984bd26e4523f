//! Deliveries for those who listen to a route, of which the store has nothing any more: a [copy](crate::routing::copies) is
//! there for a while.

use bytes::Bytes;
use smol_str::SmolStr;
use uuid::Uuid;

use super::detail::Found;
use crate::admin::AdminContext;
use crate::routing::copies::DeliveryCopy;
use crate::routing::table::RouteShared;
use crate::store::details::Details;
use crate::store::{Delivery, RequestId, Shown, State, Stored, received_at};

/// The delivery of a copy, without head and body. It had been let in, and its handler has taken it.
pub fn stored(route: &RouteShared, copy: &DeliveryCopy) -> Stored {
    let delivery = Delivery {
        id: copy.id,
        received_at: received_at(copy.id),
        route: route.config.name.as_str().into(),
        scheme: copy.scheme.clone(),
        state: State::Delivered,
        reason: None,
        status: None,
        event_type: copy.event_type.clone(),
        event_id: None,
        request_id: RequestId::Unknown,
        peer: SmolStr::default(),
        method: SmolStr::default(),
        path: SmolStr::default(),
        request_bytes: copy.body.len() as u64,
        duration_ms: None,
        head: Bytes::new(),
        body: None,
        details: copy.details.clone().into(),
    };
    Stored { delivery, shown: Shown::Settled(State::Delivered), attempts: 1, next_attempt_at: None, gateway: None }
}

/// The same with head and body.
pub fn whole(route: &RouteShared, copy: &DeliveryCopy) -> Stored {
    let mut whole = stored(route, copy);
    (whole.delivery.head, whole.delivery.body) = (copy.head.clone(), Some(copy.body.clone()));
    whole
}

/// All of the copy of this delivery, if a route has one.
pub fn find(context: &AdminContext, id: Uuid) -> Option<Found> {
    let running = (context.running)();
    let found = running.routes.iter().find_map(|route| Some((route, route.limits.copies().get(id)?)));
    let (route, copy) = found?;
    let mut stored = stored(route, &copy);
    stored.delivery.head = copy.head;
    let details = Details::decode(&copy.details).unwrap_or_default();
    Some(Found { stored, attempts: Vec::new(), details, body: Some(copy.body) })
}
