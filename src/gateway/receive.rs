//! Notes when a request arrived and who sent it, and gives it its id.
//!
//! The sender's `X-Request-Id` is kept if it is safe to log, see [`senders_id`]; otherwise the request gets a new id. The
//! upstream, the response and the log all show the same id.

use std::convert::Infallible;
use std::rc::Rc;

use http::{Request, Response};
use tower::Service;

use crate::clock::Clock;
use crate::config::Networks;
use crate::delivery::request::{Inbound, Received, RequestInfo};
use crate::delivery::response::Body;
use crate::delivery::timeline::Timeline;
use crate::gateway::client_addr::identify;
use crate::gateway::request_id::{X_REQUEST_ID, delivery_id, senders_id, uuid_value};
use crate::gateway::stage::Next;

/// The values of the worker thread that the stage uses.
#[derive(Clone)]
pub struct ReceiveContext {
    /// Reads the time at which the request arrived.
    pub clock: Clock,
    /// The proxies whose `X-Forwarded-*` and `Forwarded` field lines are believed.
    pub trusted_proxies: Networks,
}

/// The stage: makes a [`Received`] of the request, and adds the request id to the response.
pub fn receive<S>(
    next: Rc<Next<ReceiveContext, S>>,
    request: Request<Inbound>,
) -> impl Future<Output = Result<Response<Body>, Infallible>>
where
    S: Service<Received, Response = Response<Body>, Error = Infallible> + Clone,
{
    // Outside the async block, so that the future does not hold the request.
    let received = next.context.take_up(request);
    async move {
        let info = received.info.clone();
        let mut response = next.run(received).await?;
        response.headers_mut().insert(X_REQUEST_ID, info.request_id.clone());
        Ok(response)
    }
}

impl ReceiveContext {
    fn take_up(&self, request: Request<Inbound>) -> Received {
        let received = self.clock.now();
        let (head, Inbound { body, peer, sent }) = request.into_parts();
        let received_unix = self.clock.unix_at(received);
        let delivery_id = delivery_id(received_unix);
        let senders_id = senders_id(&head.headers).cloned();
        let has_senders_id = senders_id.is_some();
        let request_id = senders_id.unwrap_or_else(|| uuid_value(delivery_id));
        let peer = identify(&self.trusted_proxies, &head.headers, &peer).map_or(peer, Rc::new);
        Received {
            info: Rc::new(RequestInfo {
                head,
                sent,
                peer,
                request_id,
                has_senders_id,
                delivery_id,
                received,
                received_unix,
                timeline: Timeline::default(),
            }),
            body,
        }
    }
}
