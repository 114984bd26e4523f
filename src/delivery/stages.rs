//! What a delivery is at each stage of its way: [`Received`] → [`Routed`] → [`Inspected`] → [`Buffered`] → `Verified`.
//!
//! Each stage takes the type that the one before it makes, so a wrong order of stages does not compile. `Verified`
//! is in [`verify`](crate::gateway::verify), for only that module can make one.

use std::rc::Rc;
use std::time::Duration;

use crate::delivery::request::{RequestBody, RequestInfo};
use crate::http1::payload::Payload;
use crate::routing::table::Route;
use crate::schemes::{Asked, Claim, VerifyError};

/// A request that matches a route, its body not yet read.
pub struct Routed {
    /// Its head.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// The challenge that the head is, if it is one: then the request is no delivery.
    pub asked: Option<Asked>,
}

/// A request whose signature header has been looked at, its body not yet read.
pub struct Inspected {
    /// Its head.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// What the signature header claims. An error goes on only where the route does not enforce, or where the body may
    /// be a challenge that needs no signature.
    pub claim: Result<Claim, VerifyError>,
    /// When the head had come: the time by which a signed time is judged, since 1970-01-01T00:00:00Z.
    pub now: Duration,
}

/// A request with its whole body in memory.
pub struct Buffered {
    /// Its head.
    pub info: Rc<RequestInfo>,
    /// The route.
    pub route: Rc<Route>,
    /// The bytes of its body.
    pub payload: Payload,
    /// As in [`Inspected`].
    pub claim: Result<Claim, VerifyError>,
    /// As in [`Inspected`].
    pub now: Duration,
}
