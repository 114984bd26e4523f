//! A redirect from the handler (RFC 9110 section 15.4).
//!
//! Senders of webhooks do not follow it, or go on with a GET without a body. With the handler's own address in `Location` it would
//! tell senders an address inside, and one that followed would go past the gateway.

use std::net::{IpAddr, Ipv4Addr};

use http::header::LOCATION;
use http::{HeaderMap, StatusCode, Uri};

use crate::config::{Upstream, UrlPlace};

/// What an operator can do about it.
pub const REDIRECT_HINT: &str =
    "senders do not follow redirects: set the route's upstream to the URL that the handler answers at";

/// Where a handler redirects to.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `Location` without its query, in which there may be a key, and without a password; for the log.
    pub location: String,
    /// Whether it is an address of the inside, which no sender is to see: that of the upstream, or one of this machine or of a
    /// private network.
    pub is_inside: bool,
}

impl Redirect {
    /// That of a response with this head; `None` if it is no redirect.
    pub fn of(status: StatusCode, headers: &HeaderMap, upstream: &Upstream) -> Option<Self> {
        if !status.is_redirection() {
            return None;
        }
        let location = headers.get(LOCATION)?;
        let text = String::from_utf8_lossy(location.as_bytes());
        let shown = without_user(text.split(['?', '#']).next().unwrap_or_default());
        // Without a scheme, it has that of the request.
        let uri = if text.starts_with("//") { format!("http:{text}").parse() } else { text.parse() };
        // What cannot be read may be an address of the inside.
        let is_inside = uri.map_or(true, |uri: Uri| is_inside(&uri, upstream));
        Some(Self { location: shown, is_inside })
    }
}

/// A URL without the user and the password before its host (RFC 3986 section 3.2.1).
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}//{host}{}", rest.get(authority.len()..).unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// Whether a URI names a host of the inside. One without a host names none.
fn is_inside(uri: &Uri, upstream: &Upstream) -> bool {
    let Some(host) = uri.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    if host.parse().is_ok_and(is_local) {
        return true;
    }
    // The port does not matter: a handler behind several ports is inside as a whole.
    upstream
        .urls
        .iter()
        .any(|url| matches!(&url.place, UrlPlace::Tcp { host: own, .. } if own.trim_end_matches('.') == host))
}

/// Whether an address is of this machine, or of a private network.
fn is_local(address: IpAddr) -> bool {
    let is_local_v4 = |address: Ipv4Addr| {
        address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
    };
    match address.to_canonical() {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::config::{HostHeader, Url};

    fn upstream(urls: Vec<Url>) -> Upstream {
        let (connect_timeout, host_header) = (Duration::from_secs(1), HostHeader::Upstream);
        Upstream { urls, connect_timeout, resend: true, host_header, certificates: None }
    }

    fn found(status: u16, location: &str) -> Option<Redirect> {
        let url = |host: &str, port| Url {
            tls: false,
            place: UrlPlace::Tcp { host: host.to_owned(), port },
            authority: String::new(),
            path: String::new(),
            query: None,
        };
        let upstream = upstream(vec![url("handler.internal.example", 8000), url("203.0.113.7", 80)]);
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap())]);
        Redirect::of(StatusCode::from_u16(status).unwrap(), &headers, &upstream)
    }

    #[test]
    fn an_address_of_the_inside_is_told_from_others() {
        for inside in [
            "http://handler.internal.example:8000/in/",
            "https://Handler.Internal.Example./in/",
            "http://203.0.113.7/in/",
            "http://localhost:8000/in/",
            "http://127.0.0.1/",
            "//10.1.2.3/x",
            "http://192.168.0.1:80/",
            "http://169.254.169.254/",
            "http://[::1]:8000/",
            "http://[fd00::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://\u{fc}/",
            "http:// x",
        ] {
            assert!(found(301, inside).unwrap().is_inside, "{inside}");
        }
        for outside in ["/in/", "in", "https://www.example.com/login", "http://198.51.100.1/", "//www.example.com/"] {
            assert!(!found(308, outside).unwrap().is_inside, "{outside}");
        }
    }

    #[test]
    fn only_a_redirect_with_a_location_is_one_and_no_query_is_logged() {
        assert_eq!(found(201, "/new"), None);
        assert_eq!(Redirect::of(StatusCode::FOUND, &HeaderMap::new(), &upstream(Vec::new())), None);
        let redirect = found(302, "/in/?code=hunter2#x").unwrap();
        assert_eq!(redirect, Redirect { location: "/in/".to_owned(), is_inside: false });
        for (location, shown) in [
            ("https://user:hunter2@127.0.0.1/in?x", "https://127.0.0.1/in"),
            ("//a:b@c@www.example.com", "//www.example.com"),
            ("http://www.example.com/@x", "http://www.example.com/@x"),
        ] {
            assert_eq!(found(302, location).unwrap().location, shown);
        }
    }
}
