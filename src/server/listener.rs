//! Accepts connections, as many as may be open, and has them served by [`h1`](crate::server::h1) or
//! [`h2`](crate::server::h2) until they end or the gateway drains.
//!
//! Refuses as `overloaded` what is over `max_connections`, counted over all threads: such a connection is answered
//! without a look at what it sends, and closed.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::http1::server::state::DRAIN_GRACE;
use crate::metrics::GaugeGuard;
use crate::net::close::close;
use crate::reject::Reject;
use crate::server::current::Serving;
use crate::server::h1::{self, Http1Context};
use crate::server::h2;
use crate::server::handshake::Accepted;

/// Connections over the limit that a thread closes in steps at the same time.
const MAX_SHEDDING: usize = 64;
/// How long accepting pauses after an error of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What accepting and serving connections needs of its thread.
#[derive(Clone)]
pub struct ListenContext {
    /// Open connections, of all threads.
    pub connections: IntGauge,
    /// For serving them, with the current configuration.
    pub http1: Http1Context,
    /// Connections over the limit that are being closed.
    pub shedding: Rc<Cell<usize>>,
    /// A clone lives as long as each connection.
    pub alive: mpsc::Sender<Infallible>,
}

/// Accepts connections on `listener` and serves them until the gateway drains. Those open then go on by themselves.
pub async fn accept(listener: TcpListener, context: ListenContext) {
    let mut drain = context.http1.drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let serving = context.http1.refuse.current.get();
                match GaugeGuard::within(&context.connections, serving.max_connections) {
                    Some(open) => {
                        tokio::task::spawn_local(serve(stream, address, serving, context.clone(), open));
                    }
                    None => shed(stream, address, &serving, &context),
                }
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

/// Serves a connection that has its place among those that may be open.
async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    serving: Rc<Serving>,
    context: ListenContext,
    _open: GaugeGuard,
) {
    let ListenContext { http1, alive: _alive, .. } = context;
    let limits = serving.limits;
    // Without it a response can wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let handshake = serving.handshake.clone();
    // A connection keeps no configuration alive that a reload has replaced.
    drop(serving);
    let accepted = tokio::select! {
        biased;
        accepted = handshake.enter(stream, address) => accepted,
        () = drained(http1.drain.clone()) => return,
    };
    match accepted {
        Ok(Accepted { socket, peer, http2: true }) => {
            let limits = h2::Limits {
                header_bytes: limits.max_header_bytes,
                header_timeout: limits.header_timeout,
                idle_timeout: limits.idle_timeout,
            };
            // Boxed: a connection with HTTP/1.1 needs no room for it.
            let serve = Box::pin(h2::serve(socket, peer, limits, http1.refuse, http1.drain));
            if let Err(error) = serve.await {
                tracing::debug!(%error, peer = %address, "connection ended");
            }
        }
        Ok(Accepted { socket, peer, http2: false }) => h1::serve(socket, peer, limits, http1).await,
        Err(error) => tracing::debug!(%error, peer = %address, "connection refused before its first request"),
    }
}

/// Ready when a connection that has not come to a request yet must go, as the gateway drains.
async fn drained(mut drain: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the thread.
    let _ = drain.wait_for(|drain| *drain).await;
    tokio::time::sleep(DRAIN_GRACE).await;
}

/// Answers a connection over the limit, at a bounded cost: the gateway lingers on a few at a time, so that their peers see the
/// response, and closes the rest at once. HTTP/2 has no response to a connection; it is just closed.
fn shed(stream: TcpStream, address: SocketAddr, serving: &Serving, context: &ListenContext) {
    let ListenContext { http1, shedding, alive, .. } = context;
    let answer = http1.refuse.refuse_in_bytes(Reject::Overloaded, address);
    let Some(counted) = Shedding::one_more(shedding) else { return };
    let (handshake, alive) = (serving.handshake.clone(), alive.clone());
    tokio::task::spawn_local(async move {
        let _counted = (counted, alive);
        if let Ok(Accepted { socket, http2: false, .. }) = handshake.enter(stream, address).await {
            close(socket, Some(&answer)).await;
        }
    });
}

/// Counts a connection over the limit until it is closed.
struct Shedding(Rc<Cell<usize>>);

impl Shedding {
    /// One more, if there are fewer than [`MAX_SHEDDING`].
    fn one_more(count: &Rc<Cell<usize>>) -> Option<Self> {
        (count.get() < MAX_SHEDDING).then(|| {
            count.set(count.get() + 1);
            Self(count.clone())
        })
    }
}

impl Drop for Shedding {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
