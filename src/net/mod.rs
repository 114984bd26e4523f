//! Connections below HTTP: TCP, TLS, the PROXY protocol, deadlines.
//!
//! - [`tcp`] is a connection of TCP, and a listener.
//! - [`socket`] is a connection with or without TLS.
//! - [`connect`] resolves a name and connects to it.
//! - [`tls`] makes rustls' configurations.
//! - [`proxy_protocol`] reads the header of the PROXY protocol.
//! - [`close`] closes a connection so that its peer reads the last bytes.
//! - [`timer`] is a timer for a deadline that keeps moving.

use std::time::Duration;

pub mod close;
pub mod connect;
pub mod proxy_protocol;
pub mod socket;
pub mod tcp;
pub mod timer;
pub mod tls;

/// The pause after a failed accept, for example when there are too many open files.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
