//! The far end of an HTTP/1.1 connection, whose requests come one after another: their heads, their bodies, and the time
//! that there is for each.
//!
//! A connection ends when
//! 1. what comes is no request to pass on, see [`request`](crate::http1::server::request);
//! 2. a head has not come within `header_timeout`: of its first byte, or of the connection's beginning;
//! 3. no request begins within `idle_timeout` of the last response;
//! 4. the system takes nothing more of the response for `idle_timeout`, since the sender reads none or next to none of it;
//! 5. the sender resets it before it has its response: what the delivery holds is given back at once. (After it has shut its
//!    sending side, that is only seen when the response is written.)
//!
//! The answer is [`http1`](crate::server::h1)'s to give. Says nothing of bodies' time and size: those are the route's.
//!
//! While nothing comes, a connection holds no buffer; one [`Timer`] serves all of its deadlines.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::AsyncWrite;
use tower::BoxError;

use crate::clock::Clock;
use crate::http1::reader::{MessageReader, READ};
use crate::http1::server::request::{HeadError, HeadScanner, ParsedRequest};
use crate::http1::server::response::ResponseWriter;
use crate::net::socket::Socket;
use crate::net::timer::Timer;

/// What a sender waits for that has said so (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// While draining, how long a connection stays open on which nothing has come yet, or a part of a head: the request may be
/// on its way.
pub const DRAIN_FRESH: Duration = Duration::from_millis(500);

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// For a request's head.
    pub header_timeout: Duration,
    /// Between two requests, and for a sender that reads no response.
    pub idle_timeout: Duration,
    /// The longest head.
    pub max_header_bytes: usize,
}

/// Why there is no further request.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// What came is no request to pass on.
    Refused(HeadError),
    /// A part of a head has come, the rest not in time; or nothing but empty lines where the first was to be.
    HeadTimeout,
    /// Nothing has come, in the time that there was for it.
    IdleTimeout,
    /// Nothing has come, and the gateway drains.
    Drained,
    /// The sender has closed the connection, or wants it closed, or it broke.
    Closed(Option<io::Error>),
    /// A response broke off of which the sender would take the connection's end for its own.
    ResponseAborted(io::Error),
}

/// The far end.
pub struct ServerConnection {
    socket: Socket,
    /// What has come of the request, and of those after it.
    reader: MessageReader,
    scanner: HeadScanner,
    limits: ConnectionLimits,
    clock: Clock,
    /// When what is waited for must have come.
    deadline: Instant,
    timer: Timer,
    state: State,
    /// What of [`CONTINUE`] is to be sent before the body comes.
    interim: Option<&'static [u8]>,
    /// When its response was there to be sent, unless that takes time.
    response_began: Option<Instant>,
    /// How much of its response the sender has taken that takes no more of it now.
    written_when_blocked: Option<u64>,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first request: there is one clock, from the beginning on.
    FirstHead,
    /// Another request.
    Idle,
    /// The rest of its head.
    Head,
    /// The same or the first request, while the gateway drains.
    Draining,
    /// The response, or the sender to take it.
    Response,
}

/// The body of the request that has come last.
pub struct IncomingBody(Rc<RefCell<ServerConnection>>);

impl ServerConnection {
    /// At the beginning of a connection.
    pub fn new(socket: Socket, limits: ConnectionLimits, clock: Clock) -> Self {
        Self {
            socket,
            reader: MessageReader::new(None),
            scanner: HeadScanner::default(),
            limits,
            deadline: clock.now() + limits.header_timeout,
            clock,
            timer: Timer::default(),
            state: State::FirstHead,
            interim: None,
            response_began: None,
            written_when_blocked: None,
        }
    }

