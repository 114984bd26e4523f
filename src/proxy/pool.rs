//! Connections to one upstream, kept for reuse: last in, first out, one pool a worker thread.
//!
//! Our own rather than a client library's, since the rule for sending a request twice is part of the contract: on a
//! *reused* connection that breaks off before any byte of a response, once, on a fresh connection (RFC 9110 section
//! 9.2.2 leaves this to who knows the request; a webhook's own retry would come in minutes, or never). With
//! `resend: false` only if none of the request's bytes had been written. Nothing else is ever sent twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep};
use tower::BoxError;

use super::delivery::Payload;
use super::transport::{Connector, Progress};
use crate::clock::Clock;

/// Idle connections that one pool keeps; more are closed.
const MAX_IDLE: usize = 256;
/// How long a connection may be idle. Handlers often close theirs sooner, which is noticed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A response's header section may be as large as a request's.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Header lines in a response.
const MAX_HEADERS: usize = 100;

/// Connections to one upstream.
pub struct Pool {
    connector: Arc<Connector>,
    clock: Clock,
    idle: Mutex<Vec<Connection>>,
}

/// A connection that is not in use, or a response that still comes from it.
struct Connection {
    sender: SendRequest<Payload>,
    progress: Arc<Progress>,
    reused: bool,
    idle_since: Instant,
}

/// The body of an upstream's response. Gives its connection back to the pool at its end.
pub struct ResponseBody {
    incoming: Incoming,
    connection: Option<(Arc<Pool>, Connection)>,
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
    Unreachable(std::io::Error),
    /// The connection broke off before a complete response head, or what came is not HTTP.
    #[error("{0}")]
    Failed(hyper::Error),
}

impl Pool {
    /// An empty pool.
    pub fn new(connector: impl Into<Arc<Connector>>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), clock, idle: Mutex::default() })
    }

    /// Sends a request and waits for the response's head; `resent` is called if it had to be sent a second time.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        self: &Arc<Self>,
        request: Request<Payload>,
        resend: bool,
        resent: impl FnOnce(),
    ) -> Result<Response<ResponseBody>, SendError> {
        let Some(connection) = self.take() else {
            return Box::pin(self.send_afresh(request)).await;
        };
        let again = copy(&request);
        match self.exchange(connection, request).await {
            Ok(response) => Ok(response),
            Err((_, Moved { read: 0, written })) if resend || written == 0 => {
                resent();
                Box::pin(self.send_afresh(again)).await
            }
            Err((error, _)) => Err(SendError::Failed(error)),
        }
    }

    /// Sends a request on a new connection. Rare, and connecting is a large future: boxed by the callers, so that the
    /// usual way is not moved about with room for it.
    async fn send_afresh(self: &Arc<Self>, request: Request<Payload>) -> Result<Response<ResponseBody>, SendError> {
        let connection = self.connect().await?;
        self.exchange(connection, request).await.map_err(|(error, _)| SendError::Failed(error))
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let stream = self.connector.connect().await.map_err(SendError::Unreachable)?;
        let progress = stream.progress();
        let (sender, connection) = http1::Builder::new()
            .writev(true) // head and body leave in one call, uncopied
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            .http09_responses(false) // whatever has no status line is a failure
            .allow_spaces_after_header_name_in_responses(false) // RFC 9112 section 5.1
            .allow_obsolete_multiline_headers_in_responses(false) // RFC 9112 section 5.2
            .ignore_invalid_headers_in_responses(false) // a garbled head is a failure, not a shorter head
            .title_case_headers(false) // names have no case (RFC 9110 section 5.1)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Failed)?;
        tokio::task::spawn_local(async move {
            // Its error is also that of the request, or of nobody: an idle connection that ends.
            let _ = connection.await;
        });
        Ok(Connection { sender, progress, reused: false, idle_since: self.clock.now() })
    }

    async fn exchange(
        self: &Arc<Self>,
        mut connection: Connection,
        request: Request<Payload>,
    ) -> Result<Response<ResponseBody>, (hyper::Error, Moved)> {
        let before = connection.progress.get();
        let response = match connection.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                let after = connection.progress.get();
                let moved = Moved { read: after.0 - before.0, written: after.1 - before.1 };
                return Err((error.into_error(), moved));
            }
        };
        Ok(response.map(|incoming| {
            let mut body =
                ResponseBody { incoming, connection: Some((self.clone(), connection)), pause: None, timer: None };
            body.release_at_end();
            body
        }))
    }

    /// The connection that was used last and can be used now.
    fn take(&self) -> Option<Connection> {
        let now = self.clock.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest are in front; the ones still busy with their last response's end are passed over.
        let expired = idle.iter().take_while(|idle| now.duration_since(idle.idle_since) >= IDLE_TIMEOUT).count();
        idle.drain(..expired);
        let at = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        let mut connection = idle.remove(at);
        connection.reused = true;
        Some(connection)
    }

    fn put(&self, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.idle_since = self.clock.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == MAX_IDLE {
            idle.retain(|connection| !connection.sender.is_closed());
        }
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

/// Bytes that an exchange moved before it failed.
struct Moved {
    read: u64,
    written: u64,
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
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((pool, connection)) = self.connection.take() {
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
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.map_err(BoxError::from)),
            Poll::Pending => Some(Err(ready!(self.poll_stalled(cx)).into())),
        };
        self.timer = None;
        match &frame {
            Some(Err(_)) => self.connection = None,
            // Of a chunked body, only this tells the end.
            None => self.release(),
            Some(Ok(_)) => self.release_at_end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The same request once more; the body's bytes are shared.
fn copy(request: &Request<Payload>) -> Request<Payload> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
