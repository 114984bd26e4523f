//! Which `Host` a request may have: a page of an attacker whose name resolves to this address (DNS rebinding) has its own name
//! there.
//!
//! Known are the address and the port on which the request came, `localhost`, `127.0.0.1` and `[::1]` with any port or none (a
//! forwarded port has another number), and `admin.hosts`. On an address that is not a loopback one, probes and scrapers need no
//! known host for metrics and health.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use http::StatusCode;
use http::header::HOST;

use crate::admin::problem::Problem;
use crate::config::Admin;

/// An extension of a request: the address of the gateway's side of its connection.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub SocketAddr);

/// An extension of a request: the address of the other side of its connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// What supervisors and scrapers ask for.
const FOR_MACHINES: [&str; 3] = ["/metrics", "/livez", "/readyz"];

/// Checks the host that a request is for: its only `Host`, and the authority of its target if it has one.
///
/// # Errors
/// 421, if it is not known.
pub fn check(request: &Request, admin: &Admin) -> Result<(), Problem> {
    let local = request.extensions().get::<LocalAddress>().map(|LocalAddress(local)| *local);
    let exempt = local.is_some_and(|local| !local.ip().to_canonical().is_loopback())
        && FOR_MACHINES.contains(&request.uri().path());
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let known = hosts.next().is_none()
        && host.is_some_and(|host| is_known(host, local, &admin.hosts))
        && request.uri().authority().is_none_or(|authority| is_known(authority.as_str(), local, &admin.hosts));
    if known || exempt {
        return Ok(());
    }
    let detail = "the request is for a host that is not the gateway's: add it to admin.hosts if it is";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail))
}

fn is_known(host: &str, local: Option<SocketAddr>, hosts: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    is_this_machine(&host) || local.is_some_and(|local| is_address(&host, local)) || hosts.contains(&host)
}

/// Whether it is a loopback name or address, with any port or none.
fn is_this_machine(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        let Some(rest) = host.strip_prefix(name) else { return false };
        let port = rest.strip_prefix(':');
        rest.is_empty() || port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
    })
}

/// Whether it is this address with its port, which may be left out if it is the usual one.
fn is_address(host: &str, local: SocketAddr) -> bool {
    let address = SocketAddr::new(local.ip().to_canonical(), local.port());
    let without_port = || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.parse() == Ok(address) || (address.port() == 80 && without_port() == Ok(address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_this_machine_are_known_with_any_port() {
        for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:9797", "localhost:"] {
            assert!(is_known(host, None, &[]), "{host}");
        }
        for host in [
            "",
            "localhost.example.com",
            "localhost:x",
            "localhost:65536",
            "127.0.0.1.example.com",
            "127.0.0.10",
            "[::1]x",
            "evil.example:9797",
            "localhost@evil.example",
            "evil.example/localhost",
        ] {
            assert!(!is_known(host, None, &[]), "{host}");
        }
    }

    #[test]
    fn the_address_is_known_with_its_own_port_only() {
        let local = |text: &str| Some(text.parse().unwrap());
        for (host, address) in [
            ("10.0.0.1:9797", "10.0.0.1:9797"),
            ("10.0.0.1:9797", "[::ffff:10.0.0.1]:9797"),
            ("[2001:DB8::1]:9797", "[2001:db8::1]:9797"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
        ] {
            assert!(is_known(host, local(address), &[]), "{host}");
        }
        for host in ["10.0.0.1", "10.0.0.1:9798", "10.0.0.2:9797", "0.0.0.0:9797"] {
            assert!(!is_known(host, local("10.0.0.1:9797"), &[]), "{host}");
        }
    }

    #[test]
    fn probes_need_no_known_host_on_an_address_that_is_not_a_loopback_one() {
        let checked = |local: &str, uri: &str, hosts: &[&'static str]| {
            let mut request = Request::new(axum::body::Body::empty());
            *request.uri_mut() = uri.parse().unwrap();
            for host in hosts {
                request.headers_mut().append(HOST, http::HeaderValue::from_static(host));
            }
            request.extensions_mut().insert(LocalAddress(local.parse().unwrap()));
            check(&request, &Admin::default()).is_ok()
        };
        for path in FOR_MACHINES {
            assert!(checked("10.0.0.1:9797", path, &["evil.example"]) && checked("10.0.0.1:9797", path, &[]), "{path}");
            for local in ["127.0.0.1:9797", "[::1]:9797", "[::ffff:127.0.0.1]:9797"] {
                assert!(!checked(local, path, &["evil.example"]) && !checked(local, path, &[]), "{path}");
            }
        }
        for path in ["/config", "/api/v1/status", "/", "/metrics/x"] {
            assert!(!checked("10.0.0.1:9797", path, &["evil.example"]), "{path}");
        }
        let (local, path) = ("127.0.0.1:9797", "/config");
        assert!(checked(local, path, &["localhost"]) && !checked(local, path, &["localhost", "localhost"]));
        assert!(checked(local, "http://localhost/config", &["localhost"]));
        assert!(!checked(local, "http://evil.example/config", &["localhost"]), "the target's own host counts");
    }

    #[test]
    fn hosts_of_the_configuration_are_known_as_they_are_written() {
        let hosts = ["gateway.internal:9797".to_owned(), "other".to_owned()];
        assert!(is_known("Gateway.Internal:9797", None, &hosts) && is_known("other", None, &hosts));
        for host in ["gateway.internal", "gateway.internal:9798", "other:9797", "x.other"] {
            assert!(!is_known(host, None, &hosts), "{host}");
        }
    }
}
