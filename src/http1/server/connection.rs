//! A server's connection: reads one request after another, writes the response of each, and keeps the time.
//!
//! It ends when
//! 1. what arrives is not a valid head, see [`request`](crate::http1::server::request);
//! 2. a head is not complete within `header_timeout` of its first byte; the first head, of the connection's beginning;
//! 3. no request begins within `idle_timeout` of the last response;
//! 4. the client reads nothing of its response for `idle_timeout`, or next to nothing, so that the system takes no more of it;
//! 5. the client resets the connection before it has its response. (After the client has shut its sending side down, a reset
//!    is seen only when the response is written.)
//!
//! [`state`](crate::http1::server::state) has 2 to 4 as a state machine. The caller answers a connection that ended by 1 or 2.
//! How long a body may take and how large it may be is the caller's to bound.
//!
//! While it waits for a request, a connection holds no buffer. One [`Timer`] serves all of its deadlines.

use std::cell::{Cell, Ref, RefCell, RefMut};
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
use crate::http1::server::request::{HeadError, HeadScanner, ParsedRequest, is_before_head};
use crate::http1::server::response::ResponseWriter;
use crate::http1::server::state::{DRAIN_GRACE, Deadline, Ended, Event, Next, State, next};
use crate::net::socket::Socket;
use crate::net::timer::Timer;

/// How long a new connection whose request was there at once is not registered with the poller: most are answered and closed within
/// this time. A reset by the client is noticed only after it.
const UNWATCHED: Duration = Duration::from_millis(100);

/// The interim response to `Expect: 100-continue` (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long the pause between two requests may be, and how long a client may read nothing of its response.
    pub idle_timeout: Duration,
    /// The longest head, in bytes.
    pub max_header_bytes: usize,
}

/// Why a connection has no further request.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// What arrived is not a valid head.
    Refused(HeadError),
    /// Part of a head arrived, the rest not in time; or only empty lines where the first request was due.
    HeadTimeout,
    /// No request arrived in time.
    IdleTimeout,
    /// No request arrived, and the server drains.
    Drained,
    /// The client sends nothing more: it said so with its last request, which was read and has its response, or it has shut its
    /// sending side down.
    Finished,
    /// The client reset the connection, or did not read its response, or the response alone said `Connection: close`.
    Closed(Option<io::Error>),
    /// A close-delimited response failed. The connection must be reset: the client would take its end for the body's.
    ResponseAborted(io::Error),
}

/// A server's connection.
pub struct ServerConnection {
    socket: Socket,
    /// Bytes of the current request, and of those after it.
    reader: MessageReader,
    scanner: HeadScanner,
    limits: ConnectionLimits,
    clock: Clock,
    state: State,
    /// When `state` ends the connection.
    deadline: Instant,
    /// From when on resets by the client have to be noticed.
    watched_from: Instant,
    timer: Timer,
    /// The rest of [`CONTINUE`], to be written before the body is read.
    interim: Option<&'static [u8]>,
    /// When the response was ready to be written; `None` once writing it had to wait.
    response_began: Option<Instant>,
    /// Bytes of the response written when the client stopped reading; `None` while it reads.
    written_when_blocked: Option<u64>,
}

/// A connection, shared with the body of its current request.
pub struct SharedConnection {
    connection: RefCell<ServerConnection>,
    /// An [`IncomingBody`] of this connection exists.
    is_body_lent: Cell<bool>,
}

/// The body of a connection's current request.
pub struct IncomingBody(Rc<SharedConnection>);

impl ServerConnection {
    /// A connection on which nothing has been read.
    pub fn new(socket: Socket, limits: ConnectionLimits, clock: Clock) -> Self {
        let now = clock.now();
        Self {
            socket,
            reader: MessageReader::new(None),
            scanner: HeadScanner::default(),
            limits,
            state: State::New,
            deadline: now + limits.header_timeout,
            watched_from: now + UNWATCHED,
            clock,
            timer: Timer::default(),
            interim: None,
            response_began: None,
            written_when_blocked: None,
        }
    }

