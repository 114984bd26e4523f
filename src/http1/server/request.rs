//! Reads the head of a sender's request, as the bytes of it come (RFC 9112 sections 2 to 6).
//!
//! Stricter than the parser that it uses, so that whatever gets through can be read in one way only: here, by a proxy in
//! front of the gateway, and by the handler behind it. Refuses, beside what the parser does (names, values, methods, versions,
//! folded lines):
//! 1. a line that does not end in CRLF (RFC 9112 section 2.2 lets a server take a bare LF; a proxy in front may not), and a
//!    CR before or in the request line;
//! 2. a control character or a byte that is not ASCII in the request target, or a `#`: what follows would be lost
//!    (RFC 9112 section 3.2);
//! 3. `Content-Length` with `Transfer-Encoding`, either of them twice, a length that is not digits, any transfer
//!    coding but `chunked`, and any at all with HTTP/1.0 (RFC 9112 sections 6.1 to 6.3): the handler would get bytes in a
//!    coding that it is not told;
//! 4. more than [`MAX_LINES`] lines of headers, more bytes than it may have.
//!
//! What is wrong with a line is seen when the whole of it has come, what begins no request line with its first bytes: in whatever
//! pieces they come.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::http1::body_length::BodyLength;
use crate::http1::chunked::ChunkedDecoder;
use crate::http1::field::{MAX_LINES, content_length, elements};

/// The longest request target that there is room for, in bytes.
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// What is wrong with a request before it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// Ambiguous, or forbidden by HTTP.
    Bad,
    /// Too many bytes or lines of headers (RFC 6585 section 5), or too long a target.
    HeaderTooLarge,
}

/// A head that has come.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The request.
    pub request: Request<()>,
    /// Where its body ends.
    pub body_length: BodyLength,
    /// Whether the sender lets the connection outlive the exchange (RFC 9112 section 9.3).
    pub is_persistent: bool,
    /// Whether the sender waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

/// How much of a head has been looked at.
#[derive(Debug, Default)]
pub struct HeadScanner {
    /// Bytes of empty lines before it, which are passed over (RFC 9112 section 2.2).
    skipped: usize,
    /// Bytes of it.
    seen: usize,
    /// Where its last line begins.
    line: usize,
    /// Lines after the request line.
    lines: usize,
    /// Whether the request line has come.
    has_started: bool,
}

/// What the lines of a head say of the connection and the body.
#[derive(Default)]
struct RequestFraming {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps_alive: bool,
    expects_continue: bool,
}

