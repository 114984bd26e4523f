//! Where the body of a message ends (RFC 9112 section 6.3).

use http::StatusCode;

use crate::http1::chunked::ChunkedDecoder;

/// Where a body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// After so many bytes more.
    Length(u64),
    /// With the last of its chunks.
    Chunked(ChunkedDecoder),
    /// With the connection.
    Close,
}

/// Whether a response with this status has no body, whatever its head says (RFC 9112 section 6.3). One to `HEAD` has none
/// either.
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
