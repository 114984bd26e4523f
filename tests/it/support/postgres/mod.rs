//! Real PostgreSQL servers: each in a folder of its own, on a free port, behind a [`Proxy`] by which a test
//! cuts, stalls or slows what passes between a gateway and its database.
//!
//! The programs are those of Debian's package `postgresql`, which `scripts/test` installs. PostgreSQL refuses to run as
//! root; started by root, it runs as the user that the package makes.
//!
//! A server ends with its value, and with the process of the tests however that ends: a guard watches a pipe of the test
//! process, ends the server and removes its folder. So [`Server::shared`] may stand in a static.

mod programs;
mod proxy;
mod server;

pub use proxy::Proxy;
pub use server::{Server, url};
