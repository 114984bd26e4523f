//! Discards a request's body so that the connection can be used again if possible.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::Body as HttpBody;

use crate::reject::{Refusal, Reject};

/// The most bytes of a refused delivery's body that are read to keep its connection.
const MAX_DISCARDED: usize = 64 * 1024;

/// Refuses a delivery without its body. Reads the part of the body that has already arrived: if that is all of it, the
/// connection can be used again. Reads nothing if the sender waits for `100 Continue`.
pub async fn refuse<B>(headers: &HeaderMap, body: B, reject: impl Into<Reject>) -> Refusal
where
    B: HttpBody<Data = Bytes>,
{
    Refusal { unread: leave(headers, body).await, ..Refusal::from(reject) }
}

/// Discards a body as [`refuse`] does. Returns whether part of it may be unread.
pub async fn leave<B>(headers: &HeaderMap, body: B) -> bool
where
    B: HttpBody<Data = Bytes>,
{
    if headers.contains_key(EXPECT) && !body.is_end_stream() {
        return true;
    }
    let mut body = pin!(body);
    let mut read = 0;
    while !body.is_end_stream() && read < MAX_DISCARDED {
        match poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await {
            Poll::Ready(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(None) => return false,
            Poll::Ready(Some(Err(_))) | Poll::Pending => return true,
        }
    }
    !body.is_end_stream()
}
