//! `/metrics`, `/livez`, `/readyz`, `/config`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::AdminContext;
use crate::store::Health;

/// The body of a 404.
const NOT_FOUND: &str = "not found: try /metrics, /livez, /readyz or /config\n";
const TEXT: &str = "text/plain";
/// The text exposition format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics`
pub async fn metrics(State(context): State<Arc<AdminContext>>) -> Response {
    let metrics = context.metrics.clone();
    // With many routes it takes some time.
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(Ok(text)) => reply(StatusCode::OK, METRICS, text),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot encode the metrics");
            reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot encode\n")
        }
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot encode\n")
        }
    }
}

/// `/livez`
pub async fn livez() -> Response {
    reply(StatusCode::OK, TEXT, "alive\n")
}

/// `/readyz`
pub async fn readyz(State(context): State<Arc<AdminContext>>) -> Response {
    match (context.ready)() {
        true => reply(StatusCode::OK, TEXT, "ready\n"),
        // Anyone may ask: what it says has no path and no address in it.
        false => {
            let why = match context.queue.store.health() {
                Health::Failed(_) => "the store has failed\n",
                Health::Unreachable(_) => "the database cannot be reached\n",
                Health::Good | Health::Full => "starting or draining\n",
            };
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
        }
    }
}

/// `/config`
pub async fn config(State(context): State<Arc<AdminContext>>) -> Response {
    reply(StatusCode::OK, "application/json", format!("{:#}\n", (context.running)().summary))
}

/// Any other path.
pub async fn not_found() -> Response {
    reply(StatusCode::NOT_FOUND, TEXT, NOT_FOUND)
}

/// Any other method.
pub async fn method_not_allowed() -> Response {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn reply(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], text.into()).into_response()
}
