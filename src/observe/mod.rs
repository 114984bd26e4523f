//! The access log and the traces, by which operators observe deliveries.
//!
//! - [`access_log`] writes a line for each delivery.
//! - [`log_limit`] limits the rate of log lines.
//! - [`trace`] collects the data of a delivery's spans.
//! - [`otlp`] exports spans.

pub mod access_log;
pub mod log_limit;
pub mod otlp;
pub mod trace;
