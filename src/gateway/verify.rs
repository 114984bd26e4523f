//! Lets on only what its signature verifies; the one maker of [`Verified`].
//!
//! In two steps, so that nothing is read for a sender who has no signature: [`inspect`] looks at the header before the
//! body is read, [`verify`] at both. Refuses with the reasons of [`VerifyError`].
//!
//! On a route with `enforce: false` nothing is refused: what would have been is [reported](crate::gateway::report) and forwarded
//! with `Hooklatch-Verified: false`.
//!
//! A [`challenge`] is answered where it is found, and goes no further: by [`inspect`] if the head is one, by [`verify`] if
//! one that is signed has verified, or if one that need not be has not.
//!
//! Does not protect against replays: a delivery that was captured verifies again, unless its scheme signs a time.

use std::rc::Rc;
use std::time::Instant;

use http::Response;
use tower::Service;

use crate::clock::Clock;
use crate::delivery::request::Arrival;
use crate::delivery::response::Body;
use crate::delivery::stages::{Buffered, Claimed, Routed};
use crate::delivery::timeline::Period;
use crate::gateway::challenge;
use crate::gateway::discard::refuse;
use crate::gateway::report::Reporter;
use crate::gateway::stage::Here;
use crate::http1::payload::Payload;
use crate::reject::Refusal;
use crate::routing::table::Route;
use crate::schemes::{Authentic, RequestHead, SignedRequest, VerifyError};

/// A delivery that may go to the upstream.
pub struct Verified {
    arrival: Rc<Arrival>,
    route: Rc<Route>,
    payload: Payload,
    authentic: Option<Authentic>,
    at: Instant,
}

/// What a [`Verified`] consists of.
pub struct VerifiedParts {
    /// Its head.
    pub arrival: Rc<Arrival>,
    /// The route.
    pub route: Rc<Route>,
    /// The bytes of its body.
    pub payload: Payload,
    /// The position of the secret that verified it; `None` on a route that only reports.
    pub secret: Option<usize>,
    /// When that was known.
    pub at: Instant,
}

impl Verified {
    /// What it consists of.
    pub fn into_parts(self) -> VerifiedParts {
        let Self { arrival, route, payload, authentic, at } = self;
        VerifiedParts { arrival, route, payload, secret: authentic.map(|authentic| authentic.secret), at }
    }
}

/// What the verifying stage needs of its thread.
#[derive(Clone)]
pub struct VerifyContext {
    /// For durations and the time of the last match.
    pub clock: Clock,
    /// For routes that do not enforce.
    pub reporter: Reporter,
}

/// The stage before the body is read: the signature's presence and format, the signed time, and tokens.
pub async fn inspect<S>(here: Rc<Here<Clock, S>>, routed: Routed) -> Result<Response<Body>, Refusal>
where
    S: Service<Claimed, Response = Response<Body>, Error = Refusal> + Clone,
{
    let Routed { arrival, route, body, asked } = routed;
    let head = &arrival.head;
    if let Some(asked) = asked {
        return Ok(challenge::answer_head(&route, head, body, &asked).await);
    }
    let now = here.context.unix_at(arrival.received);
    let claim = route.config.verifier.inspect(RequestHead::of(head), now);
    if let Err(error) = claim
        && route.config.enforce
        && !challenge::may_be_in_body(&route, head, &body)
    {
        return Err(refuse(&head.headers, body, error).await);
    }
    here.next(Claimed { arrival, route, body, claim, now }).await
}

/// The stage after the body has been read: the signature itself.
pub async fn verify<S>(here: Rc<Here<VerifyContext, S>>, buffered: Buffered) -> Result<Response<Body>, Refusal>
where
    S: Service<Verified, Response = Response<Body>, Error = Refusal> + Clone,
{
    let (verdict, at) = check(&here.context.clock, &buffered);
    if let Some(response) = challenge::answer(&buffered, verdict.as_ref().ok()) {
        return Ok(response);
    }
    let authentic = match verdict {
        Ok(authentic) => Some(authentic),
        Err(error) if buffered.route.config.enforce => return Err(error.into()),
        Err(error) => {
            here.context.reporter.report(&here.context.clock, &buffered, error);
            None
        }
    };
    let Buffered { arrival, route, payload, .. } = buffered;
    here.next(Verified { arrival, route, payload, authentic, at }).await
}

/// What is authentic of a delivery, and when that was known.
fn check(clock: &Clock, buffered: &Buffered) -> (Result<Authentic, VerifyError>, Instant) {
    let Buffered { arrival, route, payload, claim, now } = buffered;
    let started = clock.now();
    let claim = match claim {
        Ok(claim) => claim,
        Err(error) => return (Err(*error), started),
    };
    let signed = SignedRequest { head: RequestHead::of(&arrival.head), body: payload.frames() };
    let result = route.config.verifier.verify(claim, &signed, *now);
    let ended = clock.now();
    arrival.trail.verification(Period { start: started, end: ended });
    route.metrics.verification_duration.observe((ended - started).as_secs_f64());
    if let Ok(authentic) = &result
        && let Some(last_match) = route.metrics.last_match.get(authentic.secret)
    {
        last_match.set(now.as_secs_f64());
    }
    (result, ended)
}
