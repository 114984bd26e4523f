//! Sends a delivery again.
//!
//! What waits, is dead or discarded is attempted now and retried as if it had just come: for what waits for its next attempt,
//! this is "retry now". What was delivered, forwarded, failed or refused gets one attempt, which changes its state only if the
//! handler takes it. The table is [`queue::state`](crate::queue::state). Attempts go on with their numbers. On a paused route,
//! or while the circuit is open, a replay waits like everything else.
//!
//! Refused, in this order:
//! 1. `not_found`, `gone`: no delivery has this id;
//! 2. `no_body`: it was erased. `not_verified`: a challenge or a duplicate;
//! 3. `unknown_route`: its route has gone, and it would get one attempt only;
//! 4. `in_flight`: an attempt is under way, or a replay of it waits;
//! 5. `no_body`: head or body were cut, redacted or never kept;
//! 6. `not_verified`: a refused delivery that its route would refuse again, with the secrets of now, at the time of its receipt.
//!
//! A replay is never a duplicate: dedupe looks at what comes from a provider.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use super::recorded::Recorded;
use super::{Acts, Refused};
use crate::gateway::prepare::prepare;
use crate::gateway::recorded::{Verdict, judge};
use crate::queue::state::{Event, Follows, REPLAYED_AFRESH_FROM, REPLAYED_ONCE_FROM, follows};
use crate::queue::stored;
use crate::routing::table::RouteShared;
use crate::store::{Change, Changed, Delivery, State, StoreError};

/// Where a route's messages go: today each route has one destination.
const DESTINATIONS: u16 = 1;

impl Acts {
    /// Has a delivery sent again; gives the number of the attempt to come.
    ///
    /// # Errors
    /// See the [module](self); [`Refused::Store`].
    pub async fn replay(&self, id: Uuid) -> Result<u32, Refused> {
        let store = &self.queue.store;
        let Some((stored, _)) = store.get(id).await? else { return Err(self.missing(id)) };
        let delivery = stored.delivery;
        let name = delivery.route.clone();
        let route = self.route(&name);
        let once = sent_once(delivery.state)?;
        if once && let Err(refused) = route {
            return Err(refused);
        }
        if store.is_claimed(id).await? {
            return Err(Refused::InFlight);
        }
        let head = match (&route, delivery.state) {
            (Ok(route), State::Refused) => Some(self.verified_again(route, delivery).await?),
            _ if delivery.head.is_empty() => return Err(Refused::NoBody),
            _ if once && lacks_a_part(&delivery) => return Err(Refused::NoBody),
            _ => None,
        };
        let from = if once { REPLAYED_ONCE_FROM } else { REPLAYED_AFRESH_FROM };
        let at = self.queue.millis(self.clock.now());
        match store.change(Change::Requeue { id, from, destinations: DESTINATIONS, at, once, head }).await? {
            Changed::Done(attempts) => {
                self.queue.wake(&name);
                if let Ok(route) = &route {
                    route.metrics.replays.inc();
                }
                Ok(attempts + 1)
            }
            // It waits for a replay already, or its state has changed this moment.
            Changed::Not(_) => Err(Refused::InFlight),
            Changed::NoBody => Err(Refused::NoBody),
            Changed::Unknown => Err(self.missing(id)),
        }
    }

    /// The head that a refused delivery is sent with, if its route accepts it now. Its whole body is verified, on a thread for
    /// blocking work.
    async fn verified_again(&self, route: &Arc<RouteShared>, delivery: Delivery) -> Result<Bytes, Refused> {
        let body = self.queue.store.body(delivery.id).await?;
        let details = delivery.details.decode().map_err(|_| Refused::NoBody)?;
        let recorded = Recorded::new(delivery, details, body).ok_or(Refused::NoBody)?;
        let (route, now) = (route.clone(), self.clock.now());
        let judged = tokio::task::spawn_blocking(move || message(&route, &recorded, now)).await;
        // A panic has been logged.
        judged.map_err(|_panicked| StoreError::Closed)?
    }
}

/// Whether a replay from this state is one attempt only.
///
/// # Errors
/// [`Refused::NoBody`] or [`Refused::NotVerified`] for a state from which there is none.
pub fn sent_once(state: State) -> Result<bool, Refused> {
    match follows(state, Event::Replay) {
        Follows::Afresh => Ok(false),
        Follows::Once => Ok(true),
        _ if state == State::Erased => Err(Refused::NoBody),
        _ => Err(Refused::NotVerified),
    }
}

/// The stored form of the message of a recorded request, if the route accepts it.
fn message(route: &RouteShared, recorded: &Recorded, now: Instant) -> Result<Bytes, Refused> {
    let (info, payload) = (recorded.info(now), recorded.payload());
    match judge(route, &info, payload.as_ref(), recorded.received_at()) {
        Verdict::Accepted(proven) => {
            let message = prepare(&proven).map_err(|_| Refused::NotVerified)?;
            Ok(stored::encode(&message))
        }
        Verdict::NeedsBody => Err(Refused::NoBody),
        Verdict::Refused(_) if recorded.lacks_its_proof(route) => Err(Refused::NoBody),
        Verdict::Challenge | Verdict::Refused(_) => Err(Refused::NotVerified),
    }
}

/// Whether a secret was taken out of the body or the query, so that what is kept is not what came.
pub fn lacks_a_part(delivery: &Delivery) -> bool {
    let details = delivery.details.decode().unwrap_or_default();
    details.had_secret_in_body() || details.redacted.iter().any(|what| what.starts_with("query "))
}
