//! Sends one message to one upstream, whether the delivery has just arrived or was stored before.
//!
//! - [`message`] is a request without its destination.
//! - [`target`] makes the request target for the upstream.
//! - [`send`] sends a message to its endpoint.
//! - [`redirect`] recognises a handler that redirects.
//! - [`rotation`] says which of several URLs gets a message.
//! - [`signature`] signs a message for the handler.
//! - [`pool`] keeps connections, and sends a request again if a reused connection was stale.

pub mod message;
pub mod pool;
pub mod redirect;
pub mod rotation;
pub mod send;
pub mod signature;
pub mod target;
