//! The page under `/ui/`: HTML that works without script, one script and one stylesheet.
//!
//! - [`chrome`] is what all pages have around their content.
//! - [`list`] has the deliveries, [`row`] a line of it; [`delivery`] shows one, [`content`] its body.
//! - [`routes`] and [`route`] show the routes, [`setup`] says what to enter at a provider.
//! - [`dead`] has the dead letters and replays in bulk, [`status`] the gateway itself.
//! - [`acts`] changes what people ask for, [`flash`] remembers what a page says about it then.
//! - [`login`] lets people in, [`session`] remembers them.
//! - [`refusal`] is a page that says why something was not done.
//! - [`assets`] serves script, stylesheet and icon; [`view`] writes numbers and texts for people.
//!
//! Templates are in `templates/`, checked at compile time. Every value is escaped, and what others have sent passes
//! [`text`](crate::text) before, so that it can be seen.
//!
//! # What the script finds in the HTML
//!
//! - `<body data-page="deliveries|delivery|routes|route|dead|bulk|status|login|refusal">`.
//! - On a list that is live, `<main data-stream="/api/v1/stream?q=…" data-rows="/ui/rows?q=…">`; its rows are in `#rows`, newest
//!   first. To show ids that the stream has named, the script asks `data-rows` + `&id=ID&id=ID` (up to [`list::MAX_ROWS`]) with
//!   an `XMLHttpRequest` whose `responseType` is `document`, and adopts the `<tr>`s of the answer: a row's markup exists once,
//!   and no script parses text. A row whose delivery does not match `q` any more is not in the answer.
//! - A row is `<tr data-id="ID" data-state="STATE">`; the link in its first cell opens it.
//! - `#live` is the line for the state of the stream, `#pause-live` its button, `#newer` shows how many rows wait. All three are
//!   `hidden` until the script shows them. `#announce` is the polite status line.
//! - `#search` is the search box. Links of the navigation have `data-key="d|r|x|s"`, for `g d` and the like.
//! - Buttons with a key have `data-key` on them: `replay`, `explain`, `copy`, `copy-id`, `pause`, `back`.
//! - A form with `data-dialog="ID"` leads to a page that asks; the script opens `<dialog id="ID">` of the same page instead,
//!   which has the form that does it. Its button without `value` closes it (`<form method="dialog">`).
//! - `data-copy="URL"` on a button: the text behind the address goes to the clipboard; `data-copy-text="…"`: this text. Without
//!   script the button is a link or is hidden.
//! - `<time datetime="…">` everywhere, in UTC.
//! - `<main data-poll="SECONDS">` on a page that will soon have more to say: the script asks for it again, and changes what is not
//!   as it was. `data-field="done|failed|left|matched|state"` on the page of a bulk replay names its numbers.
//! - `#theme`, `#zone`, `#keys-help` (buttons) are `hidden` until the script shows them, as are `<dialog id="keys">` and
//!   `<dialog id="copy-text">`, which has what a browser lets no page copy.

pub mod acts;
pub mod assets;
pub mod chrome;
pub mod content;
pub mod dead;
pub mod delivery;
pub mod flash;
pub mod list;
pub mod login;
pub mod refusal;
pub mod route;
pub mod routes;
pub mod row;
pub mod session;
pub mod setup;
pub mod status;
pub mod view;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::AdminContext;
use super::problem::{Problem, method_not_allowed};

/// What a handler of a page answers.
pub type Answer = Result<Response, Problem>;

/// The paths below `/ui`.
pub fn router() -> Router<Arc<AdminContext>> {
    Router::new()
        .route("/ui", get(home))
        .route("/ui/", get(list::page))
        .route("/ui/deliveries", get(list::page))
        .route("/ui/rows", get(list::rows))
        .route("/ui/deliveries/{id}", get(delivery::page))
        .route("/ui/deliveries/{id}/replay", get(acts::ask_replay).post(acts::replay))
        .route("/ui/deliveries/{id}/discard", get(acts::ask_discard).post(acts::discard))
        .route("/ui/deliveries/{id}/erase", get(acts::ask_erase).post(acts::erase))
        .route("/ui/routes", get(routes::page))
        .route("/ui/routes/{name}", get(route::page))
        .route("/ui/routes/{name}/pause", post(acts::pause))
        .route("/ui/routes/{name}/resume", post(acts::resume))
        .route("/ui/routes/{name}/capture", post(acts::capture))
        .route("/ui/dead", get(dead::page))
        .route("/ui/replays", get(dead::ask).post(dead::start))
        .route("/ui/replays/{id}", get(dead::progress))
        .route("/ui/replays/{id}/stop", post(dead::stop))
        .route("/ui/status", get(status::page))
        .route("/ui/login", get(login::page).post(login::login))
        .route("/ui/logout", post(login::logout))
        .route("/ui/assets/{hash}/{name}", get(assets::asset))
        .method_not_allowed_fallback(method_not_allowed)
}

/// `/` and `/ui`
pub async fn home() -> Response {
    see_other("/ui/")
}

/// Leads to another page, which is then fetched by GET.
fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response(),
        Err(_) => StatusCode::SEE_OTHER.into_response(),
    }
}
