//! Connections to one upstream, kept for reuse: last in, first out, one pool a worker thread.
//!
//! The rule for sending a request twice is part of the contract: on a *reused* connection that breaks off before any byte
//! of a response, once, on a fresh connection (RFC 9110 section 9.2.2 leaves this to who knows the request; a webhook's own
//! retry would come in minutes, or never). With `resend: false` only if none of the request's bytes had been written.
//! Nothing else is ever sent twice.

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

/// Idle connections that one pool keeps; more are closed.
const MAX_IDLE: usize = 256;
/// How long a connection may be idle. Handlers often close theirs sooner, which is noticed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often idle connections are looked at: those that the upstream has closed are closed here within this time.
const SWEEP: Duration = Duration::from_secs(5);

/// Connections to one upstream.
pub struct Pool {
    connector: Arc<Connector>,
    idle: RefCell<Idle>,
}

/// Connections that are not in use.
#[derive(Default)]
struct Idle {
    /// The one that was used last at the end.
    #[expect(clippy::vec_box, reason = "a connection goes from here to its exchange and to the body of its response")]
    connections: Vec<Box<ClientConnection>>,
    /// Whether a task looks at them.
    is_swept: bool,
}

/// Whether a request may be sent again, and what counts that it was.
pub struct Resending<'a> {
    /// Also if bytes of it had been written.
    pub allowed: bool,
    /// One more for each.
    pub count: &'a IntCounter,
}

/// The body of an upstream's response. Gives its connection back to the pool at its end.
pub struct ResponseBody {
    /// `None` at its end.
    connection: Option<(Rc<Pool>, Box<ClientConnection>)>,
    /// How long it may pause.
    pause: Option<Duration>,
    /// Runs while it pauses.
    timer: Option<Pin<Box<Sleep>>>,
}

/// An upstream that pauses for too long in a response's body.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's response stalled")]
struct Stalled;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Name resolution, TCP or TLS failed, or took too long.
    #[error("{0}")]
    Unreachable(io::Error),
    /// The connection broke off before a complete response head, or what came is not HTTP.
    #[error("{0}")]
    Failed(io::Error),
    /// The head of the response has not come by the deadline.
    #[error("no response in time")]
    Late,
}

impl Pool {
    /// An empty pool.
    pub fn new(connector: impl Into<Arc<Connector>>) -> Rc<Self> {
        Rc::new(Self { connector: connector.into(), idle: RefCell::default() })
    }

    /// Sends a request at `now` and waits until `deadline` for the head of the response.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        self: &Rc<Self>,
        request: OutgoingRequest,
        resending: Resending<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, SendError> {
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
        // Connecting is a large future: boxed where it is rare, so that the usual way is not moved about with room for it.
        Box::pin(self.send_afresh(request, now, deadline)).await
    }

    /// The same on a new connection.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_afresh(
        self: &Rc<Self>,
        request: OutgoingRequest,
        now: Instant,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, SendError> {
        let connecting = timeout_at(deadline.into(), self.connector.connect()).await;
        let socket = connecting.map_err(|_| SendError::Late)?.map_err(SendError::Unreachable)?;
        let mut connection = Box::new(ClientConnection::new(socket, now));
        match connection.send(request, deadline).await {
            Ok(response) => Ok(self.received(response, connection)),
            Err(failure) => Err(failure.error.map_or(SendError::Late, SendError::Failed)),
        }
    }

    fn received(self: &Rc<Self>, response: Response<()>, connection: Box<ClientConnection>) -> Response<ResponseBody> {
        response.map(|()| {
            let mut body = ResponseBody { connection: Some((self.clone(), connection)), pause: None, timer: None };
            body.release_at_end();
            body
        })
    }

    /// The connection that was used last and can be used now.
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

    /// Closes those that have been idle for too long at `now`, or that the upstream has closed: whether none are left.
    fn close_idle(&self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.connections.retain_mut(|connection| can_be_used(connection, now, cx));
        idle.is_swept = !idle.connections.is_empty();
        !idle.is_swept
    }
}

/// Whether an idle connection is still of use: not idle for too long at `now`, nor closed by the upstream.
fn can_be_used(connection: &mut ClientConnection, now: Instant, cx: &mut Context<'_>) -> bool {
    now.saturating_duration_since(connection.last_used) < IDLE_TIMEOUT && connection.is_quiet(cx)
}

/// The request that a reused connection did not answer, if it may be sent on another one.
fn may_be_resent(failure: SendFailure, allowed: bool) -> Result<OutgoingRequest, SendError> {
    let SendFailure { error, has_response_begun, request } = failure;
    let error = error.ok_or(SendError::Late)?;
    match request {
        Some(request) if !has_response_begun && (allowed || !request.has_begun()) => Ok(request.again()),
        _ => Err(SendError::Failed(error)),
    }
}

/// Writes the rest of a request that has been answered before it was read. The end of the gateway cuts it off.
async fn finish(pool: Weak<Pool>, mut connection: Box<ClientConnection>) {
    let sent = timeout(IDLE_TIMEOUT, poll_fn(|cx| connection.poll_request_written(cx))).await;
    if let (Ok(()), Some(pool)) = (sent, pool.upgrade()) {
        pool.put(connection);
    }
}

/// Looks at idle connections from time to time, until there are none.
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
    /// Breaks off when nothing comes for as long as `pause`.
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
            // Of a chunked body, only this tells the end.
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
