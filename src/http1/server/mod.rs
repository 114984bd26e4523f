//! The server's end of a connection: requests come in, responses go out.
//!
//! - [`connection`] reads one request after another, within its deadlines.
//! - [`request`] parses the head of a request.
//! - [`response`] writes a response.
//! - [`date`] makes the value of `Date`.

pub mod connection;
pub mod date;
pub mod request;
pub mod response;
