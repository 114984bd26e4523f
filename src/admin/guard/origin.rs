//! Whether a request comes from a page of another site (cross-site request forgery).
//!
//! A browser says where a request comes from in `Sec-Fetch-Site`; an older one, and any browser on an address that it does not
//! trust, in `Origin`. A program sends neither; then the token, or without a token a JSON content type, which no form can send,
//! shows that it is no browser.

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::admin::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Checks what a browser says about where a change comes from, if anything.
///
/// # Errors
/// 403, if that is not the gateway's own page.
pub fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let own = if headers.contains_key(SEC_FETCH_SITE) {
        headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin")
    } else {
        headers.get_all(ORIGIN).iter().all(|origin| is_host(origin, headers.get(HOST)))
    };
    if own { Ok(()) } else { Err(cross_origin("the request comes from a page of another site")) }
}

/// Checks what a browser says about where a request that only reads comes from: a page of another site could not see the
/// answer, but would have it computed. A link `may_lead` here.
///
/// # Errors
/// 403, if that is a page of another site.
pub fn reading(headers: &HeaderMap, may_lead: bool) -> Result<(), Problem> {
    let is_foreign = |site: &HeaderValue| site == "cross-site" || site == "same-site";
    let says = |name, value| headers.get(name).is_some_and(|said| said == value);
    // A frame is navigated, too.
    let leads = may_lead && says(SEC_FETCH_MODE, "navigate") && says(SEC_FETCH_DEST, "document");
    if !leads && headers.get_all(SEC_FETCH_SITE).iter().any(is_foreign) {
        return Err(cross_origin("the request comes from a page of another site"));
    }
    Ok(())
}

/// Checks a change that comes with a cookie: a browser must say where from.
///
/// # Errors
/// 403, if none does.
pub fn declared(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(SEC_FETCH_SITE) || headers.contains_key(ORIGIN) {
        return Ok(());
    }
    Err(cross_origin("with a session a change needs Sec-Fetch-Site or Origin, which browsers send"))
}

/// Checks a change that comes without a token: if no browser says where from, it must be of a type that no form can send.
///
/// # Errors
/// 403, if it is of another type.
pub fn declared_or_json(headers: &HeaderMap) -> Result<(), Problem> {
    if declared(headers).is_ok() || headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Ok(());
    }
    Err(cross_origin("without a token a change needs content-type: application/json"))
}

fn cross_origin(detail: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail)
}

fn is_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let (Some(origin), Some(host)) = (text(origin), host.and_then(text)) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority == Some(host.as_str())
}

fn is_json(value: &HeaderValue) -> bool {
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "gateway:9797")].iter().chain(fields) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_browser_has_to_come_from_the_same_origin() {
        for fields in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("origin", "http://gateway:9797")],
            &[("origin", "https://Gateway:9797")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://gateway.example")],
            &[],
        ] {
            assert!(check(&headers(fields)).is_ok(), "{fields:?}");
        }
        for fields in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://gateway:9797")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "http://gateway")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://gateway:9797.evil.example")],
            &[("origin", "gateway:9797")],
            &[("origin", "http://gateway:9797"), ("origin", "http://evil.example")],
        ] {
            assert!(check(&headers(fields)).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn without_a_word_of_a_browser_the_type_has_to_be_json() {
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(declared_or_json(&headers(&[("content-type", kind)])).is_ok(), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", ""] {
            assert!(declared_or_json(&headers(&[("content-type", kind)])).is_err(), "{kind}");
        }
        assert!(declared_or_json(&headers(&[])).is_err());
        assert!(declared_or_json(&headers(&[("sec-fetch-site", "same-origin")])).is_ok());
    }
}
