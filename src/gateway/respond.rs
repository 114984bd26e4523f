//! Makes the gateway's own responses. Of every refusal: `application/problem+json` (RFC 9457) with constant texts.
//!
//! One place, so that nothing else can say too much: no secret, no expected digest, no upstream address.

use std::convert::Infallible;
use std::rc::Rc;

use http::Response;
use tower::Service;

use crate::delivery::request::Arrived;
use crate::delivery::response::{Answer, Body, Handled};
use crate::gateway::problem::{close_after, problem};
use crate::gateway::stage::Here;
use crate::reject::{Outcome, Refusal};
use crate::schemes::Reply;

/// The stage: turns refusals into responses.
pub async fn respond<S>(here: Rc<Here<(), S>>, arrived: Arrived) -> Result<Answer, Infallible>
where
    S: Service<Arrived, Response = Handled, Error = Infallible> + Clone,
{
    let arrival = arrived.arrival.clone();
    let Handled { route, result } = here.next(arrived).await?;
    Ok(match result {
        Ok(response) => {
            // Only a challenge has a response that is neither the upstream's nor a refusal.
            let outcome = if response.body().is_own() { Outcome::Challenge } else { Outcome::Forwarded };
            Answer { response, route, outcome, rejected: None }
        }
        Err(Refusal { reject, unread }) => {
            let mut response = problem(reject, route.as_deref(), Some(&arrival.request_id));
            if unread {
                close_after(&mut response, arrival.head.version);
            }
            Answer { response, route, outcome: reject.into(), rejected: Some(reject) }
        }
    })
}

/// The response to a challenge.
pub fn reply(Reply { headers, body }: Reply) -> Response<Body> {
    let mut response = Response::new(Body::text(body));
    *response.headers_mut() = headers;
    response
}
