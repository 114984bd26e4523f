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
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prometheus::IntCounter;
use tokio::time::{Sleep, sleep};
use tower::BoxError;

use super::delivery::Payload;
use super::transport::{Connector, Progress};

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
    idle: Mutex<Vec<Connection>>,
}

/// A connection that is not in use, or a response that still comes from it.
struct Connection {
    sender: SendRequest<Payload>,
    progress: Arc<Progress>,
    /// When its last request was sent.
    used: Instant,
}

/// Whether a request may be sent again, and what counts that it was.
pub struct Resending<'a> {
    /// Also if bytes of it had been written.
    pub allowed: bool,
    /// One more for each.
    pub count: &'a IntCounter,
}

/// A request on its way.
struct Exchange {
    pool: Arc<Pool>,
    connection: Connection,
    /// Bytes that the connection had read and written before.
    before: (u64, u64),
    /// Boxed: it has room for the request that hyper may give back.
    response: Pin<Box<dyn Future<Output = Result<Response<Incoming>, Unsent>>>>,
}

/// What goes wrong with a request, and the request itself if nothing has been done with it.
type Unsent = TrySendError<Request<Payload>>;

/// A connection that broke off before a complete response head.
struct Broken {
    error: Box<Unsent>,
    /// Bytes of a response.
    read: u64,
    /// Bytes of the request.
    written: u64,
    progress: Arc<Progress>,
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
    pub fn new(connector: impl Into<Arc<Connector>>) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), idle: Mutex::default() })
    }

    /// Sends a request at `now` and waits for the response's head.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(
        self: &Arc<Self>,
        request: Request<Payload>,
        resending: Resending<'_>,
        now: Instant,
    ) -> impl Future<Output = Result<Response<ResponseBody>, SendError>> {
        // What waits for the response holds no request: that is moved once, to the connection.
        let begun = match self.take(now) {
            Some(connection) => {
                let payload = request.body().clone();
                Ok((self.begin(connection, request), payload))
            }
            None => Err(Box::pin(self.send_afresh(request, now))),
        };
        async move {
            let (exchange, payload) = match begun {
                Ok(begun) => begun,
                Err(afresh) => return afresh.await,
            };
            match exchange.finish().await {
                Ok(response) => Ok(response),
                Err(mut broken) if broken.read == 0 && (resending.allowed || broken.written == 0) => {
                    let Some(request) = broken.request(payload) else { return Err(broken.error()) };
                    resending.count.inc();
                    Box::pin(self.send_afresh(request, now)).await
                }
                Err(broken) => Err(broken.error()),
            }
        }
    }

    /// The same on a new connection. Connecting is a large future: boxed where it is rare, so that the usual way is not
    /// moved about with room for it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_afresh(
        self: &Arc<Self>,
        request: Request<Payload>,
        now: Instant,
    ) -> Result<Response<ResponseBody>, SendError> {
        let connection = self.connect(now).await?;
        self.begin(connection, request).finish().await.map_err(Broken::error)
    }

    async fn connect(&self, now: Instant) -> Result<Connection, SendError> {
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
        Ok(Connection { sender, progress, used: now })
    }

    /// Hands a request to a connection.
    fn begin(self: &Arc<Self>, mut connection: Connection, request: Request<Payload>) -> Exchange {
        let before = connection.progress.get();
        connection.progress.begin_request();
        let response = Box::pin(connection.sender.try_send_request(request));
        Exchange { pool: self.clone(), connection, before, response }
    }

    /// The connection that was used last and can be used now.
    fn take(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest are in front; the ones still busy with their last response's end are passed over.
        let expired = idle.iter().take_while(|idle| now.saturating_duration_since(idle.used) >= IDLE_TIMEOUT).count();
        idle.drain(..expired);
        let at = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        let mut connection = idle.remove(at);
        connection.used = now;
        Some(connection)
    }

    fn put(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == MAX_IDLE {
            idle.retain(|connection| !connection.sender.is_closed());
        }
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

impl Exchange {
    async fn finish(self) -> Result<Response<ResponseBody>, Broken> {
        let Self { pool, connection, before, response } = self;
        match response.await {
            Ok(response) => Ok(response.map(|incoming| {
                let mut body =
                    ResponseBody { incoming, connection: Some((pool, connection)), pause: None, timer: None };
                body.release_at_end();
                body
            })),
            Err(error) => {
                let progress = connection.progress;
                let after = progress.get();
                Err(Broken { error: Box::new(error), read: after.0 - before.0, written: after.1 - before.1, progress })
            }
        }
    }
}

impl Broken {
    /// The request, to be sent again with `payload`: as the connection gives it back, or from the bytes of its head.
    /// Nothing has to be kept for this rare case.
    fn request(&mut self, payload: Payload) -> Option<Request<Payload>> {
        self.error.take_message().or_else(|| restore(&self.progress.head()?, payload))
    }

    fn error(self) -> SendError {
        SendError::Failed(self.error.into_error())
    }
}

/// The request with this head and body.
fn restore(head: &[u8], payload: Payload) -> Option<Request<Payload>> {
    let mut lines = [httparse::EMPTY_HEADER; 2 * MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    // The buffer held one head and nothing else.
    (parsed.parse(head).ok()? == httparse::Status::Complete(head.len())).then_some(())?;
    let mut request = Request::new(payload);
    *request.method_mut() = parsed.method?.parse().ok()?;
    *request.uri_mut() = parsed.path?.parse().ok()?;
    for line in parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(request)
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
