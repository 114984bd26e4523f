//! What operators are told of deliveries: lines in the log, traces.

pub mod access_log;
pub mod otlp;
pub mod trace;
