//! The server's end of a connection: requests come in, responses go out.
//!
//! - [`connection`] reads one request after another and writes its response, within its deadlines.
//! - [`state`] is the connection's state machine.
//! - [`request`] parses the head of a request.
//! - [`response`] writes a response.
//! - [`date`] makes the value of `Date`.

pub mod connection;
pub mod date;
pub mod request;
pub mod response;
pub mod state;
