//! `trusted_proxies`, `proxy_protocol` and `allowed_ips`.

use super::*;

/// The networks of a server or route with these lines.
fn shown(networks: &Networks) -> Vec<String> {
    networks.iter().map(|network| network.to_string()).collect()
}

fn with_server(line: &str) -> String {
    with_routes(&[route(&[])]).replace("server: {", &format!("server: {{{line}, "))
}

#[test]
fn nobody_is_trusted_and_everybody_is_let_in_by_default() {
    let config = Made::new().parse(&one(&[])).expect("valid");
    assert!(config.server.trusted_proxies.is_empty());
    assert!(!config.server.proxy_protocol);
    assert!(config.routes[0].allowed_ips.is_empty());
}

#[test]
fn networks_can_be_set_and_emptied() {
    let text = with_server("trusted_proxies: [10.0.0.0/8, 192.0.2.1, '2001:db8::/32', '::1'], proxy_protocol: true");
    let server = Made::new().parse(&text).expect("valid").server;
    assert_eq!(shown(&server.trusted_proxies), ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"]);
    assert!(server.proxy_protocol);
    assert!(Made::new().parse(&with_server("trusted_proxies: []")).expect("valid").server.trusted_proxies.is_empty());

    assert_eq!(shown(&only_route(&["allowed_ips: [203.0.113.0/24]"]).allowed_ips), ["203.0.113.0/24"]);
    assert!(only_route(&["allowed_ips: []"]).allowed_ips.is_empty());
}

#[test]
fn every_bad_network_is_reported_at_its_place() {
    assert_eq!(
        Made::new().errors(&one(&["allowed_ips: [10.0.0.1/8, 10.0.0.0/8, x, 10.0.0.0/8, 5]"])),
        [
            "routes[0].allowed_ips[0]: has bits set beyond its prefix: write 10.0.0.0/8 for the network or 10.0.0.1 \
             for the address",
            "routes[0].allowed_ips[2]: not a network or an IP address: write for example 10.0.0.0/8, 192.0.2.1 or \
             2001:db8::/32; names are not resolved",
            "routes[0].allowed_ips[3]: 10.0.0.0/8 is repeated",
            "routes[0].allowed_ips[4]: expected text (put it in quotes), found a number",
        ]
    );
    assert_eq!(
        Made::new().errors(&with_server("trusted_proxies: 10.0.0.0/8")),
        ["server.trusted_proxies: expected a list, found text"]
    );
    assert_eq!(
        Made::new().errors(&with_server("proxy_protocol: v2")),
        ["server.proxy_protocol: expected true or false, found text"]
    );
}
