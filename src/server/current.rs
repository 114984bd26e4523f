//! The configuration that one thread serves. A reload replaces it as a whole.
//!
//! A connection holds a clone of [`Current`], not the value in it. So a request after a reload is served by the new
//! configuration, even on a connection that was open before; a request before the reload ends with the old one.

use std::cell::RefCell;
use std::rc::Rc;

use super::handshake::Handshake;
use crate::config::{self, AccessLog};
use crate::gateway::stack::Stack;
use crate::http1::server::connection::ConnectionLimits;

/// A value that can be replaced while it is in use. Clones share it.
pub struct Current<T>(Rc<RefCell<Rc<T>>>);

/// One configuration, as a thread serves it.
pub struct Serving {
    /// The stages.
    pub stack: Stack,
    /// The PROXY protocol and TLS settings of new connections.
    pub handshake: Handshake,
    /// The time and size limits of a connection.
    pub limits: ConnectionLimits,
    /// The most connections that may be open, over all threads.
    pub max_connections: u32,
    /// `server.access_log`: the deliveries that get a line.
    pub access_log: AccessLog,
}

impl<T> Current<T> {
    /// `value`, until it is replaced.
    pub fn new(value: T) -> Self {
        Self(Rc::new(RefCell::new(Rc::new(value))))
    }

    /// The current value.
    pub fn get(&self) -> Rc<T> {
        self.0.borrow().clone()
    }

    /// Replaces the value.
    pub fn replace(&self, value: T) {
        // The old value is dropped after the borrow has ended, because its drop may run any code.
        let before = self.0.replace(Rc::new(value));
        drop(before);
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Serving {
    /// `stack` and `handshake` with the limits of `server`.
    pub fn new(server: &config::Server, stack: Stack, handshake: Handshake) -> Self {
        let limits = ConnectionLimits {
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            max_header_bytes: usize::try_from(server.max_header_bytes).unwrap_or(usize::MAX),
        };
        Self { stack, handshake, limits, max_connections: server.max_connections, access_log: server.access_log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_made_before_a_replacement_sees_the_new_value_and_one_in_use_stays_the_old() {
        let current = Current::new(1);
        let clone = current.clone();
        let in_use = clone.get();
        current.replace(2);
        assert_eq!((*in_use, *clone.get()), (1, 2));
    }
}
