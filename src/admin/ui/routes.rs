//! `/ui/routes`: a line for each route. [`Summary`] is what lists and the route's own page show of one.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use http::StatusCode;

use super::Answer;
use super::chrome::{Chrome, html};
use super::view::{lasts, number, took};
use crate::admin::AdminContext;
use crate::admin::api::query::Query;
use crate::admin::api::routes::{Facts, phase};
use crate::config::Delivery;
use crate::queue::circuit::Phase;
use crate::reject::Outcome;
use crate::routing::table::RouteShared;
use crate::store::{Shown, State as Stage};

#[derive(Template)]
#[template(path = "routes.html")]
struct Page {
    chrome: Chrome,
    routes: Vec<Summary>,
}

/// A route in a line.
#[derive(Debug)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The paths that it takes.
    pub path: String,
    /// The host that it takes; empty for any.
    pub host: String,
    /// Its scheme.
    pub scheme: String,
    /// Its upstream.
    pub upstream: String,
    /// `proxy` or `queue`.
    pub delivery: &'static str,
    /// `none`, `metadata` or `full`.
    pub record: &'static str,
    /// Whether it has a queue, which can be paused.
    pub has_queue: bool,
    /// How it is.
    pub health: Health,
    /// Deliveries of the last hour by outcome.
    pub hour: Vec<Bar>,
    /// All of them.
    pub hour_total: String,
    /// Within which time half of the attempts of the last hour ended; empty without an attempt.
    pub p50: String,
    /// The same for 95 %.
    pub p95: String,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Deliveries by state, with the states' names; without a queue, only the states that occur.
    pub queue: Vec<(&'static str, String)>,
    /// Dead ones.
    pub dead: u64,
    /// How long the oldest one waits; empty if none does.
    pub oldest: String,
    /// `closed`, `open` or `probing`.
    pub circuit: &'static str,
    /// Whether it is paused.
    pub paused: bool,
}

/// How a route is, in word and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The word.
    pub word: &'static str,
    /// Its class, as of an [`Outcome`](super::row::Outcome).
    pub class: &'static str,
    /// A sign of its class.
    pub icon: &'static str,
}

/// An outcome with its number, and its share for a bar.
#[derive(Debug)]
pub struct Bar {
    /// The outcome.
    pub label: &'static str,
    /// How often.
    pub count: String,
    /// From 0 to 100.
    pub width: u64,
}

/// `/ui/routes`
///
/// # Errors
/// 400 for a query, 503 from the store.
pub async fn page(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    query.only(&[], &[])?;
    let counts = context.queue.store.counts();
    let mut routes = Vec::new();
    for route in &*(context.running)().routes {
        routes.push(Summary::of(route, &Facts::of(&context, route, &counts).await?));
    }
    Ok(html(StatusCode::OK, &Page { chrome: Chrome::of(&context, "Routes", "routes", "routes"), routes }))
}

impl Summary {
    /// That of a route.
    pub fn of(route: &RouteShared, facts: &Facts) -> Self {
        let config = &route.config;
        let count = |wanted: &[Shown]| {
            facts.queue.iter().filter(|(shown, _)| wanted.contains(shown)).map(|(_, count)| count).sum()
        };
        let has_queue = matches!(config.delivery, Delivery::Queue(_));
        let total: u64 = facts.last_hour.outcomes.iter().map(|(_, count)| count).sum();
        let bars = facts.last_hour.outcomes.iter().filter(|(_, count)| *count > 0);
        let bar = |(outcome, count): &(Outcome, u64)| Bar {
            label: outcome.as_str(),
            count: number(*count),
            width: (count.saturating_mul(100) / total.max(1)).max(1),
        };
        let time =
            |part| facts.last_hour.times.quantile(part).map(|seconds| took(seconds * 1000.0)).unwrap_or_default();
        let seconds = facts.oldest_waiting_seconds.map(|seconds| u64::try_from(seconds).unwrap_or_default());
        Self {
            name: config.name.clone(),
            path: config.path.to_string(),
            host: config.host.clone().unwrap_or_default(),
            scheme: config.scheme.name.clone(),
            upstream: upstream(route),
            delivery: config.delivery.as_str(),
            record: config.record.as_str(),
            has_queue,
            health: Health::of(facts),
            hour: bars.map(bar).collect(),
            hour_total: number(total),
            p50: time(0.5),
            p95: time(0.95),
            waiting: count(&[Shown::Pending, Shown::Retrying, Shown::Held]),
            queue: facts
                .queue
                .iter()
                .filter(|(_, count)| has_queue || *count > 0)
                .map(|(shown, count)| (shown.name(), number(*count)))
                .collect(),
            dead: count(&[Shown::Settled(Stage::Dead)]),
            oldest: seconds.map(|seconds| lasts(Duration::from_secs(seconds))).unwrap_or_default(),
            circuit: phase(facts.circuit),
            paused: facts.paused,
        }
    }
}

/// The URLs of the upstream. Of several, it is said which cannot be reached.
fn upstream(route: &RouteShared) -> String {
    let shown = |(url, reachable): (&str, Option<bool>)| match reachable {
        Some(false) => format!("{url} (cannot be reached)"),
        Some(true) | None => url.to_owned(),
    };
    route.endpoint.urls().map(shown).collect::<Vec<_>>().join(", ")
}

impl Health {
    fn of(facts: &Facts) -> Self {
        let count = |wanted: Outcome| {
            facts.last_hour.outcomes.iter().find(|(outcome, _)| *outcome == wanted).map_or(0, |(_, n)| *n)
        };
        let good = count(Outcome::Forwarded) + count(Outcome::Accepted) + count(Outcome::Duplicate);
        let (word, class, icon) = if facts.paused {
            ("paused", "wait", "◷")
        } else if facts.circuit != Phase::Closed {
            ("upstream down", "warn", "!")
        } else if count(Outcome::UpstreamError) > good {
            ("handler failing", "warn", "!")
        } else if count(Outcome::Rejected) > good {
            ("mostly refused", "bad", "✗")
        } else if good > 0 {
            ("ok", "good", "✓")
        } else {
            ("quiet for an hour", "quiet", "–")
        };
        Self { word, class, icon }
    }
}
