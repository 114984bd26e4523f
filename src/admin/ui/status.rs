//! `/ui/status`: the gateway itself.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;

use super::Answer;
use super::chrome::{Chrome, html};
use super::view::{Time, number, shown};
use crate::admin::AdminContext;
use crate::admin::api::query::Query;
use crate::admin::api::status::Status;
use crate::text::size;

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    chrome: Chrome,
    revision: &'static str,
    ready: bool,
    kind: &'static str,
    state: &'static str,
    error: String,
    used: String,
    max: String,
    free: String,
    /// The part that is used, from 0 to 100.
    percent: u64,
    kept: String,
    dropped: String,
    /// Refused deliveries that were not recorded because too many came in a second.
    over_rate: String,
    reload_successful: bool,
    loaded: Time,
}

/// `/ui/status`
///
/// # Errors
/// 400 for a query.
pub async fn page(State(context): State<Arc<AdminContext>>, query: Query) -> Answer {
    query.only(&[], &[])?;
    let status = Status::of(&context);
    let (state, error) = status.state();
    let percent = status.max_bytes.map_or(0, |max| status.sizes.used.saturating_mul(100) / max.max(1));
    let page = Page {
        chrome: Chrome::of(&context, "Status", "status", "status"),
        revision: crate::REVISION,
        ready: status.ready,
        kind: status.kind,
        state,
        error: error.as_deref().map(shown).unwrap_or_default(),
        used: size(status.sizes.used),
        max: status.max_bytes.map(size).unwrap_or_default(),
        free: status.max_bytes.and(status.sizes.free).map(size).unwrap_or_default(),
        percent: percent.min(100),
        kept: number(status.kept),
        dropped: number(status.dropped),
        over_rate: number(status.over_rate),
        reload_successful: status.reload_successful,
        loaded: Time::of(status.loaded_at),
    };
    Ok(html(StatusCode::OK, &page))
}
