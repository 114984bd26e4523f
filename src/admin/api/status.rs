//! `GET /api/v1/status`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::query::Query;
use crate::admin::AdminContext;
use crate::admin::problem::Problem;
use crate::queue::attempt::rfc3339;
use crate::store::memory::Bounds;
use crate::store::{Health, Millis, Sizes};

/// How the gateway is.
#[derive(Debug)]
pub struct Status {
    /// Whether it takes deliveries.
    pub ready: bool,
    /// `sqlite`, `postgres` or `memory`.
    pub kind: &'static str,
    /// How much room the store takes.
    pub sizes: Sizes,
    /// `store.max_size` in bytes; `None` in memory, where [`Bounds`] hold.
    pub max_bytes: Option<u64>,
    /// How the store is.
    pub health: Health,
    /// Deliveries that are kept.
    pub kept: u64,
    /// Deliveries that could not be recorded, since the start.
    pub dropped: u64,
    /// Refused ones that were not recorded since more than 20 of a route came in a second, since the start.
    pub over_rate: u64,
    /// Whether the last reload succeeded.
    pub reload_successful: bool,
    /// When the configuration that runs was loaded.
    pub loaded_at: Millis,
}

impl Status {
    /// How it is now.
    pub fn of(context: &AdminContext) -> Self {
        let store = &context.queue.store;
        let running = (context.running)();
        let max_bytes = running.max_bytes;
        let (reload_successful, loaded_at) = context.metrics.last_reload();
        Self {
            ready: (context.ready)(),
            kind: running.store_kind,
            sizes: store.sizes(),
            max_bytes,
            health: store.health(),
            kept: store.counts().values().sum(),
            dropped: store.dropped(),
            over_rate: context.metrics.records.over_rate.get(),
            reload_successful,
            // Milliseconds fit a double.
            loaded_at: (loaded_at * 1000.0) as Millis,
        }
    }

    /// The state of the store, and why it has failed if it has.
    pub fn state(&self) -> (&'static str, Option<String>) {
        match &self.health {
            Health::Good => ("good", None),
            Health::Full => ("full", None),
            Health::Unreachable(why) => ("unreachable", Some(why.to_string())),
            Health::Failed(why) => ("failed", Some(why.to_string())),
        }
    }
}

/// `GET /api/v1/status`
///
/// # Errors
/// 400 for a query.
pub async fn status(State(context): State<Arc<AdminContext>>, query: Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    let status = Status::of(&context);
    let (state, error) = status.state();
    Ok(super::json(
        StatusCode::OK,
        &json!({
            "version": crate::VERSION,
            "revision": crate::REVISION,
            "ready": status.ready,
            "read_only": (context.running)().admin.read_only,
            "store": {
                "kind": status.kind,
                "bytes": status.sizes.used,
                "max": status.max_bytes.unwrap_or(Bounds::default().bytes as u64),
                "free": status.max_bytes.map(|_| status.sizes.free),
                "state": state,
                "error": error,
            },
            "records": { "kept": status.kept, "dropped": status.dropped + status.over_rate },
            "reload": { "successful": status.reload_successful, "loaded_at": rfc3339(status.loaded_at) },
        }),
    ))
}
