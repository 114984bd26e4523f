//! The peer of a connection, and the client that it sends for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

/// The other end of a connection.
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
    /// What a trusted proxy says of the client.
    pub forwarded_by: ForwardedBy,
}

/// What a trusted proxy says of the client that it forwards for.
#[derive(Debug, Clone)]
pub enum ForwardedBy {
    /// The connection is not from a trusted proxy: the peer is the client.
    Direct,
    /// What its `X-Forwarded-For`, `-Proto` and `-Host` say.
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
    /// The peer of a connection, which is itself the client until a request says otherwise.
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let text = address.ip().to_string();
        let forwarded_for = HeaderValue::from_str(&text).expect("an address is visible ASCII");
        Self { address, forwarded_for, tls, client: address.ip(), forwarded_by: ForwardedBy::Direct }
    }
}
