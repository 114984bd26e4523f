//! Reads the head of a request as its bytes arrive (RFC 9112 sections 2 to 6).
//!
//! Stricter than `httparse`, which it uses, so that a head has one reading only: here, in a proxy in front, and in the handler
//! behind. Beside what `httparse` refuses (names, values, methods, versions, obsolete line folding), it refuses
//! 1. a line that does not end in CRLF (RFC 9112 section 2.2 lets a server accept a bare LF, but a proxy in front may not), and
//!    a CR before or in the request line;
//! 2. a control character, a non-ASCII byte or a `#` in the request target: an upstream would drop what follows
//!    (RFC 9112 section 3.2);
//! 3. `Content-Length` beside `Transfer-Encoding`, either of them twice, a length that is not digits, any transfer coding but
//!    `chunked`, and any transfer coding with HTTP/1.0 (RFC 9112 sections 6.1 to 6.3): the gateway forwards bodies without
//!    their coding;
//! 4. a request line over [`MAX_REQUEST_LINE`] bytes, more than [`MAX_LINES`] field lines, and a head over its limit.
//!
//! The verdict depends on the bytes alone, not on the pieces in which they arrive: the fault whose byte comes first counts. A
//! request line is checked byte by byte, a field line once it is complete.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::http1::as_sent::SentHead;
use crate::http1::body_length::BodyLength;
use crate::http1::chunked::ChunkedDecoder;
use crate::http1::field::{MAX_LINES, content_length, elements, is_target};

/// The longest request line, in bytes, without its line end. RFC 9112 section 3 asks for 8000 at least.
pub const MAX_REQUEST_LINE: usize = 8 << 10;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// It is not HTTP/1, or has more than one reading.
    Bad,
    /// It has too many field lines or too many bytes (RFC 6585 section 5).
    HeaderTooLarge,
    /// Its request line is too long (RFC 9110 section 15.5.15).
    UriTooLong,
}

/// A request whose head has been parsed, and what the head says about the connection.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The request line and the field lines.
    pub request: Request<()>,
    /// The field lines as the client wrote them.
    pub sent: SentHead,
    /// Where the body ends.
    pub body_length: BodyLength,
    /// Whether the client lets the connection persist after the response (RFC 9112 section 9.3).
    pub is_persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

/// Finds the end of a head in the bytes that have arrived, and remembers how far it has looked.
#[derive(Debug, Default)]
pub struct HeadScanner {
    /// Bytes of the empty lines before the request line, which are ignored (RFC 9112 section 2.2).
    skipped: usize,
    /// Bytes of the head that have been searched for line ends.
    searched: usize,
    /// Where the first line without a line end begins.
    line_start: usize,
    /// Field lines.
    field_lines: usize,
    /// The request line is complete.
    has_request_line: bool,
}

/// What the field lines say about the connection and the body.
#[derive(Default)]
struct RequestFraming {
    /// The value of `Content-Length`.
    length: Option<u64>,
    /// `Transfer-Encoding: chunked` is there.
    is_chunked: bool,
    /// `Connection` has the option `close`.
    closes: bool,
    /// `Connection` has the option `keep-alive`.
    keeps_alive: bool,
    /// `Expect: 100-continue` is there.
    expects_continue: bool,
}

