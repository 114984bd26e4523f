//! Accepts connections, up to `max_connections`. [`h1`] or [`h2`] serves them until they
//! end or the gateway drains.
//!
//! A connection over `max_connections`, counted over all threads, is refused as `overloaded`: the gateway answers without
//! reading a request, and closes the connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use prometheus::IntGauge;
use tokio::sync::{mpsc, watch};

use crate::http1::server::state::DRAIN_GRACE;
use crate::metrics::GaugeGuard;
use crate::net::ACCEPT_PAUSE;
use crate::net::close::close;
use crate::net::tcp::{Listener, Tcp};
use crate::reject::Reject;
use crate::server::current::Serving;
use crate::server::h1::{self, Http1Context};
use crate::server::h2;
use crate::server::handshake::{Accepted, Protocol};
use crate::server::untaken::{Untaken, UntakenBytes};

/// Connections over the limit that a thread answers at the same time; it closes further ones without a response.
const MAX_SHEDDING: usize = 64;
/// Of failures to accept in a row, one in this many has a line in the log: with [`ACCEPT_PAUSE`], one in 10 s.
const FAILURES_PER_LINE: u32 = 200;

/// The values of the worker thread that accept and serve connections.
pub struct ListenContext {
    /// `hooklatch_connections`: open connections, over all threads.
    pub connections: IntGauge,
    /// Serves connections with the current configuration.
    pub http1: Http1Context,
    /// What senders of HTTP/2 have not taken, over all threads.
    pub untaken: UntakenBytes,
    /// Connections over the limit that are being answered and closed.
    pub shedding: Rc<Cell<usize>>,
    /// Dropped with the last connection, so that the thread can wait for it.
    pub alive: mpsc::Sender<Infallible>,
}

/// Accepts connections on `listener` until the gateway drains, and starts a task for each. The tasks of open connections
/// continue after that.
pub async fn accept(listener: Listener, context: Rc<ListenContext>) {
    let mut drain = context.http1.drain.clone();
    let mut draining = pin!(drain.wait_for(|drain| *drain));
    let mut failures: u32 = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut draining => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                failures = 0;
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
                if failures.is_multiple_of(FAILURES_PER_LINE) {
                    tracing::error!(%error, failures, "cannot accept connections");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an error of `accept` concerns one connection, which failed before it was accepted; see accept(2).
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Serves a connection. `_open` counts it as open.
///
/// What it awaits is boxed, so that its own future is small: to spawn it copies it several times.
async fn serve(stream: Tcp, address: SocketAddr, serving: Rc<Serving>, context: Rc<ListenContext>, _open: GaugeGuard) {
    let http1 = &context.http1;
    let limits = serving.limits;
    let accepted = match serving.handshake.enter_at_once(stream, address) {
        Ok(accepted) => {
            // Here as below, so that the connection does not keep a configuration that a reload replaces.
            drop(serving);
            Ok(accepted)
        }
        Err(stream) => {
            let handshake = serving.handshake.clone();
            drop(serving);
            let enter = async {
                tokio::select! {
                    biased;
                    accepted = handshake.enter(stream, address) => Some(accepted),
                    () = drained(http1.drain.clone()) => None,
                }
            };
            match Box::pin(enter).await {
                Some(accepted) => accepted,
                None => return,
            }
        }
    };
    match accepted {
        Ok(Accepted { socket, peer, protocol: Protocol::Http2 }) => {
            let limits = h2::Http2Limits {
                header_bytes: limits.max_header_bytes,
                header_timeout: limits.header_timeout,
                idle_timeout: limits.idle_timeout,
            };
            let untaken = Untaken::new(context.untaken.clone());
            let serve = h2::serve(socket, peer, limits, untaken, http1.refuse.clone(), http1.drain.clone());
            if let Err(error) = Box::pin(serve).await {
                tracing::debug!(%error, peer = %address, "connection ended");
            }
        }
        Ok(Accepted { socket, peer, protocol: Protocol::Http1 }) => {
            Box::pin(h1::serve(socket, peer, limits, http1)).await;
        }
        Ok(Accepted { socket, peer, protocol: Protocol::Cleartext }) => {
            let answer = http1.refuse.refuse_in_bytes(Reject::BadRequest, peer.address);
            Box::pin(close(socket, Some(&answer))).await;
        }
        Err(error) => tracing::debug!(%error, peer = %address, "connection refused before its first request"),
    }
}

/// Ready [`DRAIN_GRACE`] after the gateway begins to drain: a connection that is still in its handshake is then closed.
async fn drained(mut drain: watch::Receiver<bool>) {
    // An error means that the sender was dropped: the thread ends.
    let _ = drain.wait_for(|drain| *drain).await;
    tokio::time::sleep(DRAIN_GRACE).await;
}

/// Refuses a connection over the limit, at a bounded cost: up to [`MAX_SHEDDING`] at a time get a response and a lingering
/// close, the rest are closed at once. HTTP/2 has no response to a connection, so such a connection is closed without one.
fn shed(stream: Tcp, address: SocketAddr, serving: &Serving, context: &Rc<ListenContext>) {
    let ListenContext { http1, shedding, .. } = &**context;
    let answer = http1.refuse.refuse_in_bytes(Reject::Overloaded, address);
    let Some(counted) = Shedding::one_more(shedding) else { return };
    let (handshake, context) = (serving.handshake.clone(), context.clone());
    tokio::task::spawn_local(async move {
        let _counted = (counted, context);
        if let Ok(Accepted { socket, protocol: Protocol::Http1 | Protocol::Cleartext, .. }) =
            handshake.enter(stream, address).await
        {
            close(socket, Some(&answer)).await;
        }
    });
}

/// Counts a connection over the limit until it is closed.
struct Shedding(Rc<Cell<usize>>);

impl Shedding {
    /// Counts one more connection; `None` if there are [`MAX_SHEDDING`] already.
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
