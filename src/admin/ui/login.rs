//! `/ui/login` and `/ui/logout`, for a gateway with `admin.token`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::chrome::{Chrome, html};
use super::{Answer, see_other, session};
use crate::admin::AdminContext;
use crate::admin::api::query::Query;
use crate::admin::guard::host::{LocalAddress, PeerAddress};
use crate::admin::guard::token;
use crate::admin::problem::Problem;

/// Where the form is.
pub const PATH: &str = "/ui/login";
/// Where a session ends.
pub const LOGOUT: &str = "/ui/logout";

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    chrome: Chrome,
    /// Where to go then.
    next: String,
    /// What was wrong; empty for nothing.
    mistake: &'static str,
}

/// The form, for a request that needs a session to see what is at `next`.
pub fn form(status: StatusCode, next: &str, mistake: &'static str) -> Response {
    html(status, &Page { chrome: Chrome::bare("Log in", "login"), next: own(next).to_owned(), mistake })
}

/// `GET /ui/login`
pub async fn page(State(context): State<Arc<AdminContext>>) -> Response {
    match (context.running)().admin.token {
        Some(_) => form(StatusCode::OK, "/ui/", ""),
        None => see_other("/ui/"),
    }
}

/// `POST /ui/login`
///
/// # Errors
/// 400 for another form. A wrong token is a page with 401, too many are one with 429.
pub async fn login(
    State(context): State<Arc<AdminContext>>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    peer: Option<Extension<PeerAddress>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let fields = form_fields(&bytes, &["password", "next"])?;
    let next = own(fields.get("next").unwrap_or_default());
    let running = (context.running)();
    let Some(token) = &running.admin.token else { return Ok(see_other(next)) };
    let now = context.clock.now();
    let peer = peer.map(|Extension(PeerAddress(peer))| peer);
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    if !context.sessions.may_try(address, now) {
        return Ok(form(
            StatusCode::TOO_MANY_REQUESTS,
            next,
            "Too many wrong passwords: wait a second, then try again.",
        ));
    }
    let peer = peer.map(|peer| peer.to_string());
    if !token::equal(fields.get("password").unwrap_or_default().as_bytes(), token.expose()) {
        context.sessions.failed(address, now);
        tracing::warn!(peer, "a login with a wrong password");
        return Ok(form(StatusCode::UNAUTHORIZED, next, "This is not the token of admin.token."));
    }
    tracing::info!(peer, "a login");
    let value = context.sessions.open(token, now);
    Ok(with_cookie(see_other(next), &session::cookie(&headers, local.port(), &value)))
}

/// `POST /ui/logout`
pub async fn logout(
    State(context): State<Arc<AdminContext>>,
    Extension(LocalAddress(local)): Extension<LocalAddress>,
    headers: HeaderMap,
) -> Response {
    context.sessions.close(&headers, local.port());
    with_cookie(see_other(PATH), &session::no_cookie(&headers, local.port()))
}

/// The fields of a form, as browsers send it.
///
/// # Errors
/// 400 for what is none, an unknown field, or one that is there twice.
pub fn form_fields(bytes: &[u8], known: &[&str]) -> Result<Query, Problem> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| Problem::bad_body("the body must be a form, as browsers send it"))?;
    let fields = Query::parse(text.trim()).and_then(|fields| fields.only(known, &[]));
    fields.map_err(|problem| Problem::bad_body(problem.detail))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// An address of the gateway's own page: a login leads to no other site.
pub fn own(next: &str) -> &str {
    let is_own = next.starts_with("/ui/") && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own && !next.starts_with(PATH) { next } else { "/ui/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_the_gateways_own_pages_only() {
        for next in ["/ui/", "/ui/deliveries?q=is%3Arefused", "/ui/routes/a"] {
            assert_eq!(own(next), next);
        }
        for next in
            ["", "/", "//evil.example", "/ui", "https://evil.example/ui/", "/ui/\\x", "/ui/\r\nx: y", "/ui/login"]
        {
            assert_eq!(own(next), "/ui/", "{next}");
        }
    }
}
