//! TCP connections, and a listener whose connections the poller (epoll(7)) does not know at first.
//!
//! A sender that makes a connection for one request sends that request at once. Its connection can then be read, answered and
//! closed without a wait, and the two system calls that register it and take it out again are saved. So an accepted connection is
//! registered when it first has to wait: when its first read or a write would block, and before a read after one that has emptied it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(not(target_vendor = "apple"))]
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much a connection that is not registered is read at once, in bytes: most deliveries are shorter. The buffer is zeroed first, so
/// more would cost more.
const FIRST_READ: usize = 4096;

/// A listening socket. tokio's own type for one registers each connection that it accepts, so its type for connections does the
/// waiting: it can wait for any socket.
pub struct Listener(TcpStream);

/// A TCP connection.
pub struct Tcp(State);

enum State {
    /// The poller does not know it.
    Fresh {
        /// The connection, which never blocks.
        stream: net::TcpStream,
        /// It has been read, and had less than there was room for.
        is_read: bool,
    },
    Registered(TcpStream),
    /// The poller did not take it.
    Lost,
}

impl Listener {
    /// A listener from a socket that listens. Must be called within a runtime.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(socket: net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // Connections inherit it. With Nagle's algorithm, a response could wait for the acknowledgement of the one before.
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        TcpStream::from_std(OwnedFd::from(socket).into()).map(Self)
    }

    /// The next connection, and the address of its peer.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(Tcp, SocketAddr)> {
        let (stream, address) = self.0.async_io(Interest::READABLE, || accept(&self.0)).await?;
        let address = address.ok_or(ErrorKind::ConnectionAborted)?;
        Ok((Tcp(State::Fresh { stream, is_read: false }), address))
    }
}

/// Accepts a connection that never blocks and that no program inherits.
#[cfg(not(target_vendor = "apple"))]
fn accept(listener: &TcpStream) -> io::Result<(net::TcpStream, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, address) = acceptfrom_with(listener, flags)?;
    Ok((stream.into(), address.map(SocketAddr::try_from).transpose()?))
}

/// The same where accept(2) takes no flags.
#[cfg(target_vendor = "apple")]
fn accept(listener: &TcpStream) -> io::Result<(net::TcpStream, Option<SocketAddr>)> {
    let (stream, address) = SockRef::from(listener).accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream.into(), address.as_socket()))
}

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Self(State::Registered(stream))
    }
}

impl Tcp {
    /// Whether the poller knows the connection.
    pub fn is_registered(&self) -> bool {
        matches!(self.0, State::Registered(_))
    }

