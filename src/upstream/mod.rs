//! One message to one upstream.
//!
//! - [`target`] maps a path to the upstream's.
//! - [`pool`] keeps connections, and sends a request again where a stale one broke off.

pub mod pool;
pub mod target;