impl HeadScanner {
    /// Takes a head off `buffer`, which holds all bytes after the last request, if the head is complete.
    ///
    /// # Errors
    /// Why it is refused, see the module; `max` is the longest head in bytes, with the empty lines before it.
    pub fn take(&mut self, buffer: &mut BytesMut, max: usize) -> Result<Option<ParsedRequest>, HeadError> {
        while !self.has_request_line && self.skipped <= max && buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            *self = Self { skipped: self.skipped + 2, ..Self::default() };
        }
        // Bytes over the limit, but for the first, would make the verdict depend on how many of them have arrived.
        let seen = buffer.get(..max.saturating_add(1).saturating_sub(self.skipped)).unwrap_or(buffer);
        let (searched, line_start) = (self.searched, self.line_start);
        let end = self.find_end(seen)?;
        if self.skipped + end.unwrap_or(seen.len()) > max {
            return Err(self.fault_before(seen).unwrap_or(HeadError::HeaderTooLarge));
        }
        if let Some(end) = end {
            *self = Self::default();
            // A head that fills the buffer is copied, so that it does not keep a whole buffer alive until its body arrives.
            let is_alone = end == buffer.len();
            let head = buffer.split_to(end);
            return parse(if is_alone { Bytes::copy_from_slice(&head) } else { head.freeze() }).map(Some);
        }
        if !self.has_request_line {
            check_request_line(seen, searched)?;
        } else if self.line_start > line_start
            && let Some(fault) = self.fault_before(seen)
        {
            return Err(fault);
        }
        Ok(None)
    }

    /// Whether nothing has arrived since the last request, not even an empty line.
    pub fn is_untouched(&self, buffer: &[u8]) -> bool {
        self.skipped == 0 && buffer.is_empty()
    }

    /// Where the head ends, if it does.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let start = self.searched;
        for at in memchr::memchr_iter(b'\n', bytes.get(start..).unwrap_or_default()) {
            let end = start + at + 1;
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            if !self.has_request_line && line.len() > MAX_REQUEST_LINE + 1 {
                check_request_line(bytes, 0)?;
            }
            let line = line.strip_suffix(b"\r\n").ok_or(HeadError::Bad)?;
            if line.is_empty() {
                self.line_start = end;
                return Ok(Some(end));
            }
            if self.has_request_line {
                if self.field_lines == MAX_LINES {
                    return Err(self.fault_before(bytes).unwrap_or(HeadError::HeaderTooLarge));
                }
                self.field_lines += 1;
            }
            self.line_start = end;
            self.has_request_line = true;
        }
        self.searched = bytes.len();
        Ok(None)
    }

    /// The fault in the complete lines, if there is one. Looked for whenever a line is complete, and before a limit applies.
    fn fault_before(&self, bytes: &[u8]) -> Option<HeadError> {
        if !self.has_request_line {
            return check_request_line(bytes, 0).err();
        }
        let lines = bytes.get(..self.line_start).unwrap_or_default();
        let request_line = lines.split(|byte| *byte == b'\r').next().unwrap_or_default();
        check_request_line(request_line, 0)
            .err()
            .or_else(|| parse_lines(lines, &mut [const { MaybeUninit::uninit() }; MAX_LINES]).err())
    }
}

/// Whether no head has begun in `buffer`: it is empty, or may become an empty line.
pub fn is_before_head(buffer: &[u8]) -> bool {
    matches!(buffer, b"" | b"\r")
}

/// Checks the beginning of a request line; its first `checked` bytes have been checked before.
///
/// # Errors
/// A byte that a request line cannot have, or one byte too many: the one that comes first.
fn check_request_line(bytes: &[u8], checked: usize) -> Result<(), HeadError> {
    // One byte more shows that the line is too long, unless it begins the line end.
    let line = bytes.get(..=MAX_REQUEST_LINE).unwrap_or(bytes);
    let line = match bytes.get(line.len()) {
        Some(b'\n') | None => line.strip_suffix(b"\r").unwrap_or(line),
        Some(_) => line,
    };
    // The last byte may have been the line end's CR.
    let (before, new) = line.split_at_checked(checked.saturating_sub(1)).unwrap_or_default();
    let is_in_method = memchr::memchr(b' ', before).is_none();
    let method = new.split(|byte| *byte == b' ').next().filter(|method| is_in_method && !method.is_empty());
    let is_valid = method.is_none_or(|method| Method::from_bytes(method).is_ok())
        && new.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match is_valid {
        false => Err(HeadError::Bad),
        true if line.len() > MAX_REQUEST_LINE => Err(HeadError::UriTooLong),
        true => Ok(()),
    }
}

/// Parses the lines of a head; also returns its length if the head is complete.
fn parse_lines<'h, 'b>(
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

/// Parses a complete head.
fn parse(bytes: Bytes) -> Result<ParsedRequest, HeadError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let (head, length) = parse_lines(&bytes, &mut lines)?;
    if length != Some(bytes.len()) {
        return Err(HeadError::Bad);
    }
    let target = head.path.ok_or(HeadError::Bad)?;
    if !is_target(target) {
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
        sent: SentHead::new(bytes),
        body_length,
        is_persistent: !framing.closes && (is_1_1 || framing.keeps_alive),
        expects_continue: framing.expects_continue && is_1_1,
    })
}

impl RequestFraming {
    /// Copies the field lines to `headers`.
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
