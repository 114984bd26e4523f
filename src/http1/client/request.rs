//! A request as it is written to a connection: its head as bytes, and its body.

use std::io::{self, IoSlice};
use std::iter::once;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::io::AsyncWrite;

use crate::http1::as_sent::SentHead;
use crate::http1::head::{content_length, line};
use crate::http1::payload::Payload;
use crate::net::socket::Socket;

/// The most pieces that one system call writes.
const MAX_SLICES: usize = 16;
/// A body up to this size, in bytes, is copied behind its head: one copy costs less than a system call with several pieces.
const SMALL: u64 = 8 << 10;
/// Room for most heads, in bytes.
const USUAL_HEAD: usize = 1 << 10;
/// Between the target and the end of the request line, and between that and the value of `Host`.
const VERSION: &[u8] = b" HTTP/1.1";
const HOST: &[u8] = b"\r\nHost: ";
/// Room for most request lines with their `Host`, in bytes.
const USUAL_BEGINNING: usize = 160;

/// The head of a request (RFC 9112 section 2.1): its field lines, and before them, once it has [begun](Self::begin), the request
/// line and `Host`. These are known last: they depend on where the request goes.
#[derive(Default)]
pub struct Head {
    /// The head, from `start` on.
    bytes: Vec<u8>,
    /// Where the head begins. The bytes before are room for the first lines, so that the others need not be moved.
    start: usize,
    /// Where the lines begin that do not depend on where the request goes.
    lines: usize,
    method: Method,
}

/// A request that can be written, and written again from its beginning.
pub struct OutgoingRequest {
    /// The head, and behind it the body if it is small; it begins at `start`, and after its first lines come those at `lines`.
    head: Vec<u8>,
    start: usize,
    lines: usize,
    /// The body if it is not in `head`.
    payload: Option<Payload>,
    method: Method,
    /// Bytes of the request that have been written.
    written: usize,
    /// Writing failed with TLS, which does not say whether bytes had been sent.
    is_write_uncertain: bool,
}

impl Head {
    /// A head without a line, with room for the lines and a body of this length.
    pub fn for_body(length: u64) -> Self {
        let body = if length <= SMALL { usize::try_from(length).unwrap_or_default() } else { 0 };
        let mut bytes = Vec::with_capacity(USUAL_HEAD + body);
        bytes.resize(USUAL_BEGINNING, 0);
        Self { bytes, start: USUAL_BEGINNING, lines: USUAL_BEGINNING, method: Method::default() }
    }

    /// Puts the request line, and `Host` if there is one, before the field lines. The parts of `target` must make an absolute path
    /// with or without a query. Replaces those of an earlier call.
    pub fn begin(&mut self, method: Method, target: &[&str], host: Option<&HeaderValue>) {
        let host = host.map(HeaderValue::as_bytes);
        let target_length: usize = target.iter().map(|part| part.len()).sum();
        let fixed = 1 + VERSION.len() + host.map_or(0, |host| HOST.len() + host.len()) + 2;
        let length = method.as_str().len() + target_length + fixed;
        let start = self.lines.checked_sub(length).unwrap_or_else(|| {
            let missing = length - self.lines;
            drop(self.bytes.splice(..0, std::iter::repeat_n(0, missing)));
            self.lines = length;
            0
        });
        let mut room = self.bytes.get_mut(start..self.lines).unwrap_or_default();
        put(&mut room, method.as_str().as_bytes());
        put(&mut room, b" ");
        for part in target.iter().filter(|part| !part.is_empty()) {
            put(&mut room, part.as_bytes());
        }
        put(&mut room, VERSION);
        if let Some(host) = host {
            put(&mut room, HOST);
            put(&mut room, host);
        }
        put(&mut room, b"\r\n");
        self.start = start;
        self.method = method;
    }

