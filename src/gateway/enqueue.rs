//! In queue mode, the last stage: stores a delivery, and answers once it is synced.
//!
//! Refuses, with `Retry-After`, what the store does not take: `storage_full`, `storage_failed`, `storage_slow`. A route in
//! proxy mode goes on to [`forward`](super::forward).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tower::Service;

use super::accepted::{duplicate, not_stored, success};
use super::dedupe::Deduped;
use super::prepare::prepare;
use super::stage::{Boxed, Next};
use super::verify::Verified;
use crate::clock::Clock;
use crate::config;
use crate::delivery::response::{Completed, StageResult};
use crate::http1::payload::Payload;
use crate::queue::dispatch::Dispatcher;
use crate::queue::lane::Queue;
use crate::queue::stored;
use crate::record::recorder::{self, Came};
use crate::reject::{Outcome, Refusal, Reject};
use crate::store::{self, Accepted};

/// What the stage needs of its thread.
#[derive(Clone)]
pub struct EnqueueContext {
    /// For the time of receipt.
    pub clock: Clock,
    /// The queue.
    pub queue: Arc<Queue>,
    /// The dispatchers of the routes, by name.
    pub dispatchers: Rc<HashMap<String, Rc<Dispatcher>>>,
}

/// The stage: stores the deliveries of routes with a queue.
pub fn enqueue<S>(next: Rc<Next<EnqueueContext, S>>, deduped: Deduped) -> Boxed<Completed, Refusal>
where
    S: Service<Verified, Response = Completed, Error = Refusal, Future = Boxed<Completed, Refusal>> + Clone + 'static,
{
    let route = &deduped.verified.route().config;
    match &route.delivery {
        config::Delivery::Proxy => next.run(deduped.verified),
        config::Delivery::Queue(_) => match next.context.dispatchers.get(&route.name).cloned() {
            Some(dispatcher) => Box::pin(store_and_answer(next, dispatcher, deduped)),
            // Each route has a dispatcher.
            None => Box::pin(async { Err(Reject::StorageFailed.into()) }),
        },
    }
}

async fn store_and_answer<S>(
    next: Rc<Next<EnqueueContext, S>>,
    dispatcher: Rc<Dispatcher>,
    deduped: Deduped,
) -> StageResult {
    let Deduped { verified, key } = deduped;
    let mut message = prepare(&verified.proven())?;
    let body = verified.payload().whole();
    // Without the share of `buffered_bytes` that the request holds: a delivery that waits for a slow handler does not keep
    // the gateway from accepting others.
    message.payload = Payload::from(body.clone());
    let delivery = delivery(&next.context, &verified, stored::encode(&message), body);
    match dispatcher.accept(delivery, key, message).await {
        Ok(Accepted::Stored(_)) => Ok(Completed { response: success(verified.route()), outcome: Outcome::Accepted }),
        Ok(Accepted::Duplicate(_)) => Ok(duplicate(verified.route())),
        Err(error) => Err(not_stored(&error)),
    }
}

/// What is stored of a delivery.
fn delivery(context: &EnqueueContext, verified: &Verified, head: Bytes, body: Bytes) -> store::Delivery {
    let (route, info) = (verified.own_route(), verified.info());
    let config = &route.shared.config;
    let full = (config.record == config::Record::Full).then_some(config.record_body);
    let details = recorder::details(info, Some(route), full, Came::Queued);
    let event = info.event(Some(&route.shared));
    store::Delivery {
        received_at: context.queue.millis(info.received),
        head,
        body: Some(body),
        ..recorder::received(info, Some(route), info.delivery_id, event, details)
    }
}
