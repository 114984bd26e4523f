//! End-to-end tests: the real binary over real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

/// Handlers in other languages behind the gateway, each checking the signature again itself.
mod handlers;

/// The documentation against the code.
mod docs;
