//! The API under `/api/v1/`: JSON, with errors by RFC 9457. `openapi.json`, beside this file, describes it; a test compares it
//! with the paths of the router.
//!
//! - [`deliveries`] lists deliveries and shows one.
//! - [`detail`] is what is shown of one, [`summary`] of each in a list.
//! - [`copies`] has those that only a listener of their route gets.
//! - [`recorded`] is a request as it was recorded, and [`export`] writes it for other programs.
//! - [`query`] reads query strings and ids, `body` reads bodies.
//! - [`stream`] tells of deliveries as they come and change.
//! - [`acts`] changes what people ask for.
//! - [`routes`] and [`status`] show the gateway.

pub mod acts;
mod body;
pub mod copies;
pub mod deliveries;
pub mod detail;
pub mod export;
pub mod query;
pub mod recorded;
pub mod routes;
pub mod status;
pub mod stream;
pub mod summary;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::AdminContext;
use super::problem::{Problem, method_not_allowed};

/// The description of the API by OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// All paths below `/api`, each with its methods and their handlers.
fn paths() -> Vec<(&'static str, MethodRouter<Arc<AdminContext>>)> {
    vec![
        ("/v1/openapi.json", get(openapi)),
        ("/v1/deliveries", get(deliveries::list)),
        ("/v1/deliveries/{id}", get(deliveries::detail)),
        ("/v1/deliveries/{id}/body", get(deliveries::body)),
        ("/v1/deliveries/{id}/http", get(deliveries::http)),
        ("/v1/deliveries/{id}/curl", get(deliveries::curl)),
        ("/v1/deliveries/{id}/har", get(deliveries::har)),
        ("/v1/deliveries/{id}/explain", post(acts::explain)),
        ("/v1/deliveries/{id}/replay", post(acts::replay)),
        ("/v1/deliveries/{id}/discard", post(acts::discard)),
        ("/v1/deliveries/{id}/erase", post(acts::erase)),
        ("/v1/replays", post(acts::start_bulk)),
        ("/v1/replays/{id}", get(acts::bulk).delete(acts::stop_bulk)),
        ("/v1/stream", get(stream::stream)),
        ("/v1/routes", get(routes::list)),
        ("/v1/routes/{name}", get(routes::one)),
        ("/v1/routes/{name}/pause", post(acts::pause)),
        ("/v1/routes/{name}/resume", post(acts::resume)),
        ("/v1/routes/{name}/capture", post(acts::capture)),
        ("/v1/status", get(status::status)),
    ]
}

/// The paths below `/api`.
pub fn router() -> Router<Arc<AdminContext>> {
    let router = paths().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.method_not_allowed_fallback(method_not_allowed)
}

/// `GET /api/v1/openapi.json`
async fn openapi(query: query::Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    Ok(reply(StatusCode::OK, "application/json", OPENAPI))
}

/// The answer to any other path below `/api`.
pub fn not_found() -> Problem {
    Problem::not_found("the API has no such path: see /api/v1/openapi.json")
}

/// A response of JSON.
fn json(status: StatusCode, value: &Value) -> Response {
    reply(status, "application/json", value.to_string())
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_the_paths_that_are_served_and_no_others() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
        let served: BTreeSet<String> = paths().into_iter().map(|(path, _)| format!("/api{path}")).collect();
        assert_eq!(described, served);
    }
}
