//! The URLs of upstreams and collectors, as the file writes them: `http://`, `https://`, and `unix:` for a socket in the file
//! system.
//!
//! The error of the parser says what to write instead. It never quotes the URL, because a URL can hold a password. Path and query
//! stay as written: nothing is decoded.

use std::fmt;
use std::path::PathBuf;

use http::uri::PathAndQuery;

use super::address::{check_path_bytes, parse_authority};
use crate::schemes::REDACTED;

/// The longest path of a socket, in bytes: `sun_path` of unix(7), less the byte that ends it.
const MAX_SOCKET_PATH: usize = 107;

/// A URL, taken apart. `Debug` does not show the query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it begins with `https://`.
    pub tls: bool,
    /// Where to connect to.
    pub place: UrlPlace,
    /// The value of the `Host` header: the host (IPv6 in brackets), with the port if it is not the scheme's default; `localhost`
    /// for a socket.
    pub authority: String,
    /// The path as written; may be empty.
    pub path: String,
    /// What follows the question mark. It may be a key, so it is never shown.
    pub query: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UrlPlace {
    /// At a port.
    Tcp {
        /// A DNS name in lower case, or an IP address, IPv6 without brackets.
        host: String,
        /// The scheme's default (80, 443) filled in; not zero.
        port: u16,
    },
    /// At a socket in the file system; an absolute path.
    Unix(PathBuf),
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// For people, not for requests: without the query.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            UrlPlace::Tcp { .. } => {
                let scheme = if self.tls { "https" } else { "http" };
                let path = if self.path.is_empty() { "/" } else { &self.path };
                write!(f, "{scheme}://{}{path}", self.authority)?;
            }
            UrlPlace::Unix(socket) => {
                let colon = if self.path.is_empty() { "" } else { ":" };
                write!(f, "unix:{}{colon}{}", socket.display(), self.path)?;
            }
        }
        if self.query.is_some() { write!(f, "?{REDACTED}") } else { Ok(()) }
    }
}

/// The parts of a URL, or every error in it.
pub(super) fn parse_url(text: &str) -> Result<Url, Vec<&'static str>> {
    if let Some(socket) = text.strip_prefix("unix:") {
        return parse_socket(socket);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(vec!["must be a URL that begins with http://, https:// or unix:"]);
    };
    let mut errors = Vec::new();
    let tls = scheme.eq_ignore_ascii_case("https");
    if !tls && !scheme.eq_ignore_ascii_case("http") {
        errors.push("must be a URL that begins with http://, https:// or unix:");
    }
    let (authority, rest) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    let authority = match authority.rsplit_once('@') {
        Some((_, authority)) => {
            errors.push("must have no user or password");
            authority
        }
        None => authority,
    };
    let host_and_port = parse_authority(authority, if tls { 443 } else { 80 }).map_err(|error| errors.push(error)).ok();
    let (path, query) = parse_path_and_query(rest, &mut errors);
    let Some((host, port, authority)) = host_and_port.filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    Ok(Url { tls, place: UrlPlace::Tcp { host, port }, authority, path, query })
}

/// `/run/app.sock`, or `/run/app.sock:/path`.
fn parse_socket(text: &str) -> Result<Url, Vec<&'static str>> {
    let mut errors = Vec::new();
    let (socket, rest) = text.split_once(':').unwrap_or((text, ""));
    if !socket.starts_with('/') || socket.starts_with("//") || socket.ends_with('/') {
        errors.push("must have the absolute path of a socket after unix: for example unix:/run/app.sock");
    } else if socket.len() > MAX_SOCKET_PATH {
        errors.push("must have a path of at most 107 bytes to its socket");
    }
    if socket.contains(['?', '#']) || socket.contains(char::is_control) {
        errors.push("must have a colon between its socket and a path or query: unix:/run/app.sock:/path");
    }
    let (path, query) = match rest.chars().next() {
        Some('/') => parse_path_and_query(rest, &mut errors),
        None => (String::new(), None),
        Some(_) => {
            errors.push("must have a path that begins with / after the second colon: unix:/run/app.sock:/path");
            (String::new(), None)
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Url { tls: false, place: UrlPlace::Unix(socket.into()), authority: "localhost".to_owned(), path, query })
}

fn parse_path_and_query(text: &str, errors: &mut Vec<&'static str>) -> (String, Option<String>) {
    let (text, fragment) = text.split_once('#').map_or((text, None), |(text, fragment)| (text, Some(fragment)));
    if fragment.is_some() {
        errors.push("must have no fragment (#…)");
    }
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    if !path.is_empty() {
        check_path_bytes(path).unwrap_or_else(|error| errors.push(error));
    }
    if let Some(query) = query
        && (query.is_empty() || check_query(query).is_err())
    {
        errors.push("must have a query of visible ASCII characters after its ?: percent-encode the others");
    }
    (path.to_owned(), query.map(str::to_owned))
}

