//! The stages of a delivery, in the order in which [`stack`] assembles them.

pub mod body;
pub mod catch;
pub mod challenge;
pub mod client_addr;
pub mod forward;
pub mod forwarded;
pub mod headers;
pub mod observe;
pub mod receive;
pub mod report;
pub mod respond;
pub mod stack;
pub mod stage;
pub mod verify;
