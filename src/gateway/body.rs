//! Reads a delivery's body into memory, as the pieces in which it comes.
//!
//! Refuses, in this order:
//! 1. `body_too_large`: by `Content-Length` before a byte is read, else as soon as too many bytes have come;
//! 2. `overloaded`: the bytes that the gateway may hold are spent, see [`limits`](crate::routing::limits); by `Content-Length`
//!    before a byte is read, else as the body grows;
//! 3. `body_timeout`: the whole body has not come within the route's `body_timeout`;
//! 4. `bad_request`: the body ended early, or its chunks are not those of RFC 9112 section 7.1.
//!
//! What is counted is what is held. A piece can keep the whole buffer alive that it was read into, so a sender of single
//! bytes could hold thousands of times as much as it sends: small pieces are copied together.
//!
//! Trailer fields are dropped: no scheme signs them, and the upstream gets a `Content-Length`. Content codings are left
//! alone: what was signed is the bytes on the wire.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use tower::Service;

use crate::delivery::response::{Completed, StageResult};
use crate::delivery::stages::{Buffered, Inspected};
use crate::gateway::stage::Next;
use crate::http1::payload::{Frames, Payload};
use crate::reject::{Refusal, Reject};
use crate::routing::limits::{Budget, Reservation};

/// A piece of this size is kept as it is: it fills most of the buffer that it was read into, see [`reader`](crate::http1::reader).
const LARGE_PIECE: usize = 48 << 10;
/// Small pieces are copied into blocks; of the last one a part may be unused.
const BLOCK: usize = 16 << 10;
/// The first block of a body whose length is not known.
const FIRST_BLOCK: usize = 1 << 10;

/// A body on its way into memory: becomes all of it, if it is no longer than `max` bytes.
struct Collector<B> {
    body: B,
    max: u64,
    frames: Frames,
    /// The first piece, for as long as it is the only one: most bodies come whole, with their head.
    only: Option<Bytes>,
    block: BytesMut,
    /// `None` once it is part of what was collected.
    held: Option<Reservation>,
    /// What `Content-Length` says.
    length: Option<u64>,
    /// Bytes that have come.
    received: u64,
    /// Bytes in `frames` and `block`, the unused ones of blocks included.
    allocated: u64,
}

/// The stage: reads the body.
pub async fn read<S>(next: Rc<Next<Budget, S>>, inspected: Inspected) -> StageResult
where
    S: Service<Buffered, Response = Completed, Error = Refusal> + Clone,
{
    let Inspected { info, route, body, claim, now } = inspected;
    let held = next.context.open(&route.shared.limits);
    let mut collector = Collector::new(body, route.shared.config.max_body, held).map_err(Refusal::unread)?;
    let collected = within(route.shared.config.body_timeout, &mut collector).await;
    let payload = collected.map_err(Refusal::unread)?;
    route.shared.metrics.body_bytes.observe(payload.len() as f64);
    info.timeline.body(&payload);
    next.run(Buffered { info, route, payload, claim, now }).await
}

impl<B: HttpBody> Collector<B> {
    /// Of a body of a known length it takes that much of the budget at once.
    fn new(body: B, max: u64, mut held: Reservation) -> Result<Self, Reject> {
        let length = body.size_hint().exact();
        if body.size_hint().lower() > max {
            return Err(Reject::BodyTooLarge);
        }
        held.grow_to(length.unwrap_or(0))?;
        let (frames, block) = (Frames::new(), BytesMut::new());
        Ok(Self { body, max, frames, only: None, block, held: Some(held), length, received: 0, allocated: 0 })
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> Future for Collector<B> {
    type Output = Result<Payload, Reject>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Payload, Reject>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let frame = frame.map_err(|_| Reject::BadRequest)?;
            if let Ok(data) = frame.into_data() {
                if self.received + data.len() as u64 > self.max {
                    return Poll::Ready(Err(Reject::BodyTooLarge));
                }
                self.push(data)?;
            }
        }
        Poll::Ready(Ok(self.finish()))
    }
}

impl<B> Collector<B> {
    fn push(&mut self, piece: Bytes) -> Result<(), Reject> {
        if piece.is_empty() {
            return Ok(());
        }
        let first = self.received == 0;
        self.received += piece.len() as u64;
        if first {
            self.hold(piece.len())?;
            self.only = Some(piece);
            return Ok(());
        }
        if let Some(only) = self.only.take() {
            self.add(only)?;
        }
        self.add(piece)
    }

    fn add(&mut self, piece: Bytes) -> Result<(), Reject> {
        if piece.len() >= LARGE_PIECE {
            self.frames.extend(nonempty(self.block.split().freeze()));
            self.hold(piece.len())?;
            self.allocated += piece.len() as u64;
            self.frames.push(piece);
            return Ok(());
        }
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let room = self.block.capacity() - self.block.len();
            if room == 0 {
                self.next_block()?;
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    fn next_block(&mut self) -> Result<(), Reject> {
        let allocated = usize::try_from(self.allocated).unwrap_or(usize::MAX);
        let size = match self.length.and_then(|length| length.checked_sub(self.allocated)) {
            Some(missing @ 1..) => usize::try_from(missing).unwrap_or(usize::MAX).min(BLOCK),
            _ => allocated.clamp(FIRST_BLOCK, BLOCK),
        };
        self.hold(size)?;
        let full = std::mem::replace(&mut self.block, BytesMut::with_capacity(size));
        self.frames.extend(nonempty(full.freeze()));
        self.allocated += self.block.capacity() as u64;
        Ok(())
    }

    /// Counts `more` bytes beyond those that are allocated.
    fn hold(&mut self, more: usize) -> Result<(), Reject> {
        let total = self.allocated + more as u64;
        self.held.as_mut().map_or(Ok(()), |held| held.grow_to(total))
    }

    fn finish(&mut self) -> Payload {
        let last = self.only.take().unwrap_or_else(|| self.block.split().freeze());
        self.frames.extend(nonempty(last));
        Payload::new(std::mem::take(&mut self.frames), self.held.take())
    }
}

fn nonempty(piece: Bytes) -> Option<Bytes> {
    (!piece.is_empty()).then_some(piece)
}

/// What is collected, or `body_timeout`. A body that has come with its head costs no timer, nor room for one.
async fn within<T>(
    limit: Duration,
    collector: &mut (impl Future<Output = Result<T, Reject>> + Unpin),
) -> Result<T, Reject> {
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut *collector).poll(cx))).await {
        Poll::Ready(collected) => collected,
        Poll::Pending => Box::pin(tokio::time::timeout(limit, collector)).await.unwrap_or(Err(Reject::BodyTimeout)),
    }
}

#[cfg(test)]
mod tests;
