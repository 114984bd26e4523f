//! The routes as they run.
//!
//! - [`table`] finds a route by path and host.
//! - [`limits`] bounds what is in flight, over all threads.
//! - [`rate`] bounds requests a second.
//! - [`route_headers`] has the field lines that a route adds.
//! - [`diagnose_limit`] bounds how often failures are diagnosed.

pub mod diagnose_limit;
pub mod limits;
pub mod rate;
pub mod route_headers;
pub mod table;
