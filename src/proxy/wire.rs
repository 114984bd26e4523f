//! The stream under an HTTP/1.1 connection: knows where the connection is, and for how long it may stay there.
//!
//! hyper's own timeout for heads runs between requests as well, and what it takes for a request is laxer than what the
//! gateway lets in. So hyper reads through a [`Wire`], which follows the [`framing`](super::framing) of the bytes, gives
//! hyper one request at a time, and ends the connection when
//! 1. a head is refused by the framing, or by hyper, whose bare answer is held back;
//! 2. a head has not come within `header_timeout`: of its first byte, or of the connection's beginning;
//! 3. no request begins within `idle_timeout` of the last response;
//! 4. the sender reads nothing of its response for `idle_timeout`;
//! 5. the sender resets the connection before it has its response: what the delivery holds is given back at once.
//!
//! Why it ended is told by [`Wire::into_parts`]; the answer is [`http1`](super::http1)'s to give. The stream is not shut down
//! for hyper, so that there can be one.
//!
//! One [`Timer`] serves all of a connection's deadlines. Says nothing of bodies: their time is the route's.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Fault, Framing};
use super::socket::Socket;
use super::timer::Timer;
use crate::clock::Clock;

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub struct WireLimits {
    /// For a request's head.
    pub header_timeout: Duration,
    /// Between two requests, and for a sender that reads no response.
    pub idle_timeout: Duration,
    /// The longest head.
    pub max_header_bytes: usize,
}

/// Why a connection ends before its sender wants it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What came is no request to pass on.
    Refused(Fault),
    /// A part of a head has come, the rest not in time.
    HeadTimeout,
    /// No request came in time, or the sender did not read.
    Idle,
}

/// A stream that is read one request at a time.
pub struct Wire {
    stream: Socket,
    framing: Framing,
    /// What came after the end of a request.
    stash: Vec<u8>,
    /// Heads that have begun.
    begun: u64,
    shared: Rc<Shared>,
    limits: WireLimits,
    clock: Clock,
    waiting: Waiting,
    deadline: Instant,
    /// The connection has come to rest: the deadline is now that of an idle one.
    rested: bool,
    timer: Timer,
    /// Bytes of a response wait for the sender to read.
    blocked: bool,
    end: Option<End>,
}

/// What a [`Wire`] and who serves it tell each other.
#[derive(Debug, Default)]
pub struct Shared {
    /// Requests that hyper has handed on: to be one more with each.
    pub handed_on: Cell<u64>,
    /// Nothing has come yet, or nothing for [`RESTS_AFTER`] since the last response.
    pub rests: Cell<bool>,
}

/// How long after a response a connection without a request comes to rest.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// What the deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Head,
    Request,
    Reader,
}

impl Wire {
    /// At the beginning of a connection.
    pub fn new(stream: Socket, limits: WireLimits, clock: Clock, shared: Rc<Shared>) -> Self {
        Self {
            stream,
            framing: Framing::new(limits.max_header_bytes),
            stash: Vec::new(),
            begun: 0,
            shared,
            limits,
            waiting: Waiting::Head,
            deadline: clock.now() + limits.header_timeout,
            clock,
            rested: false,
            timer: Timer::default(),
            blocked: false,
            end: None,
        }
    }

    /// Why it ended, if it did, and the stream.
    pub fn into_parts(self) -> (Option<End>, Socket) {
        (self.end, self.stream)
    }

