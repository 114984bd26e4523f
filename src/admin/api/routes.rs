//! `GET /api/v1/routes` and `/api/v1/routes/NAME`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::acts;
use super::query::{Name, Query};
use crate::acts::Refused;
use crate::admin::AdminContext;
use crate::admin::hours::LastHour;
use crate::admin::problem::Problem;
use crate::queue::attempt::rfc3339;
use crate::queue::circuit::Phase;
use crate::routing::capture::Captured;
use crate::routing::table::RouteShared;
use crate::store::{Counts, Millis, Shown, State as Stage, StoreError};

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
    let route = running.route(&name.0).ok_or(Refused::UnknownRoute)?;
    let counts = context.queue.store.counts();
    Ok(super::json(StatusCode::OK, &shown(&context, route, &counts).await?))
}

/// What is known of a route beside its configuration.
#[derive(Debug)]
pub struct Facts {
    /// Deliveries by state.
    pub queue: Vec<(Shown, u64)>,
    /// How long the oldest delivery waits, in seconds.
    pub oldest_waiting_seconds: Option<Millis>,
    /// Whether deliveries wait until a person lets them go on.
    pub paused: bool,
    /// The circuit of its upstream.
    pub circuit: Phase,
    /// The id of each secret, and when it verified a delivery last.
    pub secrets: Vec<(String, Option<Millis>)>,
    /// What is left of its capture.
    pub capture: Option<Captured>,
    /// What became of the deliveries of the last hour.
    pub last_hour: LastHour,
}

impl Facts {
    /// Those of a route; `counts` are the store's.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of(context: &AdminContext, route: &RouteShared, counts: &Counts) -> Result<Self, StoreError> {
        let config = &route.config;
        let store = &context.queue.store;
        let mut queue: Vec<(Shown, u64)> = ALWAYS.iter().map(|shown| (*shown, 0)).collect();
        for ((_, shown), count) in counts.iter().filter(|((name, _), _)| **name == *config.name) {
            match queue.iter_mut().find(|(known, _)| known == shown) {
                Some((_, known)) => *known = *count,
                None => queue.push((*shown, *count)),
            }
        }
        let age = |received_at: Millis| context.now().saturating_sub(received_at).max(0) / 1000;
        let secrets = config.secret_ids.iter().cloned();
        Ok(Self {
            queue,
            oldest_waiting_seconds: store.oldest(&config.name).await?.map(age),
            paused: store.route(&config.name).paused,
            circuit: context.queue.phase(config),
            secrets: secrets.zip(route.metrics.last_match.iter().map(|last_match| time(last_match.get()))).collect(),
            capture: route.limits.capture().left(context.clock.now()),
            last_hour: context.hours.last(route),
        })
    }
}

async fn shown(context: &AdminContext, route: &RouteShared, counts: &Counts) -> Result<Value, Problem> {
    let config = &route.config;
    let facts = Facts::of(context, route, counts).await?;
    let queue: Map<String, Value> =
        facts.queue.into_iter().map(|(shown, count)| (shown.name().to_owned(), count.into())).collect();
    let secrets = facts.secrets.into_iter();
    let secrets: Vec<_> =
        secrets.map(|(id, last_match)| json!({ "id": id, "last_match_at": last_match.map(rfc3339) })).collect();
    let millis = |part| facts.last_hour.times.quantile(part).map(|seconds| (seconds * 1000.0 * 100.0).round() / 100.0);
    let handler = json!({ "p50": millis(0.5), "p95": millis(0.95) });
    let hours = facts.last_hour.outcomes.into_iter();
    let last_hour: Map<String, Value> =
        hours.map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect();
    Ok(json!({
        "name": config.name,
        "path": config.path.to_string(),
        "host": config.host,
        "scheme": config.scheme.name,
        "upstream": config.upstream.to_string(),
        "upstreams": upstreams(route),
        "delivery": config.delivery.as_str(),
        "record": config.record.as_str(),
        "queue": queue,
        "oldest_waiting_seconds": facts.oldest_waiting_seconds,
        "paused": facts.paused,
        "circuit": phase(facts.circuit),
        "secrets": secrets,
        "capture": facts.capture.as_ref().map(acts::shown),
        "last_hour": last_hour,
        "handler_ms": handler,
    }))
}

/// The URLs of the upstream, each with whether it can be reached; `null` of a single one, of which that is not kept.
fn upstreams(route: &RouteShared) -> Vec<Value> {
    let urls = route.endpoint.urls();
    urls.map(|(url, reachable)| json!({ "url": url, "reachable": reachable })).collect()
}

/// Unix seconds as a time; `None` for zero, which stands for never.
fn time(seconds: f64) -> Option<Millis> {
    // Times fit a double without loss of milliseconds.
    (seconds > 0.0).then_some((seconds * 1000.0) as Millis)
}

/// The name of a circuit's phase.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::Probing => "probing",
    }
}
