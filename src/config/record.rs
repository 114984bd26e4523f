//! `record` of a route: what is kept of a delivery for people to look at.

/// What is kept of a delivery for people to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Record {
    /// Nothing.
    None,
    /// When it came, from whom, and what became of it.
    #[default]
    Metadata,
    /// Its head and its body too, the body up to the route's `record_body`.
    Full,
}

pub(super) const RECORDS: [(&str, Record); 3] =
    [("none", Record::None), ("metadata", Record::Metadata), ("full", Record::Full)];
pub(super) const DEFAULT_RECORD_BODY: u64 = 64 << 10;

impl Record {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Full => "full",
        }
    }
}
