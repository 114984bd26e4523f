//! What people do to deliveries and routes: functions without HTTP, so that each way to ask for an act does the same.
//!
//! - [`replay`] sends a delivery again.
//! - [`bulk`] sends many again.
//! - [`explain`] says whether a delivery would be accepted, and if not, why.
//! - [`recorded`] is a request as it was recorded.
//! - [`why`] has the reasons for a refusal in words.
//! - [`refused`] is the list of reasons for which an act is not done.
//!
//! [`Acts`] has them all. Discard, erase, pause, resume and capture are short and stand here.

pub mod bulk;
pub mod explain;
pub mod recorded;
pub mod refused;
pub mod replay;
pub mod why;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::{Clock, MonotonicClock};
use crate::config::Delivery;
use crate::queue::lane::Queue;
use crate::queue::state::DISCARDED_FROM;
use crate::queue::stored::decode_whole;
use crate::routing::capture::Captured;
use crate::routing::table::RouteShared;
use crate::store::{Change, Changed, State};
use bulk::Runs;
pub use refused::Refused;

/// The routes of the configuration that runs.
pub type RunningRoutes = Arc<dyn Fn() -> Arc<[Arc<RouteShared>]> + Send + Sync>;

/// What people can do. Clones act on the same gateway.
#[derive(Clone)]
pub struct Acts {
    queue: Arc<Queue>,
    clock: MonotonicClock,
    routes: RunningRoutes,
    runs: Arc<Runs>,
    /// Held while a delivery is explained.
    explaining: Arc<tokio::sync::Mutex<()>>,
}

/// Whether head and body of a delivery that waits are the bytes that were stored.
pub fn is_as_stored(id: Uuid, head: &[u8], body: Bytes) -> bool {
    decode_whole(id, head, body).is_ok()
}

impl Acts {
    /// Acts on what `queue` keeps. `routes` gives the routes of the configuration that runs when it is called.
    pub fn new(queue: Arc<Queue>, clock: &Clock, routes: RunningRoutes) -> Self {
        Self { queue, clock: clock.monotonic(), routes, runs: Arc::default(), explaining: Arc::default() }
    }

    /// Sees to it that a delivery is not sent any more. An attempt under way goes on, and counts if it succeeds.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Gone`], [`Refused::NotWaiting`], [`Refused::Store`].
    pub async fn discard(&self, id: Uuid) -> Result<(), Refused> {
        let change = Change::Settle { id, from: DISCARDED_FROM, to: State::Discarded };
        match self.queue.store.change(change).await? {
            Changed::Done(_) => Ok(()),
            Changed::Not(_) | Changed::NoBody => Err(Refused::NotWaiting),
            Changed::Unknown => Err(self.missing(id)),
        }
    }

    /// Overwrites head and body of a delivery, and what its handler has answered; the id and the times stay. The bytes have
    /// left every file of the store within 20 seconds. An attempt under way goes on. It does no harm to ask twice.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Gone`], [`Refused::Store`].
    pub async fn erase(&self, id: Uuid) -> Result<(), Refused> {
        let changed = self.queue.store.change(Change::Erase { id }).await?;
        (self.routes)().iter().for_each(|route| route.limits.copies().forget(id));
        match changed {
            Changed::Done(_) | Changed::Not(_) | Changed::NoBody => Ok(()),
            Changed::Unknown => Err(self.missing(id)),
        }
    }

    /// Lets the deliveries of a route wait until [`Acts::resume`]; over restarts, until the key `paused` changes in the file.
    ///
    /// # Errors
    /// [`Refused::UnknownRoute`]; [`Refused::NoQueue`] for a route in proxy mode; [`Refused::Store`].
    pub async fn pause(&self, route: &str) -> Result<(), Refused> {
        if matches!(self.route(route)?.config.delivery, Delivery::Proxy) {
            return Err(Refused::NoQueue);
        }
        self.set_paused(route, true).await
    }

    /// Lets the deliveries of a route go on.
    ///
    /// # Errors
    /// [`Refused::UnknownRoute`], [`Refused::Store`].
    pub async fn resume(&self, route: &str) -> Result<(), Refused> {
        self.route(route)?;
        self.set_paused(route, false).await
    }

    async fn set_paused(&self, route: &str, paused: bool) -> Result<(), Refused> {
        self.queue.store.change(Change::Pause { route: Arc::from(route), paused }).await?;
        self.queue.wake(route);
        Ok(())
    }

    /// Records the next refused requests of a route with their bodies, those that are refused by their head, too: up to `max`
    /// of them within `time`, each within the bounds of [`Captured`]. Asking again begins anew; `max` 0 ends it.
    ///
    /// # Errors
    /// [`Refused::UnknownRoute`].
    pub fn capture(&self, route: &str, time: Duration, max: u32) -> Result<Captured, Refused> {
        let now = self.clock.now();
        Ok(self.route(route)?.limits.capture().start(now, self.queue.millis(now), time, max))
    }

    /// What is left of a route's capture; `None` if there is none.
    ///
    /// # Errors
    /// [`Refused::UnknownRoute`].
    pub fn captured(&self, route: &str) -> Result<Option<Captured>, Refused> {
        let now = self.clock.now();
        Ok(self.route(route)?.limits.capture().left(now))
    }

    fn route(&self, name: &str) -> Result<Arc<RouteShared>, Refused> {
        let routes = (self.routes)();
        let found = routes.iter().find(|route| route.config.name == name).cloned();
        found.ok_or(Refused::UnknownRoute)
    }

    /// Why there is no delivery of this id.
    pub fn missing(&self, id: Uuid) -> Refused {
        if self.queue.store.was_removed(id) { Refused::Gone } else { Refused::NotFound }
    }
}