    /// Field lines as [`Self::bytes`] gave them.
    pub fn of_lines(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0, lines: 0, method: Method::default() }
    }

    /// Appends a field line. `name` must be a field name, in any spelling.
    pub fn line(&mut self, name: impl AsRef<[u8]>, value: &HeaderValue) {
        line(&mut self.bytes, name.as_ref(), value);
    }

    /// Appends a field line of a request, with its name as it was `sent`.
    pub fn line_as_sent(&mut self, sent: &SentHead, name: &HeaderName, value: &HeaderValue) {
        sent.write_line(&mut self.bytes, name, value);
    }

    /// Appends a field line with this text as its value, which must be visible ASCII.
    pub fn text_line(&mut self, name: &str, text: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends `Content-Length: length` (RFC 9112 section 6.2).
    pub fn content_length(&mut self, length: u64) {
        content_length(&mut self.bytes, "Content-Length", length);
    }

    /// Appends the lines of `lines`, which has no request line.
    pub fn lines(&mut self, lines: &Self) {
        self.bytes.extend_from_slice(lines.bytes());
    }

    /// The lines so far.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The request with this head, which must have begun, and the body `payload`. The head must have its `Content-Length`.
    pub fn with(mut self, payload: Payload) -> OutgoingRequest {
        self.bytes.extend_from_slice(b"\r\n");
        let is_small = payload.len() <= SMALL;
        if is_small {
            payload.frames().iter().for_each(|frame| self.bytes.extend_from_slice(frame));
        }
        let payload = (!is_small).then_some(payload);
        let Self { bytes: head, start, lines, method } = self;
        OutgoingRequest { head, start, lines, payload, method, written: 0, is_write_uncertain: false }
    }
}

/// Copies bytes to the beginning of `room`, and takes that off.
fn put(room: &mut &mut [u8], bytes: &[u8]) {
    if let Some((place, rest)) = std::mem::take(room).split_at_mut_checked(bytes.len()) {
        place.copy_from_slice(bytes);
        *room = rest;
    }
}

impl OutgoingRequest {
    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether any byte of the request may have been sent.
    pub fn has_begun(&self) -> bool {
        self.written > 0 || self.is_write_uncertain
    }

    /// The bytes that are still to be written.
    pub fn bytes_left(&self) -> u64 {
        let head = self.head.len().saturating_sub(self.start) as u64;
        let all = head + self.payload.as_ref().map_or(0, Payload::len);
        all.saturating_sub(self.written as u64)
    }

    /// The same request for another server, with a target and a `Host` as [`Head::begin`] takes them, to be written from its
    /// beginning.
    pub fn directed(self, target: &[&str], host: Option<&HeaderValue>) -> Self {
        let Self { head: bytes, start, lines, payload, method, .. } = self;
        let mut head = Head { bytes, start, lines, method: Method::default() };
        head.begin(method, target, host);
        let Head { bytes: head, start, lines, method } = head;
        Self { head, start, lines, payload, method, written: 0, is_write_uncertain: false }
    }

    /// The same request, to be written from its beginning.
    pub fn again(self) -> Self {
        Self { written: 0, is_write_uncertain: false, ..self }
    }

