//! The routes at run time.
//!
//! - [`table`] finds a route by path and host.
//! - [`capture`] has the bodies of refused requests recorded for a time.
//! - [`copies`] has copies of deliveries for those who listen.
//! - [`last_host`] reuses a host that comes again.
//! - [`limits`] limits deliveries in flight, request rates and memory, over all threads.
//! - [`rate`] limits requests a second.
//! - [`route_headers`] has the field lines that a route adds to each request.
//! - [`diagnose_limit`] limits how often failed deliveries are diagnosed.

pub mod capture;
pub mod copies;
pub mod diagnose_limit;
pub mod last_host;
pub mod limits;
pub mod rate;
pub mod route_headers;
pub mod table;
