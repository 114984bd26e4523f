//! Reads messages from a connection, for the server and the client: a buffer of the bytes that have arrived, and where the
//! body of the current message ends (RFC 9112 section 6).
//!
//! Reading a body fails when the connection ends before the body does, and with what
//! [`chunked`](crate::http1::chunked) refuses.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::http1::body_length::BodyLength;
use crate::net::socket::Socket;

/// How much is read at once, in bytes.
pub const READ: usize = 8 << 10;
/// How much of a long body is read at once, in bytes.
pub const LONG_READ: usize = 64 << 10;
/// Data of a body up to this size, in bytes, is copied out of the buffer, so that the buffer can be filled again.
const SMALL: usize = 2 << 10;

/// The receiving half of a connection.
pub struct MessageReader {
    /// Bytes that have arrived and belong to no message yet.
    pub buffer: BytesMut,
    /// The rest of the current message's body; `None` until the message's head has been parsed.
    rest: Option<BodyLength>,
    /// The buffer is larger than [`READ`], for a long body.
    is_large: bool,
}

impl MessageReader {
    /// A reader without bytes; `rest` as in [`begin_body`](Self::begin_body), or `None` to begin with a head.
    pub fn new(rest: Option<BodyLength>) -> Self {
        Self { buffer: BytesMut::new(), rest, is_large: false }
    }

    /// Begins a message: its head is expected next.
    pub fn begin_head(&mut self) {
        self.rest = None;
    }

    /// Begins the body of a message whose head has been parsed.
    pub fn begin_body(&mut self, length: BodyLength) {
        self.rest = Some(length);
    }

    /// Whether the head of the current message has been parsed.
    pub fn has_head(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether the current message's body has been read completely.
    pub fn is_body_complete(&self) -> bool {
        self.rest == Some(BodyLength::Length(0))
    }

    /// The rest of the body in bytes; `None` if the body is chunked or close-delimited.
    pub fn remaining(&self) -> Option<u64> {
        match self.rest {
            Some(BodyLength::Length(left)) => Some(left),
            Some(BodyLength::Chunked(_) | BodyLength::Close) | None => None,
        }
    }

    /// Reads into the buffer, with room for `room` bytes. Ready with the number of bytes; 0 at the end of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &mut Socket, room: usize) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < room / 2 {
            self.buffer.reserve(room);
            self.is_large |= room > READ;
        }
        pin!(socket.read_buf(&mut self.buffer)).poll(cx)
    }

    /// As [`poll_fill`](Self::poll_fill), but frees the buffer if it is empty and nothing can be read.
    pub fn poll_fill_or_release(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let read = self.poll_fill(cx, socket, room);
        if read.is_pending() && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        read
    }

    /// Ready with data of the body as soon as there is any; `None` at the end of the body.
    ///
    /// # Errors
    /// See the module.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Option<io::Result<Bytes>>> {
        self.poll_part(cx, socket, self.room().max(READ))
    }

    fn poll_part(&mut self, cx: &mut Context<'_>, socket: &mut Socket, room: usize) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let (taken, is_data) = match self.next_part() {
                Ok(Some(part)) => part,
                Ok(None) if self.is_body_complete() => return Poll::Ready(None),
                Ok(None) => match ready!(self.poll_fill_or_release(cx, socket, room)) {
                    Ok(0) if self.rest == Some(BodyLength::Close) => {
                        self.rest = Some(BodyLength::Length(0));
                        return Poll::Ready(None);
                    }
                    Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                    Ok(_) => continue,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if is_data {
                return Poll::Ready(Some(Ok(self.split(taken))));
            }
            self.buffer.advance(taken);
        }
    }

    /// As [`poll_data`](Self::poll_data), for a caller that collects the whole body in memory. A body of known length comes in
    /// pieces that fill their allocation, so that keeping them costs no copy and no unused memory. Of any other body, little
    /// is read at once.
    ///
    /// # Errors
    /// See the module.
    pub fn poll_full_piece(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Option<io::Result<Bytes>>> {
        if matches!(self.rest, Some(BodyLength::Length(_))) {
            let piece = self.room();
            if self.buffer.capacity() < piece {
                let begun = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(piece));
                self.buffer.extend_from_slice(&begun);
            }
            while let missing @ 1.. = piece.saturating_sub(self.buffer.len()) {
                if ready!(self.poll_fill(cx, socket, missing))? == 0 {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
            }
        }
        self.poll_part(cx, socket, READ)
    }

    /// How much of the body is read at once.
    fn room(&self) -> usize {
        let left = self.remaining().and_then(|left| usize::try_from(left).ok());
        left.unwrap_or(usize::MAX).min(LONG_READ)
    }

    /// Advances the body by bytes of the buffer: how many, and whether they are data or framing of the chunked coding. `None` at
    /// the end of the body, and if the buffer is empty.
    fn next_part(&mut self) -> io::Result<Option<(usize, bool)>> {
        let bytes = self.buffer.len();
        if bytes == 0 {
            return Ok(None);
        }
        Ok(match self.rest {
            None | Some(BodyLength::Length(0)) => None,
            Some(BodyLength::Length(left)) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
                self.rest = Some(BodyLength::Length(left - taken as u64));
                Some((taken, true))
            }
            Some(BodyLength::Chunked(decoder)) => {
                let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the body is not valid chunked coding");
                let (taken, next) = decoder.take(&self.buffer).ok_or_else(invalid)?;
                self.rest = Some(next.map_or(BodyLength::Length(0), BodyLength::Chunked));
                Some((taken, decoder.is_in_data()))
            }
            Some(BodyLength::Close) => Some((bytes, true)),
        })
    }

    fn split(&mut self, bytes: usize) -> Bytes {
        if bytes > SMALL {
            return self.buffer.split_to(bytes).freeze();
        }
        let piece = Bytes::copy_from_slice(self.buffer.get(..bytes).unwrap_or_default());
        self.buffer.advance(bytes);
        piece
    }

    /// Frees a buffer that was made for a long body.
    pub fn shrink(&mut self) {
        if std::mem::take(&mut self.is_large) {
            self.buffer = BytesMut::new();
        }
    }
}
