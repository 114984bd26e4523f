//! A redirect from the handler (RFC 9110 section 15.4), and addresses of the inside in its responses.
//!
//! Senders of webhooks do not follow a redirect, or go on with a GET without a body. With the handler's own address in `Location`
//! it would tell senders an address inside, and one that followed would go past the gateway.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::config::{Upstream, UrlPlace};

/// What an operator can do about it.
pub const REDIRECT_HINT: &str =
    "senders do not follow redirects: set the route's upstream to the URL that the handler answers at";

/// Where a response with this head redirects to, for the log: `Location` without its query, in which there may be a key, and
/// without a password. `None` if it is no redirect.
pub fn location(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION).filter(|_| status.is_redirection())?;
    let text = String::from_utf8_lossy(location.as_bytes());
    Some(without_user(text.split(['?', '#']).next().unwrap_or_default()))
}

/// Removes `Location` and `Content-Location` that name the inside, which no sender is to see: the upstream, this machine, a private
/// network, or a name that only such a network resolves.
pub fn hide_inside(headers: &mut HeaderMap, upstream: &Upstream) {
    for name in [LOCATION, CONTENT_LOCATION] {
        if headers.get(&name).is_some_and(|value| names_inside(value, upstream)) {
            headers.remove(name);
        }
    }
}

fn names_inside(value: &HeaderValue, upstream: &Upstream) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    // Without a scheme, it has that of the request.
    let uri = if text.starts_with("//") { format!("http:{text}").parse() } else { text.parse() };
    // What cannot be read may be an address of the inside. A path alone, such as `in`, is none.
    uri.map_or(true, |uri: Uri| uri.scheme().is_some() && is_inside(&uri, upstream))
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
    if let Ok(address) = host.parse() {
        return is_local(address) || is_upstream(&host, upstream);
    }
    // RFC 6761, RFC 6762, RFC 8375, and what Docker, Kubernetes and clouds use. A name without a dot is none of the public DNS.
    const INSIDE: [&str; 7] = ["localhost", "local", "internal", "localdomain", "lan", "intranet", "home.arpa"];
    if !host.contains('.') || INSIDE.iter().any(|zone| host.strip_suffix(zone).is_some_and(|name| name.ends_with('.')))
    {
        return true;
    }
    // `0x7f.1`: some clients read it as an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    is_upstream(&host, upstream)
}

/// Whether it is the host of one of the upstream's URLs.
fn is_upstream(host: &str, upstream: &Upstream) -> bool {
    // The port does not matter: a handler behind several ports is inside as a whole.
    upstream
        .urls
        .iter()
        .any(|url| matches!(&url.place, UrlPlace::Tcp { host: own, .. } if own.trim_end_matches('.') == host))
}

/// Whether an address is of this machine, or of a private network.
fn is_local(address: IpAddr) -> bool {
    let is_local_v4 = |address: Ipv4Addr| {
        // The last is that of carriers and of clouds (RFC 6598).
        let [first, second, ..] = address.octets();
        address.is_loopback()
            || address.is_private()
            || address.is_link_local()
            || address.is_unspecified()
            || (first == 100 && second & 0xc0 == 64)
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

    use http::HeaderName;

    use super::*;
    use crate::config::{HostHeader, Url};

    fn upstream(urls: Vec<Url>) -> Upstream {
        let (connect_timeout, host_header) = (Duration::from_secs(1), HostHeader::Upstream);
        Upstream { urls, connect_timeout, resend: true, host_header, certificates: None }
    }

    /// What is left of these headers.
    fn left(name: HeaderName, value: &str) -> bool {
        let url = |host: &str, port| Url {
            tls: false,
            place: UrlPlace::Tcp { host: host.to_owned(), port },
            authority: String::new(),
            path: String::new(),
            query: None,
        };
        let upstream = upstream(vec![url("handler.example", 8000), url("203.0.113.7", 80)]);
        let mut headers = HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
        hide_inside(&mut headers, &upstream);
        !headers.is_empty()
    }

    #[test]
    fn an_address_of_the_inside_is_told_from_others() {
        for inside in [
            "http://handler.example:8000/in/",
            "https://Handler.Example./in/",
            "http://203.0.113.7/in/",
            "http://localhost:8000/in/",
            "http://app:8000/in/",
            "http://app.internal/",
            "http://app.webhooks.svc.cluster.local/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.0.0.1/",
            "//10.1.2.3/x",
            "http://192.168.0.1:80/",
            "http://100.64.0.1/",
            "http://169.254.169.254/",
            "http://[::1]:8000/",
            "http://[fd00::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://\u{fc}/",
            "http:// x",
        ] {
            assert!(!left(LOCATION, inside) && !left(CONTENT_LOCATION, inside), "{inside}");
        }
        for outside in [
            "/in/",
            "in",
            "https://www.example.com/login",
            "http://198.51.100.1/",
            "http://100.128.0.1/",
            "//www.example.com/",
            "https://internal.example.com/",
        ] {
            assert!(left(LOCATION, outside) && left(CONTENT_LOCATION, outside), "{outside}");
        }
    }

    #[test]
    fn only_a_redirect_with_a_location_is_one_and_no_query_is_logged() {
        let found = |status: u16, location: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap())]);
            super::location(StatusCode::from_u16(status).unwrap(), &headers)
        };
        assert_eq!(found(201, "/new"), None);
        assert_eq!(super::location(StatusCode::FOUND, &HeaderMap::new()), None);
        for (location, shown) in [
            ("/in/?code=hunter2#x", "/in/"),
            ("https://user:hunter2@127.0.0.1/in?x", "https://127.0.0.1/in"),
            ("//a:b@c@www.example.com", "//www.example.com"),
            ("http://www.example.com/@x", "http://www.example.com/@x"),
        ] {
            assert_eq!(found(302, location).unwrap(), shown);
        }
    }
}
