//! What comes on a connection, of either side: the bytes that have been read and not yet taken, and where among those to
//! come the message's body ends (RFC 9112 section 6).
//!
//! Fails, in a body, when the connection ends before it does, and with what [`chunked`](crate::http1::chunked) refuses.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::http1::body_length::BodyLength;
use crate::net::socket::Socket;

/// What is read at once, in bytes.
pub const READ: usize = 8 << 10;
/// The same of a long body.
const LONG_READ: usize = 64 << 10;
/// A piece of a body up to this size is copied out of the buffer, so that the buffer can be read into again.
const SMALL: usize = 2 << 10;

/// The reading side of a connection.
pub struct MessageReader {
    /// What has been read and not yet taken.
    pub buffer: BytesMut,
    /// What is to come of a message's body; `None` before its head.
    body_length: Option<BodyLength>,
    /// The buffer was made for a long body that is taken as it comes.
    is_long: bool,
}

impl MessageReader {
    /// With nothing read, and this of a body to come.
    pub fn new(body_length: Option<BodyLength>) -> Self {
        Self { buffer: BytesMut::new(), body_length, is_long: false }
    }

    /// To be told when the head of the next message is waited for, or what it says of the body.
    pub fn begin(&mut self, body_length: Option<BodyLength>) {
        self.body_length = body_length;
    }

    /// Whether the head of a message has been read.
    pub fn has_read_head(&self) -> bool {
        self.body_length.is_some()
    }

    /// Whether the body has ended.
    pub fn is_body_complete(&self) -> bool {
        self.body_length == Some(BodyLength::Length(0))
    }

    /// Bytes that are to come of the body, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.body_length {
            Some(BodyLength::Length(left)) => Some(left),
            Some(BodyLength::Chunked(_) | BodyLength::Close) | None => None,
        }
    }

    /// Reads what has come, with room for so many bytes: how many; none at the connection's end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &mut Socket, room: usize) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < room / 2 {
            self.buffer.reserve(room);
            self.is_long |= room > READ;
        }
        pin!(socket.read_buf(&mut self.buffer)).poll(cx)
    }

    /// The same for who has taken all that has been read: while nothing comes, there is no buffer.
    pub fn poll_wait(&mut self, cx: &mut Context<'_>, socket: &mut Socket, room: usize) -> Poll<io::Result<usize>> {
        let read = self.poll_fill(cx, socket, room);
        if read.is_pending() && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        read
    }

    /// More of the body, as soon as there is any; `None` at its end.
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
                Ok(None) => match ready!(self.poll_wait(cx, socket, room)) {
                    Ok(0) if self.body_length == Some(BodyLength::Close) => {
                        self.body_length = Some(BodyLength::Length(0));
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

    /// The same for who wants all of it and counts what he holds: of a body whose length is known, only full pieces, of which
    /// none has to be copied to be kept; else little at once.
    ///
    /// # Errors
    /// See the module.
    pub fn poll_full_piece(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Option<io::Result<Bytes>>> {
        if matches!(self.body_length, Some(BodyLength::Length(_))) {
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

    /// What is read of the body at once.
    fn room(&self) -> usize {
        let left = self.remaining().and_then(|left| usize::try_from(left).ok());
        left.unwrap_or(usize::MAX).min(LONG_READ)
    }

    /// The next bytes of the body that are in the buffer, and whether they are its own or those of its chunks' lines.
    fn next_part(&mut self) -> io::Result<Option<(usize, bool)>> {
        let bytes = self.buffer.len();
        if bytes == 0 {
            return Ok(None);
        }
        Ok(match self.body_length {
            None | Some(BodyLength::Length(0)) => None,
            Some(BodyLength::Length(left)) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
                self.body_length = Some(BodyLength::Length(left - taken as u64));
                Some((taken, true))
            }
            Some(BodyLength::Chunked(chunks)) => {
                let garbled = || io::Error::new(io::ErrorKind::InvalidData, "the chunks of the body are garbled");
                let (taken, next) = chunks.take(&self.buffer).ok_or_else(garbled)?;
                self.body_length = Some(next.map_or(BodyLength::Length(0), BodyLength::Chunked));
                Some((taken, chunks.is_in_data()))
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

    /// Gives back what only a long body needed.
    pub fn shrink(&mut self) {
        if std::mem::take(&mut self.is_long) {
            self.buffer = BytesMut::new();
        }
    }
}