    /// Ready with the next request. The body of the one before must have been read, and its response written.
    ///
    /// # Errors
    /// Why there is no further request.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<ParsedRequest, ConnectionEnd>> {
        loop {
            if !self.reader.buffer.is_empty() {
                let head = self.scanner.take(&mut self.reader.buffer, self.limits.max_header_bytes);
                if let Some(request) = head.map_err(ConnectionEnd::Refused)? {
                    self.reader.begin_body(request.body_length);
                    // Ends no connection; see the state machine.
                    let _ = self.on(Event::HeadComplete);
                    self.interim = request.expects_continue.then_some(CONTINUE);
                    return Poll::Ready(Ok(request));
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ConnectionEnd::Finished)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ConnectionEnd::Closed(Some(error)))),
                Poll::Pending => return self.poll_deadline(cx).map(Err),
            }
        }
    }

    /// Reads more of a head. Without a buffer, it first waits until there is something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.reader.buffer.is_empty() {
            self.reader.buffer = BytesMut::new();
            // TLS may hold bytes that the socket no longer has.
            if matches!(self.socket, Socket::Plain(_)) {
                ready!(self.socket.poll_readable(cx))?;
            }
        }
        self.reader.poll_fill_or_release(cx, &mut self.socket, READ)
    }

    /// Ready when the deadline for a request has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let ended = if !is_before_head(&self.reader.buffer) {
            self.on(Event::HeadBegan)
        } else if !self.scanner.is_untouched(&self.reader.buffer) {
            self.on(Event::EmptyLine)
        } else {
            None
        };
        if ended.is_none() {
            ready!(self.timer.poll(cx, self.deadline));
        }
        match ended.or_else(|| self.on(Event::DeadlinePassed)) {
            Some(ended) => Poll::Ready(ended.into()),
            None => Poll::Pending,
        }
    }

    /// Changes the state as `event` demands; returns why the connection ends, if it does.
    fn on(&mut self, event: Event) -> Option<Ended> {
        let (state, deadline) = match next(self.state, event) {
            Next::Wait(state, deadline) => (state, deadline),
            Next::End(ended) => return Some(ended),
        };
        self.state = state;
        let now = self.response_began.take();
        let from_now = |limit| now.unwrap_or_else(|| self.clock.now()) + limit;
        match deadline {
            Deadline::Unchanged => {}
            Deadline::HeaderTimeout => self.deadline = from_now(self.limits.header_timeout),
            Deadline::IdleTimeout => self.deadline = from_now(self.limits.idle_timeout),
            Deadline::DrainGrace => self.deadline = self.deadline.min(from_now(DRAIN_GRACE)),
        }
        None
    }

    /// The server drains while [a request](Self::poll_request) is waited for. A first request, and one whose head has begun to
    /// arrive, may still arrive within [`DRAIN_GRACE`].
    ///
    /// # Errors
    /// No request will arrive.
    pub fn drain(&mut self) -> Result<(), ConnectionEnd> {
        self.on(Event::Drain).map_or(Ok(()), |ended| Err(ended.into()))
    }

    /// Whether the current request's body has been read completely.
    pub fn is_request_complete(&self) -> bool {
        self.reader.is_body_complete()
    }

    /// Ready when the client has reset the connection. Looks for that only once the request has been read completely, and not within
    /// [`UNWATCHED`] of the beginning of a connection that is not registered with the poller.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.is_request_complete() {
            return Poll::Pending;
        }
        if !self.socket.is_registered() {
            ready!(self.timer.poll(cx, self.watched_from));
        }
        self.socket.poll_reset(cx)
    }

    /// Whether all that has arrived was read, so that closing the connection at once destroys no response on its way (RFC 9112
    /// section 9.6). The connection must be of no further use. Never so with TLS, which has an end of its own.
    pub fn is_drained(&mut self) -> bool {
        self.reader.buffer.is_empty() && self.socket.is_drained()
    }

    /// The response to the current request is ready to be written, as of `now`.
    pub fn begin_response(&mut self, now: Instant) {
        self.response_began = Some(now);
        self.written_when_blocked = None;
        // An interim response that is partly written must be completed first.
        self.interim = self.interim.filter(|rest| rest.len() < CONTINUE.len());
    }

    /// Sets whether dropping the connection resets it, instead of closing it. A close-delimited response needs that while it is
    /// written: if it fails for any reason, the client must not take the connection's end for the body's.
    ///
    /// # Errors
    /// Those of the system.
    pub fn reset_on_drop(&self, resets: bool) -> io::Result<()> {
        self.socket.reset_at_close(resets)
    }

    /// Ready when `response` is written completely.
    ///
    /// # Errors
    /// The client has closed or reset the connection, or reads nothing of the response, or the response's body failed.
    pub fn poll_write_response<B>(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseWriter<B>,
    ) -> Poll<io::Result<()>>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let written = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => response.poll_write(cx, &mut self.socket),
            interim => interim,
        };
        match written {
            Poll::Ready(Ok(())) => {
                // Ends no connection; see the state machine.
                let _ = self.on(Event::ResponseWritten);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => self.response_began = None,
        }
        if self.interim.is_none() && !response.is_blocked() {
            self.written_when_blocked = None;
            return self.poll_reset(cx).map(Err);
        }
        let is_progress = self.written_when_blocked.replace(response.written()) != Some(response.written());
        let ended = is_progress.then(|| self.on(Event::WriteBlocked)).flatten();
        if ended.is_none() {
            ready!(self.timer.poll(cx, self.deadline));
        }
        match ended.or_else(|| self.on(Event::DeadlinePassed)) {
            Some(_) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its response")))
            }
            None => Poll::Pending,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reader.buffer.is_empty() && !self.is_request_complete() {
            ready!(self.poll_interim(cx))?;
        } else if self.interim == Some(CONTINUE) {
            // A client that has sent part of the body does not wait (RFC 9110 section 10.1.1).
            self.interim = None;
        }
        let piece = self.reader.poll_full_piece(cx, &mut self.socket);
        if self.is_request_complete() && self.reader.buffer.is_empty() {
            self.reader.buffer = BytesMut::new();
        }
        piece
    }

    /// Writes the rest of the interim response.
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

