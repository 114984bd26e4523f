//! HTTP/1.1 (RFC 9112) for both ends of the gateway. Refuses messages that could be read in two ways.
//!
//! Knows sockets and the clock, and nothing of webhooks. [README.md](https://github.com/hooklatch/hooklatch/blob/main/src/http1/README.md)
//! beside this file has the state machines as tables, and
//! what is refused.
//!
//! - [`as_sent`] has the field lines of a request as its sender wrote them.
//! - [`body_length`] says where the body of a message ends.
//! - [`chunked`] decodes the chunked transfer coding.
//! - [`field`] reads field lines.
//! - [`head`] writes field lines.
//! - [`payload`] is a body in memory.
//! - [`reader`] reads messages from a connection.
//! - [`server`] reads requests and writes responses.
//! - [`client`] writes requests and reads responses.

pub mod as_sent;
pub mod body_length;
pub mod chunked;
pub mod client;
pub mod field;
pub mod head;
pub mod payload;
pub mod reader;
pub mod server;
