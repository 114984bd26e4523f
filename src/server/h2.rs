//! Serves HTTP/2 (RFC 9113) on a connection until it ends or the gateway drains. Only over TLS, by ALPN: cleartext HTTP/2 is
//! not offered, since no provider sends it and the gateway would have to tell it from HTTP/1.1 by the first bytes.
//!
//! These limits hold for every sender, whether or not it can sign:
//! - concurrent streams (RFC 9113 section 5.1.2);
//! - bytes of bodies that have not been read yet, by the windows (section 5.2), and of bodies that are read to be discarded;
//! - bytes and lines of a header section, over any number of CONTINUATION frames;
//! - streams that the sender opens and resets at once (CVE-2023-44487), before and after the stack has accepted them;
//! - streams that the gateway resets because of the sender's errors;
//! - bytes of responses that the sender does not take, of each response and of all connections together, and the time for which it
//!   takes no part of one: its connection is then ended (see [`untaken`](super::untaken));
//! - the time until the first request, between requests, and until a ping is answered.
//!
//! SETTINGS and PING frames are answered one at a time, so a flood of them waits in the sender's system.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tower::{BoxError, Service};

use crate::delivery::peer::Peer;
use crate::delivery::request::{Http2Body, Inbound, RequestBody};
use crate::delivery::response::Body;
use crate::http1::as_sent::SentHead;
use crate::http1::field::{MAX_LINES, is_target};
use crate::http1::server::request::MAX_REQUEST_LINE;
use crate::net::socket::Socket;
use crate::reject::Reject;
use crate::server::refuse::RefuseContext;
use crate::server::untaken::Untaken;

/// Concurrent streams of a connection; RFC 9113 section 6.5.2 advises no fewer.
const MAX_STREAMS: u32 = 100;
/// Unread bytes of one body that a sender may send ahead: a body of 1 MiB takes four round trips.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Unread bytes of all bodies of a connection.
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// The longest frame: the smallest value that RFC 9113 section 4.2 allows.
const MAX_FRAME: u32 = 16 * 1024;
/// Bytes of one response that may wait for the sender to read them.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Bytes of the dynamic table of header compression: the default of RFC 7541.
const HEADER_TABLE: u32 = 4096;
/// Streams that the sender has reset and hyper has not handed out yet.
const MAX_RESET_PENDING: usize = 20;
/// Streams that the gateway resets because of the sender's errors, in a connection's life.
const MAX_RESET_BY_ERROR: usize = 100;
/// Requests that the sender cancels before their response has ended, in a connection's life. A provider that times out closes
/// its connection, or opens another one after this many.
const MAX_GIVEN_UP: usize = 100;
/// Bytes of a body that are read and discarded after its request has been answered.
const MAX_DISCARDED: usize = 16 << 20;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between pings, which find out whether the sender is still connected.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection stays open after GOAWAY when no request is open.
const CLOSE: Duration = Duration::from_secs(1);
/// How long a sender may stop reading its responses after GOAWAY.
const STALLED: Duration = Duration::from_secs(10);
/// The number of checks within `idle_timeout` that find out whether a connection is idle, or a response is not taken.
const IDLE_LOOKS: u32 = 8;

/// The limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Bytes of a header section, as RFC 9113 section 6.5.2 counts them: 32 more for each field line.
    pub header_bytes: usize,
    /// The time until the first request must have arrived.
    pub header_timeout: Duration,
    /// How long a connection may have no open request.
    pub idle_timeout: Duration,
}

/// hyper's executor: runs a connection's streams on the connection's thread.
#[derive(Clone, Copy)]
struct Local;

/// The state of a connection's requests.
struct Activity {
    /// Requests whose responses have not ended.
    open: Cell<usize>,
    /// Open requests that wait for the gateway or the upstream. The other open ones wait for the sender to read the response.
    working: Cell<usize>,
    /// Counts requests that begin, parts of responses that are sent, and responses that end. If it has not changed, nothing
    /// has happened.
    events: Cell<u64>,
    /// Requests that the sender has cancelled.
    given_up: Cell<usize>,
    /// Notified when `given_up` exceeds [`MAX_GIVEN_UP`].
    flooded: Notify,
    /// The responses that have not ended.
    responses: RefCell<Vec<Weak<dyn Stalling>>>,
    /// What hyper and h2 have of responses.
    untaken: Untaken,
}

