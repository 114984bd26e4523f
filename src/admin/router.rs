//! Which path is served by what.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::Uri;

use super::{AdminContext, api, guard, plain};

/// All paths, behind the guards.
pub fn router(context: Arc<AdminContext>) -> Router {
    let plain = Router::new()
        .route("/metrics", get(plain::metrics))
        .route("/livez", get(plain::livez))
        .route("/readyz", get(plain::readyz))
        .route("/config", get(plain::config))
        .method_not_allowed_fallback(plain::method_not_allowed);
    plain
        .nest("/api", api::router())
        .fallback(not_found)
        .with_state(context.clone())
        .layer(from_fn(guard::body::read))
        .layer(from_fn_with_state(context, guard::judge))
        .layer(from_fn(guard::headers::add))
}

/// Any other path.
async fn not_found(uri: Uri) -> Response {
    match guard::is_below(uri.path(), "/api") {
        true => api::not_found().into_response(),
        false => plain::not_found().await,
    }
}
