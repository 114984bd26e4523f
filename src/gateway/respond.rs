//! Turns refusals into responses: `application/problem+json` (RFC 9457) with constant texts, see [`problem`].

use std::convert::Infallible;
use std::rc::Rc;

use http::header::RETRY_AFTER;
use tower::Service;

use crate::delivery::request::Received;
use crate::delivery::response::{Completed, FinalResponse, Handled};
use crate::gateway::problem::{close_after, problem};
use crate::gateway::stage::Next;
use crate::reject::Refusal;

/// The stage: turns refusals into responses.
pub async fn respond<S>(next: Rc<Next<(), S>>, received: Received) -> Result<FinalResponse, Infallible>
where
    S: Service<Received, Response = Handled, Error = Infallible> + Clone,
{
    let info = received.info.clone();
    let Handled { route, result } = next.run(received).await?;
    Ok(match result {
        Ok(Completed { response, outcome }) => FinalResponse { response, route, outcome, rejected: None },
        Err(Refusal { reject, unread, retry_after }) => {
            let mut response = problem(reject, route.as_deref(), Some(&info.request_id));
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            if unread {
                close_after(&mut response, info.head.version);
            }
            FinalResponse { response, route, outcome: reject.into(), rejected: Some(reject) }
        }
    })
}
