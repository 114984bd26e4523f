//! `/ui/routes/NAME`: one route, with its secrets and what to enter at its provider.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;

use super::Answer;
use super::acts::route_page;
use super::chrome::{Chrome, html};
use super::flash::{self, Said};
use super::routes::Summary;
use super::row::Row;
use super::setup::Setup;
use super::view::{Time, encoded};
use crate::acts::Refused;
use crate::admin::AdminContext;
use crate::admin::api::query::{Name, Query};
use crate::admin::api::routes::Facts;
use crate::store::{Filter, Millis};

/// A secret that has verified nothing for as long as this is silent.
const SILENT: Millis = 24 * 3600 * 1000;
/// Deliveries that are shown.
const LATEST: usize = 10;

#[derive(Template)]
#[template(path = "route.html")]
struct Page {
    chrome: Chrome,
    /// What is said after an act.
    said: Option<Said>,
    route: Summary,
    name_encoded: String,
    capture: Option<(Time, u32)>,
    secrets: Vec<Secret>,
    rotation: Rotation,
    rows: Vec<Row>,
    setup: Setup,
}

/// A secret: its id, and when it verified a delivery last.
struct Secret {
    id: String,
    last_match: Option<Time>,
}

/// How far the change to another secret is.
#[derive(Debug, PartialEq, Eq)]
enum Rotation {
    /// There is one secret.
    None,
    /// An old secret may still be in use.
    NotFinished,
    /// This secret alone has verified deliveries for a day; the others can go.
    Finished(String),
}

/// `/ui/routes/NAME`
///
/// # Errors
/// 400 for a query, 404, 503.
pub async fn page(State(context): State<Arc<AdminContext>>, Name(name): Name, query: Query) -> Answer {
    let query = query.only(&[flash::KEY], &[])?;
    let running = (context.running)();
    let route = running.route(&name).ok_or(Refused::UnknownRoute)?;
    let facts = Facts::of(&context, route, &context.queue.store.counts()).await?;
    let filter = Filter { routes: Some(vec![name.clone()]), ..Filter::default() };
    let latest = context.queue.store.list(filter, LATEST).await?;
    let secrets = facts.secrets.iter().map(|(id, at)| Secret { id: id.clone(), last_match: at.map(Time::of) });
    let (_, loaded) = context.metrics.last_reload();
    let page = Page {
        chrome: Chrome::of(&context, format!("{name} · Routes"), "route", "routes"),
        said: context.flashes.find(&route_page(&name), query.get(flash::KEY), context.clock.now()),
        route: Summary::of(route, &facts),
        name_encoded: encoded(&name),
        capture: facts.capture.map(|captured| (Time::of(captured.until), captured.left)),
        secrets: secrets.collect(),
        // The secrets of a configuration that runs for less than a day cannot be silent for one.
        rotation: rotation(&facts.secrets, context.now(), (loaded * 1000.0) as Millis),
        rows: latest.deliveries.iter().map(Row::of).collect(),
        setup: Setup::of(&route.config),
    };
    Ok(html(StatusCode::OK, &page))
}

/// Whether all secrets but one are silent, for what is known since `known`.
fn rotation(secrets: &[(String, Option<Millis>)], now: Millis, known: Millis) -> Rotation {
    if secrets.len() < 2 {
        return Rotation::None;
    }
    let recent = |at: &Option<Millis>| at.is_some_and(|at| now.saturating_sub(at) < SILENT);
    let mut used = secrets.iter().filter(|(_, at)| recent(at));
    match (used.next(), used.next()) {
        (Some((id, _)), None) if now.saturating_sub(known) >= SILENT => Rotation::Finished(id.clone()),
        _ => Rotation::NotFinished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_finished_when_the_old_secret_is_silent_for_a_day() {
        let secrets = |new: Option<Millis>, old: Option<Millis>| [("new".to_owned(), new), ("old".to_owned(), old)];
        let now = 10 * SILENT;
        let of = |secrets: &[(String, Option<Millis>)]| rotation(secrets, now, 0);
        assert_eq!(of(&secrets(Some(now), None)[..1]), Rotation::None);
        assert_eq!(of(&secrets(Some(now), Some(now - SILENT + 1))), Rotation::NotFinished);
        assert_eq!(of(&secrets(None, None)), Rotation::NotFinished);
        assert_eq!(of(&secrets(Some(now), Some(now - SILENT))), Rotation::Finished("new".to_owned()));
        assert_eq!(of(&secrets(Some(now), None)), Rotation::Finished("new".to_owned()));
        assert_eq!(rotation(&secrets(Some(now), None), now, now - SILENT + 1), Rotation::NotFinished);
    }
}
