//! Connects to a server: name resolution, TCP and TLS, or a socket of the file system.
//!
//! Tries the addresses of a name one after another, IPv6 and IPv4 in turn, all within one timeout. While one is silent, the next
//! one is tried beside it (RFC 8305): an address that leads nowhere does not use up the time.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::config::UrlPlace;
use crate::net::socket::Socket;

/// How long an address may be silent until the next one is tried beside it: the value of RFC 8305 section 8.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long to wait until a socket of the file system whose backlog was full is tried again.
const FULL_BACKLOG: Duration = Duration::from_millis(10);

/// Connects to one server.
pub struct Connector {
    place: UrlPlace,
    /// For name resolution, TCP and TLS together.
    timeout: Duration,
    /// How to speak TLS, and the name that the certificate must have; `None` without TLS.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Bytes that are sent first, before TLS.
    beginning: &'static [u8],
}

impl Connector {
    /// Connects to `place` within `timeout`, with TLS if `tls` is given; a socket of the file system has no TLS.
    ///
    /// # Errors
    /// The host cannot be a TLS server name.
    pub fn new(place: UrlPlace, timeout: Duration, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let tls = match (&place, tls) {
            (UrlPlace::Tcp { host, .. }, Some(config)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Some((TlsConnector::from(config), name))
            }
            (UrlPlace::Tcp { .. }, None) | (UrlPlace::Unix(_), _) => None,
        };
        Ok(Self { place, timeout, tls, beginning: b"" })
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
        timeout(self.timeout, self.open()).await.map_err(|_| timed_out())?
    }

    async fn open(&self) -> io::Result<Socket> {
        let (host, port) = match &self.place {
            UrlPlace::Tcp { host, port } => (host.as_str(), *port),
            UrlPlace::Unix(path) => return connect_to_path(path).await.map(Socket::Unix),
        };
        let addresses = lookup_host((host, port)).await?.collect();
        let mut stream = connect_to_first(in_turn(addresses)).await?;
        stream.set_nodelay(true)?;
        if !self.beginning.is_empty() {
            stream.write_all(self.beginning).await?;
        }
        Ok(match &self.tls {
            None => Socket::Plain(stream.into()),
            Some((connector, name)) => Socket::Tls(Box::new(connector.connect(name.clone(), stream).await?.into())),
        })
    }
}

/// A connection to a socket of the file system. Where the other end's backlog is full, the kernel does not wait as it does for
/// TCP, so this does.
async fn connect_to_path(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_BACKLOG).await,
            result => return result,
        }
    }
}

/// The addresses of both families in turn, in the resolver's order otherwise (RFC 8305 section 4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_family = |address: &SocketAddr| addresses.first().map(SocketAddr::is_ipv4) == Some(address.is_ipv4());
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut in_turn = Vec::with_capacity(addresses.len());
    while in_turn.len() < addresses.len() {
        in_turn.extend(first.next());
        in_turn.extend(second.next());
    }
    in_turn
}

/// Connects to the address that answers first.
async fn connect_to_first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses.as_slice() {
        return TcpStream::connect(only).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address");
    let mut addresses = addresses.into_iter();
    // Dropped with the attempts that are still under way.
    let mut attempts = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        }
        let ended = async {
            match attempts.join_next().await {
                Some(Ok(result)) => Some(result),
                Some(Err(error)) => Some(Err(io::Error::other(error))),
                None => None,
            }
        };
        let ended = if more { timeout(ATTEMPT_DELAY, ended).await } else { Ok(ended.await) };
        match ended {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => last = error,
            Ok(None) => return Err(last),
            // It is silent: the next one is tried beside it.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_families_are_tried_in_turn() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"].map(address).to_vec();
        let expected = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(in_turn(all), expected);
        assert_eq!(in_turn(Vec::new()), []);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_or_refuses_does_not_keep_the_next_one_from_answering() {
        // A listener whose queue is full does not answer.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&address("127.0.0.1:0").into()).unwrap();
        silent.listen(0).unwrap();
        let at = silent.local_addr().unwrap().as_socket().unwrap();
        let _filling = TcpStream::connect(at).await.unwrap();
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = listener.local_addr().unwrap();

        let connected = connect_to_first(vec![refusing, at, answering]).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), answering);
        let error = connect_to_first(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_to_first(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
