//! Speaks HTTP/2 (RFC 9113) on a connection until it ends or the gateway drains. Only over TLS, by ALPN: HTTP/2 in the
//! clear is not offered, as no provider sends it and it would have to be told from HTTP/1.1 by its first bytes.
//!
//! What a sender can make the gateway do by the protocol alone is bounded, whether or not it can sign:
//! - streams at once (RFC 9113 section 5.1.2);
//! - bytes of bodies that wait to be read, by the windows (section 5.2);
//! - a header section's bytes, with however many CONTINUATION frames it comes, and its lines;
//! - streams that the sender opens and resets at once (CVE-2023-44487), before as well as after they are taken up;
//! - streams that the gateway had to reset;
//! - bytes of a response that the sender does not take, and the time that it does not take them;
//! - the time until the first request, between requests, and until a ping is answered.
//!
//! SETTINGS and PING frames are answered one at a time: a flood of them waits in the sender's system.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tower::{BoxError, Service};

use crate::delivery::peer::Peer;
use crate::delivery::request::{Inbound, RequestBody};
use crate::http1::field::MAX_LINES;
use crate::net::socket::Socket;
use crate::reject::Reject;
use crate::server::refuse::RefuseContext;

/// Requests at once on a connection; RFC 9113 section 6.5.2 advises no fewer.
const MAX_STREAMS: u32 = 100;
/// Bytes of one body that a sender may be ahead of the gateway's reading: a body of 1 MiB takes four round trips.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all bodies of a connection together.
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// The longest frame: the least that there is, RFC 9113 section 4.2.
const MAX_FRAME: u32 = 16 * 1024;
/// Bytes of one response that wait for the sender to take them.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// The dynamic table of header compression: the default of RFC 7541.
const HEADER_TABLE: u32 = 4096;
/// Streams reset by the sender before they were taken up.
const MAX_RESET_PENDING: usize = 20;
/// Streams that the gateway itself had to reset for the sender's errors, in a connection's life.
const MAX_RESET_BY_ERROR: usize = 100;
/// Requests that the sender gave up on before they were answered, in a connection's life. A provider that times out
/// closes its connection, or opens another one after this many.
const MAX_GIVEN_UP: usize = 100;
/// A sender that is there answers a ping.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives on after GOAWAY with nothing left to answer.
const CLOSE: Duration = Duration::from_secs(1);
/// How long, after GOAWAY, a sender may take nothing of the responses that are there for it.
const STALLED: Duration = Duration::from_secs(10);
/// How often an idle connection is looked at within its idle time.
const IDLE_LOOKS: u32 = 8;

/// What bounds a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A header section in bytes, as RFC 9113 section 6.5.2 counts them: 32 more for each line.
    pub header_bytes: usize,
    /// How long the first request may take to come.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
}

/// Runs a connection's streams on its own thread.
#[derive(Clone, Copy)]
struct Local;

/// What a connection is at.
#[derive(Default)]
struct Activity {
    /// Requests whose responses have not ended.
    open: Cell<usize>,
    /// Those of them that wait for the gateway or the upstream; the others wait for the sender to take the response.
    working: Cell<usize>,
    /// Requests begun, parts of responses taken, responses ended: tells whether anything has happened since.
    events: Cell<u64>,
    given_up: Cell<usize>,
    flooded: Notify,
}

/// A request until its response has ended.
struct Exchange {
    activity: Rc<Activity>,
    /// Whether all of the response has been taken.
    answered: bool,
    /// Whether it counts among [`Activity::working`].
    working: bool,
}

/// A response's body, and the exchange that ends with it.
struct ObservedBody<B> {
    body: B,
    exchange: Exchange,
    /// The error that the body broke off with. It is given out at the next poll: h2 ends a stream at once on an error, but
    /// writes the data that it has when it has to wait.
    error: Option<BoxError>,
}