    /// The connection.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// The next request. Its body is to be read, by a [`IncomingBody`], before there is another.
    ///
    /// # Errors
    /// Why there is none.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<ParsedRequest, ConnectionEnd>> {
        loop {
            if !self.reader.buffer.is_empty() {
                let taken = self.scanner.take(&mut self.reader.buffer, self.limits.max_header_bytes);
                if let Some(request) = taken.map_err(ConnectionEnd::Refused)? {
                    self.reader.begin(Some(request.body_length));
                    self.state = State::Response;
                    self.interim = request.expects_continue.then_some(CONTINUE);
                    return Poll::Ready(Ok(request));
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ConnectionEnd::Closed(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ConnectionEnd::Closed(Some(error)))),
                Poll::Pending => return self.poll_deadline(cx).map(Err),
            }
        }
    }

    /// Reads on in a head, or waits for one without a buffer.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.reader.buffer.is_empty() {
            self.reader.buffer = BytesMut::new();
            // With TLS, what has come may have been read already.
            if matches!(self.socket, Socket::Plain(_)) {
                ready!(self.socket.poll_readable(cx))?;
            }
        }
        self.reader.poll_wait(cx, &mut self.socket, READ)
    }

    /// Ready when what is waited for has not come in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let has_begun = !self.scanner.is_at_start(&self.reader.buffer);
        if self.state == State::Response || (self.state == State::Idle && has_begun) {
            self.state = if has_begun { State::Head } else { State::Idle };
            let limit = if has_begun { self.limits.header_timeout } else { self.limits.idle_timeout };
            self.deadline = self.response_began.take().unwrap_or_else(|| self.clock.now()) + limit;
        }
        ready!(self.timer.poll(cx, self.deadline));
        Poll::Ready(match self.state {
            State::Draining => ConnectionEnd::Drained,
            State::FirstHead | State::Head if !self.scanner.is_untouched(&self.reader.buffer) => {
                ConnectionEnd::HeadTimeout
            }
            _ => ConnectionEnd::IdleTimeout,
        })
    }

    /// To be told when the gateway drains while [a request](Self::poll_request) is waited for: one whose head has begun to
    /// come, or which would be the first, has a little time.
    ///
    /// # Errors
    /// There will be none.
    pub fn drain(&mut self) -> Result<(), ConnectionEnd> {
        if self.state == State::Idle {
            return Err(ConnectionEnd::Drained);
        }
        self.state = State::Draining;
        self.deadline = self.deadline.min(self.clock.now() + DRAIN_FRESH);
        Ok(())
    }

    /// Whether all of the request has been read.
    pub fn is_read(&self) -> bool {
        self.reader.is_body_complete()
    }

    /// Ready when the sender has reset the connection, which is looked at once all of its request has been read.
    pub fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.is_read() { self.socket.poll_reset(cx) } else { Poll::Pending }
    }

    /// To be told when there is a response to be sent.
    pub fn begin_response(&mut self, now: Instant) {
        self.response_began = Some(now);
        self.written_when_blocked = None;
        // Of an interim response that has begun the rest must go out: half of it is no HTTP.
        self.interim = self.interim.filter(|rest| rest.len() < CONTINUE.len());
    }

    /// Sees to it that the connection is reset if it is dropped, whyever, while a response is on its way that only the
    /// connection's end ends: the sender would take what has come for all of it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn reset_on_drop(&self, resets: bool) -> io::Result<()> {
        self.socket.reset_at_close(resets)
    }

    /// Sends the response, all of it.
    ///
    /// # Errors
    /// The sender is gone or takes nothing of it, or the response broke off.
    pub fn poll_write_response<B>(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseWriter<B>,
    ) -> Poll<io::Result<()>>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let sent = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => response.poll_write(cx, &mut self.socket),
            interim => interim,
        };
        if sent.is_ready() {
            return sent;
        }
        self.response_began = None;
        if self.interim.is_none() && !response.is_blocked() {
            self.written_when_blocked = None;
            return self.poll_reset(cx).map(Err);
        }
        if self.written_when_blocked.replace(response.written()) != Some(response.written()) {
            self.deadline = self.clock.now() + self.limits.idle_timeout;
        }
        let unread = || io::Error::new(io::ErrorKind::TimedOut, "the sender does not read its response");
        self.timer.poll(cx, self.deadline).map(|()| Err(unread()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reader.buffer.is_empty() && !self.is_read() {
            ready!(self.poll_interim(cx))?;
        } else if self.interim == Some(CONTINUE) {
            self.interim = None; // who has sent some of it waits for nothing
        }
        let piece = self.reader.poll_full_piece(cx, &mut self.socket);
        if self.is_read() && self.reader.buffer.is_empty() {
            self.reader.buffer = BytesMut::new();
        }
        piece
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.interim {
            if rest.is_empty() {
                ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                self.interim = None;
            } else {
                let written = ready!(self.socket.poll_write_some(cx, rest))?;
                self.interim = rest.get(written..);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl IncomingBody {
    /// The body of the request that `connection` has just given.
    pub fn new(connection: Rc<RefCell<ServerConnection>>) -> Self {
        Self(connection)
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.borrow_mut().poll_body(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().is_read()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().reader.remaining().map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
