//! A request as it is written to a connection: its head as bytes, and its body.

use std::io::{self, IoSlice};
use std::iter::once;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::io::AsyncWrite;

use crate::http1::head::{content_length, line};
use crate::http1::payload::Payload;
use crate::net::socket::Socket;

/// The most pieces that one system call writes.
const MAX_SLICES: usize = 16;
/// A body up to this size, in bytes, is copied behind its head: one copy costs less than a system call with several pieces.
const SMALL: u64 = 8 << 10;
/// Room for most heads, in bytes.
const USUAL_HEAD: usize = 1 << 10;

/// The head of a request (RFC 9112 section 2.1), written line by line.
#[derive(Default)]
pub struct Head {
    bytes: Vec<u8>,
    method: Method,
}

/// A request that can be written, and written again from its beginning.
pub struct OutgoingRequest {
    /// The head, and behind it the body if it is small.
    head: Vec<u8>,
    /// The body if it is not in `head`.
    payload: Option<Payload>,
    method: Method,
    /// Bytes of the request that have been written.
    written: usize,
    /// Writing failed with TLS, which does not say whether bytes had been sent.
    is_write_uncertain: bool,
}

impl Head {
    /// A head with a request line. The parts of `target` must make an absolute path with or without a query; `length` is the
    /// body's, for the allocation.
    pub fn new(method: Method, target: &[&str], length: u64) -> Self {
        let body = if length <= SMALL { usize::try_from(length).unwrap_or_default() } else { 0 };
        let mut bytes = Vec::with_capacity(USUAL_HEAD + body);
        bytes.extend_from_slice(method.as_str().as_bytes());
        bytes.push(b' ');
        for part in target {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        Self { bytes, method }
    }

    /// Field lines alone, for a head that is still to be begun.
    pub fn without_request_line() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_HEAD), method: Method::default() }
    }

    /// Field lines as [`Self::bytes`] gave them.
    pub fn of_lines(bytes: Vec<u8>) -> Self {
        Self { bytes, method: Method::default() }
    }

    /// Appends a field line.
    pub fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        line(&mut self.bytes, name, value);
    }

    /// Appends a field line with this text as its value, which must be visible ASCII.
    pub fn text_line(&mut self, name: &HeaderName, text: &str) {
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends `Content-Length: length` (RFC 9112 section 6.2).
    pub fn content_length(&mut self, length: u64) {
        content_length(&mut self.bytes, length);
    }

    /// Appends the lines of `lines`, which has no request line.
    pub fn lines(&mut self, lines: &Self) {
        self.bytes.extend_from_slice(&lines.bytes);
    }

    /// The lines so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The request with this head and the body `payload`. The head must have its `Content-Length`.
    pub fn with(mut self, payload: Payload) -> OutgoingRequest {
        self.bytes.extend_from_slice(b"\r\n");
        let is_small = payload.len() <= SMALL;
        if is_small {
            payload.frames().iter().for_each(|frame| self.bytes.extend_from_slice(frame));
        }
        let payload = (!is_small).then_some(payload);
        OutgoingRequest { head: self.bytes, payload, method: self.method, written: 0, is_write_uncertain: false }
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
        for piece in once(&self.head[..]).chain(self.payload.iter().flat_map(Payload::frames).map(Bytes::as_ref)) {
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
        let mut head = Head::new(Method::POST, &["/base", "/", "a", "?", "b=%20"], 0);
        head.line(&http::header::HOST, &HeaderValue::from_static("h"));
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
    fn a_small_body_goes_with_its_head() {
        let payload = payload(&[b"ab".to_vec(), b"c".to_vec()]);
        let mut head = head();
        head.content_length(payload.len());
        let outgoing = head.with(payload);
        let whole = b"POST /base/a?b=%20 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";
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
