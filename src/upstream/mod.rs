//! One message to one upstream.

pub mod pool;
