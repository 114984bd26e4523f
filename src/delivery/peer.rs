//! The peer of a connection, and the client that it forwards for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use smol_str::{SmolStr, SmolStrBuilder};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The peer's address: the connection's, or the one in its PROXY protocol header.
    pub address: SocketAddr,
    /// The peer's address without the port, as an element of `X-Forwarded-For`.
    pub forwarded_for: HeaderValue,
    /// The text of `forwarded_for`.
    pub text: SmolStr,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The address of the client that sent the request: the peer itself, or, if the peer is a trusted proxy, the client that it
    /// forwards for. Determined for each request.
    pub client: IpAddr,
    /// The fields by which a trusted proxy named the client.
    pub forwarded_by: ForwardedBy,
}

/// The fields by which a trusted proxy names the client that it forwards for.
#[derive(Debug, Clone)]
pub enum ForwardedBy {
    /// The connection is not from a trusted proxy: the peer is the client.
    Direct,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239), with `X-Forwarded-Proto` and `-Host`.
    Forwarded {
        /// The protocol that the client used, if `Forwarded` has it.
        proto: Option<HeaderValue>,
        /// The host that the client asked for, if `Forwarded` has it.
        host: Option<HeaderValue>,
    },
}

impl Peer {
    /// The peer of a connection. It is the client, until a request names another one.
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        // Each connection makes one, so an IPv4 address is written without the formatter.
        let mut text = SmolStrBuilder::new();
        match address.ip() {
            IpAddr::V4(ip) => {
                let [first, rest @ ..] = ip.octets();
                text.push_str(itoa::Buffer::new().format(first));
                for octet in rest {
                    text.push('.');
                    text.push_str(itoa::Buffer::new().format(octet));
                }
            }
            IpAddr::V6(ip) => text.push_str(&ip.to_string()),
        }
        let text = text.finish();
        let forwarded_for = HeaderValue::from_str(&text).expect("an address is visible ASCII");
        Self { address, forwarded_for, text, tls, client: address.ip(), forwarded_by: ForwardedBy::Direct }
    }

    /// Whether the peer forwards the request for another client.
    pub fn is_proxy(&self) -> bool {
        self.client != self.address.ip()
    }
}