/// A response that its sender may stop taking.
trait Stalling {
    /// Called at each look. Gives the response up after [`IDLE_LOOKS`] of them in which the sender has taken nothing, and returns
    /// whether it did.
    fn look(&self) -> bool;
}

/// A request until its response has ended.
struct Exchange {
    activity: Rc<Activity>,
    /// Whether the whole response has been handed to hyper.
    answered: bool,
    /// Whether the request counts in [`Activity::working`].
    working: bool,
}

/// The part of a response's body that the connection's looks share.
struct Taken<B> {
    /// `None` once it is given up: what it holds, such as a connection to an upstream, is free then, although the stream is open.
    body: RefCell<Option<B>>,
    /// Whether the body waits for the upstream or for room, not for the sender to take what it has.
    waits: Cell<bool>,
    /// Looks since the sender has last taken something.
    looks: Cell<u32>,
}

/// A response's body, and the exchange that ends with it.
struct ObservedBody<B> {
    taken: Rc<Taken<B>>,
    exchange: Exchange,
    /// The error of the body. The next poll returns it, not the one that met it: h2 resets a stream at once on an error, but
    /// writes its buffered data when the body is pending.
    error: Option<BoxError>,
}

/// Serves the requests of a connection with the current configuration. `refuse` refuses requests with too many field lines;
/// `draining` turns true when the gateway drains.
///
/// # Errors
/// The connection failed.
pub async fn serve(
    socket: Socket,
    peer: Rc<Peer>,
    limits: Http2Limits,
    untaken: Untaken,
    refuse: RefuseContext,
    mut draining: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let activity = Rc::new(Activity::new(untaken));
    let address = peer.address;
    let service = service_fn({
        let activity = activity.clone();
        move |request: Request<Incoming>| {
            let exchange = Exchange::new(activity.clone());
            let is_head = request.method() == Method::HEAD;
            let refusal = wrong(&request).map(|reject| refuse.refuse(reject, address));
            let (head, body) = request.into_parts();
            let body = Http2Body::new(body);
            let sent = SentHead::default();
            let inbound = Inbound { body: RequestBody::Http2(body.clone()), peer: peer.clone(), sent };
            let request = Request::from_parts(head, inbound);
            let mut stack = refuse.current.get().stack.clone();
            async move {
                let answer = match refusal {
                    Some(refusal) => refusal,
                    None => stack.call(request).await?,
                };
                if !body.has_ended() {
                    tokio::task::spawn_local(discard(move |cx| body.poll_next(cx)));
                }
                let answer = if is_head { without_content(answer) } else { answer };
                Ok::<_, Infallible>(answer.map(|body| ObservedBody::new(body, exchange)))
            }
        }
    });
    let connection = Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .adaptive_window(false) // would let a fast sender's windows grow to 16 MiB
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .header_table_size(HEADER_TABLE)
        .max_pending_accept_reset_streams(MAX_RESET_PENDING)
        .max_local_error_reset_streams(MAX_RESET_BY_ERROR)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(true) // RFC 9110 section 6.6.1
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let pause = limits.idle_timeout / IDLE_LOOKS;
    let is_stalled = tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = activity.stalled(pause) => true,
        () = activity.flooded.notified() => return Ok(()),
        _ = draining.wait_for(|draining| *draining) => false,
        () = activity.idle(limits) => false,
    };
    // GOAWAY (RFC 9113 section 6.8): open requests are answered, then the connection ends, even if the sender ignores the frame.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = activity.end_of_stalled(limits.idle_timeout, is_stalled) => Ok(()),
        () = activity.flooded.notified() => Ok(()),
        () = activity.empty_for(CLOSE) => Ok(()),
        () = activity.quiet_for(STALLED, 1) => Ok(()),
    }
}

