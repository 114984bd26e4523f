//! hooklatch: a webhook gateway that lets in what a provider signed, and nothing else.
//!
//! # Life of a delivery
//!
//! A provider POSTs a webhook. [`proxy::listener`] accepts the connection on one of the worker threads,
//! each with a runtime, a listener and upstream connections of its own. [`proxy::stack`] says through which stages the
//! request then goes: it is observed, routed by its raw path, and refused at once if its signature header is
//! missing or malformed; then its body is read into memory, the signature is verified over the bytes as they came, and
//! the request is forwarded to the route's upstream, byte for byte. The response streams back. Every refusal is one
//! value of [`proxy::reject::Reject`].
//!
//! # Modules
//!
//! - [`app`] wires everything together: threads, listeners, reload, shutdown.
//! - [`admin`] serves metrics and health to operators.
//! - [`cli`] has one file for each command.
//! - [`clock`] is where the time comes from.
//! - [`config`] loads gateway.yaml into checked types.
//! - [`metrics`] is what Prometheus is told.
//! - [`proxy`] is the way of a delivery.
//! - [`schemes`] knows how providers sign: pure functions over data.
//! - [`telemetry`] exports traces.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod metrics;
pub mod proxy;
pub mod schemes;
pub mod telemetry;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this build was made of, or `unknown`.
pub const REVISION: &str = env!("HOOKLATCH_REVISION");
