//! The listener for operators: `/metrics`, `/livez`, `/readyz`, `/config`, the API under `/api/v1/`, the page under `/ui/`.
//!
//! It has a thread and a runtime of its own, so that `/livez` answers whatever the API does. The store reads on a thread of its
//! own; what takes long to compute runs on the runtime's threads for blocking work.
//!
//! - [`server`] accepts connections.
//! - [`router`] says which path is served by what.
//! - [`guard`] refuses requests before a handler sees them.
//! - [`problem`] is a refusal, and its response.
//! - [`plain`] serves metrics, health and the configuration.
//! - [`api`] reads deliveries and routes, and acts on them.
//! - [`ui`] shows them to people, as pages.
//! - [`hours`] counts what became of each route's deliveries within the last hour.

pub mod api;
pub mod guard;
pub mod hours;
pub mod plain;
pub mod problem;
pub mod router;
pub mod server;
mod summary;
pub mod ui;

use std::sync::Arc;

use crate::acts::Acts;
use crate::clock::MonotonicClock;
use crate::config;
use crate::metrics::Metrics;
use crate::queue::lane::Queue;
use crate::routing::table::RouteShared;
use crate::store::Millis;
use api::stream::Streams;
use hours::Hours;
pub use summary::summary;
use ui::flash::Flashes;
use ui::session::Sessions;

/// The parts of a running configuration that the admin listener needs.
pub struct Running {
    /// The section `admin`.
    pub admin: config::Admin,
    /// The JSON of `/config`.
    pub summary: serde_json::Value,
    /// The routes.
    pub routes: Arc<[Arc<RouteShared>]>,
    /// `sqlite`, `postgres` or `memory`.
    pub store_kind: &'static str,
    /// `store.max_size` in bytes; `None` if deliveries are kept in memory.
    pub max_bytes: Option<u64>,
}

impl Running {
    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Arc<RouteShared>> {
        self.routes.iter().find(|route| route.config.name == name)
    }
}

/// What the admin listener gets from the rest of the gateway.
pub struct AdminContext {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// The deliveries.
    pub queue: Arc<Queue>,
    /// Monotonic time.
    pub clock: MonotonicClock,
    /// The configuration that runs.
    pub running: Box<dyn Fn() -> Arc<Running> + Send + Sync>,
    /// For `/readyz`: whether the gateway takes deliveries.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// What people can do.
    pub acts: Acts,
    /// The routes' last hour.
    pub hours: Hours,
    /// The streams of events.
    pub streams: Streams,
    /// Held while a form replays deliveries.
    pub replaying: tokio::sync::Mutex<()>,
    /// Who has logged in.
    pub sessions: Sessions,
    /// What pages say after an act.
    pub flashes: Flashes,
}

impl AdminContext {
    /// The wall-clock time, as the store counts it.
    pub fn now(&self) -> Millis {
        self.queue.millis(self.clock.now())
    }
}
