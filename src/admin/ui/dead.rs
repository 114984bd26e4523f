//! `/ui/dead`: the dead letters by route and reason; `/ui/replays`: replays in bulk, with their number first and their progress
//! then.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use uuid::Uuid;

use super::chrome::{Chrome, html};
use super::login::form_fields;
use super::row::Row;
use super::view::{counted, encoded, number, shown};
use super::{Answer, see_other};
use crate::acts::bulk::{DEFAULT_PER_SECOND, MAX_DELIVERIES, MAX_PER_SECOND, Progress, RunState};
use crate::admin::AdminContext;
use crate::admin::api::deliveries;
use crate::admin::api::query::{Id, Query};
use crate::admin::problem::Problem;
use crate::search::choice::written;
use crate::store::{Filter, Shown, State as Stage, StoreError};

/// What is searched for.
const DEAD: &str = "state:dead";
/// Dead letters that are looked at for their reasons, newest first.
const LOOKED_AT: usize = 2_000;
/// Dead letters of a page of the store.
const PAGE: usize = 500;
/// Dead letters that are shown.
const LATEST: usize = 20;

#[derive(Template)]
#[template(path = "dead.html")]
struct Page {
    chrome: Chrome,
    q: &'static str,
    groups: Vec<Group>,
    total: String,
    /// How many were looked at; empty for all.
    looked_at: String,
    rows: Vec<Row>,
}

struct Group {
    route: String,
    reason: String,
    count: String,
    q_encoded: String,
}

#[derive(Template)]
#[template(path = "ask-replays.html")]
struct Ask {
    chrome: Chrome,
    q: String,
    q_encoded: String,
    matched: u64,
    per_second: u32,
    most_per_second: u32,
    /// The id of the run that the form starts.
    run: String,
}

#[derive(Template)]
#[template(path = "replays.html")]
struct Run {
    chrome: Chrome,
    id: String,
    state: &'static str,
    is_running: bool,
    matched: u64,
    done: u64,
    failed: u64,
    left: u64,
}

/// `/ui/dead`
///
/// # Errors
/// 400 for a query, 503 from the store.
pub async fn page(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    query.only(&[], &[])?;
    let (groups, rows, looked_at) = look(&context).await?;
    let group = |((route, reason), count): ((String, String), u64)| {
        let reason_term = if reason.is_empty() { String::new() } else { format!(" reason:{}", written(&reason)) };
        Group {
            q_encoded: encoded(&format!("{DEAD} route:{}{reason_term}", written(&route))),
            route: shown(&route),
            reason: shown(&reason),
            count: number(count),
        }
    };
    let chrome = Chrome::of(&context, "Dead letters", "dead", "dead");
    let page = Page {
        q: DEAD,
        groups: groups.into_iter().map(group).collect(),
        total: counted(chrome.dead, "delivery was", "deliveries were"),
        chrome,
        looked_at: if looked_at >= LOOKED_AT as u64 { number(looked_at) } else { String::new() },
        rows,
    };
    Ok(html(StatusCode::OK, &page))
}

type Groups = BTreeMap<(String, String), u64>;

/// Counts the newest dead letters by route and reason: also the first of them as rows, and how many they are.
async fn look(context: &AdminContext) -> Result<(Groups, Vec<Row>, u64), StoreError> {
    let (mut groups, mut rows, mut looked_at) = (Groups::new(), Vec::new(), 0);
    let mut filter = Filter { states: Some(vec![Shown::Settled(Stage::Dead)]), ..Filter::default() };
    while looked_at < LOOKED_AT as u64 {
        let page = context.queue.store.list(filter.clone(), PAGE).await?;
        for stored in &page.deliveries {
            let key =
                (stored.delivery.route.to_string(), stored.delivery.reason.as_deref().unwrap_or_default().to_owned());
            *groups.entry(key).or_default() += 1;
            if rows.len() < LATEST {
                rows.push(Row::of(stored));
            }
            looked_at += 1;
        }
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    Ok((groups, rows, looked_at))
}

/// `GET /ui/replays?q=…`: how many deliveries a search finds, and the form that replays them.
///
/// # Errors
/// 400 for a mistake in the search, 503.
pub async fn ask(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    let query = query.only(&["q"], &[])?;
    let q = query.get("q").unwrap_or_default().trim().to_owned();
    let matched = context.acts.count(deliveries::matching(&context, &q)?, MAX_DELIVERIES).await?;
    let page = Ask {
        chrome: Chrome::of(&context, "Replay many", "ask-bulk", "dead"),
        q_encoded: encoded(&q),
        q,
        matched,
        per_second: DEFAULT_PER_SECOND,
        most_per_second: MAX_PER_SECOND,
        run: Uuid::new_v4().to_string(),
    };
    Ok(html(StatusCode::OK, &page))
}

/// `POST /ui/replays`. The form has the id of the run that it starts, so that one that is sent twice starts one run.
///
/// # Errors
/// 400 for a wrong form or a mistake in the search, 503.
pub async fn start(State(context): State<Arc<AdminContext>>, bytes: Bytes) -> Answer {
    let fields = form_fields(&bytes, &["q", "max", "per_second", "run"])?;
    let run = fields.get("run").map_or(Ok(Uuid::new_v4()), Uuid::try_parse);
    let run = run.map_err(|_| Problem::bad_body("run must be an id"))?;
    let q = fields.get("q").ok_or_else(|| Problem::bad_body("q is missing: it says which deliveries to replay"))?;
    let max = whole(&fields, "max", MAX_DELIVERIES)?.unwrap_or(MAX_DELIVERIES);
    let most = usize::try_from(MAX_PER_SECOND).unwrap_or(usize::MAX);
    let per_second = whole(&fields, "per_second", most)?.and_then(|number| u32::try_from(number).ok());
    let per_second = per_second.unwrap_or(DEFAULT_PER_SECOND);
    // From the look at the run to its start.
    let _one_at_a_time = context.replaying.lock().await;
    if context.acts.bulk(run).is_err() {
        context.acts.start_bulk_as(run, deliveries::matching(&context, q)?, max, per_second).await?;
    }
    Ok(see_other(&format!("/ui/replays/{run}")))
}

/// A field that is a whole number from 1 to `most`; `None` if it is left out or empty.
fn whole(fields: &Query, name: &str, most: usize) -> Result<Option<usize>, Problem> {
    let Some(text) = fields.get(name).map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    let wrong = || Problem::bad_body(format!("{name} must be a whole number from 1 to {most}"));
    number.map(Some).ok_or_else(wrong)
}

/// `GET /ui/replays/ID`
///
/// # Errors
/// 404.
pub async fn progress(State(context): State<Arc<AdminContext>>, Id(id): Id) -> Answer {
    let Progress { id, state, matched, done, failed, left } = context.acts.bulk(id)?;
    let page = Run {
        chrome: Chrome::of(&context, "Replay of many", "bulk", "dead"),
        id: id.to_string(),
        state: state.as_str(),
        is_running: state == RunState::Running,
        matched,
        done,
        failed,
        left,
    };
    Ok(html(StatusCode::OK, &page))
}

/// `POST /ui/replays/ID/stop`
///
/// # Errors
/// 400, 404.
pub async fn stop(State(context): State<Arc<AdminContext>>, Id(id): Id, bytes: Bytes) -> Answer {
    form_fields(&bytes, &[])?;
    context.acts.stop_bulk(id)?;
    Ok(see_other(&format!("/ui/replays/{id}")))
}
