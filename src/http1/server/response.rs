//! Writes a response (RFC 9112 section 4).
//!
//! The writer sets the fields that frame the body and that say whether the connection persists, whatever the response's own
//! fields say. Its other fields stay as they are; `Date` is added if it is missing (RFC 9110 section 6.6.1).
//!
//! A body of unknown length is sent in chunks; to a client of HTTP/1.0, until the connection ends. If a body fails, or has another
//! length than announced, writing fails, and the connection must be closed, so that the client sees an incomplete response.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::ext::ReasonPhrase;
use tokio::io::AsyncWrite;
use tower::BoxError;

use crate::http1::body_length::is_bodiless;
use crate::http1::head::{content_length, line};
use crate::http1::server::date::HttpDate;
use crate::net::socket::Socket;

/// Small pieces of a body are collected up to this many bytes.
const MAX_BUFFERED: usize = 16 << 10;
/// A larger piece, in bytes, is not copied.
const SMALL: usize = 8 << 10;
/// Room for most responses, in bytes.
const USUAL: usize = 1 << 10;

/// What a response depends on in its request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The request's method: a response to `HEAD` has no body.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Whether the connection may persist.
    pub is_persistent: bool,
}

/// A response that is being written.
pub struct ResponseWriter<B> {
    body: B,
    framing: BodyFraming,
    /// Bytes to write, from `written` on.
    bytes: Vec<u8>,
    /// Bytes of `bytes` that have been written.
    written: usize,
    /// Data to write after `bytes`.
    piece: Bytes,
    /// `piece` is a chunk's data, to be followed by CRLF.
    needs_crlf: bool,
    /// Bytes of the response that have been written.
    total_written: u64,
    /// The body has ended or failed; what is left to write is in `bytes` and `piece`.
    is_complete: bool,
    /// Why the body failed.
    error: Option<io::Error>,
    /// The system takes no more bytes.
    is_blocked: bool,
    /// Whether the connection persists after the response.
    is_persistent: bool,
}

/// How the client finds the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFraming {
    /// The response has no body.
    None,
    /// By its length; this many bytes are left.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the connection's end (close-delimited).
    Close,
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> ResponseWriter<B> {
    /// A writer of `response` to the request of `context`, with `date` if the response has none.
    pub fn new(response: Response<B>, context: &RequestContext, date: HttpDate) -> Self {
        let (head, body) = response.into_parts();
        let framing = framing(head.status, context, &body);
        let is_persistent =
            context.is_persistent && framing != BodyFraming::Close && !head.headers.contains_key(CONNECTION);
        let mut bytes = Vec::with_capacity(USUAL);
        ResponseHead::new(&head, &body, context, framing, is_persistent).write(&mut bytes, &head, &date);
        let is_complete = framing == BodyFraming::None || framing == BodyFraming::Length(0);
        Self {
            body,
            framing,
            bytes,
            written: 0,
            piece: Bytes::new(),
            needs_crlf: false,
            total_written: 0,
            is_complete,
            error: None,
            is_blocked: false,
            is_persistent,
        }
    }

    /// Whether the connection persists after the response.
    pub fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    /// Whether the client finds the end of the body only by the connection's end.
    pub fn is_close_delimited(&self) -> bool {
        self.framing == BodyFraming::Close
    }

    /// Whether the system took no more bytes.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Bytes of the response that have been written.
    pub fn written(&self) -> u64 {
        self.total_written
    }

    /// Ready when the system has taken the whole response.
    ///
    /// # Errors
    /// Those of writing, and those of the body, once all data before has been written.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        loop {
            self.is_blocked = false;
            let is_waiting = self.poll_body(cx).is_pending();
            self.is_blocked = true;
            while let Some(rest @ [_, ..]) = self.bytes.get(self.written..) {
                let written = ready!(socket.poll_write_some(cx, rest))?;
                self.written += written;
                self.total_written += written as u64;
            }
            while !self.piece.is_empty() {
                let written = ready!(socket.poll_write_some(cx, &self.piece))?;
                self.piece.advance(written);
                self.total_written += written as u64;
            }
            self.written = 0;
            self.bytes.clear();
            if std::mem::take(&mut self.needs_crlf) {
                self.bytes.extend_from_slice(b"\r\n");
                continue;
            }
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            self.is_blocked = false;
            if let Some(error) = self.error.take() {
                return Poll::Ready(Err(error));
            }
            if self.is_complete {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
    }

    /// Moves data of the body to `bytes` and `piece`, as far as there is room. Pending if the body has none now.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_complete && self.piece.is_empty() && self.bytes.len() < MAX_BUFFERED {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && let Err(error) = self.push(data)
                    {
                        self.fail(error);
                    }
                }
                Some(Err(error)) => self.fail(io::Error::other(error.into())),
                None => self.end(),
            }
        }
        Poll::Ready(())
    }

    fn push(&mut self, data: Bytes) -> io::Result<()> {
        let is_chunk = self.framing == BodyFraming::Chunked;
        if let BodyFraming::Length(left) = &mut self.framing {
            let more = || io::Error::new(io::ErrorKind::InvalidData, "the response's body is longer than announced");
            *left = left.checked_sub(data.len() as u64).ok_or_else(more)?;
            self.is_complete = *left == 0;
        }
        // An empty chunk would be the last one.
        if is_chunk && !data.is_empty() {
            write!(self.bytes, "{:x}\r\n", data.len())?;
        }
        if data.len() > SMALL {
            self.piece = data;
            self.needs_crlf = is_chunk;
            return Ok(());
        }
        self.bytes.extend_from_slice(&data);
        if is_chunk && !data.is_empty() {
            self.bytes.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn end(&mut self) {
        match self.framing {
            BodyFraming::Length(1..) => {
                self.fail(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the response's body is shorter than announced",
                ));
            }
            BodyFraming::Chunked => self.bytes.extend_from_slice(b"0\r\n\r\n"),
            BodyFraming::None | BodyFraming::Length(0) | BodyFraming::Close => {}
        }
        self.is_complete = true;
    }

    fn fail(&mut self, error: io::Error) {
        self.error = Some(error);
        self.is_complete = true;
    }
}

