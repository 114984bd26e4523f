//! Serves HTTP/1.1 on a connection until it ends or the gateway drains.
//!
//! hyper reads through a [`Wire`], which bounds the time and size of heads and refuses what could be read in more than
//! one way. What it refuses, and what hyper refuses by itself, is answered here, before there is a request to pass on.
//!
//! A connection that ends while its sender is still sending is closed in steps, or the sender's system may throw the
//! response away before the sender has read it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tower::Service;

use super::delivery::{Inbound, Peer};
use super::early::{Early, EarlyContext, close};
use super::framing::Fault;
use super::headers::MAX_HEADERS;
use super::socket::Socket;
use super::stack::Stack;
use super::swap::Swap;
use super::wire::{End, Shared, Wire, WireLimits};

/// The most that is read from a connection, or kept of a response, at once: bounds what a connection holds in memory
/// beside the body that it delivers.
const BUFFER: usize = 64 << 10;
/// The least that hyper takes for it.
const LEAST_BUFFER: usize = 8 << 10;
/// How long a connection on which nothing has come yet stays open while draining: a request may be on its way.
const DRAIN_FRESH: Duration = Duration::from_millis(500);

/// What serving a connection needs of its thread.
#[derive(Clone)]
pub struct Http1Context {
    /// For what is refused before it is a request. Its clock is that of the connection's deadlines, too.
    pub early: EarlyContext,
    /// Turns true when the gateway drains.
    pub drain: watch::Receiver<bool>,
}

/// Serves `stream` with `stack` within `limits`.
///
/// hyper takes a connection when something has come on it, and gives it back when it rests: its buffers are then free
/// for others. What waits holds a few hundred bytes.
pub async fn serve(stream: Socket, peer: Rc<Peer>, stack: Swap<Stack>, limits: WireLimits, mut context: Http1Context) {
    let address = peer.address;
    let shared = Rc::<Shared>::default();
    // With TLS, what has come may have been read already.
    let mut has_come = matches!(stream, Socket::Tls(_));
    let mut wire = Wire::new(stream, limits, context.early.clock.clone(), shared.clone());
    let result = loop {
        if !has_come && !wait(&mut wire, &mut context.drain).await {
            let (_, mut stream) = wire.into_parts();
            // Says goodbye by TLS too. The connection is dropped either way.
            let _ = tokio::time::timeout(DRAIN_FRESH, stream.shutdown()).await;
            return;
        }
        has_come = false;
        let service = service_fn(|request: Request<Incoming>| {
            shared.handed_on.set(shared.handed_on.get() + 1);
            stack.clone().call(request.map(|body| Inbound { body, peer: peer.clone() }))
        });
        shared.rests.set(false);
        let before = shared.handed_on.get();
        // A request that comes while the gateway drains is the last one.
        let builder = builder(limits, !*context.drain.borrow());
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(wire), service));
        let mut serve = poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if shared.rests.get() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let result = match unless_drained(&mut serve, &mut context.drain).await {
            Some(result) => result,
            None => {
                Pin::new(&mut *connection).graceful_shutdown();
                tokio::select! {
                    biased;
                    result = &mut *connection => Some(result),
                    () = tokio::time::sleep(DRAIN_FRESH), if shared.handed_on.get() == before => Some(Ok(())),
                }
            }
        };
        // Of a connection that rests hyper has nothing but empty lines.
        wire = (*connection).into_parts().io.into_inner();
        if let Some(result) = result {
            break result;
        }
    };
    let (end, stream) = wire.into_parts();
    let early = match (end, &result) {
        (Some(End::Refused(Fault::Bad)), _) => Some(Early::Bad),
        (Some(End::Refused(Fault::TooLarge)), _) => Some(Early::TooLarge),
        (Some(End::HeadTimeout), _) => Some(Early::Late),
        (Some(End::Idle), _) => None,
        (None, Err(error)) if error.is_parse_too_large() => Some(Early::TooLarge),
        (None, Err(error)) if error.is_parse() => Some(Early::Bad),
        (None, _) => None,
    };
    if let Err(error) = result {
        tracing::debug!(%error, peer = %address, "connection ended");
    }
    let answer = early.map(|early| early.refuse_in_bytes(&context.early, address));
    Box::pin(close(stream, answer.as_deref())).await;
}

/// What `serve` ends with, if that is before the gateway drains.
async fn unless_drained<T>(mut serve: impl Future<Output = T> + Unpin, drain: &mut watch::Receiver<bool>) -> Option<T> {
    let glance = drain.clone();
    // Without the task's budget (tokio::task::coop): where that is spent, nothing would be waited for.
    let mut draining = pin!(unconstrained(drain.wait_for(|drain| *drain)));
    let mut is_watched = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut serve).poll(cx) {
            return Poll::Ready(Some(result));
        }
        // Once it has been waited for, it wakes this task by itself; other wake-ups come a few times a request.
        if is_watched && glance.has_changed().is_ok_and(|changed| !changed) {
            return Poll::Pending;
        }
        is_watched = true;
        draining.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// Waits for something to come: whether there is something to serve. While draining there is not, but for the first request
/// of a connection, which may be on its way.
async fn wait(wire: &mut Wire, drain: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        () = poll_fn(|cx| wire.poll_readable(cx)) => return true,
        _ = drain.wait_for(|drain| *drain) => {}
    }
    wire.is_untouched() && tokio::time::timeout(DRAIN_FRESH, poll_fn(|cx| wire.poll_readable(cx))).await.is_ok()
}

fn builder(limits: WireLimits, keep_alive: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None) // the wire's; hyper's runs between requests as well
        .max_headers(MAX_HEADERS)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(BUFFER.max(limits.max_header_bytes).max(LEAST_BUFFER))
        .keep_alive(keep_alive)
        .half_close(true) // a sender may shut its side down and wait; also saves a read for each request
        .pipeline_flush(false) // else an answer waits while the sender's next bytes do, and is lost at the end
        .writev(false) // responses are small: one copy beats a vector
        .auto_date_header(true) // RFC 9110 section 6.6.1
        .preserve_header_case(false) // names have no case; keeping it costs 9 % of the CPU
        .title_case_headers(false)
        .allow_multiple_spaces_in_request_line_delimiters(false) // RFC 9112 section 3: a smuggler's friend
        .ignore_invalid_headers(false); // refused, not dropped
    builder
}
