//! Where the body of a message ends (RFC 9112 section 6.3).

use http::StatusCode;

use crate::http1::chunked::ChunkedDecoder;

/// Where the rest of a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked(ChunkedDecoder),
    /// With the connection (close-delimited).
    Close,
}

/// Whether a response with this status has no body, whatever its head says (RFC 9112 section 6.3). A response to `HEAD` has
/// none either.
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