    /// Registers the connection, if that has not happened yet.
    ///
    /// # Errors
    /// Those of the system.
    pub fn registered(&mut self) -> io::Result<&mut TcpStream> {
        if matches!(self.0, State::Fresh { .. })
            && let State::Fresh { stream, .. } = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Registered(TcpStream::from_std(stream)?);
        }
        match &mut self.0 {
            State::Registered(stream) => Ok(stream),
            State::Fresh { .. } | State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// The same for a caller that takes the connection.
    ///
    /// # Errors
    /// Those of the system.
    pub fn into_registered(mut self) -> io::Result<TcpStream> {
        self.registered()?;
        match self.0 {
            State::Registered(stream) => Ok(stream),
            State::Fresh { .. } | State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Ready when there are bytes to read, or the peer has closed the connection; at once while the first read is to be tried.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            State::Fresh { is_read: false, .. } => Poll::Ready(Ok(())),
            State::Fresh { .. } | State::Registered(_) | State::Lost => self.registered()?.poll_read_ready(cx),
        }
    }

    /// Whether no byte has arrived that was not read. To find out, it may read one, so the connection must be of no further use.
    /// A connection that was read once, and had less than there was room for, is not asked again: it serves the one request that
    /// came with it.
    pub fn is_drained(&mut self) -> bool {
        let mut byte = [0];
        let read = match &mut self.0 {
            State::Fresh { is_read: true, .. } => return true,
            State::Fresh { stream, .. } => stream.read(&mut byte),
            // tokio's own read would not ask the system before the poller has told of new bytes.
            State::Registered(stream) => (&*SockRef::from(&*stream)).read(&mut byte),
            State::Lost => return false,
        };
        !matches!(read, Ok(1..))
    }

    /// The options of the socket.
    ///
    /// # Errors
    /// The poller did not take the connection.
    pub fn options(&self) -> io::Result<SockRef<'_>> {
        match &self.0 {
            State::Fresh { stream, .. } => Ok(SockRef::from(stream)),
            State::Registered(stream) => Ok(SockRef::from(stream)),
            State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Tries to use a connection that is not registered; `None` if it has to be registered first.
    fn attempt<T>(&mut self, mut attempt: impl FnMut(&mut net::TcpStream) -> io::Result<T>) -> Option<io::Result<T>> {
        let State::Fresh { stream, .. } = &mut self.0 else { return None };
        Some(attempt(stream)).filter(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock))
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let State::Fresh { stream, is_read: is_read @ false } = &mut this.0 {
            let room = buf.remaining().min(FIRST_READ);
            let read = stream.read(buf.initialize_unfilled_to(room));
            if !matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock) {
                *is_read = !matches!(read, Ok(read) if read == room);
                return Poll::Ready(read.map(|read| buf.advance(read)));
            }
        }
        Pin::new(this.registered()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.attempt(|stream| stream.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(this.registered()?).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.attempt(|stream| stream.write_vectored(bufs)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(this.registered()?).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system holds what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.attempt(|stream| stream.shutdown(Shutdown::Write)) {
            Some(shut) => Poll::Ready(shut),
            None => Pin::new(this.registered()?).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn accepted() -> (Tcp, TcpStream) {
        let socket = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let listener = Listener::new(socket).unwrap();
        let sender = TcpStream::connect(at).await.unwrap();
        let (accepted, address) = listener.accept().await.unwrap();
        assert_eq!(address, sender.local_addr().unwrap());
        assert!(accepted.options().unwrap().tcp_nodelay().unwrap(), "it is inherited");
        (accepted, sender)
    }

    #[tokio::test]
    async fn what_has_arrived_is_read_and_answered_without_the_poller() {
        let (mut accepted, mut sender) = accepted().await;
        sender.write_all(b"ask").await.unwrap();
        // The system delivers on loopback before the call returns.
        let mut read = [0; 8];
        assert_eq!(accepted.read(&mut read).await.unwrap(), 3);
        accepted.write_all(b"answer").await.unwrap();
        assert!(!accepted.is_registered());
        assert!(accepted.is_drained());
        drop(accepted);
        let mut answer = String::new();
        sender.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn a_connection_that_has_to_wait_is_registered() {
        let (mut accepted, mut sender) = accepted().await;
        let mut read = [0; 8];
        let write = async { sender.write_all(b"late").await.unwrap() };
        let (read, ()) = tokio::join!(accepted.read(&mut read), write);
        assert_eq!(read.unwrap(), 4);
        assert!(accepted.is_registered());

        let (mut accepted, mut sender) = self::accepted().await;
        sender.write_all(b"12").await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'1');
        let mut read = [0; 8];
        assert_eq!(accepted.read(&mut read).await.unwrap(), 1, "there may be more after a read that fills its buffer");
        assert!(!accepted.is_registered());
        let write = async { sender.write_all(b"3").await.unwrap() };
        let (read, ()) = tokio::join!(accepted.read(&mut read), write);
        assert_eq!(read.unwrap(), 1);
        assert!(accepted.is_registered(), "a read after one that has emptied it");
    }

    #[tokio::test]
    async fn a_write_that_would_block_waits_on_a_connection_that_was_not_registered() {
        let (mut accepted, mut sender) = accepted().await;
        // More than the system takes at once.
        let long = vec![b'x'; 16 << 20];
        let write = async {
            accepted.write_all(&long).await.unwrap();
            assert!(accepted.is_registered());
            accepted.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), received) = tokio::join!(write, sender.read_to_end(&mut received));
        assert_eq!(received.unwrap(), long.len());
    }

    #[tokio::test]
    async fn bytes_that_were_not_read_are_noticed_and_the_peers_end_is_none_of_them() {
        for is_registered in [false, true] {
            let (mut accepted, mut sender) = accepted().await;
            sender.write_all(b"1").await.unwrap();
            assert_eq!(accepted.read_u8().await.unwrap(), b'1', "a read that fills its buffer");
            if is_registered {
                accepted.registered().unwrap();
            }
            assert!(accepted.is_drained());
            sender.write_all(b"more").await.unwrap();
            assert!(!accepted.is_drained());

            let (mut accepted, mut sender) = self::accepted().await;
            sender.shutdown().await.unwrap();
            if is_registered {
                accepted.registered().unwrap();
            }
            assert!(accepted.is_drained());
        }
    }
}
