//! Connects to an upstream: name resolution, TCP, and TLS where the URL says `https`.
//!
//! Addresses are tried in the resolver's order until one answers, all within one time limit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::net::socket::Socket;

/// Where an upstream is, and how to get there.
pub struct Connector {
    host: String,
    port: u16,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What a connection begins with, before TLS.
    beginning: &'static [u8],
}

impl Connector {
    /// To `host` (a name, or an address without brackets) and `port`, within `timeout`; with TLS if `tls` is given.
    ///
    /// # Errors
    /// A host that can be no TLS server name.
    pub fn new(host: &str, port: u16, timeout: Duration, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let name = |config| {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Ok::<_, io::Error>((TlsConnector::from(config), name))
        };
        Ok(Self { host: host.to_owned(), port, timeout, tls: tls.map(name).transpose()?, beginning: b"" })
    }

    /// The same, each connection beginning with these bytes.
    pub fn beginning_with(self, beginning: &'static [u8]) -> Self {
        Self { beginning, ..self }
    }

    /// A new connection.
    ///
    /// # Errors
    /// What the first failing step says, or that the time is up.
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