fn check_query(query: &str) -> Result<(), ()> {
    let is_visible = query.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && PathAndQuery::try_from(format!("/?{query}")).is_ok() { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        parse_url(text).expect("a good URL")
    }

    fn tcp(host: &str, port: u16) -> UrlPlace {
        UrlPlace::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let Url { tls, place, authority, path, query } = url("http://127.0.0.1:1337/log-circleci-webhook");
        assert_eq!((tls, place, query), (false, tcp("127.0.0.1", 1337), None));
        assert_eq!((authority.as_str(), path.as_str()), ("127.0.0.1:1337", "/log-circleci-webhook"));
        let Url { tls, place, authority, path, query } = url("HTTPS://Handlers.Internal/webhook/?a=%20&b?");
        assert_eq!((tls, place, query.as_deref()), (true, tcp("handlers.internal", 443), Some("a=%20&b?")));
        assert_eq!((authority.as_str(), path.as_str()), ("handlers.internal", "/webhook/"));
    }

    #[test]
    fn the_authority_has_a_port_only_if_it_is_not_the_default() {
        for (text, port, authority) in [
            ("http://a", 80, "a"),
            ("http://a:80", 80, "a"),
            ("http://a:443", 443, "a:443"),
            ("https://a:443", 443, "a"),
            ("https://a:80", 80, "a:80"),
            ("https://[::1]:443", 443, "[::1]"),
            ("https://[0::1]:8443", 8443, "[::1]:8443"),
        ] {
            let url = url(text);
            assert!(matches!(url.place, UrlPlace::Tcp { port: own, .. } if own == port), "{text}");
            assert_eq!(url.authority, authority, "{text}");
        }
        assert_eq!(url("http://[::1]").place, tcp("::1", 80));
    }

    #[test]
    fn the_path_of_a_url_is_kept_as_written() {
        for (text, path) in [
            ("http://a", ""),
            ("http://a/", "/"),
            ("http://a//", "//"),
            ("http://a/b/", "/b/"),
            ("http://a/b%2F/../c", "/b%2F/../c"),
        ] {
            assert_eq!(url(text).path, path, "{text}");
        }
    }

    #[test]
    fn a_bad_url_is_refused() {
        for text in [
            "",
            "a",
            "/a",
            "127.0.0.1:80",
            "ftp://a",
            "unix:///a",
            "unix:a",
            "unix:/",
            "unix:/a?b",
            "unix:/a#b",
            "unix:/a:b",
            "unix:/a:/b c",
            "http:///a",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a:8x",
            "http://::1",
            "http://[::1",
            "http://[::1]80",
            "http://a b",
            "http://a/b c",
            "http://a/ü",
            "http://a/<",
            "http://a?",
            "http://a/?b c",
            "http://a/?ü",
            "http://a/?b#c",
            "http://a#",
            "http://u@a",
            "http://u:p@a",
        ] {
            assert!(parse_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_url_is_reported() {
        let errors = parse_url("ftp://user:hunter2@a:0/b c?d e#f").expect_err("a bad URL");
        assert_eq!(errors.len(), 6, "{errors:?}");
    }

    #[test]
    fn a_socket_has_an_absolute_path_and_may_have_one_at_the_handler() {
        let Url { tls, place, authority, path, query } = url("unix:/run/my app.sock:/hooks/in?key=a");
        assert_eq!((tls, place), (false, UrlPlace::Unix("/run/my app.sock".into())));
        assert_eq!((authority.as_str(), path.as_str(), query.as_deref()), ("localhost", "/hooks/in", Some("key=a")));
        assert_eq!(url("unix:/run/app.sock").path, "");
        assert!(parse_url(&format!("unix:/{}", "a".repeat(106))).is_ok());
        assert!(parse_url(&format!("unix:/{}", "a".repeat(107))).is_err());
    }

    #[test]
    fn a_url_is_shown_without_its_query() {
        for (text, shown) in [
            ("http://a", "http://a/"),
            ("https://a:8443/b?code=hunter2", "https://a:8443/b?redacted"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:/run/app.sock:/b?code=hunter2", "unix:/run/app.sock:/b?redacted"),
        ] {
            assert_eq!(url(text).to_string(), shown);
            assert!(!format!("{:?}", url(text)).contains("hunter2"));
        }
    }
}