/// The response to HEAD (RFC 9110 section 9.3.2), which hyper leaves as it is.
fn without_content(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, Body::text(Bytes::new()))
}

/// What is wrong with a request that hyper has let through, and that `http1` refuses: hyper neither limits the number of field
/// lines, nor the length of a target that fits into a header section, nor looks at every byte of it. A fragment is not seen here:
/// hyper's `Uri` has left it out.
fn wrong<B>(request: &Request<B>) -> Option<Reject> {
    let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    // As it goes to the upstream.
    let line = request.method().as_str().len() + target.len() + "  HTTP/1.1".len();
    if request.headers().len() > MAX_LINES {
        Some(Reject::HeaderTooLarge)
    } else if line > MAX_REQUEST_LINE {
        Some(Reject::UriTooLong)
    } else {
        (!is_target(target)).then_some(Reject::BadRequest)
    }
}

/// Reads the rest of a body whose request has been answered, by `next`, within [`MAX_DISCARDED`] bytes and [`DISCARD_TIMEOUT`].
/// Without it, h2 would reset the stream, and curl and others would report an error of HTTP/2 in place of the response (RFC 9113
/// section 8.1 allows both).
async fn discard<E>(mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>>) {
    let mut read = 0;
    let rest = async {
        while let Some(Ok(frame)) = poll_fn(&mut next).await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DISCARDED {
                return;
            }
        }
    };
    // What comes later is refused by the reset of its stream.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Activity {
    fn new(untaken: Untaken) -> Self {
        Self {
            open: Cell::default(),
            working: Cell::default(),
            events: Cell::default(),
            given_up: Cell::default(),
            flooded: Notify::default(),
            responses: RefCell::default(),
            untaken,
        }
    }

    fn event(&self) {
        self.events.set(self.events.get().wrapping_add(1));
    }

    /// Has a response looked at until it has ended.
    fn watch(&self, response: Weak<dyn Stalling>) {
        // Those that have ended take memory until they are taken out.
        if self.responses.borrow().len() >= 2 * MAX_STREAMS as usize {
            self.forget_ended();
        }
        self.responses.borrow_mut().push(response);
    }

    fn forget_ended(&self) {
        self.responses.borrow_mut().retain(|response| response.strong_count() > 0);
    }

    /// Differs from what it was if anything has happened since: also if a part of a response has been taken.
    fn happened(&self) -> (u64, u64) {
        (self.events.get(), self.untaken.count().1)
    }

    /// Ready when the connection has had no request for too long.
    async fn idle(&self, limits: Http2Limits) {
        tokio::time::sleep(limits.header_timeout).await;
        if self.events.get() > 0 {
            // Checked at intervals, so that a request needs no timer.
            self.quiet_for(limits.idle_timeout / IDLE_LOOKS, IDLE_LOOKS).await;
        }
    }

    /// Ready when the sender takes a response no longer, whatever else happens on the connection. Looks at each response, `pause`
    /// apart.
    async fn stalled(&self, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            self.forget_ended();
            let open: Vec<_> = self.responses.borrow().iter().filter_map(Weak::upgrade).collect();
            let given_up = open.iter().filter(|response| response.look()).count();
            if self.untaken.look(IDLE_LOOKS) || given_up > 0 {
                return;
            }
        }
    }

    /// Ready when the other responses of a connection that has, or will have, [`stalled`](Self::stalled) have had their time, whatever
    /// its sender goes on to ask for: [`STALLED`], and if their handlers need it, `idle_timeout`.
    async fn end_of_stalled(&self, idle_timeout: Duration, is_stalled: bool) {
        let pause = idle_timeout / IDLE_LOOKS;
        if !is_stalled {
            self.stalled(pause).await;
        }
        tokio::time::sleep(STALLED.min(idle_timeout)).await;
        let mut looks = 0;
        while self.working.get() > 0 && looks < IDLE_LOOKS {
            tokio::time::sleep(pause).await;
            looks += 1;
        }
    }

    /// Ready when no request has been open, and no part of a response has waited, for a time between `pause` and twice as long.
    async fn empty_for(&self, pause: Duration) {
        let mut seen = None;
        loop {
            let now = (self.happened(), self.open.get() + self.untaken.count().0);
            if now.1 == 0 && seen == Some(now) {
                return;
            }
            seen = Some(now);
            tokio::time::sleep(pause).await;
        }
    }

    /// Ready when `looks` consecutive checks, `pause` apart, have found no activity: no request waits for the gateway or the
    /// upstream, and the sender has read nothing.
    async fn quiet_for(&self, pause: Duration, looks: u32) {
        let (mut seen, mut quiet) = (self.happened(), 0);
        while quiet < looks {
            tokio::time::sleep(pause).await;
            let now = self.happened();
            quiet = if now == seen && self.working.get() == 0 { quiet + 1 } else { 0 };
            seen = now;
        }
    }
}

