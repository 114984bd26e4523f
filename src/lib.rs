//! hooklatch: a webhook gateway that lets in what a provider signed, and nothing else.
//!
//! # Life of a delivery
//!
//! A provider POSTs a webhook. [`server::listener`] accepts the connection on one of the worker threads,
//! each with a runtime, a listener and upstream connections of its own. [`gateway::stack`] says through which stages the
//! request then goes: it is observed, routed by its raw path, and refused at once if its signature header is
//! missing or malformed; then its body is read into memory, the signature is verified over the bytes as they came, and
//! the request is forwarded to the route's upstream, byte for byte. The response streams back. Every refusal is one
//! value of [`reject::Reject`].
//!
//! # Modules
//!
//! Each module uses only modules that stand below it in this list:
//!
//! - [`cli`] has one file for each command.
//! - [`app`] wires everything together: threads, listeners, reload, shutdown.
//! - [`admin`] serves metrics and health to operators.
//! - [`server`] accepts connections and serves HTTP on them.
//! - [`gateway`] has the stages of a delivery.
//! - [`queue`] hands stored deliveries to their upstream.
//! - [`observe`] writes the access log and exports traces.
//! - [`delivery`] is the data that travels from stage to stage.
//! - [`routing`] finds the route of a request and holds its limits.
//! - [`upstream`] sends one message to one upstream.
//! - [`http1`] reads and writes HTTP/1.1.
//! - [`net`] connects, with or without TLS.
//! - [`metrics`] has every metric family.
//! - [`reject`] is the closed list of refusals.
//! - [`config`] loads gateway.yaml into checked types.
//! - [`schemes`] knows how providers sign: pure functions over data.
//! - [`store`] keeps deliveries, in SQLite or in memory.
//! - [`clock`] reads the time.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod gateway;
pub mod http1;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod queue;
pub mod reject;
pub mod routing;
pub mod schemes;
pub mod server;
pub mod store;
pub mod upstream;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this build was made of, or `unknown`.
pub const REVISION: &str = env!("HOOKLATCH_REVISION");
