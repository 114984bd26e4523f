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
use crate::store::{Health, Millis};

/// `GET /api/v1/status`
///
/// # Errors
/// 400 for a query.
pub async fn status(State(context): State<Arc<AdminContext>>, query: Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    let running = (context.running)();
    let store = &context.queue.store;
    let sizes = store.sizes();
    let (state, error) = match store.health() {
        Health::Good => ("good", None),
        Health::Full => ("full", None),
        Health::Failed(why) => ("failed", Some(why.to_string())),
    };
    let records: u64 = store.counts().values().sum();
    let (successful, at) = context.metrics.last_reload();
    Ok(super::json(
        StatusCode::OK,
        &json!({
            "version": crate::VERSION,
            "revision": crate::REVISION,
            "ready": (context.ready)(),
            "read_only": running.admin.read_only,
            "store": {
                "kind": if running.max_bytes.is_some() { "sqlite" } else { "memory" },
                "bytes": sizes.used,
                "max": running.max_bytes,
                "free": running.max_bytes.map(|_| sizes.free),
                "state": state,
                "error": error,
            },
            "records": { "kept": records, "dropped": store.dropped() },
            // Milliseconds fit a double.
            "reload": { "successful": successful, "loaded_at": rfc3339((at * 1000.0) as Millis) },
        }),
    ))
}
