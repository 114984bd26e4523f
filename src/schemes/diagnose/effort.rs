//! A bound on the number of attempts.

use std::cell::Cell;

/// How much may be tried, in bytes that are hashed.
#[derive(Debug)]
pub struct Effort(pub(super) Cell<u64>);

impl Effort {
    /// For a person who waits for the answer: some seconds.
    pub fn thorough() -> Self {
        Self(Cell::new(512 << 20))
    }

    /// Beside the traffic: some milliseconds.
    pub fn brief() -> Self {
        Self(Cell::new(4 << 20))
    }

    /// `None` if it is used up.
    pub(super) fn spend(&self, bytes: usize) -> Option<()> {
        // The fixed cost of a digest.
        let left = self.0.get().checked_sub(bytes as u64 + 256);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }
}
