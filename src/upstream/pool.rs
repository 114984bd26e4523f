//! Connections to one upstream, kept for reuse: last in, first out. Each worker thread has its own pool.
//!
//! The rule for sending a request twice is part of the contract. If a *reused* connection ends before any byte of a response,
//! the request is sent once more, on a new connection (RFC 9110 section 9.2.2 permits this to a client that knows the request
//! semantics; a provider's own retry would come minutes later, or never). With `resend: false` it is sent again only if none of
//! its bytes had been written. In no other case is a request sent twice. A request for which no connection can be made is handed
//! back, since it may go to another server.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntCounter;
use tokio::time::{Sleep, sleep, timeout, timeout_at};
use tower::BoxError;

use crate::http1::client::connection::{ClientConnection, SendFailure};
use crate::http1::client::request::OutgoingRequest;
use crate::net::connect::Connector;

/// The most idle connections of one pool; further ones are closed.
const MAX_IDLE: usize = 256;
/// How long a connection may be idle. Handlers often close theirs sooner, which the pool notices.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an upstream that has answered may pause in reading the rest of the request, and how long it may take for all of it.
const UNREAD_PAUSE: Duration = Duration::from_secs(1);
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two checks of the idle connections. A connection that the upstream has closed is closed within this time.
const SWEEP: Duration = Duration::from_secs(5);

/// Connections to one upstream.
pub struct Pool {
    connector: Arc<Connector>,
    idle: RefCell<Idle>,
}

/// Connections that are not in use.
#[derive(Default)]
struct Idle {
    /// The connection that was used last is at the end.
    #[expect(clippy::vec_box, reason = "a connection moves from here to its exchange and to the body of its response")]
    connections: Vec<Box<ClientConnection>>,
    /// Whether a task checks the connections.
    is_swept: bool,
}

/// Whether a request may be sent again, and the counter of such requests.
pub struct Resending<'a> {
    /// Whether a request may be sent again if bytes of it had been written.
    pub allowed: bool,
    /// Counts each request that is sent again.
    pub count: &'a IntCounter,
}

/// The body of an upstream's response. At its end the connection returns to the pool.
pub struct ResponseBody {
    /// The connection that the body is read from; `None` after the body's end.
    connection: Option<(Rc<Pool>, Box<ClientConnection>)>,
    /// The longest pause between two pieces of the body.
    pause: Option<Duration>,
    /// Runs while the upstream pauses.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The upstream paused for too long in the response's body.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's response stalled")]
struct Stalled;

/// A request without a response.
pub struct Unanswered {
    /// Why.
    pub error: SendError,
    /// The request, if no connection could be made for it: it may go to another server.
    pub unsent: Option<Box<OutgoingRequest>>,
}

/// Why the upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Name resolution, TCP or TLS failed, or took too long.
    #[error("{0}")]
    Unreachable(io::Error),
    /// The connection ended before a complete response head, or the response is not HTTP.
    #[error("{0}")]
    Failed(io::Error),
    /// The head of the response had not arrived by the deadline.
    #[error("no response in time")]
    Late,
}

impl From<SendError> for Unanswered {
    fn from(error: SendError) -> Self {
        Self { error, unsent: None }
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(connector: impl Into<Arc<Connector>>) -> Rc<Self> {
        Rc::new(Self { connector: connector.into(), idle: RefCell::default() })
    }

    /// Sends a request at `now` and waits until `deadline` for the head of the response.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn send(
        self: &Rc<Self>,
        request: OutgoingRequest,
        resending: Resending<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let request = match poll_fn(|cx| Poll::Ready(self.take(now, cx))).await {
            None => request,
            Some(mut connection) => match connection.send(request, deadline).await {
                Ok(response) => return Ok(self.received(response, connection)),
                Err(failure) => {
                    let request = may_be_resent(failure, resending.allowed)?;
                    resending.count.inc();
                    request
                }
            },
        };
        // Boxed: the future that connects is large and rarely needed, and would enlarge every request's future.
        Box::pin(self.send_afresh(request, now, deadline)).await
    }

