//! `/ui/`: the deliveries, newest first, with a search.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;
use uuid::Uuid;

use super::chrome::{Chrome, html};
use super::row::Row;
use super::view::{encoded, number, shown};
use super::{Answer, see_other};
use crate::admin::AdminContext;
use crate::admin::api::deliveries;
use crate::admin::api::query::{Id, Query};
use crate::admin::api::status::Status;
use crate::admin::problem::Problem;
use crate::config::{NO_ROUTE, Record};
use crate::search;
use crate::search::choice::{Chosen, choose, chosen, written};
use crate::store::list::{Parts, summary_matches};
use crate::store::{Filter, Needs, Shown};
use crate::text::size;

/// Deliveries of a page.
const PAGE: usize = 50;
/// Deliveries that the script asks for at once.
pub const MAX_ROWS: usize = 50;

/// Links to what is searched for most, with the text of the search.
const QUICK: [(&str, &str); 5] =
    [("All", ""), ("Refused", "is:refused"), ("Failed", "is:failed"), ("Queued", "is:waiting"), ("Dead", "is:dead")];

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Page {
    chrome: Chrome,
    /// The text of the search.
    q: String,
    /// The same for the query string of an address.
    q_encoded: String,
    mistake: Option<Mistake>,
    quick: Vec<Quick>,
    selects: Vec<Select>,
    rows: Vec<Row>,
    /// Where older ones are.
    older: Option<String>,
    /// Whether these are the newest ones, so that new ones can be shown above them.
    is_newest: bool,
    empty: Option<Empty>,
    /// Routes of which nothing is recorded.
    unrecorded: Vec<String>,
    records: String,
}

struct Quick {
    label: &'static str,
    href: String,
    is_current: bool,
}

/// A list to choose from, which writes one term of the search.
struct Select {
    /// Its name in the form.
    name: &'static str,
    label: &'static str,
    /// What stands for no choice.
    any: &'static str,
    options: Vec<Choice>,
    /// Whether the search says of it what no option says: then that stays, unless another one is chosen.
    is_other: bool,
}

struct Choice {
    value: String,
    is_chosen: bool,
}

/// The choice that leaves the search as it is.
const AS_WRITTEN: &str = "*";
/// The keys of a route in a search.
const ROUTE: [&str; 1] = ["route"];
/// The keys of a state in a search.
const STATE: [&str; 2] = ["is", "state"];

/// A mistake in the search, with the text around it.
struct Mistake {
    message: String,
    before: String,
    after: String,
}

/// Why there are no rows.
enum Empty {
    /// No delivery was ever recorded; the name of a route to try.
    Store(String),
    /// Nothing matches.
    Search,
    /// Nothing matches among those that were looked at; there are more.
    SoFar,
    /// There are no older ones.
    End,
}

#[derive(Template)]
#[template(path = "rows.html")]
struct Rows {
    rows: Vec<Row>,
}

/// `/ui/` and `/ui/deliveries`
///
/// # Errors
/// 400 for an unknown key or a wrong id, 503 from the store. A mistake in the search is shown at its place, with 400.
pub async fn page(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    let query = query.only(&["q", "before", "was", "route", "state"], &[])?;
    let q = query.get("q").unwrap_or_default().trim().to_owned();
    if query.get("route").or(query.get("state")).is_some() {
        return Ok(see_other(&address(&with_choices(&q, &query))));
    }
    let before = query.get("before").map(Id::parse).transpose();
    let before = before.map_err(|_| Problem::bad_query("before must be the id of a delivery"))?;
    let mut conditions = search::Query::new(context.now());
    if let Err(mistake) = conditions.text(&q) {
        return Ok(html(StatusCode::BAD_REQUEST, &Page::of(&context, &q).with(mistake)));
    }
    let filter = Filter { before: before.map(|Id(id)| id), ..conditions.filter() };
    let found = context.queue.store.list(filter, PAGE).await?;
    let mut page = Page::of(&context, &q);
    page.is_newest = before.is_none();
    page.rows = found.deliveries.iter().map(Row::of).collect();
    page.older = found.next.map(|next| match q.is_empty() {
        true => format!("/ui/deliveries?before={next}"),
        false => format!("/ui/deliveries?q={}&before={next}", page.q_encoded),
    });
    page.empty = page.rows.is_empty().then(|| match (&page.older, before) {
        (Some(_), _) => Empty::SoFar,
        (None, Some(_)) => Empty::End,
        (None, None) if q.is_empty() => Empty::Store(first_route(&context)),
        (None, None) => Empty::Search,
    });
    Ok(html(StatusCode::OK, &page))
}

