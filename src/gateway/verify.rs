//! Verifies the signature. Only this module makes a [`Verified`], and only a `Verified` reaches the upstream.
//!
//! It takes two steps, so that no body is read for a sender without a signature: [`inspect`] checks the header before the body
//! is read, [`verify`] checks header and body. Both refuse with the reasons of [`VerifyError`].
//!
//! A route with `enforce: false` refuses nothing here: a delivery that does not verify is
//! [reported](crate::gateway::report) and forwarded with `Hooklatch-Verified: false`.
//!
//! A [`challenge`] is answered where it is recognised, and is not forwarded: by [`inspect`] if the head is the challenge, by
//! [`verify`] if a signed challenge has verified, or if an unsigned one has no signature.
//!
//! This is no protection against replays: a captured delivery verifies again, unless its scheme signs a time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tower::Service;

use crate::clock::Clock;
use crate::delivery::request::RequestInfo;
use crate::delivery::response::{Completed, StageResult};
use crate::delivery::stages::{Buffered, Inspected, Routed};
use crate::delivery::timeline::Period;
use crate::gateway::capture::refuse;
use crate::gateway::challenge;
use crate::gateway::report::Reporter;
use crate::gateway::stage::Next;
use crate::http1::payload::Payload;
use crate::reject::Refusal;
use crate::routing::limits::Budget;
use crate::routing::table::{Route, RouteShared};
use crate::schemes::{Authentic, RequestHead, SignedRequest, VerifyError};

/// A delivery that may go to the upstream. Only this file can make one.
pub struct Verified {
    info: Rc<RequestInfo>,
    route: Rc<Route>,
    payload: Payload,
    authentic: Option<Authentic>,
    at: Instant,
}

impl Verified {
    /// The request's head, and the facts that earlier stages have noted.
    pub fn info(&self) -> &RequestInfo {
        &self.info
    }

    /// The part of its route that all threads share.
    pub fn route(&self) -> &RouteShared {
        &self.route.shared
    }

    /// Its route as this thread holds it.
    pub fn own_route(&self) -> &Route {
        &self.route
    }

    /// The bytes of its body.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The authenticated facts; `None` on a route with `enforce: false` if no signature verified.
    pub fn authentic(&self) -> Option<&Authentic> {
        self.authentic.as_ref()
    }

    /// What a message is made of.
    pub fn proven(&self) -> Proven<'_> {
        let secret = self.authentic.as_ref().map(|authentic| authentic.secret);
        Proven { route: &self.route.shared, info: &self.info, payload: &self.payload, secret }
    }

    /// When the check of the signature ended.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The route as this worker thread holds it, and the request.
    pub fn into_route_and_info(self) -> (Rc<Route>, Rc<RequestInfo>) {
        (self.route, self.info)
    }
}

/// A delivery that has been verified, as far as a message is made of it. Only this file can make one.
pub struct Proven<'a> {
    route: &'a RouteShared,
    info: &'a RequestInfo,
    payload: &'a Payload,
    secret: Option<usize>,
}

/// Why a recorded request may not be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotProven {
    /// Its signature does not verify.
    Signature(VerifyError),
    /// It is an endpoint's challenge, which the gateway answers itself.
    Challenge,
}

impl<'a> Proven<'a> {
    /// Its route.
    pub fn route(&self) -> &'a RouteShared {
        self.route
    }

    /// The request's head, and the facts about it.
    pub fn info(&self) -> &'a RequestInfo {
        self.info
    }

    /// The bytes of its body.
    pub fn payload(&self) -> &'a Payload {
        self.payload
    }

    /// The position of the secret that verified it; `None` on a route with `enforce: false` if none did.
    pub fn secret(&self) -> Option<usize> {
        self.secret
    }
}

/// The values of the worker thread that the verifying stage uses.
#[derive(Clone)]
pub struct VerifyContext {
    /// Measures durations, and reads the time of a secret's last match.
    pub clock: Clock,
    /// Reports deliveries that do not verify on routes with `enforce: false`.
    pub reporter: Reporter,
}

