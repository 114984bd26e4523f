//! What refuses a request before a handler sees it, in this order:
//!
//! 1. [`host`]: 421 for a `Host` that is not the gateway's own, which a page of an attacker would bring by DNS rebinding;
//! 2. `page`: 404 for the API and the page if `admin.page` is false;
//! 3. [`origin`]: 403 for a change that a page of another site asks for, and for anything that it asks of the API; it may lead
//!    to a page, but not use one otherwise;
//! 4. 401 without the right [`token`] or a [session](super::ui::session); the form that opens one, script and style need none;
//! 5. [`origin::declared`]: 403 for a change without the token that a form of another site could send, too;
//! 6. `read_only`: 403 for every change if `admin.read_only` is true; `explain` and a dry run of a bulk replay change nothing;
//! 7. [`body`]: 413 for a body that is longer than any call needs.
//!
//! [`headers`] adds to every response what keeps browsers from doing more than showing it.
//!
//! There is no CORS: no other site may read a response. The guards do not protect against programs of other users on
//! the same machine, if no token is set, nor against a reader of the traffic, which is not encrypted.

pub mod body;
pub mod headers;
pub mod host;
pub mod origin;
pub mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};

use super::AdminContext;
use super::problem::Problem;
use super::ui::{assets, login};
use super::{Running, plain};
use host::{LocalAddress, PeerAddress};

/// How a request shows that it may see and change what the token protects.
enum LetIn {
    /// There is no token.
    Open,
    /// It has the token, which no page of another site knows.
    Token,
    /// It has the cookie of a session, which a browser sends by itself.
    Session,
}

/// Judges a request by the configuration that runs when it comes.
pub async fn judge(State(context): State<Arc<AdminContext>>, request: Request, next: Next) -> Response {
    let running = (context.running)();
    if let Err(problem) = host::check(&request, &running.admin) {
        return problem.into_response();
    }
    if is_page(request.uri().path()) && !running.admin.page {
        return plain::not_found().await;
    }
    if is_guarded(request.uri().path())
        && let Err(problem) = check(&request, &context, &running)
    {
        return problem.into_response();
    }
    // A login has a line of its own.
    let path = request.uri().path();
    let is_change = changes(request.method()) && is_page(path) && path != login::PATH;
    let change = is_change.then(|| {
        let peer = request.extensions().get::<PeerAddress>().map(|PeerAddress(peer)| peer.to_string());
        (request.method().clone(), request.uri().path().to_owned(), peer)
    });
    let response = next.run(request).await;
    if let Some((method, path, peer)) = change {
        tracing::info!(%method, path, peer, status = response.status().as_u16(), "a change was asked for");
    }
    response
}

fn check(request: &Request, context: &AdminContext, running: &Running) -> Result<(), Problem> {
    let (changes, headers, path) = (changes(request.method()), request.headers(), request.uri().path());
    if changes {
        origin::check(headers)?;
    } else if is_page(path) {
        origin::reading(headers, is_below(path, "/ui"))?;
    }
    if is_below(path, login::PATH) || is_below(path, assets::FOLDER) {
        return Ok(());
    }
    let let_in = let_in(request, context, running)?;
    if changes {
        match let_in {
            LetIn::Token => {}
            LetIn::Session => origin::declared(headers)?,
            LetIn::Open => origin::declared_or_json(headers)?,
        }
    }
    if changes && running.admin.read_only && !changes_nothing(request.method(), path) {
        return Err(Problem::read_only());
    }
    Ok(())
}

/// Whether a request changes nothing of the gateway, for all its method: to log out, to ask why a delivery is refused, to count
/// what a bulk replay would send. The last call sees itself to it that it is no more than that.
fn changes_nothing(method: &Method, path: &str) -> bool {
    let is_explain = path
        .strip_prefix("/api/v1/deliveries/")
        .and_then(|rest| rest.strip_suffix("/explain"))
        .is_some_and(|id| !id.contains('/'));
    *method == Method::POST && (path == login::LOGOUT || path == "/api/v1/replays" || is_explain)
}

fn let_in(request: &Request, context: &AdminContext, running: &Running) -> Result<LetIn, Problem> {
    let Some(token) = &running.admin.token else { return Ok(LetIn::Open) };
    let port = request.extensions().get::<LocalAddress>().map_or(0, |LocalAddress(local)| local.port());
    if token::has(request.headers(), token) {
        Ok(LetIn::Token)
    } else if context.sessions.has(request.headers(), port, token, context.clock.now()) {
        Ok(LetIn::Session)
    } else {
        let detail = "the request needs the token of admin.token, as Authorization: Bearer";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "token_required", detail))
    }
}

/// Whether requests with the method ask for a change (RFC 9110 section 9.2.1).
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether `admin.page` decides about a path.
fn is_page(path: &str) -> bool {
    is_below(path, "/api") || is_below(path, "/ui")
}

/// Whether a path needs the token.
fn is_guarded(path: &str) -> bool {
    is_page(path) || path == "/config"
}

/// Whether a path is a folder or below it.
pub fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_below_the_api_has_another_name() {
        for path in ["/api", "/api/", "/api/v1/deliveries", "/ui", "/ui/", "/config"] {
            assert!(is_guarded(path), "{path}");
        }
        for path in ["/", "/apis", "/metrics", "/livez", "/readyz", "/uix", ""] {
            assert!(!is_guarded(path), "{path}");
        }
    }
}
