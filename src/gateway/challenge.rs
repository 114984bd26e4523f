//! Answers endpoint challenges: requests by which a provider checks an endpoint before it delivers. The scheme defines which
//! requests are challenges and how to answer them; see [`schemes::Challenges`](crate::schemes::Challenges). The upstream
//! does not see them.
//!
//! A route's methods, allowed addresses and limits apply to challenges as well, with one exception: a challenge in the head
//! of a request may use a method that the route does not accept.

use http::Response;
use http::request::Parts;
use http_body::Body as _;

use crate::delivery::request::RequestBody;
use crate::delivery::response::{Body, Completed};
use crate::delivery::stages::Buffered;
use crate::gateway::discard::leave;
use crate::gateway::problem::close_after;
use crate::reject::Outcome;
use crate::routing::table::Route;
use crate::schemes::{Asked, Authentic, Challenges, Reply, RequestHead, SignedRequest};

/// The answer to a challenge in the request's head. The body is discarded.
pub async fn answer_head(route: &Route, head: &Parts, body: RequestBody, asked: &Asked) -> Completed {
    let answered = challenges(route).map(|challenges| challenges.reply(asked, None));
    let mut completed = completed(answered.unwrap_or_default());
    if leave(&head.headers, body).await {
        close_after(&mut completed.response, head.version);
    }
    completed
}

/// Whether the body may be a challenge, so that it has to be read although the request has no signature.
pub fn may_be_in_body(route: &Route, head: &Parts, body: &RequestBody) -> bool {
    let length = body.size_hint().exact();
    challenges(route).is_some_and(|challenges| challenges.may_be_in_body(RequestHead::of(head), length))
}

/// The answer if the whole request is a challenge; otherwise `None`. `authentic` is `Some` if the request has verified.
pub fn answer(buffered: &Buffered, authentic: Option<&Authentic>) -> Option<Completed> {
    let challenges = challenges(&buffered.route)?;
    let request = SignedRequest { head: RequestHead::of(&buffered.info.head), body: buffered.payload.frames() };
    let asked = match authentic {
        Some(_) => challenges.verified(&request),
        None => challenges.unsigned(&request),
    };
    let secret = authentic.map(|authentic| authentic.secret);
    Some(completed(challenges.reply(&asked?, secret)))
}

fn challenges(route: &Route) -> Option<&Challenges> {
    route.shared.config.verifier.challenges()
}

fn completed(Reply { headers, body }: Reply) -> Completed {
    let mut response = Response::new(Body::text(body));
    *response.headers_mut() = headers;
    Completed { response, outcome: Outcome::Challenge }
}
