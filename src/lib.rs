//! hooklatch: a webhook gateway that forwards deliveries signed by their provider, and refuses all others.
//!
//! # Life of a delivery
//!
//! A provider POSTs a webhook. [`server::listener`] accepts the connection on one of the worker threads; each thread has its
//! own runtime, sockets and upstream connections. The request then passes the stages that [`gateway::stack`] lists. It is
//! observed, routed by its raw path, and refused at once if its signature header is missing or malformed. Then its body is
//! read into memory, the signature is verified over the received bytes, and the request is forwarded to the route's upstream,
//! byte for byte. The response streams back. Every refusal is a value of [`reject::Reject`].
//!
//! # Modules
//!
//! ARCHITECTURE.md lists which modules each may import. From the top:
//!
//! - [`cli`] has a file for each command.
//! - [`app`] wires everything together: threads, listeners, reload, shutdown.
//! - [`admin`] serves metrics, health and the API to operators.
//! - [`acts`] is what people do to deliveries: replay, discard, erase, explain, pause, capture.
//! - [`server`] accepts connections and serves HTTP on them.
//! - [`gateway`] has the stages of a delivery.
//! - [`search`] reads the search language.
//! - [`queue`] hands stored deliveries to their upstream.
//! - [`record`] is what is kept of a delivery for people to look at.
//! - [`observe`] writes the access log and exports traces.
//! - [`delivery`] has the types that stages hand to each other.
//! - [`routing`] finds the route of a request and enforces its limits.
//! - [`upstream`] sends one message to one upstream.
//! - [`http1`] reads and writes HTTP/1.1.
//! - [`net`] has sockets, TLS and the PROXY protocol.
//! - [`metrics`] has all metric families.
//! - [`reject`] is the closed list of refusals.
//! - [`config`] loads gateway.yaml into validated types.
//! - [`schemes`] verifies and makes signatures: pure functions over data.
//! - [`store`] keeps deliveries, in SQLite or in memory.
//! - [`crypto`] has what TLS and public-key signatures compute with.
//! - [`clock`] reads the time.
//! - [`lock`] locks what outlives a panic.
//! - [`priority`] has threads give way to those that handle deliveries.
//! - [`text`] makes text of others harmless for its readers.

pub mod acts;
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod delivery;
pub mod gateway;
pub mod http1;
pub mod lock;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod priority;
pub mod queue;
pub mod record;
pub mod reject;
pub mod routing;
pub mod schemes;
pub mod search;
pub mod server;
pub mod store;
pub mod text;
pub mod upstream;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this build was made of, or `unknown`.
pub const REVISION: &str = env!("HOOKLATCH_REVISION");
