//! The data of a delivery, as it travels from stage to stage.
//!
//! - [`peer`] is who sent a request.
//! - [`request`] is a request whose body has not been read.
//! - [`stages`] has the types that one stage hands to the next.
//! - [`response`] is the response on its way back.
//! - [`timeline`] notes what happened when, for the log and for traces.
//! - [`trace_context`] is the trace that a delivery belongs to.

pub mod peer;
pub mod request;
pub mod response;
pub mod stages;
pub mod timeline;
pub mod trace_context;
