//! What must hold for any input. Fuzz targets look for one for which it does not; the tests run the corpora
//! (`tests/it/corpora.rs`), so that what was found stays fixed without nightly and libFuzzer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a violation should end the run")]

/// The text of gateway.yaml.
pub mod configuration;
/// Whole connections through a running gateway.
pub mod requests;
/// Signature headers by each scheme's grammar.
pub mod signatures;
