//! One message to one upstream: the same for a delivery that is forwarded at once and for one that has waited.
//!
//! - [`message`] is a request, apart from where it goes.
//! - [`target`] maps a request target to the upstream's.
//! - [`send`] sends a message to its endpoint.
//! - [`pool`] keeps connections, and sends a request again where a stale one broke off.

pub mod message;
pub mod pool;
pub mod send;
pub mod target;
