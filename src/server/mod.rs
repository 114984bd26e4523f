//! The public listener: accepts connections and serves HTTP/1.1 or HTTP/2 on them.
//!
//! - [`listener`] accepts connections, as many as may be open.
//! - [`handshake`] reads the PROXY protocol's header and performs the TLS handshake.
//! - [`h1`] serves HTTP/1.1 on a connection.
//! - [`h2`] serves HTTP/2 on a connection.
//! - [`untaken`] bounds what senders of HTTP/2 do not take.
//! - [`refuse`] answers connections that carry no request the stages could handle.
//! - [`current`] holds the configuration that a reload replaces.

pub mod current;
pub mod h1;
pub mod h2;
pub mod handshake;
pub mod listener;
pub mod refuse;
pub mod untaken;
