//! What is kept of a delivery for people to look at.
//!
//! - [`details`] is what the store keeps of it beside its summary, its head and its body.

pub mod details;
