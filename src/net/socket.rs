//! A connection, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::net::tcp::Tcp;

/// A connection of a server or a client. An enum, because a boxed trait object would cost a plain connection more than a branch.
pub enum Socket {
    /// TCP alone.
    Plain(Tcp),
    /// TLS after its handshake. Boxed, because it is a hundred times as large.
    Tls(Box<TlsStream<TcpStream>>),
    /// A socket of the file system (unix(7)). Only clients have one.
    Unix(UnixStream),
}

impl Socket {
    /// Ready when there are bytes to read, or the peer has closed the connection; also while it is not known whether there are any
    /// on a connection that was just accepted. With TLS, call it only right after a pending read: TLS may hold bytes that the
    /// socket no longer has.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_readable(cx),
            Self::Tls(stream) => stream.get_ref().0.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether the poller knows the connection, so that a reset is noticed.
    pub fn is_registered(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_registered(),
            Self::Tls(_) | Self::Unix(_) => true,
        }
    }

    /// Ready when the peer has reset the connection, but not when it has only shut its sending side down: it may still read.
    /// Wakes the task as a read does, and reads nothing. Registers the connection with the poller. Never ready on a socket of
    /// the file system.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let stream = match self {
            Self::Plain(stream) => match stream.registered() {
                Ok(stream) => &*stream,
                Err(error) => return Poll::Ready(error),
            },
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return Poll::Pending,
        };
        match ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]))) {
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// Whether the connection may be closed at once, as far as what has arrived is concerned: it is TCP alone, and nothing has
    /// arrived that was not read, so the system sends no reset. To find out, it may read a byte.
    pub fn is_drained(&mut self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_drained(),
            Self::Tls(_) | Self::Unix(_) => false,
        }
    }

    /// Writes at least one byte of `bytes`, which must not be empty.
    ///
    /// # Errors
    /// Those of the system, and `WriteZero` if it takes no byte.
    pub fn poll_write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(self).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    /// Sets whether dropping the connection resets it (RFC 9293 section 3.10.4), so that the peer sees that it is incomplete,
    /// instead of closing it in order. A socket of the file system is always closed in order.
    ///
    /// # Errors
    /// Those of the system.
    pub fn reset_at_close(&self, resets: bool) -> io::Result<()> {
        let options = match self {
            Self::Plain(stream) => stream.options()?,
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
            Self::Unix(_) => return Ok(()),
        };
        options.set_linger(resets.then_some(Duration::ZERO))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
