//! HTTP/1.1 (RFC 9112), for both ends of the gateway: one reader and one writer, strict about what can be read in two ways.
//!
//! Knows sockets and the clock, and nothing of the gateway. [README.md](https://github.com/hooklatch/hooklatch/blob/main/src/http1/README.md)
//! beside this file has the state machines as tables.
//!
//! - [`chunked`] follows the chunked transfer coding.
//! - [`head`] writes field lines.
//! - [`reader`] holds the bytes that have been read, and knows where the body of a message ends.
//! - [`server`] reads requests and writes responses.
//! - [`client`] writes requests and reads responses.

pub mod chunked;
pub mod client;
pub mod head;
pub mod reader;
pub mod server;
