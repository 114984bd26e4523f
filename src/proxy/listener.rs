//! Accepts connections, as many as may be open, and has them served by [`http1`](super::http1) until they end or the
//! gateway drains.
//!
//! Refuses as `overloaded` what is over `max_connections`, counted over all threads: such a connection is answered
//! without a look at what it sends, and closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::Service;

use super::delivery::Peer;
use super::early::{Early, close};
use super::http1::{self, Http1Context};
use super::stack::ReplyBody;

/// Connections over the limit that a thread closes in steps at the same time.
const MAX_SHEDDING: usize = 64;
/// How long accepting pauses after an error of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What accepting and serving connections needs of its thread.
#[derive(Clone)]
pub struct ListenContext {
    /// Open connections, of all threads.
    pub connections: IntGauge,
    /// How many there may be.
    pub max_connections: u32,
    /// For serving them.
    pub http1: Http1Context,
    /// A clone lives as long as each connection that is refused and closed in steps.
    pub shedding: Rc<()>,
    /// A clone lives as long as each connection.
    pub alive: mpsc::Sender<Infallible>,
}

/// Accepts connections on `listener` and serves them with `stack` until the gateway drains. Those then open go on by
/// themselves.
pub async fn accept<S>(listener: TcpListener, stack: S, context: ListenContext)
where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static,
{
    let mut drain = context.http1.drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match Open::new(&context.connections, context.max_connections) {
                Some(open) => {
                    tokio::task::spawn_local(serve(stream, address, stack.clone(), context.clone(), open));
                }
                None => shed(stream, &context),
            },
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

/// Serves a connection that has its place among those that may be open.
async fn serve<S>(stream: TcpStream, address: SocketAddr, stack: S, context: ListenContext, open: Open)
where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static,
{
    let _open = open;
    let _alive = context.alive;
    // Without it a response can wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_ok() {
        http1::serve(stream, Peer::new(address), stack, context.http1).await;
    }
}

/// Answers a connection that is one too many, at a bounded cost: a few are closed in steps, so that the sender sees the
/// answer, the rest at once.
fn shed(stream: TcpStream, context: &ListenContext) {
    let ListenContext { http1, shedding, alive, .. } = context;
    Early::Overloaded.count(&http1.unmatched);
    let answer = Early::Overloaded.response(&http1.clock);
    if Rc::strong_count(shedding) > MAX_SHEDDING {
        // The answer fits the buffer of a fresh socket; whether it gets there is up to the sender.
        let _ = stream.try_write(&answer);
        return;
    }
    let (shedding, alive) = (shedding.clone(), alive.clone());
    tokio::task::spawn_local(async move {
        let _one_more = (shedding, alive);
        close(stream, Some(&answer)).await;
    });
}

/// Counts an open connection.
struct Open(IntGauge);

impl Open {
    /// One more, if there may be.
    fn new(gauge: &IntGauge, max: u32) -> Option<Self> {
        gauge.inc();
        let open = Self(gauge.clone());
        (open.0.get() <= i64::from(max)).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let text = address.ip().to_string();
        Self { address, forwarded_for: HeaderValue::from_str(&text).expect("an address is visible ASCII") }
    }
}