/// Serves the requests of a connection with the current configuration. `refuse` is for those that no stage handles;
/// `draining` turns true when the gateway drains.
///
/// # Errors
/// How it ended, if not as it should.
pub async fn serve(
    socket: Socket,
    peer: Rc<Peer>,
    limits: Limits,
    refuse: RefuseContext,
    mut draining: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let activity = Rc::new(Activity::default());
    let address = peer.address;
    let service = service_fn({
        let activity = activity.clone();
        move |request: Request<Incoming>| {
            let exchange = Exchange::new(activity.clone());
            // HTTP/1.1 counts lines as it reads them; the answer is the same.
            let refusal = (request.headers().len() > MAX_LINES).then(|| refuse.refuse(Reject::HeaderTooLarge, address));
            let request = request.map(|body| Inbound { body: RequestBody::Http2(body), peer: peer.clone() });
            let mut stack = refuse.current.get().stack.clone();
            async move {
                let answer = match refusal {
                    Some(refusal) => refusal,
                    None => stack.call(request).await?,
                };
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
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = activity.flooded.notified() => return Ok(()),
        _ = draining.wait_for(|draining| *draining) => {}
        () = activity.idle(limits) => {}
    }
    // GOAWAY (RFC 9113 section 6.8): what is being answered is answered, then the connection ends, also under a sender
    // that takes no notice.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = activity.flooded.notified() => Ok(()),
        () = activity.empty_for(CLOSE) => Ok(()),
        () = activity.quiet_for(STALLED, 1) => Ok(()),
    }
}

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Activity {
    fn event(&self) {
        self.events.set(self.events.get().wrapping_add(1));
    }

    /// Ready when the connection has waited too long for a request.
    async fn idle(&self, limits: Limits) {
        tokio::time::sleep(limits.header_timeout).await;
        if self.events.get() > 0 {
            // Looked at from time to time, so that a request costs no timer.
            self.quiet_for(limits.idle_timeout / IDLE_LOOKS, IDLE_LOOKS).await;
        }
    }

    /// Ready when nothing has been open for a while.
    async fn empty_for(&self, pause: Duration) {
        let mut seen = None;
        loop {
            let now = (self.events.get(), self.open.get());
            if now.1 == 0 && seen == Some(now) {
                return;
            }
            seen = Some(now);
            tokio::time::sleep(pause).await;
        }
    }

    /// Ready when so many looks, `pause` apart, have found nothing going on: no request to work on, and no sender who
    /// takes its responses.
    async fn quiet_for(&self, pause: Duration, looks: u32) {
        let (mut seen, mut quiet) = (self.events.get(), 0);
        while quiet < looks {
            tokio::time::sleep(pause).await;
            let events = self.events.get();
            quiet = if events == seen && self.working.get() == 0 { quiet + 1 } else { 0 };
            seen = events;
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

impl<B: HttpBody> ObservedBody<B> {
    fn new(body: B, mut exchange: Exchange) -> Self {
        exchange.answered = body.is_end_stream();
        exchange.is_working(false);
        exchange.activity.event();
        Self { body, exchange, error: None }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for ObservedBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.exchange.is_working(frame.is_pending());
        self.exchange.activity.event();
        // A body breaks off on the upstream's side.
        self.exchange.answered |=
            matches!(frame, Poll::Ready(None | Some(Err(_)))) || (frame.is_ready() && self.body.is_end_stream());
        if let Poll::Ready(Some(Err(error))) = frame {
            self.error = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.error.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    const LIMITS: Limits =
        Limits { header_bytes: 1, header_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(80) };

    /// After how many seconds a connection is idle on which `use_it` goes on.
    #[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which is paused")]
    async fn idle_after(activity: &Rc<Activity>, use_it: impl Future<Output = ()>) -> u64 {
        let started = tokio::time::Instant::now();
        tokio::join!(activity.idle(LIMITS), use_it);
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_first_request_has_the_time_of_a_head() {
        assert_eq!(idle_after(&Rc::default(), async {}).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_its_last_response_has_ended_for_a_while() {
        let activity = Rc::<Activity>::default();
        let use_it = async {
            let exchange = Exchange::new(activity.clone());
            tokio::time::sleep(Duration::from_secs(300)).await;
            drop(exchange);
        };
        let idle = idle_after(&activity, use_it).await;
        assert!((380..=390).contains(&idle), "{idle}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_does_not_take_its_response_is_idle_and_one_whose_upstream_is_slow_is_not() {
        let activity = Rc::<Activity>::default();
        let reply =
            ObservedBody::new(Empty::<Bytes>::new().map_err(|never| match never {}), Exchange::new(activity.clone()));
        let idle = idle_after(&activity, async {}).await;
        assert!((90..=100).contains(&idle), "{idle}");
        drop(reply);

        let activity = Rc::<Activity>::default();
        let mut reply = ObservedBody::new(Never, Exchange::new(activity.clone()));
        let pending = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll_frame(cx).is_pending())).await;
        assert!(pending);
        let slow = async {
            tokio::time::sleep(Duration::from_secs(300)).await;
            drop(reply);
        };
        let idle = idle_after(&activity, slow).await;
        assert!((380..=390).contains(&idle), "{idle}");
    }

    /// A body of which nothing comes.
    struct Never;

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_said_goodbye_ends_when_nothing_is_open() {
        let activity = Rc::<Activity>::default();
        let exchange = Exchange::new(activity.clone());
        let closes = || tokio::time::timeout(Duration::from_secs(60), activity.empty_for(CLOSE));
        assert!(closes().await.is_err());
        drop(exchange);
        assert!(closes().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_too_many_requests_given_up_is_noticed() {
        let activity = Rc::<Activity>::default();
        for _ in 0..MAX_GIVEN_UP {
            drop(Exchange::new(activity.clone()));
        }
        let mut answered = Exchange::new(activity.clone());
        answered.answered = true;
        drop(answered);
        let flooded = || tokio::time::timeout(Duration::from_secs(1), activity.flooded.notified());
        assert!(flooded().await.is_err());
        drop(Exchange::new(activity.clone()));
        assert!(flooded().await.is_ok());
        assert_eq!(activity.open.get(), 0);
    }
}
