//! Which path is served by what.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::Uri;

use super::problem::Problem;
use super::{AdminContext, api, guard, plain, ui};

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
        .merge(ui::router())
        .fallback(not_found)
        .with_state(context.clone())
        .layer(from_fn(guard::body::read))
        .layer(from_fn_with_state(context, guard::judge))
        .layer(from_fn(ui::refusal::as_page))
        .layer(from_fn(guard::headers::add))
}

/// Any other path.
async fn not_found(State(context): State<Arc<AdminContext>>, uri: Uri) -> Response {
    let path = uri.path();
    if path == "/" && (context.running)().admin.page {
        ui::home().await
    } else if guard::is_below(path, "/api") {
        api::not_found().into_response()
    } else if guard::is_below(path, "/ui") {
        Problem::not_found("there is no such page").into_response()
    } else {
        plain::not_found().await
    }
}