/// The search with what was chosen in the lists beside it. A choice that is as it `was` says nothing: what was typed counts.
fn with_choices(typed: &str, query: &Query) -> String {
    let was = query.get("was").unwrap_or_default();
    let mut q = typed.to_owned();
    for (name, keys, key) in [("route", &ROUTE[..], "route"), ("state", &STATE[..], "is")] {
        let Some(value) = query.get(name).filter(|value| *value != AS_WRITTEN) else { continue };
        let before = match chosen(was, keys) {
            Chosen::One(before) => before,
            Chosen::Any => String::new(),
            Chosen::Other => AS_WRITTEN.to_owned(),
        };
        if value != before {
            let term = (!value.is_empty()).then(|| format!("{key}:{}", written(value)));
            q = choose(&q, keys, term.as_deref());
        }
    }
    q
}

/// The address of the list with this search.
fn address(q: &str) -> String {
    if q.is_empty() { "/ui/".to_owned() } else { format!("/ui/deliveries?q={}", encoded(q)) }
}

/// `/ui/rows`: the rows of these ids that match the search, newest first, for the script.
///
/// # Errors
/// 400 for a wrong query, 503 from the store.
pub async fn rows(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    let query = query.only(&["q", "id"], &["id"])?;
    let filter = deliveries::filter(&context, &query)?;
    let ids: Result<Vec<Uuid>, Problem> =
        query.iter().filter(|(key, _)| *key == "id").map(|(_, id)| Id::parse(id).map(|Id(id)| id)).collect();
    let ids = ids.map_err(|_| Problem::bad_query("id must be the id of a delivery"))?;
    if ids.len() > MAX_ROWS {
        return Err(Problem::bad_query(format!("id may be there {MAX_ROWS} times at most")));
    }
    let mut found = context.queue.store.summaries(ids).await?;
    // The stream has looked at what a summary does not have.
    found.retain(|stored| {
        let parts = Parts { stored, kept: 0, body: None };
        summary_matches(&filter, stored) && filter.all_hold(Needs::Summary, &parts)
    });
    found.sort_by_key(|stored| std::cmp::Reverse(stored.delivery.id));
    found.dedup_by(|a, b| a.delivery.id == b.delivery.id);
    Ok(html(StatusCode::OK, &Rows { rows: found.iter().map(Row::of).collect() }))
}

impl Page {
    fn of(context: &AdminContext, q: &str) -> Self {
        let quick = QUICK.into_iter().map(|(label, text)| Quick { label, href: address(text), is_current: text == q });
        let running = (context.running)();
        let unrecorded = running.routes.iter().filter(|route| route.config.record == Record::None);
        let title = if q.is_empty() { "Deliveries".to_owned() } else { format!("{} · Deliveries", shown(q)) };
        Self {
            chrome: Chrome::of(context, title, "deliveries", "deliveries"),
            q: q.to_owned(),
            q_encoded: encoded(q),
            mistake: None,
            quick: quick.collect(),
            selects: selects(q, running.routes.iter().map(|route| &*route.config.name)),
            rows: Vec::new(),
            older: None,
            is_newest: false,
            empty: None,
            unrecorded: unrecorded.map(|route| route.config.name.clone()).collect(),
            records: records(context),
        }
    }

    fn with(mut self, mistake: search::Mistake) -> Self {
        let at = (0..=mistake.at.min(self.q.len())).rev().find(|at| self.q.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = self.q.split_at(at);
        self.mistake = Some(Mistake { message: mistake.message, before: shown(before), after: shown(after) });
        self
    }
}

/// The lists to choose from, as the search has them.
fn selects<'a>(q: &str, routes: impl Iterator<Item = &'a str>) -> Vec<Select> {
    let select = |name, label, any, keys: &[&str], values: Vec<&str>| {
        let chosen = chosen(q, keys);
        let is_chosen = |value: &str| matches!(&chosen, Chosen::One(one) if one == value);
        let is_other = chosen != Chosen::Any && !values.iter().any(|value| is_chosen(value));
        let choice = |value: &str| Choice { value: value.to_owned(), is_chosen: is_chosen(value) };
        Select { name, label, any, options: values.into_iter().map(choice).collect(), is_other }
    };
    let states = ["waiting"].into_iter().chain(Shown::ALL.into_iter().map(Shown::name));
    vec![
        select("route", "Route", "any route", &ROUTE, routes.chain([NO_ROUTE]).collect()),
        select("state", "State", "any state", &STATE, states.collect()),
    ]
}

fn first_route(context: &AdminContext) -> String {
    let running = (context.running)();
    running.routes.first().map(|route| route.config.name.clone()).unwrap_or_default()
}

/// How much is recorded, in words.
fn records(context: &AdminContext) -> String {
    let Status { kept, sizes, max_bytes, dropped, over_rate, .. } = Status::of(context);
    let (kept, used) = (number(kept), size(sizes.used));
    let dropped = dropped + over_rate;
    let dropped = if dropped > 0 { format!(", {} not recorded", number(dropped)) } else { String::new() };
    match max_bytes {
        Some(max) => format!("{kept} kept{dropped}, {used} of {}", size(max)),
        None => format!("{kept} kept in memory{dropped}, {used}"),
    }
}
