//! Accepts connections, as many as may be open, and has them served by [`h1`](crate::server::h1) or
//! [`h2`](crate::server::h2) until they end or the gateway drains.
//!
//! Refuses as `overloaded` what is over `max_connections`, counted over all threads: such a connection is answered
//! without a look at what it sends, and closed.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::config;
use crate::gateway::stack::Stack;
use crate::http1::server::connection::{ConnectionLimits, DRAIN_FRESH};
use crate::net::close::close;
use crate::server::current::Swap;
use crate::server::h1::{self, Http1Context};
use crate::server::h2;
use crate::server::handshake::{Entered, Entrance};
use crate::server::refuse::Early;

/// Connections over the limit that a thread closes in steps at the same time.
const MAX_SHEDDING: usize = 64;
/// How long accepting pauses after an error of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What bounds connections.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    max_connections: u32,
    sender: ConnectionLimits,
}

/// What accepting and serving connections needs of its thread.
#[derive(Clone)]
pub struct ListenContext {
    /// Open connections, of all threads.
    pub connections: IntGauge,
    /// What bounds them; what is put there counts for those that come later.
    pub bounds: Rc<Cell<Bounds>>,
    /// How connections begin; the same.
    pub entrance: Rc<RefCell<Entrance>>,
    /// For serving them.
    pub http1: Http1Context,
    /// A clone lives as long as each connection that is refused and closed in steps.
    pub shedding: Rc<()>,
    /// A clone lives as long as each connection.
    pub alive: mpsc::Sender<Infallible>,
}

/// Accepts connections on `listener` and serves them with `stack` until the gateway drains. Those then open go on by
/// themselves.
pub async fn accept(listener: TcpListener, stack: Swap<Stack>, context: ListenContext) {
    let mut drain = context.http1.drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match Open::new(&context.connections, context.bounds.get().max_connections) {
                Some(open) => {
                    tokio::task::spawn_local(serve(stream, address, stack.clone(), context.clone(), open));
                }
                None => shed(stream, address, &context),
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
async fn serve(stream: TcpStream, address: SocketAddr, stack: Swap<Stack>, context: ListenContext, open: Open) {
    let ListenContext { bounds, entrance, http1, alive: _alive, .. } = context;
    let limits = bounds.get().sender;
    let _open = open;
    // Without it a response can wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let entrance = entrance.borrow().clone();
    let entered = tokio::select! {
        biased;
        entered = entrance.enter(stream, address) => entered,
        () = drained(http1.drain.clone()) => return,
    };
    match entered {
        Ok(Entered { socket, peer, http2: true }) => {
            let limits = h2::Limits {
                header_bytes: limits.max_header_bytes,
                header_timeout: limits.header_timeout,
                idle_timeout: limits.idle_timeout,
            };
            // Boxed: a connection with HTTP/1.1 needs no room for it.
            let serve = Box::pin(h2::serve(socket, peer, stack, limits, http1.early, http1.drain));
            if let Err(error) = serve.await {
                tracing::debug!(%error, peer = %address, "connection ended");
            }
        }
        Ok(Entered { socket, peer, http2: false }) => h1::serve(socket, peer, stack, limits, http1).await,
        Err(error) => tracing::debug!(%error, peer = %address, "connection refused before its first request"),
    }
}

/// Ready when a connection that has not come to a request yet must go, as the gateway drains.
async fn drained(mut drain: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the thread.
    let _ = drain.wait_for(|drain| *drain).await;
    tokio::time::sleep(DRAIN_FRESH).await;
}

/// Answers a connection that is one too many, at a bounded cost: a few at a time are closed in steps, so that the sender
/// sees the answer, the rest at once. With HTTP/2 there is no answer to a connection, it is just closed.
fn shed(stream: TcpStream, address: SocketAddr, context: &ListenContext) {
    let ListenContext { http1, entrance, shedding, alive, .. } = context;
    let answer = Early::Overloaded.refuse_in_bytes(&http1.early, address);
    if Rc::strong_count(shedding) > MAX_SHEDDING {
        return;
    }
    let (entrance, one_more) = (entrance.borrow().clone(), (shedding.clone(), alive.clone()));
    tokio::task::spawn_local(async move {
        let _one_more = one_more;
        if let Ok(Entered { socket, http2: false, .. }) = entrance.enter(stream, address).await {
            close(socket, Some(&answer)).await;
        }
    });
}

impl Bounds {
    /// As the configuration has them.
    pub fn new(server: &config::Server) -> Self {
        let sender = ConnectionLimits {
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            max_header_bytes: usize::try_from(server.max_header_bytes).unwrap_or(usize::MAX),
        };
        Self { max_connections: server.max_connections, sender }
    }
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
