//! `/ui/deliveries/ID`: all that is known of one delivery.
//!
//! - [`reasons`] says why it was refused, [`offers`] what can be done with it.
//! - [`parts`] has its head, body, attempts and times.

mod offers;
mod parts;
mod reasons;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;

use super::Answer;
use super::acts::{Question, delivery_page};
use super::chrome::{Chrome, html};
use super::content::View;
use super::flash::{self, Said};
use super::row::Row;
use super::view::shown;
use crate::acts::why::is_of_signature;
use crate::admin::AdminContext;
use crate::admin::api::deliveries::{self, compute};
use crate::admin::api::detail::Found;
use crate::admin::api::query::{Id, Query};
use crate::admin::api::recorded::RecordedRequest;
use crate::admin::problem::Problem;
use crate::reject::Reject;
use crate::routing::table::RouteShared;
use offers::Offers;
use parts::{Attempt, Body, Fact, Header, Span};
use reasons::Why;

#[derive(Template)]
#[template(path = "delivery.html")]
struct Page {
    chrome: Chrome,
    row: Row,
    /// What is said after an act.
    said: Option<Said>,
    /// Whether there may soon be more to see: it waits for its handler, or a replay was just asked for.
    is_moving: bool,
    /// The refusal in a sentence; empty if it was not refused. Advice, unless its signature was looked
    /// into.
    title: &'static str,
    hint: &'static str,
    /// The status that is shown beside the outcome.
    status: Option<u16>,
    why: Why,
    facts: Vec<Fact>,
    /// The path of the delivery's page.
    here: String,
    /// The path of the delivery in the API.
    api: String,
    offers: Offers,
    /// The route that can be captured, where it would help.
    capture: Option<String>,
    /// What can be asked for.
    questions: Vec<&'static Question>,
    /// Whether signatures are shown; `None` if there is none, or no head.
    signatures: Option<bool>,
    headers: Option<Vec<Header>>,
    target: String,
    body: Body,
    attempts: Vec<Attempt>,
    timing: Vec<Span>,
    answer: String,
}

/// `/ui/deliveries/ID`
///
/// # Errors
/// 400 for a wrong query, 404, 410, 503.
pub async fn page(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Answer {
    let query = query.only(&["view", "all", "signatures", "explain", flash::KEY], &[])?;
    let view = match query.get("view") {
        None => View::default(),
        Some(name) => View::ALL
            .into_iter()
            .find(|view| view.name() == name)
            .ok_or_else(|| Problem::bad_query("view must be pretty, raw or hex"))?,
    };
    let (all, with_signatures) = (query.flag("all")?, query.flag("signatures")?);
    let asked = query.flag("explain")?;
    let kept = context.acts.read(id.0).await?;
    let found = deliveries::shown(&context, kept.clone()).await?;
    let why = reasons::why(&context, kept, &found, asked).await?;
    let signatures = deliveries::signatures(&context, &found);
    let route = deliveries::route(&context, &found.stored.delivery.route);
    let chrome = Chrome::of(&context, title(&found), "delivery", "deliveries");
    let here = delivery_page(id.0);
    let said = context.flashes.find(&here, query.get(flash::KEY), context.clock.now());
    let shape = Shape { view, all, with_signatures, asked };
    compute(move || {
        let request = RecordedRequest::of(&found.details, &signatures, with_signatures);
        html(StatusCode::OK, &Page::of(chrome, said, &found, request.as_ref(), route.as_deref(), why, &shape))
    })
    .await
}

/// How a person wants to see it.
struct Shape {
    view: View,
    all: bool,
    with_signatures: bool,
    asked: bool,
}

impl Shape {
    /// The address of the page in this shape.
    fn address(&self, here: &str) -> String {
        let flags = [("signatures=true", self.with_signatures), ("explain=true", self.asked), ("all=true", self.all)];
        let flags = flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| format!("&{flag}"));
        format!("{here}?view={}{}", self.view.name(), flags.collect::<String>())
    }
}

fn title(found: &Found) -> String {
    let row = Row::of(&found.stored);
    let what = if row.reason.is_empty() { row.outcome.state.to_owned() } else { row.reason };
    format!("{} {what} · {} · {}", row.outcome.icon, row.route, row.received.short)
}

impl Page {
    fn of(
        chrome: Chrome,
        said: Option<Said>,
        found: &Found,
        request: Option<&RecordedRequest>,
        route: Option<&RouteShared>,
        why: Why,
        shape: &Shape,
    ) -> Self {
        let row = Row::of(&found.stored);
        let (here, api) = (delivery_page(found.stored.delivery.id), format!("/api/v1/deliveries/{}", row.id));
        let reject = parts::reject(found);
        let offers = Offers::of(found, request, &why);
        Self {
            said,
            is_moving: row.outcome.class == "wait" || said == Some(Said::Replay),
            status: parts::status(found, route),
            title: reject.map_or("", |reject| reject.facts().title),
            hint: reject
                .filter(|reject| !(why.has_causes() && is_of_signature(reject.reason())))
                .map_or("", Reject::hint),
            facts: parts::facts(found),
            capture: why.capture(found, route),
            questions: offers.questions(),
            offers,
            signatures: request.and_then(|request| {
                (shape.with_signatures || request.hides_something()).then_some(shape.with_signatures)
            }),
            headers: request.map(parts::headers),
            target: request
                .map(|request| shown(&format!("{} {} {}", request.method, request.target, request.version)))
                .unwrap_or_default(),
            body: Body::of(found, request, route, shape, &here),
            attempts: found.attempts.iter().map(|attempt| Attempt::of(found, attempt)).collect(),
            timing: parts::timing(found),
            answer: parts::answer(found, route),
            chrome,
            row,
            why,
            here,
            api,
        }
    }
}
