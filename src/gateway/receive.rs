//! Takes a request up: when it came, who sent it, and the id under which it goes from here on.
//!
//! The sender's `X-Request-Id` is kept if it can do no harm in a log, see [`request_id`]; else there is a new one. The
//! upstream, the response and the log have the same.

use std::convert::Infallible;
use std::rc::Rc;

use http::{Request, Response};
use tower::Service;

use crate::clock::Clock;
use crate::config::Networks;
use crate::delivery::request::{Arrival, Arrived, Inbound};
use crate::delivery::timeline::Trail;
use crate::gateway::client_addr::identify;
use crate::gateway::observe::Observed;
use crate::gateway::request_id::{X_REQUEST_ID, request_id};
use crate::gateway::stage::Here;

/// What the stage needs of its thread.
#[derive(Clone)]
pub struct ArriveContext {
    /// For the time of arrival.
    pub clock: Clock,
    /// Whose word about the client counts.
    pub trusted_proxies: Networks,
}

/// The stage: takes a request up, and gives the response its id.
pub fn arrive<S>(
    here: Rc<Here<ArriveContext, S>>,
    request: Request<Inbound>,
) -> impl Future<Output = Result<Response<Observed>, Infallible>>
where
    S: Service<Arrived, Response = Response<Observed>, Error = Infallible> + Clone,
{
    // Here, so that the future holds no request.
    let arrived = here.context.take_up(request);
    async move {
        let arrival = arrived.arrival.clone();
        let mut response = here.next(arrived).await?;
        response.headers_mut().insert(X_REQUEST_ID, arrival.request_id.clone());
        Ok(response)
    }
}

impl ArriveContext {
    fn take_up(&self, request: Request<Inbound>) -> Arrived {
        let received = self.clock.now();
        let (head, Inbound { body, peer }) = request.into_parts();
        let request_id = request_id(&head.headers);
        let peer = identify(&self.trusted_proxies, &head.headers, &peer).map_or(peer, Rc::new);
        Arrived { arrival: Rc::new(Arrival { head, peer, request_id, received, trail: Trail::default() }), body }
    }
}
