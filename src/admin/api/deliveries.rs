//! `GET /api/v1/deliveries` and what is below it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::copies;
use super::detail::{self, Found};
use super::export;
use super::query::{Id, Query};
use super::recorded::{RecordedRequest, Signatures};
use super::summary::Summary;
use crate::acts::explain::Kept;
use crate::acts::recorded::{BODY_CUT, BODY_REDACTED};
use crate::admin::AdminContext;
use crate::admin::problem::Problem;
use crate::queue::stored;
use crate::record;
use crate::record::redact::Secrets;
use crate::routing::table::RouteShared;
use crate::search;
use crate::store::{Filter, Shown, State as Stage};

/// Deliveries of a page, unless another number is asked for.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;
/// The keys of a list that are conditions.
const CONDITIONS: [&str; 9] =
    ["route", "state", "reason", "status", "event_type", "event_id", "request_id", "since", "until"];
/// Its other keys.
const OTHERS: [&str; 3] = ["q", "before", "limit"];

/// `GET /api/v1/deliveries`
///
/// # Errors
/// 400 for a wrong query, 503 from the store.
pub async fn list(State(context): State<Arc<AdminContext>>, query: Query) -> Result<Response, Problem> {
    let query = query.only(&[&CONDITIONS[..], &OTHERS].concat(), &["state"])?;
    let limit = match query.get("limit").map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(Problem::bad_query(format!("limit must be from 1 to {MAX_LIMIT}"))),
    };
    let mut filter = filter(&context, &query)?;
    filter.before = match query.get("before") {
        None => None,
        Some(id) => Some(Id::parse(id).map_err(|_| Problem::bad_query("before must be the id of a delivery"))?.0),
    };
    let page = context.queue.store.list(filter, limit).await?;
    let write = move || {
        let deliveries: Vec<_> = page.deliveries.iter().map(Summary::from).collect();
        let next = page.next.map(|id| id.to_string());
        json!({ "deliveries": deliveries, "next": next }).to_string()
    };
    Ok(super::reply(StatusCode::OK, "application/json", compute(write).await?))
}

/// The conditions of a query string.
///
/// # Errors
/// 400, which says where the mistake is.
pub fn filter(context: &AdminContext, query: &Query) -> Result<Filter, Problem> {
    let mut conditions = search::Query::new(context.now());
    for (key, value) in query.iter() {
        if key == "q" {
            text(&mut conditions, value)?;
        } else if CONDITIONS.contains(&key) {
            conditions.term(key, value).map_err(|mistake| Problem::bad_query(format!("{key}: {}", mistake.message)))?;
        }
    }
    Ok(conditions.filter())
}

/// The deliveries that a text of the search language is about.
///
/// # Errors
/// 400, with the place of the mistake in bytes as `at`.
pub fn matching(context: &AdminContext, q: &str) -> Result<Filter, Problem> {
    let mut conditions = search::Query::new(context.now());
    text(&mut conditions, q)?;
    Ok(conditions.filter())
}

/// Adds a text of the search language.
///
/// # Errors
/// 400, with the place of the mistake in bytes as `at`.
fn text(conditions: &mut search::Query, text: &str) -> Result<(), Problem> {
    let wrong = |mistake: search::Mistake| Problem::bad_query(format!("q: {}", mistake.message)).with("at", mistake.at);
    conditions.text(text).map_err(wrong)
}

