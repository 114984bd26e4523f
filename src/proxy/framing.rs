//! Follows the bytes of a connection from one HTTP/1.1 request to the next: where each head ends and how long its body is.
//!
//! It stands in front of the parser and is stricter, so that whatever gets through can be read in one way only: by the
//! parser, by a proxy in front of the gateway, and by the handler behind it. Refuses, in a head:
//! 1. a line that does not end in CRLF (RFC 9112 section 2.2 lets a server take a bare LF; a proxy in front may not), and a
//!    CR before or in the request line;
//! 2. a control character or a byte that is not ASCII in the request target, or a `#`: the parser drops what follows
//!    (RFC 9112 section 3.2);
//! 3. `Content-Length` with `Transfer-Encoding`, either of them twice, a length that is not digits, and any transfer
//!    coding but `chunked` (RFC 9112 sections 6.1 to 6.3): the handler would get bytes in a coding that it is not told;
//! 4. more than [`MAX_HEADERS`] lines of headers, more bytes than it may have.
//!
//! In a chunked body it refuses what [`chunked`](super::chunked) does. What else HTTP forbids (names, values, methods,
//! versions, folded lines) the parser refuses.

use super::chunked::Chunks;
use super::headers::MAX_HEADERS;

/// What is wrong with a request before it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Ambiguous, or forbidden by HTTP.
    Bad,
    /// Too many bytes or lines of headers (RFC 6585 section 5).
    TooLarge,
}

/// Where a connection is.
#[derive(Debug)]
pub struct Framing {
    state: State,
    head: Head,
    max_head: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of the body still to come.
    Body(u64),
    Chunked(Chunks),
    /// In a body that cannot be followed.
    Lost,
}

/// What is known of a head so far.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    /// The beginning of a line of which not all has come.
    partial: Vec<u8>,
    started: bool,
    lines: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    /// At the beginning of a connection, whose heads may have `max_head` bytes.
    pub fn new(max_head: usize) -> Self {
        Self { state: State::Head, head: Head::default(), max_head }
    }

    /// Whether a head is coming, or none yet.
    pub fn in_head(&self) -> bool {
        self.state == State::Head
    }

    /// Whether no request has begun since the last one. Empty lines begin none (RFC 9112 section 2.2).
    pub fn at_start(&self) -> bool {
        self.in_head() && !self.head.started && self.head.partial.iter().all(|byte| *byte == b'\r')
    }

    /// Whether nothing at all has come since the last request.
    pub fn is_untouched(&self) -> bool {
        self.in_head() && self.head.bytes == 0
    }

    /// Whether the body is framed in a way that is refused. What was taken before that is part of the request.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Takes in what came: how many of the bytes belong to this request. What follows them begins the next, unless the
    /// framing [is lost](Framing::is_lost).
    ///
    /// # Errors
    /// What is wrong with a head, see the module's list.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let (taken, next) = match self.state {
                State::Head => self.head(rest)?,
                State::Body(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - taken as u64;
                    (taken, (left > 0).then_some(State::Body(left)))
                }
                State::Chunked(chunks) => match chunks.take(rest) {
                    Some((taken, next)) => (taken, next.map(State::Chunked)),
                    None => (0, Some(State::Lost)),
                },
                State::Lost => return Ok(at),
            };
            at += taken;
            match next {
                Some(state) => self.state = state,
                None => {
                    self.state = State::Head;
                    return Ok(at);
                }
            }
        }
        Ok(at)
    }

    /// A head's lines, as far as they are there; what comes after them, if not the next request.
    fn head(&mut self, bytes: &[u8]) -> Result<(usize, Option<State>), Fault> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..=end).unwrap_or_default();
            start = end + 1;
            self.head_bytes(line)?;
            let done = if self.head.partial.is_empty() {
                self.head.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.head.partial);
                whole.extend_from_slice(line);
                self.head.line(&whole)?
            };
            if done {
                return Ok((start, self.after_head()));
            }
        }
        let rest = bytes.get(start..).unwrap_or_default();
        self.head_bytes(rest)?;
        self.head.partial.extend_from_slice(rest);
        Ok((bytes.len(), Some(State::Head)))
    }

    fn head_bytes(&mut self, more: &[u8]) -> Result<(), Fault> {
        self.head.bytes += more.len();
        if self.head.bytes > self.max_head { Err(Fault::TooLarge) } else { Ok(()) }
    }

    /// What comes after a head that is whole, if not the next request.
    fn after_head(&mut self) -> Option<State> {
        let head = std::mem::take(&mut self.head);
        match (head.chunked, head.length) {
            (true, _) => Some(State::Chunked(Chunks::START)),
            (false, None | Some(0)) => None,
            (false, Some(length)) => Some(State::Body(length)),
        }
    }
}

impl Head {
    /// One whole line; whether it ends the head.
    fn line(&mut self, line: &[u8]) -> Result<bool, Fault> {
        let line = line.strip_suffix(b"\r\n").ok_or(Fault::Bad)?;
        if !self.started {
            if line.contains(&b'\r') {
                return Err(Fault::Bad);
            }
            // Empty lines before a request are passed over (RFC 9112 section 2.2).
            self.started = !line.is_empty();
            let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            return if target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
                Ok(false)
            } else {
                Err(Fault::Bad)
            };
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > MAX_HEADERS {
            return Err(Fault::TooLarge);
        }
        // Two bytes tell nearly all headers apart from the two that matter.
        match line {
            [b'c' | b'C', b'o' | b'O', ..] => {
                if let Some(value) = value(line, b"content-length") {
                    self.content_length(value)?;
                }
            }
            [b't' | b'T', b'r' | b'R', ..] => {
                if let Some(value) = value(line, b"transfer-encoding") {
                    self.transfer_encoding(value)?;
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked || self.length.is_some() || value.is_empty() {
            return Err(Fault::Bad);
        }
        let mut length = 0u64;
        for byte in value {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0')).ok_or(Fault::Bad)?;
            length = length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(Fault::Bad)?;
        }
        self.length = Some(length);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked || self.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::Bad);
        }
        self.chunked = true;
        Ok(())
    }
}

/// The value of a header line, without the blanks around it, if the header is called `name`.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name))?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |end| end + 1);
    value.get(start..end)
}

#[cfg(test)]
mod tests;
