//! Lets on only what its signature verifies; the one maker of [`Verified`].
//!
//! In two steps, so that nothing is read for a sender who has no signature: [`inspect`] looks at the header before the
//! body is read, [`verify`] at both. Refuses with the reasons of [`VerifyError`].
//!
//! On a route with `enforce: false` nothing is refused: what would have been is counted, logged at a bounded rate and
//! forwarded with `Hooklatch-Verified: false`.
//!
//! Does not protect against replays: a delivery that was captured verifies again, unless its scheme signs a time.

use std::rc::Rc;

use http::Response;
use http::request::Parts;
use tower::Service;

use super::body::refuse;
use super::delivery::{Buffered, Claimed, Payload, Peer, Routed};
use super::observe::LogLimit;
use super::reject::{Refusal, Reject};
use super::respond::Body;
use super::route::Route;
use super::stack::Here;
use crate::clock::Clock;
use crate::schemes::{Authentic, RequestHead, SignedRequest, VerifyError};

/// A delivery that may go to the upstream.
pub struct Verified {
    route: Rc<Route>,
    peer: Rc<Peer>,
    head: Box<Parts>,
    payload: Payload,
    authentic: Option<Authentic>,
}

impl Verified {
    /// The route, the sender, the request's head and body, and what was authenticated: nothing, on a route that only
    /// reports.
    pub fn into_parts(self) -> (Rc<Route>, Rc<Peer>, Box<Parts>, Payload, Option<Authentic>) {
        (self.route, self.peer, self.head, self.payload, self.authentic)
    }
}

/// What the verifying stage needs of its thread.
#[derive(Clone)]
pub struct VerifyContext {
    /// For durations and the time of the last match.
    pub clock: Clock,
    /// Bounds the lines about routes that do not enforce.
    pub log_limit: Rc<LogLimit>,
}

/// The stage before the body is read: the signature's presence and format, the signed time, and tokens.
pub async fn inspect<S>(here: Rc<Here<Clock, S>>, routed: Routed) -> Result<Response<Body>, Refusal>
where
    S: Service<Claimed, Response = Response<Body>, Error = Refusal> + Clone,
{
    let Routed { route, peer, head, body } = routed;
    let claim = route.config.verifier.inspect(RequestHead::of(&head), here.context.unix());
    if let Err(error) = claim
        && route.config.enforce
    {
        return Err(refuse(&head.headers, body, error).await);
    }
    here.next(Claimed { route, peer, head, body, claim }).await
}

/// The stage after the body has been read: the signature itself.
pub async fn verify<S>(here: Rc<Here<VerifyContext, S>>, buffered: Buffered) -> Result<Response<Body>, Refusal>
where
    S: Service<Verified, Response = Response<Body>, Error = Refusal> + Clone,
{
    let authentic = match check(&here.context.clock, &buffered) {
        Ok(authentic) => Some(authentic),
        Err(error) if buffered.route.config.enforce => return Err(error.into()),
        Err(error) => {
            report(&here.context, &buffered.route, error);
            None
        }
    };
    let Buffered { route, peer, head, payload, .. } = buffered;
    here.next(Verified { route, peer, head, payload, authentic }).await
}

fn check(clock: &Clock, buffered: &Buffered) -> Result<Authentic, VerifyError> {
    let Buffered { route, head, payload, claim, .. } = buffered;
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

fn report(context: &VerifyContext, route: &Route, error: VerifyError) {
    let reject = Reject::from(error);
    route.metrics.observe.rejection(reject);
    if let Some(suppressed) = context.log_limit.admit(context.clock.now()) {
        tracing::warn!(
            route = route.config.name,
            scheme = route.config.scheme.name,
            reason = reject.reason(),
            suppressed,
            "forwarding a delivery that does not verify, as enforce is false"
        );
    }
}
