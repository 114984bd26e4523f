//! A client's connection: sends one request after another and reads its response (RFC 9112 section 9.3).
//!
//! Not hyper's, because a delivery needs little and needs it every time. Here one task reads and writes, where hyper has a second
//! task behind a channel; the head is written once from the received one, where hyper takes a header map that is edited first
//! and taken apart later. And the rule for sending a request twice (see [`pool`](crate::upstream::pool)) needs to know which
//! bytes have been written and read. [`response`](crate::http1::client::response) tells how strictly responses are read.
//!
//! A server may respond before it has read the whole request. Writing then goes on beside the response and after it, because a
//! server may acknowledge first and read later. A server that stops reading may have responded all the same: its response is
//! read (RFC 9112 section 9.5), and the connection is closed. [`state`](crate::http1::client::state) has this as a table.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::{Response, StatusCode};
use tokio::task::unconstrained;

use crate::http1::body_length::BodyLength;
use crate::http1::client::request::OutgoingRequest;
use crate::http1::client::response::parse;
use crate::http1::client::state::{Disposition, RequestEvent, RequestState, ResponseState, disposition, next};
use crate::http1::reader::{MessageReader, READ};
use crate::net::socket::Socket;
use crate::net::timer::Timer;

/// A client's connection.
pub struct ClientConnection {
    socket: Socket,
    /// Bytes of the current response.
    reader: MessageReader,
    /// The request; `None` once it is written and the head of its response has arrived.
    request: Option<OutgoingRequest>,
    request_state: RequestState,
    /// Whether any byte of the response has arrived.
    has_response_begun: bool,
    /// Whether both ends let the connection persist after the response (RFC 9112 section 9.3).
    is_persistent: bool,
    timer: Timer,
    /// The socket was found to have nothing to read, and wakes the current task when it does.
    is_watched: bool,
    /// When a request was last sent.
    pub last_used: Instant,
}

/// A request that got no response.
pub struct SendFailure {
    /// What failed; `None` if the deadline passed.
    pub error: Option<io::Error>,
    /// Whether any byte of a response arrived.
    pub has_response_begun: bool,
    /// The request.
    pub request: Option<OutgoingRequest>,
}

impl ClientConnection {
    /// A connection on which nothing has been sent, made at `now`.
    pub fn new(socket: Socket, now: Instant) -> Self {
        Self {
            socket,
            reader: MessageReader::new(Some(BodyLength::Length(0))),
            request: None,
            request_state: RequestState::Written,
            has_response_begun: false,
            is_persistent: true,
            timer: Timer::default(),
            is_watched: false,
            last_used: now,
        }
    }

    /// Sends a request and waits until `deadline` for the head of its final response; interim responses are skipped. The
    /// connection must be new, or [quiet](Self::is_quiet) when asked from this task.
    ///
    /// # Errors
    /// What failed, and the request. The connection must be closed then.
    pub async fn send(&mut self, request: OutgoingRequest, deadline: Instant) -> Result<Response<()>, SendFailure> {
        self.request = Some(request);
        self.request_state = next(self.request_state, RequestEvent::Sent);
        self.has_response_begun = false;
        self.reader.begin_head();
        let outcome = poll_fn(|cx| match self.poll_response(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => self.timer.poll(cx, deadline).map(Err),
        })
        .await;
        let error = match outcome {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => Some(error),
            Err(()) => None,
        };
        Err(SendFailure { error, has_response_begun: self.has_response_begun, request: self.request.take() })
    }

    /// How far the response is read.
    fn response_state(&self) -> ResponseState {
        if self.reader.is_body_complete() {
            ResponseState::Complete
        } else if self.reader.has_head() {
            ResponseState::Body
        } else {
            ResponseState::Awaited
        }
    }

    fn disposition(&self) -> Disposition {
        match disposition(self.request_state, self.response_state()) {
            Disposition::FinishRequest | Disposition::Reusable if !self.is_persistent => Disposition::Close,
            disposition => disposition,
        }
    }

    /// Whether the response's body has been read completely.
    pub fn is_response_complete(&self) -> bool {
        self.response_state() == ResponseState::Complete
    }

    /// Whether the response is complete but the request is not: the server may still read the rest.
    pub fn is_request_pending(&self) -> bool {
        self.disposition() == Disposition::FinishRequest
    }

    /// The bytes of the request that are still to be written.
    pub fn request_bytes_left(&self) -> u64 {
        self.request.as_ref().map_or(0, OutgoingRequest::bytes_left)
    }

    /// Whether another request can be sent on the connection.
    pub fn is_reusable(&self) -> bool {
        self.disposition() == Disposition::Reusable && self.reader.buffer.is_empty()
    }

    /// Ready when the request is written, or the server takes no more of it.
    pub fn poll_request_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_write_request(cx) {
            Ok(()) if self.request_state == RequestState::Writing => return Poll::Pending,
            Ok(()) => {}
            Err(_) => self.request_state = next(self.request_state, RequestEvent::WriteFailed),
        }
        Poll::Ready(())
    }

    /// Whether nothing has arrived while the connection was idle, not even its end. If so, the current task is woken when
    /// something does.
    pub fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        // Outside of the task's budget (tokio::task::coop): once that is spent, every connection would look quiet.
        let fill = pin!(unconstrained(poll_fn(|cx| self.reader.poll_fill(cx, &mut self.socket, READ))));
        self.is_watched = fill.poll(cx).is_pending();
        self.is_watched
    }

    /// The rest of the response's body in bytes; `None` if the body is chunked or close-delimited.
    pub fn remaining(&self) -> Option<u64> {
        self.reader.remaining()
    }

    /// Ready with data of the response's body; `None` at its end.
    ///
    /// # Errors
    /// The connection ended before the body did, or the body is not valid chunked coding.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.poll_write_request(cx)?;
        self.reader.poll_data(cx, &mut self.socket)
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Response<()>>> {
        // The response is read while the request is written: it may come first.
        self.poll_write_request(cx)?;
        if std::mem::take(&mut self.is_watched) {
            return Poll::Pending;
        }
        loop {
            if !self.reader.buffer.is_empty()
                && let Some(response) = self.take_head()?
            {
                return Poll::Ready(Ok(response));
            }
            if ready!(self.reader.poll_fill(cx, &mut self.socket, READ))? == 0 {
                let error = "the upstream closed the connection before the head of its response was complete";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
            self.has_response_begun = true;
        }
    }

    /// Takes the head of the final response off the buffer, if it is complete, and those of interim responses before it.
    fn take_head(&mut self) -> io::Result<Option<Response<()>>> {
        while let Some(request) = &self.request {
            let Some(head) = parse(&self.reader.buffer, request.method()).map_err(io::Error::other)? else { break };
            self.reader.buffer.advance(head.length);
            let status = head.response.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.reader.begin_body(head.body_length);
            self.is_persistent = head.is_persistent;
            if self.request_state != RequestState::Writing {
                self.request = None;
            }
            return Ok(Some(head.response));
        }
        Ok(None)
    }

    /// Writes as much of the request as the system takes.
    fn poll_write_request(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.request_state != RequestState::Writing {
            return Ok(());
        }
        let Some(request) = &mut self.request else { return Ok(()) };
        let event = match request.poll_write(cx, &mut self.socket) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => RequestEvent::WriteDone,
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                RequestEvent::WriteFailed
            }
            Poll::Ready(Err(error)) => return Err(error),
        };
        self.request_state = next(self.request_state, event);
        if self.reader.has_head() {
            self.request = None;
        }
        Ok(())
    }

    /// Frees a buffer that was made for a long response.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}

#[cfg(test)]
mod tests;
