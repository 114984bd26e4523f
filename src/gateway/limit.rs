//! Counts a delivery against its route's [limits](crate::routing::limits).

use std::rc::Rc;

use http::Version;
use tower::Service;

use crate::delivery::response::{Completed, StageResult};
use crate::delivery::stages::Routed;
use crate::gateway::capture::refuse;
use crate::gateway::stage::Next;
use crate::reject::Refusal;
use crate::routing::limits::Budget;

/// The stage: refuses a delivery over the route's limits, and counts every other one until its upstream's response has been sent.
pub async fn limit<S>(next: Rc<Next<Budget, S>>, routed: Routed) -> StageResult
where
    S: Service<Routed, Response = Completed, Error = Refusal> + Clone,
{
    let permit = match routed.route.shared.limits.admit(routed.info.received) {
        Ok(permit) => permit,
        Err(reject) => {
            let Routed { info, route, body, .. } = routed;
            return Err(refuse(&next.context, &info, &route, body, reject).await);
        }
    };
    // hyper polls no response whose HTTP/2 window is used up. Reading ahead sees the end of the upstream's response all the same.
    let ahead = (routed.info.head.version == Version::HTTP_2).then(|| routed.route.clone());
    let Completed { response, outcome } = next.run(routed).await?;
    let response = response.map(|body| body.with_permit(permit));
    let response = match ahead {
        Some(route) => response.map(|body| body.read_ahead(|| next.context.open(&route.shared.limits))),
        None => response,
    };
    Ok(Completed { response, outcome })
}
