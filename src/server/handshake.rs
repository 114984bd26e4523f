//! The beginning of a connection, before its first request: the PROXY protocol header, then the TLS handshake.
//!
//! With `proxy_protocol: true`, a connection from one of `trusted_proxies` must begin with the header, and the address in it
//! replaces the connection's. A connection from another address must not have one: the header would be read as HTTP or TLS,
//! and refused. If `trusted_proxies` is empty, every connection must begin with the header.
//!
//! Closes the connection if: 1. the PROXY protocol header is missing, malformed or late; 2. the TLS handshake fails or is
//! late, for instance because the client has no certificate that `client_ca` accepts. HTTP without TLS is answered 400 first.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::config::{self, Networks};
use crate::delivery::peer::Peer;
use crate::metrics::HandshakeMetrics;
use crate::net::proxy_protocol;
use crate::net::socket::Socket;
use crate::net::tcp::Tcp;
use crate::net::tls::{H2, server_config};

/// The time for the PROXY protocol header and the TLS handshake together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The PROXY protocol and TLS settings of new connections. A clone costs two reference counts.
#[derive(Clone)]
pub struct Handshake {
    /// The proxies whose connections begin with a PROXY protocol header; an empty set means all addresses. `None` without
    /// `proxy_protocol: true`.
    proxies: Option<Networks>,
    /// `None` without `server.tls`.
    tls: Option<TlsAcceptor>,
    /// Counts connections that fail here.
    failures: HandshakeMetrics,
}

/// A connection that is ready for requests.
pub struct Accepted {
    /// The connection, decrypted.
    pub socket: Socket,
    /// The peer of the connection.
    pub peer: Rc<Peer>,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What a connection speaks after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2, selected by ALPN.
    Http2,
    /// HTTP without TLS, where TLS is required: all it gets is a refusal.
    Cleartext,
}

impl Handshake {
    /// The settings of `server`.
    ///
    /// # Errors
    /// Certificates that rustls does not take, which loading the configuration rules out.
    pub fn new(server: &config::Server, failures: HandshakeMetrics) -> io::Result<Self> {
        if server.proxy_protocol && server.trusted_proxies.is_empty() {
            tracing::warn!("server.trusted_proxies is empty: every PROXY protocol header is believed");
        }
        let tls = server.tls.as_ref().map(server_config).transpose()?;
        Ok(Self {
            proxies: server.proxy_protocol.then(|| server.trusted_proxies.clone()),
            tls: tls.map(TlsAcceptor::from),
            failures,
        })
    }

    /// Takes a connection that begins with HTTP.
    ///
    /// # Errors
    /// The connection, which has to [`enter`](Self::enter).
    pub fn enter_at_once(&self, stream: Tcp, address: SocketAddr) -> Result<Accepted, Tcp> {
        if self.tls.is_some() || self.has_header(address) {
            return Err(stream);
        }
        Ok(Accepted {
            socket: Socket::Plain(stream),
            peer: Rc::new(Peer::new(address, false)),
            protocol: Protocol::Http1,
        })
    }

    fn has_header(&self, address: SocketAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.is_empty() || proxies.contains(address.ip()))
    }

    /// Reads the PROXY protocol header and performs the TLS handshake, as far as they are configured.
    ///
    /// # Errors
    /// Why one of them failed. The connection is closed then.
    pub async fn enter(&self, stream: Tcp, mut address: SocketAddr) -> io::Result<Accepted> {
        let stream = match self.enter_at_once(stream, address) {
            Ok(accepted) => return Ok(accepted),
            Err(stream) => stream,
        };
        let has_header = self.has_header(address);
        let mut failure = &self.failures.tls;
        let enter = async {
            // A handshake waits for its peer.
            let mut stream = stream.into_registered()?;
            if has_header {
                failure = &self.failures.proxy;
                address = proxy_protocol::read(&mut stream).await?.unwrap_or(address);
                failure = &self.failures.tls;
            }
            let Some(tls) = &self.tls else {
                return Ok(Accepted {
                    socket: Socket::Plain(stream.into()),
                    peer: Rc::new(Peer::new(address, false)),
                    protocol: Protocol::Http1,
                });
            };
            if is_cleartext(&stream).await? {
                self.failures.tls.inc();
                let peer = Rc::new(Peer::new(address, false));
                return Ok(Accepted { socket: Socket::Plain(stream.into()), peer, protocol: Protocol::Cleartext });
            }
            let stream = tls.accept(stream).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
            Ok(Accepted {
                socket: Socket::Tls(Box::new(stream.into())),
                peer: Rc::new(Peer::new(address, true)),
                protocol: if is_http2 { Protocol::Http2 } else { Protocol::Http1 },
            })
        };
        let accepted = tokio::time::timeout(TIMEOUT, enter).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|_| failure.inc())
    }
}

/// Whether a connection begins with a letter, as a method of HTTP does; a TLS handshake begins with the byte 22 (RFC 8446 section
/// 5.1).
async fn is_cleartext(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first.iter().all(u8::is_ascii_uppercase))
}
