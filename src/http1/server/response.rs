//! A response as it goes to a sender by HTTP/1.1 (RFC 9112 section 4).
//!
//! Its head says how the body is framed and whether the connection goes on, whatever the response's own headers say of that.
//! Everything else in them goes out as it is; a `Date` is added where there is none (RFC 9110 section 6.6.1).
//!
//! A body of unknown length goes in chunks, to a sender of HTTP/1.0 until the connection ends. One that breaks off, or is not
//! as long as was said, ends in an error: the connection must end with it, so that nobody takes it for whole.

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

/// Small pieces of a body are put together up to so many bytes.
const MAX_BUFFERED: usize = 16 << 10;
/// A piece of more is written as it is.
const SMALL: usize = 8 << 10;
/// Room for the usual response.
const USUAL: usize = 1 << 10;

/// What a response depends on of its request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// By `HEAD` there is no body.
    pub method: Method,
    /// What the sender understands.
    pub version: Version,
    /// Whether the connection can take another request.
    pub is_persistent: bool,
}

/// A response on its way.
pub struct ResponseWriter<B> {
    body: B,
    framing: BodyFraming,
    /// What is to be written, from `written` on.
    bytes: Vec<u8>,
    written: usize,
    /// What is to be written after that.
    piece: Bytes,
    /// The piece is a chunk, which has a line end after it.
    needs_crlf: bool,
    /// Bytes that have been written.
    total_written: u64,
    /// All of it is in `bytes` and `piece`, or `error` is what it broke off with.
    is_complete: bool,
    error: Option<io::Error>,
    is_blocked: bool,
    is_persistent: bool,
}

/// How the sender finds the body's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFraming {
    /// There is no body.
    None,
    /// After so many bytes more.
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> ResponseWriter<B> {
    /// Of `response`, made at `date`, to a request that `context`.
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

    /// Whether the connection can take another request after it.
    pub fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    /// Whether only the connection's end tells that it has ended.
    pub fn is_close_delimited(&self) -> bool {
        self.framing == BodyFraming::Close
    }

    /// Whether it waits for the sender to take what is there of it.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Bytes that the sender has taken.
    pub fn written(&self) -> u64 {
        self.total_written
    }

    /// Ready when all of it is on its way.
    ///
    /// # Errors
    /// Those of writing, and what the body broke off with, when what came before is on its way.
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

    /// Adds what there is of the body to what is to be written, as far as there is room. Pending if it waits for more.
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
            let more = || io::Error::new(io::ErrorKind::InvalidData, "the response's body is longer than it said");
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
                self.fail(io::Error::new(io::ErrorKind::UnexpectedEof, "the response's body is shorter than it said"));
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

/// How the body of a response with this status goes out (RFC 9112 section 6.3).
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

/// What stands in a head beside the response's own headers.
struct ResponseHead {
    is_1_0: bool,
    /// The `Content-Length` that it gets.
    length: Option<u64>,
    /// Whether the response's own `Content-Length` is that of a body that is not there (RFC 9110 section 8.6).
    keeps_length: bool,
    is_chunked: bool,
    is_persistent: bool,
}

/// A response with `text` as its body, after which the connection ends, as it goes out.
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
            // What the same request by another method would have.
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
            line(bytes, name, value);
        }
        if let Some(length) = self.length {
            content_length(bytes, length);
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
