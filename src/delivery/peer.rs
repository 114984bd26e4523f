//! The peer of a connection, and the client that it sends for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

/// The far end of a connection from a sender.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, or the one that its PROXY protocol header gives.
    pub address: SocketAddr,
    /// Its address, without the port, as `X-Forwarded-For` gives it.
    pub forwarded_for: HeaderValue,
    /// Whether the connection is by TLS.
    pub tls: bool,
    /// Who sent the request: this end itself, or whom it sends for as a trusted proxy. Found out for each request.
    pub client: IpAddr,
    /// Whose word about the client counts.
    pub word: Word,
}

/// Whose word about a client counts.
#[derive(Debug, Clone)]
pub enum Word {
    /// The connection's own addresses alone.
    Nobody,
    /// That of the trusted proxy, in `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// The same, with `Forwarded` (RFC 7239) in place of `X-Forwarded-For`.
    Forwarded {
        /// The protocol that the client used, if it is said.
        proto: Option<HeaderValue>,
        /// The host that the client asked for, if it is said.
        host: Option<HeaderValue>,
    },
}

impl Peer {
    /// The far end of a connection, sending for itself.
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let text = address.ip().to_string();
        let forwarded_for = HeaderValue::from_str(&text).expect("an address is visible ASCII");
        Self { address, forwarded_for, tls, client: address.ip(), word: Word::Nobody }
    }
}
