//! Accepts connections and speaks HTTP on them until they end or the gateway drains: HTTP/1.1 here, HTTP/2 in
//! [`http2`].
//!
//! What hyper refuses by itself, before there is a request to pass on, is answered with a bare 400 or 431 and counted
//! as `bad_request` without a route.
//!
//! A connection that ends while its sender is still sending is closed in steps (RFC 9112 section 9.6), or the sender's
//! system may throw the response away before the sender has read it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower::{Service, ServiceExt};

use super::delivery::Peer;
use super::entrance::{Entered, Entrance};
use super::headers::MAX_HEADERS;
use super::http2::{self, Limits};
use super::reject::Reject;
use super::socket::Socket;
use super::stack::ReplyBody;
use crate::metrics::{ObserveMetrics, Outcome};

/// A request's header section: start line and fields, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a connection may wait for a whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The same for HTTP/2.
const HTTP2_LIMITS: Limits =
    Limits { header_bytes: MAX_HEAD_BYTES, header_timeout: HEAD_TIMEOUT, idle_timeout: HEAD_TIMEOUT };
/// How long a closed connection is read on, for the sender to see the response.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection on which nothing has come yet stays open while draining: a request may be on its way.
const DRAIN_FRESH: Duration = Duration::from_millis(500);
/// How long accepting pauses after an error of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What accepting and serving connections needs of its thread.
#[derive(Clone)]
pub struct ListenContext {
    /// Open connections.
    pub connections: IntGauge,
    /// Counts requests that are refused before they are any.
    pub unmatched: Rc<ObserveMetrics>,
    /// How connections begin; what is put there counts for those that come later.
    pub entrance: Rc<RefCell<Entrance>>,
    /// Turns true when the gateway drains.
    pub drain: watch::Receiver<bool>,
    /// A clone lives as long as each connection.
    pub alive: mpsc::Sender<Infallible>,
}

/// Accepts connections on `listener` and serves them with `stack` until the gateway drains. Those then open go on by
/// themselves.
pub async fn accept<S>(listener: TcpListener, stack: S, context: ListenContext)
where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static,
{
    let mut drain = context.drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                tokio::task::spawn_local(serve(stream, address, stack.clone(), context.clone()));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether `accept` tells of one connection that broke off before it was accepted, see accept(2).
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn serve<S>(stream: TcpStream, address: SocketAddr, stack: S, context: ListenContext)
where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static,
{
    let ListenContext { connections, unmatched, entrance, drain, alive: _alive } = context;
    let _open = Open::new(connections);
    // Without it a response can wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let entrance = entrance.borrow().clone();
    let entered = tokio::select! {
        biased;
        entered = entrance.enter(stream, address) => entered,
        () = drained(drain.clone()) => return,
    };
    match entered {
        Ok(Entered { socket, peer, http2: true }) => {
            if let Err(error) = http2::serve(socket, peer, stack, HTTP2_LIMITS, unmatched, drain).await {
                tracing::debug!(%error, peer = %address, "connection ended");
            }
        }
        Ok(Entered { socket, peer, http2: false }) => serve_http1(socket, peer, stack, unmatched, drain).await,
        Err(error) => tracing::debug!(%error, peer = %address, "connection refused before its first request"),
    }
}

/// Ready when a connection that has not come to a request yet must go, as the gateway drains.
async fn drained(mut drain: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the thread.
    let _ = drain.wait_for(|drain| *drain).await;
    tokio::time::sleep(DRAIN_FRESH).await;
}

async fn serve_http1<S>(
    socket: Socket,
    peer: Peer,
    stack: S,
    unmatched: Rc<ObserveMetrics>,
    mut drain: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static,
{
    let address = peer.address;
    let used = Rc::new(Cell::new(false));
    let service = service_fn({
        let used = used.clone();
        move |mut request: Request<Incoming>| {
            used.set(true);
            request.extensions_mut().insert(peer.clone());
            stack.clone().oneshot(request)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .keep_alive(true)
        .half_close(true) // a sender may shut its side down and wait; also saves a read for each request
        .pipeline_flush(false) // else an answer waits while the sender's next bytes do, and is lost at the end
        .writev(false) // responses are small: one copy beats a vector
        .auto_date_header(true) // RFC 9110 section 6.6.1
        .preserve_header_case(false) // names have no case; keeping it costs 9 % of the CPU
        .title_case_headers(false)
        .allow_multiple_spaces_in_request_line_delimiters(false) // RFC 9112 section 3: a smuggler's friend
        .ignore_invalid_headers(false) // refused, not dropped
        .serve_connection(TokioIo::new(socket), service);
    let result = tokio::select! {
        biased;
        result = &mut connection => Some(result),
        _ = drain.wait_for(|drain| *drain) => None,
    };
    let result = match result {
        Some(result) => result,
        None => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                biased;
                result = &mut connection => result,
                () = tokio::time::sleep(DRAIN_FRESH), if !used.get() => Ok(()),
            }
        }
    };
    if let Err(error) = result {
        if error.is_parse() {
            unmatched.delivery(Outcome::Rejected, 0.0);
            unmatched.rejection(Reject::BadRequest);
        }
        tracing::debug!(%error, peer = %address, "connection ended");
    }
    linger(connection.into_parts().io.into_inner()).await;
}

/// Closes the sending side and reads on until the sender closes too, for [`LINGER`] at most.
async fn linger(mut stream: Socket) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
    };
    // Either way the connection is then dropped.
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// Counts an open connection.
struct Open(IntGauge);

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
