//! Serves HTTP/1.1 on a connection, one request after another, until the connection ends or the gateway drains.
//!
//! If [`connection`](crate::http1::server::connection) refuses the bytes before they form a request, this module writes the
//! response.
//!
//! A connection is closed in stages (RFC 9112 section 9.6): if its client is still sending, the client's system may otherwise
//! discard the response before the client has read it. Without TLS, it is closed at once if the client sends nothing more
//! (`Connection: close`, HTTP/1.0, or its side is shut down), and nothing was unread when it was last read.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tower::Service;

use crate::delivery::peer::Peer;
use crate::delivery::request::{Inbound, RequestBody};
use crate::delivery::response::Body;
use crate::http1::server::connection::{ConnectionEnd, ConnectionLimits, ServerConnection, SharedConnection};
use crate::http1::server::request::{HeadError, ParsedRequest};
use crate::http1::server::response::{RequestContext, ResponseWriter};
use crate::net::close::close;
use crate::net::socket::Socket;
use crate::reject::Reject;
use crate::server::refuse::RefuseContext;

/// How long the shutdown of a drained connection may take, TLS's `close_notify` included.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// The values of the worker thread that serve a connection.
pub struct Http1Context {
    /// Refuses bytes that do not form a request. Its clock also measures the connection's deadlines, and its current
    /// configuration serves the requests.
    pub refuse: RefuseContext,
    /// Turns true when the gateway drains. This receiver never marks the change as seen.
    pub drain: watch::Receiver<bool>,
}

impl Http1Context {
    fn is_draining(&self) -> bool {
        // An error means that the sender was dropped: the thread ends.
        self.drain.has_changed().unwrap_or(true)
    }
}

/// Serves requests on `socket` within `limits`.
pub async fn serve(socket: Socket, peer: Rc<Peer>, limits: ConnectionLimits, context: &Http1Context) {
    let connection = SharedConnection::new(ServerConnection::new(socket, limits, context.refuse.clock.clone()));
    let end = exchanges(&connection, &peer, context).await;
    let address = peer.address;
    let reject = match &end {
        ConnectionEnd::Refused(HeadError::Bad) => Some(Reject::BadRequest),
        ConnectionEnd::Refused(HeadError::HeaderTooLarge) => Some(Reject::HeaderTooLarge),
        ConnectionEnd::Refused(HeadError::UriTooLong) => Some(Reject::UriTooLong),
        ConnectionEnd::HeadTimeout => Some(Reject::HeaderTimeout),
        ConnectionEnd::IdleTimeout
        | ConnectionEnd::Drained
        | ConnectionEnd::Finished
        | ConnectionEnd::Closed(_)
        | ConnectionEnd::ResponseAborted(_) => None,
    };
    tracing::debug!(?end, peer = %address, "connection ended");
    if matches!(end, ConnectionEnd::Finished) && connection.borrow_mut().is_drained() {
        return;
    }
    // A body that a task still holds drops the connection when the task ends.
    let Some(mut socket) = connection.into_socket() else { return };
    match end {
        ConnectionEnd::Drained => {
            // An error changes nothing: the connection is dropped next.
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, socket.shutdown()).await;
            return;
        }
        // Dropping it resets the connection.
        ConnectionEnd::ResponseAborted(_) => return,
        ConnectionEnd::Refused(_)
        | ConnectionEnd::HeadTimeout
        | ConnectionEnd::IdleTimeout
        | ConnectionEnd::Finished
        | ConnectionEnd::Closed(_) => {}
    }
    let answer = reject.map(|reject| context.refuse.refuse_in_bytes(reject, address));
    // Boxed, so that the future of a connection that waits for a request is small.
    Box::pin(close(socket, answer.as_deref())).await;
}

/// Serves one request after another. Returns how the connection ends.
async fn exchanges(connection: &Rc<SharedConnection>, peer: &Rc<Peer>, context: &Http1Context) -> ConnectionEnd {
    let mut drain = context.drain.clone();
    // Without the task's budget (tokio::task::coop): with the budget used up, the poll would not register for the change.
    let mut draining = pin!(unconstrained(drain.wait_for(|drain| *drain)));
    let (mut is_watched, mut is_drained) = (false, false);
    loop {
        let next = poll_fn(|cx| {
            let mut connection = connection.borrow_mut();
            if let Poll::Ready(next) = connection.poll_request(cx) {
                return Poll::Ready(next);
            }
            // After the first poll, the change itself wakes this task.
            if !is_drained && (!is_watched || context.is_draining()) {
                is_watched = true;
                is_drained = draining.as_mut().poll(cx).is_ready();
                if is_drained {
                    connection.drain()?;
                    // Polled again, so that the new deadline has a timer.
                    return connection.poll_request(cx);
                }
            }
            Poll::Pending
        });
        let parsed = match next.await {
            Ok(parsed) => parsed,
            Err(end) => return end,
        };
        if let Err(end) = exchange(connection, parsed, peer, context).await {
            return end;
        }
    }
}

/// Serves one request. Fails if no other one may follow on the connection.
fn exchange(
    connection: &Rc<SharedConnection>,
    parsed: ParsedRequest,
    peer: &Rc<Peer>,
    context: &Http1Context,
) -> impl Future<Output = Result<(), ConnectionEnd>> {
    // Outside the async block, so that the future does not hold the request.
    let ParsedRequest { request, sent, is_persistent, .. } = parsed;
    let mut request_context =
        RequestContext { method: request.method().clone(), version: request.version(), is_persistent };
    let body = RequestBody::Http1(connection.lend_body());
    let inbound = Inbound { body, peer: peer.clone(), sent };
    let handling = context.refuse.current.get().stack.clone().call(request.map(|()| inbound));
    async move {
        let response = respond(connection, handling).await.map_err(|error| ConnectionEnd::Closed(Some(error)))?;
        let is_read = connection.is_body_returned() && connection.borrow().is_request_complete();
        let is_last = !request_context.is_persistent;
        request_context.is_persistent &= is_read && !context.is_draining();
        let RefuseContext { clock, dates, .. } = &context.refuse;
        let now = clock.now();
        let mut writer = ResponseWriter::new(response, &request_context, dates.at(now));
        connection.borrow_mut().begin_response(now);
        let is_close_delimited = writer.is_close_delimited();
        let end = |error| {
            if is_close_delimited { ConnectionEnd::ResponseAborted(error) } else { ConnectionEnd::Closed(Some(error)) }
        };
        if is_close_delimited {
            connection.borrow().reset_on_drop(true).map_err(end)?;
        }
        poll_fn(|cx| connection.borrow_mut().poll_write_response(cx, &mut writer)).await.map_err(end)?;
        if is_close_delimited {
            connection.borrow().reset_on_drop(false).map_err(end)?;
        }
        if writer.is_persistent() {
            Ok(())
        } else {
            Err(if is_last && is_read { ConnectionEnd::Finished } else { ConnectionEnd::Closed(None) })
        }
    }
}

/// Waits for the stack's response. Fails if the client resets the connection first.
async fn respond(
    connection: &SharedConnection,
    mut handling: impl Future<Output = Result<Response<Body>, Infallible>> + Unpin,
) -> io::Result<Response<Body>> {
    poll_fn(|cx| match Pin::new(&mut handling).poll(cx) {
        Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => connection.borrow_mut().poll_reset(cx).map(Err),
    })
    .await
}
