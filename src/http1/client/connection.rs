//! A connection to an upstream: one request and its response after another (RFC 9112 section 9.3).
//!
//! Our own rather than a client library's, since what a delivery needs is little and on every delivery's way: one task reads
//! and writes, where a library has a second one behind a channel, and the head is written once from what came, where a
//! library takes a map that is edited before and taken apart after. And the rule for sending twice needs to know what has
//! been written and read; see [`pool`](crate::upstream::pool). What is read of the response is strict, see
//! [`response`](crate::http1::client::response).
//!
//! A response may come before all of its request is written: it goes on, and so does writing, also after the response's end.
//! For an upstream may acknowledge first and read afterwards. One that reads no further may have answered all the same: its
//! response is read (RFC 9112 section 9.5), and the connection is not used again.

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
use crate::http1::reader::{MessageReader, READ};
use crate::net::socket::Socket;
use crate::net::timer::Timer;

/// A connection, and where on it the current exchange is.
pub struct ClientConnection {
    socket: Socket,
    /// What has been read, and what is to come of the response's body.
    reader: MessageReader,
    /// The request, until the head of its response has come and all of it is written.
    request: Option<OutgoingRequest>,
    send_state: SendState,
    /// Whether anything has been read of the response.
    has_response_begun: bool,
    is_persistent: bool,
    timer: Timer,
    /// The task has just been told that there is nothing to be read.
    is_watched: bool,
    /// When its last request was sent.
    pub used: Instant,
}

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    /// All of it is on its way.
    Sent,
    Writing,
    /// The upstream takes no more of it.
    Refused,
}

/// Why there is no response.
pub struct SendFailure {
    /// What went wrong; `None` if the time was up.
    pub error: Option<io::Error>,
    /// Whether any byte of a response came.
    pub has_response_begun: bool,
    /// The request.
    pub request: Option<OutgoingRequest>,
}

impl ClientConnection {
    /// A connection on which nothing has passed, made at `now`.
    pub fn new(socket: Socket, now: Instant) -> Self {
        Self {
            socket,
            reader: MessageReader::new(Some(BodyLength::Length(0))),
            request: None,
            send_state: SendState::Sent,
            has_response_begun: false,
            is_persistent: true,
            timer: Timer::default(),
            is_watched: false,
            used: now,
        }
    }

    /// Sends a request on a connection that is new, or [is quiet](Self::is_quiet) to this task, and waits until `deadline`
    /// for the head of its response. Interim responses are passed over.
    ///
    /// # Errors
    /// What went wrong, and the request. The connection is of no use then.
    pub async fn send(&mut self, request: OutgoingRequest, deadline: Instant) -> Result<Response<()>, SendFailure> {
        self.request = Some(request);
        self.send_state = SendState::Writing;
        self.has_response_begun = false;
        self.reader.begin(None);
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

    /// Whether the response's body has ended, and the connection can be used again if it is persistent.
    pub fn is_response_complete(&self) -> bool {
        self.reader.is_body_complete()
    }

    /// Whether the response has ended before its request, of which the upstream may want the rest: it has not said that it
    /// closes.
    pub fn is_request_pending(&self) -> bool {
        self.is_persistent && self.is_response_complete() && self.send_state == SendState::Writing
    }

    /// Ready when no more of the request can be written.
    pub fn poll_request_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_write_request(cx) {
            Ok(()) if self.send_state == SendState::Writing => return Poll::Pending,
            Ok(()) => {}
            Err(_) => self.send_state = SendState::Refused,
        }
        Poll::Ready(())
    }

    /// Whether another request can be sent on it.
    pub fn is_reusable(&self) -> bool {
        self.is_persistent
            && self.is_response_complete()
            && self.send_state == SendState::Sent
            && self.reader.buffer.is_empty()
    }

    /// Whether it still is after a time without use: nothing has come on it, the end neither. The task is woken when
    /// something does.
    pub fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        // Without the task's budget (tokio::task::coop): where that is spent, any connection would look quiet.
        let fill = pin!(unconstrained(poll_fn(|cx| self.reader.poll_fill(cx, &mut self.socket, READ))));
        self.is_watched = fill.poll(cx).is_pending();
        self.is_watched
    }

    /// Bytes that are to come of the response's body, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.reader.remaining()
    }

    /// More of the response's body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke off before, or what came is no chunk.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.poll_write_request(cx)?;
        self.reader.poll_data(cx, &mut self.socket)
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Response<()>>> {
        // Before all is written, too: an upstream may answer before it has read all.
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

    /// The head of the response that is no interim one, if all of it has been read.
    fn take_head(&mut self) -> io::Result<Option<Response<()>>> {
        while let Some(request) = &self.request {
            let Some(received) = parse(&self.reader.buffer, request.method()).map_err(io::Error::other)? else { break };
            self.reader.buffer.advance(received.length);
            let status = received.response.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.reader.begin(Some(received.body_length));
            self.is_persistent = received.is_persistent;
            if self.send_state != SendState::Writing {
                self.request = None;
            }
            return Ok(Some(received.response));
        }
        Ok(None)
    }

    /// Writes as much of the request as can be.
    fn poll_write_request(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.send_state != SendState::Writing {
            return Ok(());
        }
        let Some(request) = &mut self.request else { return Ok(()) };
        self.send_state = match request.poll_write(cx, &mut self.socket) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => SendState::Sent,
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                SendState::Refused
            }
            Poll::Ready(Err(error)) => return Err(error),
        };
        if self.reader.has_read_head() {
            self.request = None;
        }
        Ok(())
    }

    /// Gives back what only a long response needed.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}

#[cfg(test)]
mod tests;
