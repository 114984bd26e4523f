//! The client's end of a connection: requests go out, responses come in.
//!
//! - [`connection`] sends one request after another and reads its response.
//! - [`state`] is the connection's state machine.
//! - [`request`] writes a request.
//! - [`response`] parses the head of a response.

pub mod connection;
pub mod request;
pub mod response;
pub mod state;