    /// Ready when the system has taken the whole request.
    ///
    /// # Errors
    /// Those of writing. Bytes written before count as written.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        loop {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let written = match self.rest(&mut slices) {
                [] => return Pin::new(socket).poll_flush(cx),
                [slice] => Pin::new(&mut *socket).poll_write(cx, slice),
                slices => Pin::new(&mut *socket).poll_write_vectored(cx, slices),
            };
            self.is_write_uncertain |= matches!((&written, &*socket), (Poll::Ready(Err(_)), Socket::Tls(_)));
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
    }

    /// The pieces that have not been written, as many as `slices` has room for.
    fn rest<'a, 's>(&'a self, slices: &'s mut [IoSlice<'a>]) -> &'s [IoSlice<'a>] {
        let mut before = self.written;
        let mut count = 0;
        let head = self.head.get(self.start..).unwrap_or_default();
        for piece in once(head).chain(self.payload.iter().flat_map(Payload::frames).map(Bytes::as_ref)) {
            let Some(rest) = piece.get(before..) else {
                before -= piece.len();
                continue;
            };
            before = 0;
            if !rest.is_empty() {
                let Some(slice) = slices.get_mut(count) else { break };
                *slice = IoSlice::new(rest);
                count += 1;
            }
        }
        slices.get(..count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let mut head = Head::for_body(0);
        head.begin(Method::POST, &["/base", "/", "a", "?", "b=%20"], Some(&HeaderValue::from_static("h")));
        head
    }

    fn payload(pieces: &[Vec<u8>]) -> Payload {
        Payload::new(pieces.iter().map(|piece| Bytes::from(piece.clone())).collect(), ())
    }

    /// The parts of a request that have not been written yet.
    fn rest(outgoing: &OutgoingRequest) -> Vec<Vec<u8>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        outgoing.rest(&mut slices).iter().map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn the_beginning_of_a_head_stands_before_its_lines_however_long_it_is() {
        let host = HeaderValue::from_static("h");
        let lengths = (0..300).chain([7000]);
        for (length, new) in lengths.flat_map(|length| [(length, Head::for_body(0)), (length, Head::default())]) {
            let (mut head, query) = (new, "q".repeat(length));
            head.line("Accept", &HeaderValue::from_static("*/*"));
            head.begin(Method::PUT, &["/?", &query], Some(&host));
            let whole = format!("PUT /?{query} HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n");
            assert_eq!(head.bytes(), whole.as_bytes());
            assert_eq!(head.with(payload(&[])).method(), Method::PUT);
        }
    }

    #[test]
    fn a_request_for_another_server_differs_in_its_first_lines_alone() {
        for (body, host) in [(1, "other.example"), (1, "i"), (9000, "other.example")] {
            let (long, body) = ("q".repeat(300), vec![b'x'; body]);
            for target in [&["/a"][..], &["/", &long], &["/base/a?b=%20"]] {
                let mut head = head();
                head.line("X-A", &HeaderValue::from_static("1"));
                let host = HeaderValue::from_static(host);
                let outgoing = head.with(payload(std::slice::from_ref(&body))).directed(target, Some(&host));
                let lines =
                    format!("POST {} HTTP/1.1\r\nHost: {}\r\nX-A: 1\r\n\r\n", target.concat(), host.to_str().unwrap());
                assert_eq!(rest(&outgoing).concat(), [lines.as_bytes(), &body].concat());
            }
        }
    }

    #[test]
    fn a_small_body_goes_with_its_head() {
        let payload = payload(&[b"ab".to_vec(), b"c".to_vec()]);
        let mut head = head();
        head.content_length(payload.len());
        let outgoing = head.with(payload);
        let whole = b"POST /base/a?b=%20 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(rest(&outgoing), [whole.to_vec()]);
    }

    #[test]
    fn what_is_left_of_a_large_body_is_written_from_where_it_stopped() {
        let pieces = [vec![b'a'; 9000], vec![b'b'; 9000]];
        let mut outgoing = head().with(payload(&pieces));
        let whole: Vec<u8> = rest(&outgoing).concat();
        assert_eq!(rest(&outgoing)[1..], pieces);
        let head = whole.len() - 18_000;
        for written in [1, head - 1, head, head + 1, head + 9000, head + 9001, whole.len() - 1, whole.len()] {
            outgoing.written = written;
            assert_eq!(rest(&outgoing).concat(), whole[written..], "{written}");
            assert!(rest(&outgoing).iter().all(|piece| !piece.is_empty()));
        }
        assert!(outgoing.has_begun());
        assert_eq!(rest(&outgoing.again()).concat(), whole);
    }

    #[test]
    fn more_pieces_than_leave_at_once_leave_one_after_another() {
        let mut outgoing = head().with(payload(&(0..40).map(|piece| vec![piece; 1000]).collect::<Vec<_>>()));
        let (mut all, mut calls) = (Vec::new(), 0);
        while let written @ [_, ..] = &rest(&outgoing)[..] {
            all.extend(written.concat());
            outgoing.written = all.len();
            calls += 1;
        }
        assert_eq!(calls, 3);
        assert!(all.ends_with(&[39; 1000]));
    }
}
