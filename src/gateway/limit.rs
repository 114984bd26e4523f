//! Counts a delivery against its route's [limits](crate::routing::limits).

use std::rc::Rc;

use http::Response;
use tower::Service;

use crate::delivery::response::Body;
use crate::delivery::stages::Routed;
use crate::gateway::discard::refuse;
use crate::gateway::stage::Here;
use crate::reject::Refusal;

/// The stage: refuses what is over the route's bounds, counts the rest until its response is done.
pub async fn limit<S>(here: Rc<Here<(), S>>, routed: Routed) -> Result<Response<Body>, Refusal>
where
    S: Service<Routed, Response = Response<Body>, Error = Refusal> + Clone,
{
    let permit = match routed.route.limits.admit(routed.arrival.received) {
        Ok(permit) => permit,
        Err(reject) => return Err(refuse(&routed.arrival.head.headers, routed.body, reject).await),
    };
    let response = here.next(routed).await?;
    Ok(response.map(|body| body.with_permit(permit)))
}
