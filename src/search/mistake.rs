//! What is wrong with a text of the search language.

use std::fmt;

/// What is wrong with a text, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where it begins: bytes from the start of the text.
    pub at: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.message)
    }
}

impl std::error::Error for Mistake {}
