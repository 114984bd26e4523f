//! Serves HTTP/1.1 on a connection until it ends or the gateway drains: a request, its response, and the next.
//!
//! What is refused before it is a request (see [`sender`](crate::http1::server::connection)) is answered here.
//!
//! A connection that ends while its sender is still sending is closed in steps, or the sender's system may throw the
//! response away before the sender has read it.

use std::cell::RefCell;
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
use crate::http1::server::connection::{End, Sender, SenderBody, SenderLimits};
use crate::http1::server::request::{Fault, Received};
use crate::http1::server::response::{Reply, ReplyTo};
use crate::net::close::close;
use crate::net::socket::Socket;
use crate::reject::Reject;
use crate::server::refuse::RefuseContext;

/// How long saying goodbye may take, by TLS.
const GOODBYE: Duration = Duration::from_millis(500);

/// What serving a connection needs of its thread.
#[derive(Clone)]
pub struct Http1Context {
    /// For what is refused before it is a request. Its clock is that of the connection's deadlines, too; its current
    /// configuration serves the requests.
    pub refuse: RefuseContext,
    /// Turns true when the gateway drains. Nobody marks it as seen.
    pub drain: watch::Receiver<bool>,
}

impl Http1Context {
    fn is_draining(&self) -> bool {
        // An error means that the thread ends.
        self.drain.has_changed().unwrap_or(true)
    }
}

/// Serves requests on `socket` within `limits`.
pub async fn serve(socket: Socket, peer: Rc<Peer>, limits: SenderLimits, context: Http1Context) {
    let sender = Rc::new(RefCell::new(Sender::new(socket, limits, context.refuse.clock.clone())));
    let end = exchanges(&sender, &peer, &context).await;
    let address = peer.address;
    let reject = match &end {
        End::Refused(Fault::Bad) => Some(Reject::BadRequest),
        End::Refused(Fault::TooLarge) => Some(Reject::HeaderTooLarge),
        End::HeadTimeout => Some(Reject::HeaderTimeout),
        End::Idle | End::Drained | End::Gone(_) | End::Torn(_) => None,
    };
    tracing::debug!(?end, peer = %address, "connection ended");
    // All that took part in an exchange is gone.
    let Some(sender) = Rc::into_inner(sender) else { return };
    let mut socket = sender.into_inner().into_socket();
    match end {
        End::Drained => {
            // The connection is dropped either way.
            let _ = tokio::time::timeout(GOODBYE, socket.shutdown()).await;
            return;
        }
        // Dropping it resets the connection.
        End::Torn(_) => return,
        End::Refused(_) | End::HeadTimeout | End::Idle | End::Gone(_) => {}
    }
    let answer = reject.map(|reject| context.refuse.refuse_in_bytes(reject, address));
    // Boxed: what waits for a request needs no room for it.
    Box::pin(close(socket, answer.as_deref())).await;
}

/// One exchange after another; how that ends.
async fn exchanges(sender: &Rc<RefCell<Sender>>, peer: &Rc<Peer>, context: &Http1Context) -> End {
    let mut drain = context.drain.clone();
    // Without the task's budget (tokio::task::coop): where that is spent, nothing would be waited for.
    let mut draining = pin!(unconstrained(drain.wait_for(|drain| *drain)));
    let (mut is_watched, mut is_drained) = (false, false);
    loop {
        let next = poll_fn(|cx| {
            let mut sender = sender.borrow_mut();
            if let Poll::Ready(next) = sender.poll_request(cx) {
                return Poll::Ready(next);
            }
            // Once it has been waited for, it wakes this task by itself.
            if !is_drained && (!is_watched || context.is_draining()) {
                is_watched = true;
                is_drained = draining.as_mut().poll(cx).is_ready();
                if is_drained {
                    sender.drain()?;
                    // Has the time that is left waited for.
                    return sender.poll_request(cx);
                }
            }
            Poll::Pending
        });
        let received = match next.await {
            Ok(received) => received,
            Err(end) => return end,
        };
        match exchange(sender, received, peer, context).await {
            Ok(true) => {}
            Ok(false) => return End::Gone(None),
            Err(end) => return end,
        }
    }
}

/// Has a request answered; whether there can be another after it.
fn exchange(
    sender: &Rc<RefCell<Sender>>,
    received: Received,
    peer: &Rc<Peer>,
    context: &Http1Context,
) -> impl Future<Output = Result<bool, End>> {
    // Next, so that the future holds no request.
    let Received { request, is_persistent, .. } = received;
    let mut asked = ReplyTo { method: request.method().clone(), version: request.version(), is_persistent };
    let body = RequestBody::Http1(SenderBody::new(sender.clone()));
    let handling =
        context.refuse.current.get().stack.clone().call(request.map(|()| Inbound { body, peer: peer.clone() }));
    async move {
        let response = answered(sender, handling).await.map_err(|error| End::Gone(Some(error)))?;
        // A body that somebody still had could be read into the next request.
        let is_read = sender.borrow().is_read() && Rc::strong_count(sender) == 1;
        asked.is_persistent &= is_read && !context.is_draining();
        let RefuseContext { clock, dates, .. } = &context.refuse;
        let now = clock.now();
        let mut reply = Reply::new(response, &asked, dates.at(now));
        sender.borrow_mut().answers(now);
        let tears = reply.ends_with_connection();
        let end = |error| if tears { End::Torn(error) } else { End::Gone(Some(error)) };
        if tears {
            sender.borrow().tears(true).map_err(end)?;
        }
        poll_fn(|cx| sender.borrow_mut().poll_send(cx, &mut reply)).await.map_err(end)?;
        if tears {
            sender.borrow().tears(false).map_err(end)?;
        }
        Ok(reply.is_persistent())
    }
}

/// The stack's response, unless the sender is gone before that.
async fn answered(
    sender: &RefCell<Sender>,
    mut handling: impl Future<Output = Result<Response<Body>, Infallible>> + Unpin,
) -> io::Result<Response<Body>> {
    poll_fn(|cx| match Pin::new(&mut handling).poll(cx) {
        Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => sender.borrow().poll_reset(cx).map(Err),
    })
    .await
}