    /// Sends a request on a new connection.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn send_afresh(
        self: &Rc<Self>,
        request: OutgoingRequest,
        now: Instant,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let connecting = timeout_at(deadline.into(), self.connector.connect()).await;
        let connected = connecting.map_err(|_| SendError::Late).and_then(|made| made.map_err(SendError::Unreachable));
        let socket = match connected {
            Ok(socket) => socket,
            Err(error) => return Err(Unanswered { error, unsent: Some(Box::new(request)) }),
        };
        let mut connection = Box::new(ClientConnection::new(socket, now));
        match connection.send(request, deadline).await {
            Ok(response) => Ok(self.received(response, connection)),
            Err(failure) => Err(failure.error.map_or(SendError::Late, SendError::Failed).into()),
        }
    }

    fn received(self: &Rc<Self>, response: Response<()>, connection: Box<ClientConnection>) -> Response<ResponseBody> {
        response.map(|()| {
            let mut body = ResponseBody { connection: Some((self.clone(), connection)), pause: None, timer: None };
            body.release_at_end();
            body
        })
    }

    /// The most recently used connection that is still usable.
    fn take(&self, now: Instant, cx: &mut Context<'_>) -> Option<Box<ClientConnection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.connections.pop() {
            if can_be_used(&mut connection, now, cx) {
                connection.last_used = now;
                return Some(connection);
            }
        }
        None
    }

    fn put(self: &Rc<Self>, mut connection: Box<ClientConnection>) {
        if connection.is_request_pending() {
            tokio::task::spawn_local(finish(Rc::downgrade(self), connection));
            return;
        }
        if !connection.is_reusable() {
            return;
        }
        connection.shrink();
        let mut idle = self.idle.borrow_mut();
        if idle.connections.len() < MAX_IDLE {
            idle.connections.push(connection);
        }
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes connections that have been idle for too long at `now`, or that the upstream has closed. Returns whether none are
    /// left.
    fn close_idle(&self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.connections.retain_mut(|connection| can_be_used(connection, now, cx));
        idle.is_swept = !idle.connections.is_empty();
        !idle.is_swept
    }
}

/// Whether an idle connection can be used: it has not been idle for too long at `now`, and the upstream has not closed it.
fn can_be_used(connection: &mut ClientConnection, now: Instant, cx: &mut Context<'_>) -> bool {
    now.saturating_duration_since(connection.last_used) < IDLE_TIMEOUT && connection.is_quiet(cx)
}

/// The request of a failed attempt on a reused connection, if it may be sent again on another one.
fn may_be_resent(failure: SendFailure, allowed: bool) -> Result<OutgoingRequest, SendError> {
    let SendFailure { error, has_response_begun, request } = failure;
    let error = error.ok_or(SendError::Late)?;
    match request {
        Some(request) if !has_response_begun && (allowed || !request.has_begun()) => Ok(request.again()),
        _ => Err(SendError::Failed(error)),
    }
}

/// Writes the rest of a request that the upstream answered before reading it in full, as long as the upstream goes on to read
/// it: meanwhile its body is in memory. The end of the gateway aborts this.
async fn finish(pool: Weak<Pool>, mut connection: Box<ClientConnection>) {
    let written = async {
        loop {
            let before = connection.request_bytes_left();
            let written = timeout(UNREAD_PAUSE, poll_fn(|cx| connection.poll_request_written(cx))).await;
            if written.is_ok() || connection.request_bytes_left() == before {
                return written.is_ok();
            }
        }
    };
    if let (Ok(true), Some(pool)) = (timeout(UNREAD_TIMEOUT, written).await, pool.upgrade()) {
        pool.put(connection);
    }
}

/// Checks the idle connections at intervals, until none are left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let timer = sleep(SWEEP);
        let now = timer.deadline().into_std();
        timer.await;
        let Some(pool) = pool.upgrade() else { return };
        if poll_fn(|cx| Poll::Ready(pool.close_idle(now, cx))).await {
            return;
        }
    }
}

impl ResponseBody {
    /// The same body, which fails when no byte arrives for `pause`.
    pub fn pausing_at_most(self, pause: Duration) -> Self {
        Self { pause: Some(pause), ..self }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Stalled> {
        let Some(pause) = self.pause else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(pause)));
        timer.as_mut().poll(cx).map(|()| Stalled)
    }

    fn release_at_end(&mut self) {
        if let Some((pool, connection)) = self.connection.take_if(|(_, connection)| connection.is_response_complete()) {
            pool.put(connection);
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some((_, connection)) = &mut this.connection else { return Poll::Ready(None) };
        let data = match connection.poll_data(cx) {
            Poll::Ready(data) => data.map(|data| data.map_err(BoxError::from)),
            Poll::Pending => Some(Err(ready!(this.poll_stalled(cx)).into())),
        };
        this.timer = None;
        match data {
            Some(Err(error)) => {
                this.connection = None;
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(data)) => {
                this.release_at_end();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // The end of a chunked body is known only here.
            None => {
                this.release_at_end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.connection {
            None => SizeHint::with_exact(0),
            Some((_, connection)) => connection.remaining().map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
