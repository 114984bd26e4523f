//! Addresses as the file writes them: listeners, hosts and public paths.
//!
//! The error of each parser says what to write instead. Paths stay as written, because requests are matched and forwarded byte by byte: nothing is decoded, no dot segment is folded. A
//! host is an IP address or a name of RFC 1123 section 2.1; an underscore is accepted too, because container networks use
//! it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::uri::PathAndQuery;

/// The paths that a route takes, compared byte by byte with the path of the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path alone.
    Exact(String),
    /// Every path that begins with this text, which ends in a slash: `/hooks/` for `/hooks/*`.
    Prefix(String),
}

impl PathPattern {
    /// The length of the prefix in bytes; `None` if the path is exact.
    pub fn prefix_len(&self) -> Option<usize> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => Some(prefix.len()),
        }
    }
}

/// A host, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    NameOrV4(String),
    V6(Ipv6Addr),
}

/// As written in the file: a prefix ends in `/*`.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

/// An IP address and a port to bind.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.parse::<u16>().is_ok() {
        return Err(format!("needs an IP address as well: write 0.0.0.0:{port} for all of IPv4, or [::]:{port}"));
    }
    if text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return Err("needs a port as well, such as 127.0.0.1:8080 or [::1]:8080".to_owned());
    }
    Err("not an IP address with a port: write for example 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080; \
         names are not looked up"
        .to_owned())
}

/// A route's host, as in the `Host` header but without a port.
pub(super) fn parse_route_host(text: &str) -> Result<String, &'static str> {
    if text.contains("://") {
        return Err("must be the name alone, without http:// or https://");
    }
    let (host, rest) = split_host(text)?;
    if !rest.is_empty() {
        return Err("must have no port: a route's host matches on every port");
    }
    match host {
        Host::NameOrV4(name) if name.ends_with('.') => Err("must not end in a dot"),
        Host::NameOrV4(name) => Ok(name),
        Host::V6(address) => Ok(format!("[{address}]")),
    }
}

/// A value of the `Host` header: a host, and a port unless it is left out.
pub(super) fn parse_listen_host(text: &str) -> Result<String, &'static str> {
    parse_authority(text, 0).map(|(_, _, authority)| authority)
}

/// A route's path: exact, or a prefix that ends in `/*`.
pub(super) fn parse_path(text: &str) -> Result<PathPattern, &'static str> {
    if text.contains("://") {
        return Err("must begin with /, without the host: that goes under host");
    }
    if !text.starts_with('/') {
        return Err("must begin with /");
    }
    if text.contains(['?', '#']) {
        return Err("must have no query or fragment: only the path is matched, and the query is always forwarded");
    }
    check_path_bytes(text)?;
    match text.strip_suffix('*') {
        _ if !text.contains('*') => Ok(PathPattern::Exact(text.to_owned())),
        Some(prefix) if prefix.ends_with('/') && !prefix.contains('*') => Ok(PathPattern::Prefix(prefix.to_owned())),
        _ => Err("can have a * only at its end, after a slash: /hooks/*"),
    }
}

/// The host, the port, and the value of the `Host` header.
pub(super) fn parse_authority(text: &str, default_port: u16) -> Result<(String, u16, String), &'static str> {
    let (host, rest) = split_host(text)?;
    let port = match rest.strip_prefix(':') {
        None => default_port,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or("must have a port from 1 to 65535, or none")?
        }
        Some(_) => return Err("must have a port from 1 to 65535, or none"),
    };
    let (host, shown) = match host {
        Host::NameOrV4(name) => (name.clone(), name),
        Host::V6(address) => (address.to_string(), format!("[{address}]")),
    };
    let authority = if port == default_port { shown } else { format!("{shown}:{port}") };
    Ok((host, port, authority))
}

