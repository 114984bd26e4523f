//! `GET /api/v1/routes` and `/api/v1/routes/NAME`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::acts;
use super::query::{Name, Query};
use crate::admin::AdminContext;
use crate::admin::problem::Problem;
use crate::config::Delivery;
use crate::queue::attempt::rfc3339;
use crate::queue::circuit::Phase;
use crate::routing::table::RouteShared;
use crate::store::{Counts, Millis, Shown, State as Stage};

/// The states of a queue that are shown without a delivery, too.
const ALWAYS: [Shown; 4] = [Shown::Pending, Shown::Retrying, Shown::Settled(Stage::Dead), Shown::Held];

/// `GET /api/v1/routes`
///
/// # Errors
/// 400 for a query, 503 from the store.
pub async fn list(State(context): State<Arc<AdminContext>>, query: Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    let counts = context.queue.store.counts();
    let mut routes = Vec::new();
    for route in &*(context.running)().routes {
        routes.push(shown(&context, route, &counts).await?);
    }
    Ok(super::json(StatusCode::OK, &json!({ "routes": routes })))
}

/// `GET /api/v1/routes/NAME`
///
/// # Errors
/// 400 for a query, 404 for an unknown name, 503 from the store.
pub async fn one(State(context): State<Arc<AdminContext>>, name: Name, query: Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    let running = (context.running)();
    let route = running
        .route(&name.0)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown_route", "no route has this name"))?;
    let counts = context.queue.store.counts();
    Ok(super::json(StatusCode::OK, &shown(&context, route, &counts).await?))
}

async fn shown(context: &AdminContext, route: &RouteShared, counts: &Counts) -> Result<Value, Problem> {
    let config = &route.config;
    let store = &context.queue.store;
    let of_route = counts.iter().filter(|((name, _), _)| **name == *config.name);
    let mut queue: Map<String, Value> = ALWAYS.iter().map(|shown| (shown.name().to_owned(), 0.into())).collect();
    queue.extend(of_route.map(|((_, shown), count)| (shown.name().to_owned(), (*count).into())));
    let age = |received_at: Millis| context.now().saturating_sub(received_at).max(0) / 1000;
    let oldest = store.oldest(&config.name).await?.map(age);
    let circuit = match &config.delivery {
        Delivery::Proxy => Phase::Closed,
        Delivery::Queue(_) => context.queue.phase(&config.upstream),
    };
    let secrets = config.secret_ids.iter().zip(&route.metrics.last_match);
    let secrets: Vec<_> =
        secrets.map(|(id, last_match)| json!({ "id": id, "last_match_at": time(last_match.get()) })).collect();
    let hours = context.hours.last(route).into_iter();
    let last_hour: Map<String, Value> =
        hours.map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect();
    Ok(json!({
        "name": config.name,
        "path": config.path.to_string(),
        "host": config.host,
        "scheme": config.scheme.name,
        "upstream": config.upstream.to_string(),
        "delivery": config.delivery.as_str(),
        "record": config.record.as_str(),
        "queue": queue,
        "oldest_waiting_seconds": oldest,
        "paused": store.route(&config.name).paused,
        "circuit": phase(circuit),
        "secrets": secrets,
        "capture": route.limits.capture().left(context.clock.now()).as_ref().map(acts::shown),
        "last_hour": last_hour,
    }))
}

/// Unix seconds as a time; `None` for zero, which stands for never.
fn time(seconds: f64) -> Option<String> {
    // Times fit a double without loss of milliseconds.
    (seconds > 0.0).then(|| rfc3339((seconds * 1000.0) as Millis))
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::Probing => "probing",
    }
}
