//! Assembles the tower stack: the one place that says in which order a delivery passes the stages.
//!
//! A stage is an async function; see [`stage`](super::stage).

use std::sync::Arc;

use http::{HeaderName, Request};
use tower::{ServiceBuilder, service_fn};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use super::body;
use super::catch::{CatchAll, catch};
use super::dedupe::{DedupeContext, dedupe};
use super::enqueue::{EnqueueContext, enqueue};
use super::forward::{ForwardContext, forward};
use super::limit::limit;
use super::observe::{ObserveContext, observe};
use super::receive::{ReceiveContext, receive};
use super::respond::respond;
use super::route::{RouteContext, route};
use super::stage::{Erased, Stage};
use super::verify::{VerifyContext, inspect, verify};
use crate::delivery::request::Inbound;
use crate::routing::limits::Budget;

/// What the stages need of their thread.
pub struct StackContext {
    /// For [`receive`].
    pub receive: ReceiveContext,
    /// For [`observe`].
    pub observe: ObserveContext,
    /// For the routing stage.
    pub route: RouteContext,
    /// For the stage that reads bodies.
    pub budget: Budget,
    /// For [`verify`].
    pub verify: VerifyContext,
    /// For [`dedupe`].
    pub dedupe: DedupeContext,
    /// For [`enqueue`].
    pub enqueue: EnqueueContext,
    /// For [`forward`].
    pub forward: ForwardContext,
}

/// What serves requests. Always ready: [`Service::poll_ready`](tower::Service::poll_ready) need not be asked.
pub type Stack = CatchAll<Request<Inbound>>;

/// The stack, outermost first. Built once a thread and configuration, shared by its requests.
pub fn stack(context: StackContext) -> Stack {
    let sensitive: Arc<[HeaderName]> = context.route.router.signature_headers().into();
    ServiceBuilder::new()
        // Outside of all stages: it answers a request on which a stage outside of `catch` panics.
        .layer(CatchAll::layer())
        // Before anything could print a header.
        .layer(SetSensitiveRequestHeadersLayer::from_shared(sensitive))
        // Before anything asks who sent it, when it came or which id it has; every response has the id.
        .layer(Stage::new(context.receive, receive))
        // Sees what the sender gets, refusals included.
        .layer(Stage::new(context.observe, observe))
        // Inside observe, which counts the reason; outside of every stage that refuses.
        .layer(Stage::new((), respond))
        // Everything below is counted under its route's name.
        .layer(Stage::new(context.route, route))
        .layer(Erased::layer())
        // Outside of every stage that knows the route, so that a panic fails only that delivery, and is counted and logged as
        // its refusal.
        .layer(Stage::new((), catch))
        // Needs the route; before anything that takes time or memory.
        .layer(Stage::new(context.budget.clone(), limit))
        // Costs no byte of the body: a sender without a signature is refused before any is read.
        .layer(Stage::new(context.budget.clone(), inspect))
        // The MAC is over the body.
        .layer(Stage::new(context.budget, body::read))
        // The only maker of what `forward` takes.
        .layer(Stage::new(context.verify, verify))
        // Looks up only what has verified. The reservation of a key lasts until the handler has answered.
        .layer(Stage::new(context.dedupe, dedupe))
        // Commits a delivery with its key; a route in proxy mode passes through.
        .layer(Stage::new(context.enqueue, enqueue))
        .layer(Erased::layer())
        .service(service_fn(move |verified| forward(context.forward.clone(), verified)))
}
