//! Answers endpoint challenges: what a provider asks before it delivers. They are part of the scheme, which says what is
//! one and what the answer is; see [`schemes::Challenges`](crate::schemes::Challenges). The upstream sees none of it.
//!
//! A route's method, client address and bounds apply to challenges as well, but that one in the head of a request may
//! come by a method that the route does not take.

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

/// The answer to a challenge that is the request's head. Nobody reads the body.
pub async fn answer_head(route: &Route, head: &Parts, body: RequestBody, asked: &Asked) -> Completed {
    let answered = challenges(route).map(|challenges| challenges.reply(asked, None));
    let mut completed = completed(answered.unwrap_or_default());
    if leave(&head.headers, body).await {
        close_after(&mut completed.response, head.version);
    }
    completed
}

/// Whether the body has to be read although there is no signature: it may be a challenge.
pub fn may_be_in_body(route: &Route, head: &Parts, body: &RequestBody) -> bool {
    let length = body.size_hint().exact();
    challenges(route).is_some_and(|challenges| challenges.may_be_in_body(RequestHead::of(head), length))
}

/// The answer to a challenge that is the whole request: `authentic` if it has verified.
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