/// The host at the beginning, and what follows it: nothing, or a colon and more.
fn split_host(text: &str) -> Result<(Host, &str), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("must have a ] after its IPv6 address")?;
        let address = address.parse().map_err(|_| "must have an IPv6 address between [ and ]")?;
        return match rest.is_empty() || rest.starts_with(':') {
            true => Ok((Host::V6(address), rest)),
            false => Err("can have nothing but a port after ]"),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("must have its IPv6 address in brackets, such as [::1]");
    }
    let (name, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len())).unwrap_or((text, ""));
    check_name(name)?;
    Ok((Host::NameOrV4(name.to_ascii_lowercase()), rest))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("must have a host");
    }
    if !name.is_ascii() {
        return Err("must have its host in ASCII: write an international name in its xn-- form");
    }
    if name.contains('*') {
        return Err("must have one host: wildcards are not supported");
    }
    let relative = name.strip_suffix('.').unwrap_or(name);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(letter) && !label.starts_with('-') && !label.ends_with('-')
    };
    if relative.len() > 253 || !relative.split('.').all(label) {
        return Err("must have a DNS name or an IP address as its host");
    }
    // As in the WHATWG URL standard: a host whose last label is a number must be an IPv4 address.
    let numeric = relative.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err("must have a DNS name or an IP address as its host");
    }
    Ok(())
}

/// A path that can stand in a request line.
pub(super) fn check_path_bytes(path: &str) -> Result<(), &'static str> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must have a path of visible ASCII characters: percent-encode the others");
    }
    match PathAndQuery::try_from(path) {
        Ok(_) => Ok(()),
        Err(_) => Err("must have a path as HTTP allows it: percent-encode < > ` and the like"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_ip_address_and_a_port() {
        assert_eq!(parse_listen("0.0.0.0:8080"), Ok(SocketAddr::from(([0, 0, 0, 0], 8080))));
        assert_eq!(parse_listen("[::1]:0"), Ok(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))));
        for text in [":8080", "8080"] {
            let error = parse_listen(text).expect_err("no address");
            assert!(error.contains("write 0.0.0.0:8080"), "{error}");
        }
        for text in ["127.0.0.1", "::1"] {
            let error = parse_listen(text).expect_err("no port");
            assert!(error.starts_with("needs a port"), "{error}");
        }
        for text in ["localhost:8080", "127.0.0.1:65536", "127.0.0.1:", "", "::1:8080x", "http://127.0.0.1:80"] {
            let error = parse_listen(text).expect_err("no address");
            assert!(error.contains("write for example 127.0.0.1:8080"), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_is_exact_or_a_prefix() {
        let exact = |path: &str| Ok(PathPattern::Exact(path.to_owned()));
        let prefix = |path: &str| Ok(PathPattern::Prefix(path.to_owned()));
        assert_eq!(parse_path("/"), exact("/"));
        assert_eq!(parse_path("/a/b/"), exact("/a/b/"));
        assert_eq!(parse_path("/a/%2e%2E/../b"), exact("/a/%2e%2E/../b"));
        assert_eq!(parse_path("/*"), prefix("/"));
        assert_eq!(parse_path("/hooks/*"), prefix("/hooks/"));
        for text in
            ["", "hooks", "*", "/a?b", "/a#b", "/a b", "/a\tb", "/ä", "/a*", "/*/a", "/a/*/", "/a/*b", "/*/*", "/<"]
        {
            assert!(parse_path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_route_host_is_lower_case_and_has_no_port() {
        assert_eq!(parse_route_host("Hooks.Example.COM"), Ok("hooks.example.com".to_owned()));
        assert_eq!(parse_route_host("10.0.0.1"), Ok("10.0.0.1".to_owned()));
        assert_eq!(parse_route_host("[0:0::1]"), Ok("[::1]".to_owned()));
        for text in
            ["", "a:80", "a.", "::1", "[::1", "[x]", "[::1]:80", "[::1]x", "a b", "a/b", "ä.de", "*.a.de", "-a.de"]
        {
            assert!(parse_route_host(text).is_err(), "{text:?}");
        }
        for text in ["a..b", ".a", "a-.de", "10.0.0.256", "1.2.3", &"a".repeat(64), &"a.".repeat(127)] {
            assert!(parse_route_host(text).is_err(), "{text:?}");
        }
    }
}
