//! Reads a delivery's body into memory, in the pieces in which it arrives.
//!
//! Refuses, in this order:
//! 1. `body_too_large`: the body exceeds `max_body`; the reason of the missing signature, if the body was read as a challenge
//!    and is too long for one. Judged by `Content-Length` before the first byte is read; without a
//!    `Content-Length`, as soon as too many bytes have arrived;
//! 2. `overloaded`: `buffered_bytes` is used up, see [`limits`](crate::routing::limits). Judged by `Content-Length` before the
//!    first byte is read; without a `Content-Length`, as the body grows;
//! 3. `body_timeout`: the whole body has not arrived within the route's `body_timeout`;
//! 4. `bad_request`: the body ended early, or its chunks are not valid by RFC 9112 section 7.1.
//!
//! The budget counts the memory that is held, not the bytes that were sent. A piece can keep the whole buffer alive into which
//! it was read, so a sender of single bytes could occupy thousands of times as much as it sends. Therefore small pieces are
//! copied together.
//!
//! Trailer fields are dropped: no scheme signs them, and the upstream gets a `Content-Length`. Content codings are not
//! decoded: the signature covers the bytes on the wire.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use tower::Service;

use crate::delivery::request::RequestBody;
use crate::delivery::response::{Completed, StageResult};
use crate::delivery::stages::{Buffered, Inspected};
use crate::gateway::stage::Next;
use crate::http1::payload::{Frames, Payload};
use crate::http1::reader::LONG_READ;
use crate::reject::{Refusal, Reject};
use crate::routing::limits::{Budget, Reservation};
use crate::routing::table::RouteShared;
use crate::schemes::LONGEST_CHALLENGE;

/// The smallest piece that is kept without copying, in bytes: it fills most of the buffer into which it was read.
const LARGE_PIECE: usize = LONG_READ / 4 * 3;
/// Bytes of a block, into which small pieces are copied. Part of the last block may stay unused.
const BLOCK: usize = 16 << 10;
/// Bytes of the first block if the body's length is not known.
const FIRST_BLOCK: usize = 1 << 10;

/// A future that reads a body: the whole body, if it is no longer than `max` bytes.
struct Collector<B> {
    body: B,
    max: u64,
    frames: Frames,
    /// The first piece, as long as it is the only one: most bodies arrive in one piece, together with the head.
    only: Option<Bytes>,
    block: BytesMut,
    /// The bytes that the body takes of the budget; `None` once they belong to the finished [`Payload`].
    held: Option<Reservation>,
    /// The value of `Content-Length`.
    length: Option<u64>,
    /// Bytes that have arrived.
    received: u64,
    /// Bytes of memory in `frames` and `block`, the unused ends of blocks included.
    allocated: u64,
}

/// The stage: reads the body.
pub async fn read<S>(next: Rc<Next<Budget, S>>, inspected: Inspected) -> StageResult
where
    S: Service<Buffered, Response = Completed, Error = Refusal> + Clone,
{
    let Inspected { info, route, body, claim } = inspected;
    // Without a signature it is read as a challenge, which is short.
    let unsigned = claim.as_ref().err().filter(|_| route.shared.config.enforce).copied();
    let max = route.shared.config.max_body;
    let max = unsigned.map_or(max, |_| max.min(LONGEST_CHALLENGE as u64));
    let payload = collect(&next.context, &route.shared, body, max).await.map_err(|reject| match unsigned {
        Some(error) if reject == Reject::BodyTooLarge => Refusal::unread(error),
        _ => Refusal::unread(reject),
    })?;
    route.shared.metrics.body_bytes.observe(payload.len() as f64);
    info.timeline.body(&payload);
    next.run(Buffered { info, route, payload, claim }).await
}

/// The whole body of a delivery to `route`, of at most `max` bytes.
///
/// # Errors
/// See the [module](self).
pub async fn collect(budget: &Budget, route: &RouteShared, body: RequestBody, max: u64) -> Result<Payload, Reject> {
    let held = budget.open(&route.limits);
    let mut collector = Collector::new(body, max, held)?;
    within(route.config.body_timeout, &mut collector).await
}

impl<B: HttpBody> Collector<B> {
    /// Reads `body`. If its length is known, the whole length is taken from the budget at once.
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

    /// Takes `more` bytes from the budget, beyond those that are allocated.
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

/// The collected body, or [`Reject::BodyTimeout`] after `limit`. A body that arrived with its head needs no timer, nor memory
/// for one.
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
