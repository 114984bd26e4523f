//! Lets on only what its signature verifies; the one maker of [`Verified`].
//!
//! In two steps, so that nothing is read for a sender who has no signature: [`inspect`] looks at the header before the
//! body is read, [`verify`] at both. Refuses with the reasons of [`VerifyError`].
//!
//! On a route with `enforce: false` nothing is refused: what would have been is [reported](super::report) and forwarded
//! with `Hooklatch-Verified: false`.
//!
//! A [`challenge`] is answered where it is found, and goes no further: by [`inspect`] if the head is one, by [`verify`] if
//! one that is signed has verified, or if one that need not be has not.
//!
//! Does not protect against replays: a delivery that was captured verifies again, unless its scheme signs a time.

use std::rc::Rc;

use http::Response;
use http::request::Parts;
use tower::{Service, ServiceExt};

use super::body::refuse;
use super::challenge;
use super::delivery::{Buffered, Claimed, Payload, Routed};
use super::reject::Refusal;
use super::report::Reporter;
use super::respond::Body;
use super::route::Route;
use crate::clock::Clock;
use crate::schemes::{Authentic, RequestHead, SignedRequest, VerifyError};

/// A delivery that may go to the upstream.
pub struct Verified {
    route: Rc<Route>,
    head: Box<Parts>,
    payload: Payload,
    authentic: Option<Authentic>,
}

impl Verified {
    /// The route, the request's head and body, and what was authenticated: nothing, on a route that only reports.
    pub fn into_parts(self) -> (Rc<Route>, Box<Parts>, Payload, Option<Authentic>) {
        (self.route, self.head, self.payload, self.authentic)
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
pub async fn inspect<S>(clock: Clock, next: S, routed: Routed) -> Result<Response<Body>, Refusal>
where
    S: Service<Claimed, Response = Response<Body>, Error = Refusal>,
{
    let Routed { route, head, body, asked } = routed;
    if let Some(asked) = asked {
        return Ok(challenge::answer_head(&route, &head, body, &asked).await);
    }
    let claim = route.config.verifier.inspect(RequestHead::of(&head), clock.unix());
    if let Err(error) = claim
        && route.config.enforce
        && !challenge::may_be_in_body(&route, &head, &body)
    {
        return Err(refuse(&head.headers, body, error).await);
    }
    next.oneshot(Claimed { route, head, body, claim }).await
}

/// The stage after the body has been read: the signature itself.
pub async fn verify<S>(context: VerifyContext, next: S, buffered: Buffered) -> Result<Response<Body>, Refusal>
where
    S: Service<Verified, Response = Response<Body>, Error = Refusal>,
{
    let verdict = check(&context.clock, &buffered);
    if let Some(response) = challenge::answer(&buffered, verdict.as_ref().ok()) {
        return Ok(response);
    }
    let authentic = match verdict {
        Ok(authentic) => Some(authentic),
        Err(error) if buffered.route.config.enforce => return Err(error.into()),
        Err(error) => {
            context.reporter.report(&context.clock, &buffered, error);
            None
        }
    };
    let Buffered { route, head, payload, .. } = buffered;
    next.oneshot(Verified { route, head, payload, authentic }).await
}

fn check(clock: &Clock, buffered: &Buffered) -> Result<Authentic, VerifyError> {
    let Buffered { route, head, payload, claim } = buffered;
    let claim = claim.as_ref().map_err(|error| *error)?;
    let started = clock.now();
    let signed = SignedRequest { head: RequestHead::of(head), body: payload.frames() };
    let result = route.config.verifier.verify(claim, &signed, clock.unix());
    route.metrics.verification_duration.observe((clock.now() - started).as_secs_f64());
    if let Ok(authentic) = &result
        && let Some(last_match) = route.metrics.last_match.get(authentic.secret)
    {
        last_match.set(clock.unix().as_secs_f64());
    }
    result
}