impl From<Ended> for ConnectionEnd {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::HeadTimeout => Self::HeadTimeout,
            Ended::IdleTimeout => Self::IdleTimeout,
            Ended::Drained => Self::Drained,
            Ended::WriteTimeout => Self::Closed(Some(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl SharedConnection {
    /// Shares `connection`.
    pub fn new(connection: ServerConnection) -> Rc<Self> {
        Rc::new(Self { connection: RefCell::new(connection), is_body_lent: Cell::new(false) })
    }

    /// The connection.
    ///
    /// # Panics
    /// While [`borrow_mut`](Self::borrow_mut)'s result exists.
    pub fn borrow(&self) -> Ref<'_, ServerConnection> {
        self.connection.borrow()
    }

    /// The connection, to be changed.
    ///
    /// # Panics
    /// While another result of this or of [`borrow`](Self::borrow) exists.
    pub fn borrow_mut(&self) -> RefMut<'_, ServerConnection> {
        self.connection.borrow_mut()
    }

    /// The body of the current request.
    pub fn lend_body(self: &Rc<Self>) -> IncomingBody {
        self.is_body_lent.set(true);
        IncomingBody(self.clone())
    }

    /// Whether the current request's body has been dropped. Until then it could read bytes of the next request.
    pub fn is_body_returned(&self) -> bool {
        !self.is_body_lent.get()
    }

    /// The socket, to be closed. `None` while a body of the connection exists, which then drops it.
    pub fn into_socket(self: Rc<Self>) -> Option<Socket> {
        Rc::into_inner(self).map(|shared| shared.connection.into_inner().socket)
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        self.0.is_body_lent.set(false);
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.borrow_mut().poll_body(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().is_request_complete()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().reader.remaining().map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
