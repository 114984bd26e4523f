//! What comes before a connection's first request: the PROXY protocol's header, then TLS.
//!
//! With `proxy_protocol: true` a connection from one of `trusted_proxies` must begin with that header, and the
//! address in it counts as the connection's own from then on. From elsewhere there must be none: it would be refused
//! as the HTTP (or TLS) that it is not. If no proxy is named at all, every connection must begin with one.
//!
//! Refuses, by ending the connection: 1. a header that is missing, malformed or late; 2. a TLS handshake that fails or
//! is late, for instance without the client certificate that `client_ca` asks for.

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
use crate::net::tls::{H2, server_config};

/// How long the PROXY protocol's header and the TLS handshake may take together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How connections begin. A clone costs two reference counts.
#[derive(Clone)]
pub struct Handshake {
    /// From where a PROXY protocol header must come; `None` for nowhere.
    proxies: Option<Networks>,
    tls: Option<TlsAcceptor>,
    failures: HandshakeMetrics,
}

/// A connection that is ready for requests.
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// Its far end.
    pub peer: Rc<Peer>,
    /// Whether TLS has agreed on HTTP/2.
    pub http2: bool,
}

impl Handshake {
    /// As the configuration has it.
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

    /// Lets a connection in.
    ///
    /// # Errors
    /// Why it cannot be; the connection is gone then.
    pub async fn enter(&self, mut stream: TcpStream, mut address: SocketAddr) -> io::Result<Accepted> {
        let proxies = self.proxies.as_ref();
        let has_header = proxies.is_some_and(|proxies| proxies.is_empty() || proxies.contains(address.ip()));
        if !has_header && self.tls.is_none() {
            return Ok(Accepted {
                socket: Socket::Plain(stream),
                peer: Rc::new(Peer::new(address, false)),
                http2: false,
            });
        }
        let mut failure = &self.failures.tls;
        let enter = async {
            if has_header {
                failure = &self.failures.proxy;
                address = proxy_protocol::read(&mut stream).await?.unwrap_or(address);
                failure = &self.failures.tls;
            }
            let Some(tls) = &self.tls else {
                return Ok(Accepted {
                    socket: Socket::Plain(stream),
                    peer: Rc::new(Peer::new(address, false)),
                    http2: false,
                });
            };
            let stream = tls.accept(stream).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
            Ok(Accepted {
                socket: Socket::Tls(Box::new(stream.into())),
                peer: Rc::new(Peer::new(address, true)),
                http2,
            })
        };
        // Boxed: a connection that is in needs no room for it.
        let accepted = tokio::time::timeout(TIMEOUT, Box::pin(enter)).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|_| failure.inc())
    }
}
