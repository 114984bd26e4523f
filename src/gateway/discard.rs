//! Leaves a body unread, in a way that lets the connection go on where it can.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::Body as HttpBody;

use crate::reject::{Refusal, Reject};

/// What is read of a refused delivery's body to keep its connection, in bytes.
const MAX_DISCARDED: usize = 64 * 1024;
/// Refuses a delivery whose body nobody is going to read. What has come of it already is read, so that the connection
/// can go on if that is all; of a sender that waits for `100 Continue`, nothing is.
pub async fn refuse<B>(headers: &HeaderMap, body: B, reject: impl Into<Reject>) -> Refusal
where
    B: HttpBody<Data = Bytes>,
{
    Refusal { reject: reject.into(), unread: leave(headers, body).await }
}

/// Reads what has come of a body that nobody is going to read, as [`refuse`] does; whether there may be more of it.
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
