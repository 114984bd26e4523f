//! Connects to an upstream: name resolution, TCP, and TLS where the URL says `https`.
//!
//! Addresses are tried in the resolver's order until one answers, all within one time limit.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::socket::Socket;

/// Where an upstream is, and how to get there.
pub struct Connector {
    host: String,
    port: u16,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What a connection begins with, before TLS.
    beginning: &'static [u8],
}

/// A connection that counts what passes, and keeps the head of a request: that decides whether a request may be sent again,
/// and makes it possible.
pub struct Stream {
    socket: Socket,
    progress: Arc<Progress>,
    /// The upstream reads no further. What is still to be written is thrown away, for its response may be there to be
    /// read (RFC 9112 section 9.5).
    deaf: bool,
}

/// What a connection has carried.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    written: AtomicU64,
    head: Mutex<Head>,
}

/// The head of the request that is being sent, as it went out.
#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    /// What is written next begins with it.
    is_next: bool,
}

/// A longer head's memory is not kept for the next one.
const KEPT_HEAD: usize = 4 << 10;

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
    pub async fn connect(&self) -> io::Result<Stream> {
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let socket = tokio::time::timeout(self.timeout, self.open()).await.map_err(|_| timed_out())??;
        Ok(Stream { socket, progress: Arc::default(), deaf: false })
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

impl Stream {
    /// The counters of this connection.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The result of writing `offered` bytes, as it is to be told.
    fn wrote(&mut self, result: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                self.progress.written.fetch_add(*bytes as u64, Ordering::Relaxed);
                result
            }
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(offered))
            }
            Poll::Ready(Err(_)) | Poll::Pending => result,
        }
    }
}

impl Progress {
    /// Bytes read and written so far.
    pub fn get(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    /// A request is to be sent: its head will be kept.
    pub fn begin_request(&self) {
        let mut head = self.lock();
        if head.bytes.capacity() > KEPT_HEAD {
            head.bytes = Vec::new();
        }
        head.bytes.clear();
        head.is_next = true;
    }

    /// The head of the request, if any of it was offered to the connection, and with what else was in the same buffer.
    pub fn head(&self) -> Option<Vec<u8>> {
        let mut head = self.lock();
        (!head.is_next).then(|| std::mem::take(&mut head.bytes))
    }

    /// Keeps what is written if it is a head: a head is written at once, in one buffer.
    fn offered(&self, buffer: &[u8]) {
        let mut head = self.lock();
        if head.is_next {
            head.is_next = false;
            head.bytes.extend_from_slice(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.progress.read.fetch_add(read as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        self.progress.offered(buf);
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(offered));
        }
        self.progress.offered(bufs.first().map_or(&[], |buf| buf));
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(result, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
