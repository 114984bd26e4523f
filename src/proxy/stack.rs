//! Assembles the tower stack: the one place that says in which order a delivery passes the stages.
//!
//! A stage is an async function that takes its place in the stack, [`Here`], and the delivery as the stage before it made
//! it. [`Stage`] makes a tower layer and service of it, with static types throughout.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use super::arrive::{ArriveContext, arrive};
use super::body;
use super::catch::catch;
use super::delivery::Inbound;
use super::forward::{ForwardContext, forward};
use super::limits::{Budget, limit};
use super::observe::{ObserveContext, observe};
use super::respond::{panicked, respond};
use super::route::{RouteContext, route};
use super::verify::{VerifyContext, inspect, verify};

/// What the stages need of their thread.
pub struct StackContext {
    /// For [`arrive`].
    pub arrive: ArriveContext,
    /// For [`observe`].
    pub observe: ObserveContext,
    /// For the routing stage.
    pub route: RouteContext,
    /// For the stage that reads bodies.
    pub budget: Budget,
    /// For [`verify`].
    pub verify: VerifyContext,
    /// For [`forward`].
    pub forward: ForwardContext,
}

/// The body of every response: boxed by the layer that catches panics.
pub type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;

/// What serves requests. Always ready: [`Service::poll_ready`] need not be asked.
pub trait Stack:
    Service<Request<Inbound>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static
{
}

impl<S> Stack for S where
    S: Service<Request<Inbound>, Response = Response<ReplyBody>, Error = Infallible> + Clone + 'static
{
}

/// The stack, outermost first. Built once a thread and configuration, shared by its requests.
pub fn stack(context: StackContext) -> impl Stack {
    let sensitive: Arc<[HeaderName]> = context.route.router.signature_headers().into();
    ServiceBuilder::new()
        // Before anything could print a header.
        .layer(SetSensitiveRequestHeadersLayer::from_shared(sensitive))
        // Outside of all code of ours, for a bug in the first stages that follow.
        .layer(CatchPanicLayer::custom(panicked))
        // Before anything asks who it is, when it came or which id it has; every response has the id.
        .layer(Stage::new(context.arrive, arrive))
        // Sees what the sender gets, refusals included.
        .layer(Stage::new(context.observe, observe))
        // Inside observe, which wants the reason; outside of all that refuses.
        .layer(Stage::new((), respond))
        // Everything below is counted under its route's name.
        .layer(Stage::new(context.route, route))
        // Outside of all that handles a delivery once its route is known, so that a bug costs that delivery alone.
        .layer(Stage::new((), catch))
        // Needs the route; before anything that takes time or memory.
        .layer(Stage::new((), limit))
        // Costs no byte of the body: whoever has no signature is refused before any is read.
        .layer(Stage::new(context.verify.clock.clone(), inspect))
        // The MAC is over the body.
        .layer(Stage::new(context.budget, body::read))
        // The only maker of what `forward` takes.
        .layer(Stage::new(context.verify, verify))
        .service(service_fn(move |verified| forward(context.forward.clone(), verified)))
}

/// Where a stage is: what it needs of its thread, and the rest of the stack.
///
/// Shared by all requests that are on their way through the stage: the future of each holds one reference, whatever is
/// below it.
pub struct Here<C, S> {
    /// What the stage needs of its thread.
    pub context: C,
    next: S,
}

/// An async function as a layer: `stage(here, delivery)`.
struct Stage<C, F> {
    context: C,
    stage: F,
}

/// A [`Stage`] in its place.
struct Staged<C, F, S> {
    here: Rc<Here<C, S>>,
    stage: F,
}

impl<C, S> Here<C, S> {
    /// A stage's place, with `next` as the rest of the stack.
    pub fn new(context: C, next: S) -> Rc<Self> {
        Rc::new(Self { context, next })
    }

    /// Hands a delivery on. Nothing below has to be waited for first: every service of the stack is always ready.
    pub fn next<Delivery>(&self, delivery: Delivery) -> S::Future
    where
        S: Service<Delivery> + Clone,
    {
        self.next.clone().call(delivery)
    }
}

impl<C, F> Stage<C, F> {
    fn new(context: C, stage: F) -> Self {
        Self { context, stage }
    }
}

impl<C: Clone, F: Clone, S> Layer<S> for Stage<C, F> {
    type Service = Staged<C, F, S>;

    fn layer(&self, next: S) -> Self::Service {
        Staged { here: Here::new(self.context.clone(), next), stage: self.stage.clone() }
    }
}

impl<C, F: Clone, S> Clone for Staged<C, F, S> {
    fn clone(&self) -> Self {
        Self { here: self.here.clone(), stage: self.stage.clone() }
    }
}

impl<C, F, S, Delivery, Fut, Response, Error> Service<Delivery> for Staged<C, F, S>
where
    F: Fn(Rc<Here<C, S>>, Delivery) -> Fut,
    Fut: Future<Output = Result<Response, Error>>,
{
    type Response = Response;
    type Error = Error;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Fut {
        (self.stage)(self.here.clone(), delivery)
    }
}
