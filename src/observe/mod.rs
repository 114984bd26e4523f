//! What operators are told of deliveries.
//!
//! - [`access_log`] writes a line for each delivery.
//! - [`log_limit`] bounds lines in the log.
//! - [`trace`] collects what the spans of a delivery say.
//! - [`otlp`] exports spans.

pub mod access_log;
pub mod log_limit;
pub mod otlp;
pub mod trace;
