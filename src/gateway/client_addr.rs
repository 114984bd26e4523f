//! Finds the address of the client that sent a request, directly or through trusted proxies.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) count only if the connection comes from one of `trusted_proxies`. The gateway
//! then walks over the addresses in these fields from right to left. The first address that is not a trusted proxy is the
//! client; if all of them are trusted proxies, the leftmost is the client. The walk ends at an entry that is not an address
//! (`unknown`, an obfuscated identifier, garbage): the proxy that wrote that entry is then the client.
//!
//! `Forwarded` is used only if the request has no `X-Forwarded-For`. So a trusted proxy must write one of the two; if it
//! writes `Forwarded`, it must remove the sender's `X-Forwarded-For`.
//!
//! This is no protection if `trusted_proxies` has a network from which others can connect.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use crate::config::Networks;
use crate::delivery::peer::{ForwardedBy, Peer};
use crate::gateway::forwarded::{X_FORWARDED_FOR, address, forwarded, x_forwarded_for};
use crate::http1::field::is_host;

/// `peer` with the client that it forwards for, by these field lines of a request; `None` if `peer` is not a trusted proxy.
pub fn identify(trusted: &Networks, headers: &HeaderMap, peer: &Peer) -> Option<Peer> {
    let address = peer.address.ip();
    if trusted.is_empty() || !trusted.contains(address) {
        return None;
    }
    let (client, forwarded_by) = walk(trusted, address, headers);
    Some(Peer { client, forwarded_by, ..peer.clone() })
}

/// The client of a request from the trusted proxy `peer`, and the fields that name the client.
fn walk(trusted: &Networks, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, ForwardedBy) {
    let mut client = peer;
    if headers.contains_key(X_FORWARDED_FOR) {
        for hop in x_forwarded_for(headers) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else { break };
            client = address;
            if !trusted.contains(client) {
                break;
            }
        }
        return (client, ForwardedBy::XForwarded);
    }
    let mut forwarded_by = ForwardedBy::XForwarded;
    for element in forwarded(headers) {
        let Some((element, address)) = element.and_then(|element| Some((element, address(element.node?)?))) else {
            break;
        };
        client = address;
        forwarded_by = ForwardedBy::Forwarded {
            proto: element.proto.and_then(protocol),
            host: element.host.and_then(|host| HeaderValue::from_str(host).ok()).filter(is_host),
        };
        if !trusted.contains(client) {
            break;
        }
    }
    (client, forwarded_by)
}

/// The protocol that a proxy reports, in lower case; `None` unless it is `http` or `https`.
pub fn protocol(text: &str) -> Option<HeaderValue> {
    let known = ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known));
    known.map(HeaderValue::from_static)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::HeaderName;
    use http::header::FORWARDED;

    use super::*;

    const XFF: HeaderName = X_FORWARDED_FOR;

    fn trusted() -> Networks {
        "10.0.0.0/8, 2001:db8:1::/48".parse().unwrap()
    }

    fn identified(peer: &str, lines: &[(HeaderName, &str)]) -> Peer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = Peer::new(SocketAddr::new(peer.parse().unwrap(), 4711), false);
        identify(&trusted(), &headers, &peer).unwrap_or(peer)
    }

    fn client(peer: &str, lines: &[(HeaderName, &str)]) -> String {
        identified(peer, lines).client.to_string()
    }

    #[test]
    fn a_sender_that_is_no_trusted_proxy_is_the_client_whatever_it_says() {
        for line in [(XFF, "10.0.0.1"), (XFF, "192.0.2.9"), (FORWARDED, "for=192.0.2.9")] {
            let peer = identified("192.0.2.1", &[line]);
            assert_eq!(peer.client.to_string(), "192.0.2.1");
            assert!(matches!(peer.forwarded_by, ForwardedBy::Direct));
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        for (line, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("198.51.100.1, 192.0.2.1", "192.0.2.1"),
            ("10.9.9.9, 192.0.2.1", "192.0.2.1"),
            ("198.51.100.1, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
            ("198.51.100.1, 192.0.2.1 ,10.0.0.2,\t10.0.0.3", "192.0.2.1"),
            ("2001:db8::7, [2001:db8:1::1]:443", "2001:db8::7"),
            ("192.0.2.1:4711, 10.0.0.2:80", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
            ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
            ("", "10.0.0.1"),
            (",, ,", "10.0.0.1"),
            ("192.0.2.1,", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(XFF, line)]), expected, "{line}");
        }
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &[(XFF, "192.0.2.1")]), "192.0.2.1", "a mapped peer");
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [(XFF, "198.51.100.1"), (XFF, "192.0.2.1, 10.0.0.2"), (XFF, "10.0.0.3")];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.1");
        let lines = [(FORWARDED, "for=198.51.100.1"), (FORWARDED, "for=192.0.2.1, for=10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn the_walk_ends_at_what_is_no_address() {
        for garbage in ["unknown", "_hidden", "garbage", "192.0.2.1 192.0.2.2", "1.2.3", "\u{fc}", "\"192.0.2.1\""] {
            let line = format!("192.0.2.1, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[(XFF, &line)]), "10.0.0.2", "{garbage}");
        }
        for garbage in ["for=unknown", "for=_hidden", "proto=https", "for=\"", "for=a;for=b", "x"] {
            let line = format!("for=192.0.2.1, {garbage}");
            assert_eq!(client("10.0.0.1", &[(FORWARDED, &line), (FORWARDED, "for=10.0.0.2")]), "10.0.0.2", "{garbage}");
        }
    }

    #[test]
    fn forwarded_counts_only_where_there_is_no_x_forwarded_for() {
        let both = [(FORWARDED, "for=198.51.100.1"), (XFF, "192.0.2.1")];
        let peer = identified("10.0.0.1", &both);
        assert_eq!(peer.client.to_string(), "192.0.2.1");
        assert!(matches!(peer.forwarded_by, ForwardedBy::XForwarded));
        let both = [(FORWARDED, "for=198.51.100.1"), (XFF, "garbage")];
        assert_eq!(client("10.0.0.1", &both), "10.0.0.1");

        let peer = identified("10.0.0.1", &[(FORWARDED, "for=\"[2001:db8::7]:1\";PROTO=HTTPS;host=\"a.example:1\"")]);
        assert_eq!(peer.client.to_string(), "2001:db8::7");
        let ForwardedBy::Forwarded { proto, host } = peer.forwarded_by else { panic!("by Forwarded") };
        assert_eq!((proto.unwrap().as_bytes(), host.unwrap().as_bytes()), (&b"https"[..], &b"a.example:1"[..]));
    }
}