impl Exchange {
    fn new(activity: Rc<Activity>) -> Self {
        activity.event();
        activity.open.set(activity.open.get() + 1);
        let mut exchange = Self { activity, answered: false, working: false };
        exchange.is_working(true);
        exchange
    }

    fn is_working(&mut self, working: bool) {
        let count = &self.activity.working;
        match (self.working, working) {
            (false, true) => count.set(count.get() + 1),
            (true, false) => count.set(count.get().saturating_sub(1)),
            _ => {}
        }
        self.working = working;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.is_working(false);
        let activity = &self.activity;
        activity.event();
        activity.open.set(activity.open.get().saturating_sub(1));
        if !self.answered {
            activity.given_up.set(activity.given_up.get() + 1);
            if activity.given_up.get() > MAX_GIVEN_UP {
                activity.flooded.notify_one();
            }
        }
    }
}

impl<B> Stalling for Taken<B> {
    fn look(&self) -> bool {
        let looks = if self.waits.get() { 0 } else { self.looks.get() + 1 };
        self.looks.set(looks);
        // One more than that, since the first one may come right after the sender has taken something.
        let is_given_up = looks > IDLE_LOOKS;
        if is_given_up {
            drop(self.body.take());
        }
        is_given_up
    }
}

impl<B: HttpBody + 'static> ObservedBody<B> {
    fn new(body: B, mut exchange: Exchange) -> Self {
        exchange.answered = body.is_end_stream();
        exchange.is_working(false);
        exchange.activity.event();
        let taken = Rc::new(Taken { body: RefCell::new(Some(body)), waits: Cell::new(false), looks: Cell::new(0) });
        if !exchange.answered {
            let response: Rc<dyn Stalling> = taken.clone();
            exchange.activity.watch(Rc::downgrade(&response));
        }
        Self { taken, exchange, error: None }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for ObservedBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if !self.exchange.activity.untaken.has_room(cx) {
            // It waits for others, which are looked at.
            self.taken.waits.set(true);
            self.exchange.is_working(false);
            return Poll::Pending;
        }
        let (frame, is_end) = match &mut *self.taken.body.borrow_mut() {
            Some(body) => (Pin::new(&mut *body).poll_frame(cx), body.is_end_stream()),
            None => (Poll::Ready(Some(Err("the sender has not taken the response".into()))), true),
        };
        self.taken.waits.set(frame.is_pending());
        self.taken.looks.set(0);
        self.exchange.is_working(frame.is_pending());
        self.exchange.activity.event();
        // An error of the body comes from the upstream, so the sender has not cancelled the request.
        self.exchange.answered |= matches!(frame, Poll::Ready(None | Some(Err(_)))) || (frame.is_ready() && is_end);
        if let Poll::Ready(Some(Err(error))) = frame {
            self.error = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let untaken = &self.exchange.activity.untaken;
        frame.map_ok(|frame| frame.map_data(|data| if data.is_empty() { data } else { untaken.hand_out(data) }))
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.taken.body.borrow().as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.taken.body.borrow() {
            Some(body) if self.error.is_none() => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
