//! The data of a delivery, as it travels from stage to stage.
//!
//! - [`ahead`] reads an upstream's response before the sender takes it.
//! - [`peer`] is the other end of a connection, and the client that it forwards for.
//! - [`request`] is a request whose body has not been read.
//! - [`stages`] has the types that one stage hands to the next.
//! - [`response`] is the response on its way back.
//! - [`timeline`] notes the times and sizes of a delivery, for the log and for traces.
//! - [`trace_context`] is the trace that a delivery belongs to.

pub mod ahead;
pub mod peer;
pub mod request;
pub mod response;
pub mod stages;
pub mod timeline;
pub mod trace_context;
