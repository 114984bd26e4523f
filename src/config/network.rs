//! Sets of IP networks: `trusted_proxies` and `allowed_ips`.
//!
//! An entry is a network in CIDR notation (RFC 4632 section 3.1, RFC 4291 section 2.3) or one address. Refused: 1. an
//! entry that is neither; 2. a network with bits set beyond its prefix: `10.0.0.1/8` could mean `10.0.0.0/8` or
//! `10.0.0.1`; 3. a repeated entry.
//!
//! IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) count as IPv4 addresses, both in the file and on a socket.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::reader::Field;

/// A set of IP networks; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address is in any of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each network in CIDR notation.
    pub fn iter(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.0.iter()
    }
}

/// Reads networks and addresses that are separated by commas.
impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|entry| parse(entry.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// A list of networks. Unlike other lists, it may be empty.
pub(super) fn read(field: &Field<'_>) -> Option<Networks> {
    field.distinct_if_any(parse).map(Networks)
}

fn parse(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            let is_name = !text.contains([':', '/']) && text.contains(|letter: char| letter.is_ascii_alphabetic());
            let names = if is_name { "; names are not resolved" } else { "" };
            format!("not a network or an IP address: write for example 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32{names}")
        })?,
    };
    let network = canonical(network);
    if network.addr() != network.network() {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(format!("has bits set beyond its prefix: write {whole} for the network or {one} for the address"));
    }
    Ok(network)
}

/// The IPv4 network of an IPv4-mapped network; any other network as it is.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(MAPPED_PREFIX)),
        IpNet::V4(_) => None,
    };
    let mapped = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    mapped.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.join(",").parse().unwrap()
    }

    fn contains(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_first_and_last_address_and_not_the_next() {
        let ten = networks(&["10.1.0.0/16", "2001:db8::/32"]);
        for inside in ["10.1.0.0", "10.1.255.255", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert!(contains(&ten, inside), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "2001:db7::", "2001:db9::", "::"] {
            assert!(!contains(&ten, outside), "{outside}");
        }
    }

    #[test]
    fn an_address_alone_is_itself_only() {
        let one = networks(&["192.0.2.1", "::1"]);
        assert!(contains(&one, "192.0.2.1") && contains(&one, "::1"));
        assert!(!contains(&one, "192.0.2.2") && !contains(&one, "::2"));
    }

    #[test]
    fn ipv4_mapped_addresses_are_ipv4_on_either_side() {
        assert!(contains(&networks(&["10.0.0.0/8"]), "::ffff:10.1.2.3"));
        let mapped = networks(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.1"]);
        assert_eq!(mapped, networks(&["10.0.0.0/8", "192.0.2.1"]));
        assert!(contains(&mapped, "10.1.2.3"));
        assert!(!contains(&networks(&["::/0"]), "10.1.2.3"), "all of IPv6 is not all of IPv4");
        assert!(!contains(&networks(&["0.0.0.0/0"]), "2001:db8::1"));
        assert!(contains(&networks(&["0.0.0.0/0"]), "::ffff:10.1.2.3"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a", "10.0.0.0/", "/8", "10.0.0.0/-1", "fe80::1%eth0"] {
            assert!(parse(text).unwrap_err().starts_with("not a network"), "{text:?}");
        }
        assert_eq!(
            parse("10.0.0.1/8").unwrap_err(),
            "has bits set beyond its prefix: write 10.0.0.0/8 for the network or 10.0.0.1 for the address"
        );
    }
}
