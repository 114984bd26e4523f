//! What is kept of a delivery for people to look at.
//!
//! - [`recorder`] makes the record of a delivery that has ended.
//! - [`kept`] says what stays of bodies, and of queued deliveries.
//! - [`shown`] says what people may see of a stored body.
//! - [`redact`] takes secrets out of all of it.

pub mod kept;
pub mod recorder;
pub mod redact;
pub mod shown;
