//! What must hold for any input. The fuzz targets look for an input that breaks it; the tests run the corpora
//! (`tests/it/corpora.rs`), so that what was found stays fixed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a violation should end the run")]

/// The chunked transfer coding against a reference.
pub mod chunked;
/// The text of gateway.yaml.
pub mod configuration;
/// The server's HTTP/1.1 against hyper's.
pub mod differential;
/// A request's head in pieces against the whole.
pub mod head_splits;
/// What the HTTP/1.1 targets share.
mod messages;
/// Bodies of `multipart/form-data`.
pub mod multipart;
/// Whole connections through a running gateway.
pub mod requests;
/// A response's head in pieces against the whole, and its body against hyper's client.
pub mod response_head;
/// Signature headers by each scheme's grammar.
pub mod signatures;