/// How the body of a response with this status is framed (RFC 9112 section 6.3).
fn framing<B: HttpBody>(status: StatusCode, context: &RequestContext, body: &B) -> BodyFraming {
    if context.method == Method::HEAD || is_bodiless(status) {
        BodyFraming::None
    } else if let Some(length) = body.size_hint().exact() {
        BodyFraming::Length(length)
    } else if context.version == Version::HTTP_10 {
        BodyFraming::Close
    } else {
        BodyFraming::Chunked
    }
}

/// What a head has beside the response's own fields.
struct ResponseHead {
    /// The client's version is HTTP/1.0.
    is_1_0: bool,
    /// The `Content-Length` to add.
    length: Option<u64>,
    /// The response has no body, so its own `Content-Length` is kept (RFC 9110 section 8.6).
    keeps_length: bool,
    /// `Transfer-Encoding: chunked` is added.
    is_chunked: bool,
    /// The connection persists after the response.
    is_persistent: bool,
}

/// The bytes of a response with the body `text`, after which the connection is closed.
pub fn closing_response(head: &Parts, text: &[u8], date: HttpDate) -> Vec<u8> {
    let length = Some(text.len() as u64);
    let fields = ResponseHead { is_1_0: false, length, keeps_length: false, is_chunked: false, is_persistent: false };
    let mut bytes = Vec::with_capacity(USUAL);
    fields.write(&mut bytes, head, &date);
    bytes.extend_from_slice(text);
    bytes
}

impl ResponseHead {
    fn new<B: HttpBody>(
        head: &Parts,
        body: &B,
        context: &RequestContext,
        framing: BodyFraming,
        is_persistent: bool,
    ) -> Self {
        let keeps_length = framing == BodyFraming::None
            && head.status != StatusCode::NO_CONTENT
            && head.headers.contains_key(CONTENT_LENGTH);
        let length = match framing {
            BodyFraming::Length(length) => Some(length),
            // The length that the response to `GET` would have.
            BodyFraming::None if context.method == Method::HEAD && !keeps_length && !is_bodiless(head.status) => {
                body.size_hint().exact().filter(|length| *length > 0)
            }
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::Close => None,
        };
        let is_1_0 = context.version == Version::HTTP_10;
        Self { is_1_0, length, keeps_length, is_chunked: framing == BodyFraming::Chunked, is_persistent }
    }

    fn write(&self, bytes: &mut Vec<u8>, head: &Parts, date: &HttpDate) {
        bytes.extend_from_slice(if self.is_1_0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        bytes.extend_from_slice(head.status.as_str().as_bytes());
        bytes.push(b' ');
        let own = head.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        bytes.extend_from_slice(own.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().as_bytes()));
        bytes.extend_from_slice(b"\r\n");
        let mut has_date = false;
        for (name, value) in &head.headers {
            match *name {
                CONTENT_LENGTH if !self.keeps_length => continue,
                CONNECTION | TRANSFER_ENCODING => continue,
                DATE => has_date = true,
                _ => {}
            }
            line(bytes, name.as_str().as_bytes(), value);
        }
        if let Some(length) = self.length {
            content_length(bytes, "content-length", length);
        }
        if self.is_chunked {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        match (self.is_persistent, self.is_1_0) {
            (false, _) => bytes.extend_from_slice(b"connection: close\r\n"),
            (true, true) => bytes.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, false) => {}
        }
        if !has_date {
            bytes.extend_from_slice(b"date: ");
            bytes.extend_from_slice(date);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
