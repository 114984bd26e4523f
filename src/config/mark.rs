//! Marks: they show whether two contents are equal without keeping the contents.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// A keyed hash of a content. The process chooses the key at random when it starts, so marks of two processes differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        Self(KEY.get_or_init(RandomState::new).hash_one(bytes))
    }
}

/// Redacted: a mark can be that of a secret.
impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(redacted)")
    }
}