impl HeadScanner {
    /// Takes the head off `buffer`, which holds what has come since the last request, if the whole of it is there.
    ///
    /// # Errors
    /// What is wrong with it, see the module's list; `max` is how many bytes it may have.
    pub fn take(&mut self, buffer: &mut BytesMut, max: usize) -> Result<Option<ParsedRequest>, HeadError> {
        while !self.has_started && buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            *self = Self { skipped: self.skipped + 2, ..Self::default() };
        }
        let before = (self.seen, self.line);
        let end = self.end(buffer)?;
        if self.skipped + end.unwrap_or(buffer.len()) > max {
            return Err(HeadError::HeaderTooLarge);
        }
        if let Some(end) = end {
            *self = Self::default();
            // A head that came alone is copied, lest it keep a whole buffer alive while its body is waited for.
            let is_alone = end == buffer.len();
            let head = buffer.split_to(end);
            return parse(if is_alone { Bytes::copy_from_slice(&head) } else { head.freeze() }).map(Some);
        }
        if !self.has_started && !may_begin_request_line(buffer, before.0) {
            return Err(HeadError::Bad);
        }
        // Whole lines alone, whenever there is another one: so it makes no difference in which pieces a head comes, and small
        // ones cost no more than as many looks as there are lines.
        if self.line > before.1 {
            let whole = buffer.get(..self.line).unwrap_or_default();
            parsed(whole, &mut [const { MaybeUninit::uninit() }; MAX_LINES])?;
        }
        Ok(None)
    }

    /// Whether no request has begun in `buffer`. Empty lines begin none.
    pub fn is_at_start(&self, buffer: &[u8]) -> bool {
        matches!(buffer, b"" | b"\r")
    }

    /// Whether nothing at all has come of it, empty lines neither.
    pub fn is_untouched(&self, buffer: &[u8]) -> bool {
        self.skipped == 0 && buffer.is_empty()
    }

    /// Where the head ends, if it does.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let start = self.seen;
        for at in memchr::memchr_iter(b'\n', bytes.get(start..).unwrap_or_default()) {
            let end = start + at + 1;
            let line = bytes.get(self.line..end).unwrap_or_default().strip_suffix(b"\r\n").ok_or(HeadError::Bad)?;
            self.line = end;
            if line.is_empty() {
                return Ok(Some(end));
            }
            if self.has_started {
                self.lines += 1;
                if self.lines > MAX_LINES {
                    return Err(HeadError::HeaderTooLarge);
                }
            }
            self.has_started = true;
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Whether bytes of which so many have been `seen` can be the beginning of a request line.
fn may_begin_request_line(bytes: &[u8], seen: usize) -> bool {
    // The last one may have been half of a line's end.
    let (before, new) = bytes.split_at_checked(seen.saturating_sub(1)).unwrap_or_default();
    let new = new.strip_suffix(b"\r").unwrap_or(new);
    let is_in_method = memchr::memchr(b' ', before).is_none();
    let method = new.split(|byte| *byte == b' ').next().filter(|method| is_in_method && !method.is_empty());
    method.is_none_or(|method| Method::from_bytes(method).is_ok())
        && new.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

/// What the parser makes of the bytes of a head: it, and how many bytes it has, if it is whole.
fn parsed<'h, 'b>(
    bytes: &'b [u8],
    lines: &'h mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<(httparse::Request<'h, 'b>, Option<usize>), HeadError> {
    let mut head = httparse::Request::new(&mut []);
    match ParserConfig::default().parse_request_with_uninit_headers(&mut head, bytes, lines) {
        Ok(Status::Complete(length)) => Ok((head, Some(length))),
        Ok(Status::Partial) => Ok((head, None)),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::HeaderTooLarge),
        Err(_) => Err(HeadError::Bad),
    }
}

/// The request with this head, which is whole.
fn parse(bytes: Bytes) -> Result<ParsedRequest, HeadError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let (head, length) = parsed(&bytes, &mut lines)?;
    if length != Some(bytes.len()) {
        return Err(HeadError::Bad);
    }
    let target = head.path.ok_or(HeadError::Bad)?;
    if target.len() > MAX_TARGET {
        return Err(HeadError::HeaderTooLarge);
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(HeadError::Bad);
    }
    let is_1_1 = head.version == Some(1);
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(head.method.ok_or(HeadError::Bad)?.as_bytes()).map_err(|_| HeadError::Bad)?;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| HeadError::Bad)?;
    *request.version_mut() = if is_1_1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let framing = RequestFraming::read(&bytes, head.headers, request.headers_mut())?;
    if framing.is_chunked && !is_1_1 {
        return Err(HeadError::Bad);
    }
    let body_length = if framing.is_chunked {
        BodyLength::Chunked(ChunkedDecoder::START)
    } else {
        BodyLength::Length(framing.length.unwrap_or(0))
    };
    Ok(ParsedRequest {
        request,
        body_length,
        is_persistent: !framing.closes && (is_1_1 || framing.keeps_alive),
        expects_continue: framing.expects_continue && is_1_1,
    })
}

impl RequestFraming {
    /// Adds the lines of a head to `headers`.
    fn read(head: &Bytes, lines: &[httparse::Header<'_>], headers: &mut HeaderMap) -> Result<Self, HeadError> {
        let mut framing = Self::default();
        headers.reserve(lines.len());
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| HeadError::Bad)?;
            let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value)).map_err(|_| HeadError::Bad)?;
            match name {
                CONTENT_LENGTH => framing.content_length(&value)?,
                TRANSFER_ENCODING => framing.transfer_encoding(value.as_bytes())?,
                CONNECTION => framing.connection(&value),
                EXPECT => framing.expects_continue = value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
                _ => {}
            }
            headers.append(name, value);
        }
        Ok(framing)
    }

    fn content_length(&mut self, value: &HeaderValue) -> Result<(), HeadError> {
        if self.is_chunked || self.length.is_some() {
            return Err(HeadError::Bad);
        }
        self.length = Some(content_length(value).ok_or(HeadError::Bad)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.is_chunked || self.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Bad);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn connection(&mut self, value: &HeaderValue) {
        for option in elements(value) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

#[cfg(test)]
mod tests;