/// `GET /api/v1/deliveries/ID`
///
/// # Errors
/// 404, 410, 503.
pub async fn detail(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Result<Response, Problem> {
    let with_signatures = query.only(&["signatures"], &[])?.flag("signatures")?;
    let found = find(&context, id).await?;
    let signatures = signatures(&context, &found);
    let value = compute(move || {
        let request = RecordedRequest::of(&found.details, &signatures, with_signatures);
        detail::detail(&found, request.as_ref()).to_string()
    });
    Ok(super::reply(StatusCode::OK, "application/json", value.await?))
}

/// `GET /api/v1/deliveries/ID/body`
///
/// # Errors
/// 404, 410, 503.
pub async fn body(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Result<Response, Problem> {
    query.only(&[], &[])?;
    let found = find(&context, id).await?;
    let body = found.body.clone().ok_or_else(|| not_kept(&found))?;
    Ok(attachment(&found, "application/octet-stream", "body", body))
}

/// `GET /api/v1/deliveries/ID/http`: the request as it came, or with `upstream` as the upstream gets it.
///
/// # Errors
/// 404, 410, 503.
pub async fn http(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Result<Response, Problem> {
    let query = query.only(&["signatures", "upstream"], &[])?;
    let request_of = if query.flag("upstream")? { for_upstream } else { as_it_came };
    exported(&context, id, &query, request_of, ("message/http", "http"), export::http).await
}

/// `GET /api/v1/deliveries/ID/curl`
///
/// # Errors
/// 404, 410, 503.
pub async fn curl(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Result<Response, Problem> {
    let query = query.only(&["signatures"], &[])?;
    exported(&context, id, &query, as_it_came, ("text/plain; charset=utf-8", "sh"), export::curl).await
}

/// `GET /api/v1/deliveries/ID/har`
///
/// # Errors
/// 404, 410, 503.
pub async fn har(State(context): State<Arc<AdminContext>>, id: Id, query: Query) -> Result<Response, Problem> {
    let query = query.only(&["signatures"], &[])?;
    exported(&context, id, &query, as_it_came, ("application/json", "har"), export::har).await
}

/// What is shown of a request, with or without its signatures; `None` if it is not kept.
type RequestOf = fn(&AdminContext, &Found, with_signatures: bool) -> Option<RecordedRequest>;

fn as_it_came(context: &AdminContext, found: &Found, with_signatures: bool) -> Option<RecordedRequest> {
    RecordedRequest::of(&found.details, &signatures(context, found), with_signatures)
}

/// The message that is kept for the handler, without secrets. Of a queued delivery there is one as long as it waits, whatever
/// its route records, and a copy of it for those who listen.
fn for_upstream(context: &AdminContext, found: &Found, with_signatures: bool) -> Option<RecordedRequest> {
    let delivery = &found.stored.delivery;
    let message =
        stored::decode(delivery.id, &delivery.head, Bytes::new()).ok().filter(|_| !delivery.head.is_empty())?;
    let route = route(context, &delivery.route);
    let without = Secrets::of(route.as_deref(), &delivery.scheme, &found.details).message(&message);
    let message = without.unwrap_or(message);
    let fields = detail::fields(message.fields.bytes());
    let head = (message.method.as_str(), message.target.parts().0);
    Some(RecordedRequest::of_fields(head, fields, &found.details, &signatures(context, found), with_signatures))
}

async fn exported(
    context: &AdminContext,
    id: Id,
    query: &Query,
    request_of: RequestOf,
    (kind, ending): (&'static str, &str),
    write: fn(&Found, &RecordedRequest, &[u8]) -> Vec<u8>,
) -> Result<Response, Problem> {
    let with_signatures = query.flag("signatures")?;
    let found = find(context, id).await;
    let is_gone = |problem: &Problem| matches!(problem.status, StatusCode::NOT_FOUND | StatusCode::GONE);
    let mut found = match found {
        Err(problem) if query.flag("upstream")? && is_gone(&problem) => copies::find(context, id.0).ok_or(problem)?,
        found => found?,
    };
    if query.flag("upstream")?
        && (found.body.is_none() || found.is_body_cut())
        && found.stored.shown != Shown::Settled(Stage::Erased)
        && let Some(copy) =
            route(context, &found.stored.delivery.route).and_then(|route| route.limits.copies().get(id.0))
    {
        found.stored.delivery.head = copy.head;
        found.body = Some(copy.body);
    }
    let found = Arc::new(found);
    let body = found.body.clone().ok_or_else(|| not_kept(&found))?;
    let request = request_of(context, &found, with_signatures).ok_or_else(|| not_kept(&found))?;
    let written = found.clone();
    let bytes = compute(move || write(&written, &request, &body)).await?;
    Ok(attachment(&found, kind, ending, bytes.into()))
}

/// The delivery of an id.
///
/// # Errors
/// 404 if there was none, 410 if it has made room, 503 from the store.
pub async fn find(context: &AdminContext, Id(id): Id) -> Result<Found, Problem> {
    shown(context, context.acts.read(id).await?).await
}

/// What may be shown of a delivery that was read.
///
/// # Errors
/// 500 for a record that cannot be read.
pub async fn shown(context: &AdminContext, Kept { stored, attempts, body }: Kept) -> Result<Found, Problem> {
    let details = stored.delivery.details.decode().map_err(|error| {
        tracing::error!(id = %stored.delivery.id, %error, "a record cannot be read");
        Problem::internal()
    })?;
    let Some(body) = body else { return Ok(Found { stored, attempts, details, body: None }) };
    let route = route(context, &stored.delivery.route);
    let read = move || {
        let secrets = Secrets::of(route.as_deref(), &stored.delivery.scheme, &details);
        let body = record::shown::body(stored.shown, &secrets, body);
        Found { stored, attempts, details, body }
    };
    compute(read).await
}

fn not_kept(found: &Found) -> Problem {
    match found.stored.shown {
        Shown::Settled(Stage::Erased) => Problem::gone("the delivery was erased"),
        _ => Problem::new(StatusCode::NOT_FOUND, "no_body", "the delivery's head or body is not kept"),
    }
}

/// Where its signatures stand.
pub fn signatures(context: &AdminContext, found: &Found) -> Signatures {
    let delivery = &found.stored.delivery;
    Signatures::of(route(context, &delivery.route).as_deref(), &delivery.scheme)
}

/// The route of this name, if the configuration has it.
pub fn route(context: &AdminContext, name: &str) -> Option<Arc<RouteShared>> {
    (context.running)().route(name).cloned()
}

/// What may take long to compute, so that other requests do not wait for it.
///
/// # Errors
/// 500 after a panic, which has been logged.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a response could not be computed");
        Problem::internal()
    })
}

/// A response that a browser saves and does not show.
fn attachment(found: &Found, kind: &'static str, ending: &str, bytes: Bytes) -> Response {
    let mut response = super::reply(StatusCode::OK, kind, bytes);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = format!("attachment; filename=\"{}.{ending}\"", found.stored.delivery.id);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    if found.is_body_cut() {
        headers.insert(BODY_CUT, HeaderValue::from_static("true"));
    }
    if found.details.had_secret_in_body() {
        headers.insert(BODY_REDACTED, HeaderValue::from_static("true"));
    }
    response
}
