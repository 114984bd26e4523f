//! A page that says why something was not done, with the status of the API's refusal.

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::chrome::{self, Chrome};
use super::{login, view};
use crate::admin::guard::is_below;
use crate::admin::problem::Problem;

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

/// Makes a page of each refusal below `/ui`, by a guard or a handler; of a 401, the form that opens a session.
pub async fn as_page(request: Request, next: Next) -> Response {
    let (uri, method) = (request.uri().clone(), request.method().clone());
    let response = next.run(request).await;
    let is_page = is_below(uri.path(), "/ui") || uri.path() == "/";
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| is_page) else { return response };
    let mut page = match problem.status {
        StatusCode::UNAUTHORIZED => {
            let here = uri.path_and_query().filter(|_| method == Method::GET);
            login::form(problem.status, here.map_or("", PathAndQuery::as_str), "")
        }
        _ => page(problem),
    };
    // Those that a status needs: Allow, Retry-After, WWW-Authenticate.
    for (name, value) in response.headers() {
        if !page.headers().contains_key(name) && name != CONTENT_LENGTH {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

fn page(problem: &Problem) -> Response {
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
    chrome::html(problem.status, &page)
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