/// The stage before the body is read: the signature's presence and format, the signed time, and tokens.
pub async fn inspect<S>(next: Rc<Next<Budget, S>>, routed: Routed) -> StageResult
where
    S: Service<Inspected, Response = Completed, Error = Refusal> + Clone,
{
    let Routed { info, route, body, asked } = routed;
    let head = &info.head;
    if let Some(asked) = asked {
        return Ok(challenge::answer_head(&route, head, body, &asked).await);
    }
    let claim = route.shared.config.verifier.inspect(RequestHead::of(head), info.received_unix);
    if let Err(error) = claim
        && route.shared.config.enforce
        && !challenge::may_be_in_body(&route, head, &body)
    {
        return Err(refuse(&next.context, &info, &route, body, error).await);
    }
    next.run(Inspected { info, route, body, claim }).await
}

/// The stage after the body has been read: the signature itself.
pub async fn verify<S>(next: Rc<Next<VerifyContext, S>>, buffered: Buffered) -> StageResult
where
    S: Service<Verified, Response = Completed, Error = Refusal> + Clone,
{
    let (verdict, at) = check(&next.context.clock, &buffered);
    if let Some(response) = challenge::answer(&buffered, verdict.as_ref().ok()) {
        return Ok(response);
    }
    let authentic = match verdict {
        Ok(authentic) => Some(authentic),
        Err(error) if buffered.route.shared.config.enforce => return Err(error.into()),
        Err(error) => {
            next.context.reporter.report(&next.context.clock, &buffered, error);
            None
        }
    };
    let Buffered { info, route, payload, .. } = buffered;
    next.run(Verified { info, route, payload, authentic, at }).await
}

/// Verifies a recorded request with the secrets of `route`, as of `now`, the time since 1970-01-01T00:00:00Z. Without a body,
/// only its head; `Ok(None)` then means that nothing speaks against it so far.
///
/// # Errors
/// [`NotProven`].
pub fn recorded<'a>(
    route: &'a RouteShared,
    info: &'a RequestInfo,
    payload: Option<&'a Payload>,
    now: Duration,
) -> Result<Option<Proven<'a>>, NotProven> {
    let (verifier, head) = (&route.config.verifier, RequestHead::of(&info.head));
    let challenges = verifier.challenges();
    if challenges.is_some_and(|challenges| challenges.in_head(head).is_some()) {
        return Err(NotProven::Challenge);
    }
    let claim = verifier.inspect(head, now);
    let Some(payload) = payload else { return claim.map(|_| None).map_err(NotProven::Signature) };
    let request = SignedRequest { head, body: payload.frames() };
    let verdict = claim.and_then(|claim| verifier.verify(&claim, &request, now));
    let asked = challenges.and_then(|challenges| match verdict {
        Ok(_) => challenges.verified(&request),
        Err(_) => challenges.unsigned(&request),
    });
    if asked.is_some() {
        return Err(NotProven::Challenge);
    }
    let secret = Some(verdict.map_err(NotProven::Signature)?.secret);
    Ok(Some(Proven { route, info, payload, secret }))
}

/// The authenticated facts of a delivery, or why there are none; and when the check ended.
fn check(clock: &Clock, buffered: &Buffered) -> (Result<Authentic, VerifyError>, Instant) {
    let Buffered { info, route, payload, claim } = buffered;
    let started = clock.now();
    let claim = match claim {
        Ok(claim) => claim,
        Err(error) => return (Err(*error), started),
    };
    let signed = SignedRequest { head: RequestHead::of(&info.head), body: payload.frames() };
    let result = route.shared.config.verifier.verify(claim, &signed, info.received_unix);
    let ended = clock.now();
    let period = Period::between(started, ended);
    info.timeline.verification(period);
    route.shared.metrics.verification_duration.observe(period.length.as_secs_f64());
    if let Ok(authentic) = &result {
        info.timeline.verified_by(authentic.secret);
        if let Some(last_match) = route.shared.metrics.last_match.get(authentic.secret) {
            last_match.set(info.received_unix.as_secs_f64());
        }
    }
    (result, ended)
}
