//! The type of a delivery between each two stages:
//! [`Received`](crate::delivery::request::Received) → [`Routed`] → [`Inspected`] → [`Buffered`] → `Verified`.
//!
//! Each stage takes the type that the previous one makes, so stages in a wrong order do not compile. `Verified` is in
//! [`verify`](crate::gateway::verify), because only that module may make one.

use std::rc::Rc;

use crate::delivery::request::{RequestBody, RequestInfo};
use crate::http1::payload::Payload;
use crate::routing::table::Route;
use crate::schemes::{Asked, Claim, VerifyError};

/// A request that matches a route.
pub struct Routed {
    /// The head and the facts about the request.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// The body; nothing of it has been read.
    pub body: RequestBody,
    /// The challenge in the head. If there is one, the request is not a delivery.
    pub asked: Option<Asked>,
}

/// A request whose signature header has been checked.
pub struct Inspected {
    /// The head and the facts about the request.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// The body; nothing of it has been read.
    pub body: RequestBody,
    /// The claim of the signature header. It is an error only on a route with `enforce: false`, or if the body may be a
    /// challenge that needs no signature; then no more of it is read than a challenge can have.
    pub claim: Result<Claim, VerifyError>,
}

/// A request with its whole body in memory.
pub struct Buffered {
    /// The head and the facts about the request.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// The body.
    pub payload: Payload,
    /// The claim of the signature header, as in [`Inspected`].
    pub claim: Result<Claim, VerifyError>,
}
