//! Pages of the admin listener, as a browser without script gets them.

use std::net::SocketAddr;

use super::api::Call;
use super::http::Response;

/// A page, which is whole and safe to show.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub html: String,
    pub response: Response,
}

impl Page {
    /// GETs a page.
    #[track_caller]
    pub fn get(admin: SocketAddr, path: &str) -> Self {
        Self::of(Call::get(path).send(admin))
    }

    /// Checks what every page has, and must not have.
    #[track_caller]
    pub fn of(response: Response) -> Self {
        let page = Self::fragment(response);
        let html = &page.html;
        for once in ["<main ", "<h1>", "<title>", "<script ", "<meta name=\"viewport\"", "lang=\"en\""] {
            assert_eq!(html.matches(once).count(), 1, "{once} in {html}");
        }
        let heads = html.matches("<th").count() - html.matches("<thead").count();
        assert_eq!(html.matches("<th scope=\"").count(), heads, "a head without a scope in {html}");
        assert_eq!(html.matches("<table").count(), html.matches("<caption").count(), "{html}");
        page
    }

    /// The same for a part of a page.
    #[track_caller]
    pub fn fragment(response: Response) -> Self {
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{response:?}");
        assert_eq!(response.all("cache-control"), ["no-store"]);
        assert_eq!(response.all("x-content-type-options"), ["nosniff"]);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = String::from_utf8(response.body.clone()).unwrap();
        // What the policy does not let through would be missing from the page.
        for inline in [" style=", "<style", " onclick", " onerror", "javascript:", "<iframe", "http-equiv"] {
            assert!(!html.contains(inline), "{inline} in {html}");
        }
        Self { status: response.status, html, response }
    }

    /// Asserts that a text is there.
    #[track_caller]
    pub fn has(&self, text: &str) -> &Self {
        assert!(self.html.contains(text), "no {text:?} in {}", self.html);
        self
    }

    /// Asserts that a text is not there.
    #[track_caller]
    pub fn lacks(&self, text: &str) -> &Self {
        assert!(!self.html.contains(text), "{text:?} in {}", self.html);
        self
    }

    /// What stands after `before`, up to `end`.
    #[track_caller]
    pub fn after(&self, before: &str, end: &str) -> &str {
        let (_, rest) = self.html.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {}", self.html));
        rest.split_once(end).map_or(rest, |(found, _)| found)
    }

    /// The ids of the rows, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.html.split("<tr data-id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }
}

/// A form, as a browser sends it from the gateway's own page.
pub fn form(path: &str, fields: &str) -> Call {
    let call = Call::of("POST", path).line("Content-Type: application/x-www-form-urlencoded").body(fields.as_bytes());
    call.line("Sec-Fetch-Site: same-origin").line("Sec-Fetch-Mode: navigate")
}

/// Sends a form, which must lead to another page: its address.
#[track_caller]
pub fn leads(admin: SocketAddr, path: &str, fields: &str) -> String {
    let response = form(path, fields).send(admin);
    assert_eq!(response.status, 303, "{response:?}");
    response.header("location").unwrap().to_owned()
}

/// Sends a form, after which a page says what was done: that page.
#[track_caller]
pub fn does(admin: SocketAddr, path: &str, fields: &str) -> (String, Page) {
    let address = leads(admin, path, fields);
    let (page, key) = address.split_once("?said=").unwrap_or_else(|| panic!("{address}"));
    assert!(uuid::Uuid::try_parse(key).is_ok(), "{address}: it could be guessed");
    (page.to_owned(), Page::get(admin, &address))
}
