//! Assembles the tower stack: the one place that says in which order a delivery passes the stages.
//!
//! A stage is an async function; see [`stage`](crate::gateway::stage).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use tower::{BoxError, ServiceBuilder, service_fn};
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::delivery::request::Inbound;
use crate::gateway::body;
use crate::gateway::catch::catch;
use crate::gateway::forward::{ForwardContext, forward};
use crate::gateway::limit::limit;
use crate::gateway::observe::{ObserveContext, observe};
use crate::gateway::problem::panicked;
use crate::gateway::receive::{ArriveContext, arrive};
use crate::gateway::respond::respond;
use crate::gateway::route::{RouteContext, route};
use crate::gateway::stage::{Erased, Stage};
use crate::gateway::verify::{VerifyContext, inspect, verify};
use crate::routing::limits::Budget;

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

/// What serves requests. Always ready: [`Service::poll_ready`](tower::Service::poll_ready) need not be asked.
pub type Stack = Erased<Request<Inbound>, Response<ReplyBody>, Infallible>;

/// The stack, outermost first. Built once a thread and configuration, shared by its requests.
pub fn stack(context: StackContext) -> Stack {
    let sensitive: Arc<[HeaderName]> = context.route.router.signature_headers().into();
    let stages = ServiceBuilder::new()
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
        .layer(Erased::layer())
        // Outside of all that handles a delivery once its route is known, so that a bug costs that delivery alone.
        .layer(Stage::new((), catch))
        // Needs the route; before anything that takes time or memory.
        .layer(Stage::new((), limit))
        // Costs no byte of the body: whoever has no signature is refused before any is read.
        .layer(Stage::new(context.verify.clock.clone(), inspect))
        // The MAC is over the body.
        .layer(Stage::new(context.budget, body::read))
        .layer(Erased::layer())
        // The only maker of what `forward` takes.
        .layer(Stage::new(context.verify, verify))
        .service(service_fn(move |verified| forward(context.forward.clone(), verified)));
    Erased::new(stages)
}
