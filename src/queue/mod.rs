//! The queue: deliveries that the provider has been answered for, and that wait for their upstream.
//!
//! - [`dispatch`] hands the deliveries of a route to its upstream.
//! - [`attempt`] is one attempt, and what follows from it.
//! - [`lane`] is what all threads know of a route's queue.
//! - [`start`] opens the store of a configuration.
//! - [`stored`] is a message as the store keeps it.
//!
//! Pure functions of the time, a random number and what happened:
//!
//! - [`state`] is the table of states and events.
//! - [`retry`] says when a failed delivery is tried again, and when it is given up.
//! - [`circuit`] holds attempts back while an upstream is down.

pub mod attempt;
pub mod circuit;
pub mod dispatch;
pub mod lane;
pub mod retry;
pub mod start;
pub mod state;
pub mod stored;
