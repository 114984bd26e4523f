//! Decides what becomes of a queued delivery: pure functions of the time, a random number and what happened.
//!
//! - [`state`] is the table of states and events.
//! - [`retry`] says when a failed delivery is tried again, and when it is given up.
//! - [`circuit`] holds attempts back while an upstream is down.

pub mod circuit;
pub mod retry;
pub mod state;
