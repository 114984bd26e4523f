//! Connects to a host: name resolution, TCP, and TLS.
//!
//! Tries the addresses in the resolver's order until one answers, all within one timeout.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::net::socket::Socket;

/// Connects to one host.
pub struct Connector {
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    /// For name resolution, TCP and TLS together.
    timeout: Duration,
    /// How to speak TLS, and the name that the certificate must have; `None` without TLS.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Bytes that are sent first, before TLS.
    beginning: &'static [u8],
}

impl Connector {
    /// Connects to `host` (a name, or an address without brackets) and `port` within `timeout`, with TLS if `tls` is given.
    ///
    /// # Errors
    /// `host` cannot be a TLS server name.
    pub fn new(host: &str, port: u16, timeout: Duration, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let name = |config| {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Ok::<_, io::Error>((TlsConnector::from(config), name))
        };
        Ok(Self { host: host.to_owned(), port, timeout, tls: tls.map(name).transpose()?, beginning: b"" })
    }

    /// The same, with `beginning` as the first bytes of each connection.
    pub fn beginning_with(self, beginning: &'static [u8]) -> Self {
        Self { beginning, ..self }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Those of the step that failed, or a timeout.
    pub async fn connect(&self) -> io::Result<Socket> {
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        tokio::time::timeout(self.timeout, self.open()).await.map_err(|_| timed_out())?
    }

    async fn open(&self) -> io::Result<Socket> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address");
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            match TcpStream::connect(address).await {
                Ok(mut stream) => {
                    stream.set_nodelay(true)?;
                    if !self.beginning.is_empty() {
                        stream.write_all(self.beginning).await?;
                    }
                    return match &self.tls {
                        None => Ok(Socket::Plain(stream)),
                        Some((connector, name)) => {
                            let stream = connector.connect(name.clone(), stream).await?;
                            Ok(Socket::Tls(Box::new(stream.into())))
                        }
                    };
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
