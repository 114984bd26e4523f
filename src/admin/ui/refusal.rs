//! A page that says why something was not done, with the status of the API's refusal.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::chrome::{self, Chrome};
use super::view;
use crate::acts::Refused;
use crate::admin::problem::Problem;
use crate::store::StoreError;

/// A refusal as a page.
#[derive(Debug)]
pub struct Failure(pub Problem);

#[derive(Template)]
#[template(path = "refusal.html")]
struct Page {
    chrome: Chrome,
    heading: &'static str,
    detail: String,
    reason: &'static str,
    status: u16,
    /// What to do about it; empty if there is nothing to say.
    advice: &'static str,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self(refused.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let (heading, advice) = words(problem.status, problem.reason);
        // Who is not let in learns nothing but that.
        let is_let_in = !matches!(problem.reason, "unknown_host" | "cross_origin");
        let page = Page {
            chrome: Chrome { navigation: is_let_in, ..Chrome::bare(heading, "refusal") },
            heading,
            detail: view::shown(&problem.detail),
            reason: problem.reason,
            status: problem.status.as_u16(),
            advice,
        };
        let mut response = chrome::html(problem.status, &page);
        let fields = response.headers_mut();
        for (name, value) in problem.into_response().headers() {
            if !fields.contains_key(name) {
                fields.insert(name, value.clone());
            }
        }
        response
    }
}

fn words(status: StatusCode, reason: &str) -> (&'static str, &'static str) {
    match (status, reason) {
        (StatusCode::MISDIRECTED_REQUEST, _) => (
            "Unknown host",
            "Open the page by the address that the gateway is bound to, by localhost, or add the host, with its port, to \
             admin.hosts in gateway.yaml.",
        ),
        (_, "cross_origin") => (
            "Not from here",
            "Buttons work on the gateway's own page only. If you are on it, a proxy in front of the gateway changes Host or \
             Origin: let it pass both as they are.",
        ),
        (_, "read_only") => ("Nothing can be changed", "admin.read_only is true in gateway.yaml."),
        (_, "not_verified") => (
            "Not sent",
            "Only what verifies reaches a handler. Correct the route's secret or scheme, then check again.",
        ),
        (_, "in_flight") => {
            ("Being sent already", "The attempt under way decides: its result is on the delivery's page.")
        }
        (_, "no_body") => ("Nothing to send", "record: full on the route keeps head and body of later deliveries."),
        (StatusCode::GONE, _) => (
            "Gone",
            "Records are kept for as long as store.keep says, and the oldest make room when the store is full.",
        ),
        (StatusCode::NOT_FOUND, _) => ("Not found", ""),
        (StatusCode::BAD_REQUEST, _) => ("Not understood", ""),
        (StatusCode::TOO_MANY_REQUESTS, _) => ("Too many attempts", ""),
        (StatusCode::SERVICE_UNAVAILABLE, _) => ("Not possible now", "Try again in a moment."),
        _ => ("Not done", ""),
    }
}

/// The answer to a method that a page does not have. The router adds `Allow`.
pub async fn method_not_allowed() -> Failure {
    Failure(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the page does not have this method"))
}

/// The answer to any other path below `/ui`.
pub fn not_found() -> Failure {
    Failure(Problem::not_found("there is no such page"))
}
