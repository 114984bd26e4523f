//! HTTP/1.1 (RFC 9112), for both ends of the gateway: one reader and one writer, strict about what can be read in two ways.
//!
//! Knows sockets and the clock, and nothing of the gateway. [README.md](https://github.com/hooklatch/hooklatch/blob/main/src/http1/README.md)
//! beside this file has the state machines as tables.
//!
//! - [`body_length`] says where the body of a message ends.
//! - [`chunked`] follows the chunked transfer coding.
//! - [`field`] reads field lines about the connection and the message.
//! - [`head`] writes field lines.
//! - [`payload`] is a body in memory.
//! - [`reader`] holds the bytes that have been read, as they come.
//! - [`server`] reads requests and writes responses.
//! - [`client`] writes requests and reads responses.

pub mod body_length;
pub mod chunked;
pub mod client;
pub mod field;
pub mod head;
pub mod payload;
pub mod reader;
pub mod server;