    /// Ready when what the connection waits for has not come in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<io::Error> {
        if self.waiting != waiting {
            self.waiting = waiting;
            self.rested = false;
            self.deadline = self.clock.now()
                + match waiting {
                    Waiting::Head => self.limits.header_timeout,
                    Waiting::Request => self.limits.idle_timeout.min(RESTS_AFTER),
                    Waiting::Nothing | Waiting::Reader => self.limits.idle_timeout,
                };
        }
        let mut timer = self.timer.poll(cx, self.deadline);
        if timer.is_ready() && waiting == Waiting::Request && !self.rested {
            self.rested = true;
            self.deadline += self.limits.idle_timeout.saturating_sub(RESTS_AFTER);
            timer = self.timer.poll(cx, self.deadline);
        }
        self.shared.rests.set(self.rested || self.is_untouched());
        ready!(timer);
        let end = if waiting == Waiting::Head && !self.is_untouched() { End::HeadTimeout } else { End::Idle };
        Poll::Ready(self.ended(end))
    }

    fn ended(&mut self, end: End) -> io::Error {
        self.end = Some(end);
        match end {
            End::Refused(_) => io::Error::new(io::ErrorKind::InvalidData, "the request's head is refused"),
            End::HeadTimeout => io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come in time"),
            End::Idle => io::Error::new(io::ErrorKind::TimedOut, "the connection was idle for too long"),
        }
    }

    /// Follows what has just come, and keeps back what is not of this request.
    fn follow(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let came = buffer.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            return Ok(());
        }
        self.shared.rests.set(false);
        let at_start = self.framing.at_start();
        let fed = self.framing.feed(came);
        if at_start && (fed.is_err() || !self.framing.at_start() || self.framing.is_untouched()) {
            self.begun += 1;
        }
        let taken = fed.map_err(|fault| self.ended(End::Refused(fault)))?;
        // Empty lines after a request let the clock of an idle connection run on.
        if !self.framing.in_head() || self.framing.is_untouched() {
            self.waiting = Waiting::Nothing;
        }
        if let Some(next @ [_, ..]) = came.get(taken..) {
            if !self.framing.is_lost() {
                self.stash.splice(..0, next.iter().copied());
            }
            buffer.set_filled(before + taken);
        }
        // The head goes to hyper all the same: the stage that reads the body refuses it.
        if taken == 0 { Err(lost()) } else { Ok(()) }
    }

    /// Ready when something may be read, or the connection has ended. For who has just begun, or found that it
    /// [rests](Shared::rests), to have hyper serve it from then on.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.stash.is_empty() || self.stream.poll_readable(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_idle(cx).map(drop)
    }

    /// Nothing has come. Until the first request there is one clock, from the beginning on.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let idle = self.framing.at_start() && self.begun > 0;
        self.poll_deadline(cx, if idle { Waiting::Request } else { Waiting::Head })
    }

    /// Whether nothing has come on the connection yet.
    pub fn is_untouched(&self) -> bool {
        self.begun == 0 && self.framing.is_untouched()
    }

    /// Whether all of a request is there, and not all of its answer out.
    fn is_answering(&self) -> bool {
        self.waiting == Waiting::Nothing && self.begun > 0 && self.framing.at_start()
    }

    /// Whether what hyper writes is its own answer to a head that it refuses. The answers to all earlier requests are out:
    /// no head is read before.
    fn is_refusal(&self) -> bool {
        self.begun > self.shared.handed_on.get()
    }
}

/// What reading a body ends with that cannot be followed.
fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the body's framing is refused")
}

impl Wire {
    fn poll_written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.blocked = result.is_pending();
        if self.blocked {
            return self.poll_deadline(cx, Waiting::Reader).map(Err);
        }
        if self.waiting == Waiting::Reader {
            self.waiting = Waiting::Nothing;
        }
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(end) = this.end {
            return Poll::Ready(Err(this.ended(end)));
        }
        if this.framing.is_lost() {
            return Poll::Ready(Err(lost()));
        }
        if this.blocked && this.framing.at_start() {
            return Poll::Pending; // writing wakes this task
        }
        let before = buffer.filled().len();
        if !this.stash.is_empty() {
            let now = this.stash.len().min(buffer.remaining());
            buffer.put_slice(this.stash.split_at(now).0);
            this.stash.drain(..now);
            if this.stash.is_empty() {
                this.stash = Vec::new();
            }
            return Poll::Ready(this.follow(buffer, before));
        }
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => Poll::Ready(result.and_then(|()| this.follow(buffer, before))),
            Poll::Pending if !this.framing.in_head() => Poll::Pending,
            Poll::Pending => this.poll_idle(cx).map(Err),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_refusal() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_written(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever it has nothing else to do, and reads nothing between a request and the end of its answer.
        if self.is_answering()
            && let Poll::Ready(error) = self.stream.poll_reset(cx)
        {
            return Poll::Ready(Err(error));
        }
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.poll_written(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
