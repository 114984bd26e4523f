//! Reads a delivery's body into memory, as the pieces in which it comes.
//!
//! Refuses, in this order:
//! 1. `body_too_large`: by `Content-Length` before a byte is read, else as soon as too many bytes have come;
//! 2. `body_timeout`: the whole body has not come within the route's `body_timeout`;
//! 3. `bad_request`: the body ended early, or its chunks are not those of RFC 9112 section 7.1.
//!
//! Trailer fields are dropped: no scheme signs them, and the upstream gets a `Content-Length`. Content codings are left
//! alone: what was signed is the bytes on the wire.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Response};
use http_body::Body as HttpBody;
use prometheus::IntGauge;
use tower::{Service, ServiceExt};

use super::delivery::{Buffered, Claimed, Held, Payload};
use super::reject::{Refusal, Reject};
use super::respond::Body;

/// What is read of a refused delivery's body to keep its connection, in bytes.
const MAX_DISCARDED: usize = 64 * 1024;

/// The stage: reads the body.
pub async fn read<S>(buffered_bytes: IntGauge, next: S, claimed: Claimed) -> Result<Response<Body>, Refusal>
where
    S: Service<Buffered, Response = Response<Body>, Error = Refusal>,
{
    let Claimed { route, head, body, claim } = claimed;
    let mut held = Held::new(&buffered_bytes);
    let read = within(route.config.body_timeout, collect(body, route.config.max_body, &mut held)).await;
    let mut payload = read.map_err(Refusal::unread)?;
    payload.hold(held);
    route.metrics.body_bytes.observe(payload.len() as f64);
    next.oneshot(Buffered { route, head, payload, claim }).await
}

/// Refuses a delivery whose body nobody is going to read. What has come of it already is read, so that the connection
/// can go on if that is all; of a sender that waits for `100 Continue`, nothing is.
pub async fn refuse<B>(headers: &HeaderMap, body: B, reject: impl Into<Reject>) -> Refusal
where
    B: HttpBody<Data = Bytes>,
{
    if headers.contains_key(EXPECT) && !body.is_end_stream() {
        return Refusal::unread(reject);
    }
    let mut body = pin!(body);
    let mut read = 0;
    while !body.is_end_stream() && read < MAX_DISCARDED {
        match poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await {
            Poll::Ready(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(None) => return Refusal::from(reject.into()),
            Poll::Ready(Some(Err(_))) | Poll::Pending => return Refusal::unread(reject),
        }
    }
    Refusal { reject: reject.into(), unread: !body.is_end_stream() }
}

/// All of a body, if it is no longer than `max` bytes.
async fn collect<B>(body: B, max: u64, held: &mut Held) -> Result<Payload, Reject>
where
    B: HttpBody<Data = Bytes>,
{
    if body.size_hint().lower() > max {
        return Err(Reject::BodyTooLarge);
    }
    let mut payload = Payload::default();
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Reject::BadRequest)?;
        if let Ok(data) = frame.into_data() {
            if payload.len() + data.len() as u64 > max {
                return Err(Reject::BodyTooLarge);
            }
            held.add(data.len());
            payload.push(data);
        }
    }
    Ok(payload)
}

/// `collect`'s result, or `body_timeout`. A body that has come with its head costs no timer.
async fn within<T>(limit: Duration, collect: impl Future<Output = Result<T, Reject>>) -> Result<T, Reject> {
    let mut collect = pin!(collect);
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut collect).poll(cx))).await;
    match first {
        Poll::Ready(result) => result,
        Poll::Pending => tokio::time::timeout(limit, collect).await.unwrap_or(Err(Reject::BodyTimeout)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held::new(&IntGauge::new("held", "held").unwrap())
    }

    #[tokio::test]
    async fn a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
        for (length, fits) in [(0, true), (9, true), (10, true), (11, false)] {
            let body = Payload::from(Bytes::from(vec![b'x'; length]));
            let read = collect(body, 10, &mut held()).await;
            assert_eq!(
                read.map(|payload| payload.len()),
                if fits { Ok(length as u64) } else { Err(Reject::BodyTooLarge) }
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_in_time_is_refused() {
        let never = std::future::pending::<Result<(), Reject>>();
        assert_eq!(within(Duration::from_secs(10), never).await, Err(Reject::BodyTimeout));
    }
}
