//! The data of a delivery, as it travels from stage to stage.

pub mod stages;
pub mod timeline;
