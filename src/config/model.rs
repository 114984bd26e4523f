//! What a valid configuration is: the types that the rest of the gateway works with.
//!
//! Every value here has been checked, every default is filled in, and no field is an `Option` that means "must be
//! there". Only [`parse`](super::parse) and [`load`](super::load) make a [`Config`], and only
//! [`Config::on_loopback`] and [`Config::judging`] change one. `Debug` shows no secret: that of
//! [`Secret`] and of [`Verifier`] is redacted.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::address::PathPattern;
use super::error::ConfigError;
use super::mark::Mark;
use super::network::Networks;
use super::telemetry::Otlp;
use super::tls::ServerTls;
use super::upstream::Upstream;
use crate::schemes::diagnose::Suspect;
use crate::schemes::{SchemeOptions, Secret, Spec, Verifier};

/// A whole, valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public side.
    pub server: Server,
    /// The operator's side.
    pub admin: Admin,
    /// Where traces go, if anywhere.
    pub telemetry: Option<Otlp>,
    /// At least one; names are unique, and so is each pair of path and host.
    pub routes: Vec<Route>,
    /// What is valid but unwise: weak secrets.
    pub warnings: Vec<ConfigError>,
}

/// The public side: where deliveries come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Addresses to bind; at least one, none twice (port 0 aside). Default `0.0.0.0:8080`.
    pub listen: Vec<SocketAddr>,
    /// How the public listeners speak TLS; `None` for HTTP in the clear.
    pub tls: Option<ServerTls>,
    /// Whose word about a sender's address, protocol and host is believed. Default: nobody's.
    pub trusted_proxies: Networks,
    /// Whether connections begin with a PROXY protocol header: those from [`Server::trusted_proxies`], or all of them
    /// if there are none. Default false.
    pub proxy_protocol: bool,
    /// Worker threads, 1 to 1024. Default: one per core.
    pub threads: NonZeroUsize,
    /// Connections open at once, over all threads; at least 1. Default 10000.
    pub max_connections: u32,
    /// How long a request's head may take to come in, from its first byte or, for a connection's first, from when the
    /// connection was accepted; not zero. Default 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests, and how long a response may stand still on its way, whether
    /// the upstream sends nothing or the sender reads nothing; not zero. Default 75 s.
    pub idle_timeout: Duration,
    /// The longest request head in bytes, 1 KiB to 1 MiB. Default 64 KiB.
    pub max_header_bytes: u32,
    /// Bytes of bodies held in memory at once, over all threads; not zero. Default 256 MiB.
    pub buffered_bytes: u64,
    /// How long deliveries in flight may take to finish on shutdown; zero cuts them off at once. Default 30 s.
    pub shutdown_grace: Duration,
    /// Which deliveries get a line in the log.
    pub access_log: AccessLog,
}

/// Which deliveries get a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// Every delivery.
    All,
    /// Refused ones only.
    #[default]
    Refused,
    /// No delivery.
    None,
}

/// The operator's side: metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address to bind; shares no port with [`Server::listen`] (port 0 aside). Default `127.0.0.1:9090`.
    pub listen: SocketAddr,
}

/// A public path with its scheme, secrets and upstream.
#[derive(Clone)]
pub struct Route {
    /// Unique; `[a-z0-9][a-z0-9_-]*`, never `none`. A metric label.
    pub name: String,
    /// What the request's path must be.
    pub path: PathPattern,
    /// What the request's host must be, if that matters: lower case, no port, no final dot, an IPv6 address in
    /// brackets and in its canonical form.
    pub host: Option<String>,
    /// The scheme's facts.
    pub scheme: Arc<Spec>,
    /// The scheme's options as the route sets them.
    pub scheme_options: SchemeOptions,
    /// Checks (and makes) signatures with this route's secrets.
    pub verifier: Verifier,
    /// The secrets that are there; at least one. For [`diagnose`](crate::schemes::diagnose): deliveries are checked with
    /// what the verifier has made of them.
    pub secrets: Vec<Secret>,
    /// The labels of the secrets, in their order; none twice.
    pub secret_ids: Vec<String>,
    /// What tells whether two loads found the same secrets, in the same order.
    pub secret_marks: Vec<Mark>,
    /// Who gets what was verified.
    pub upstream: Upstream,
    /// Methods let in; at least one, none twice. Default `POST`.
    pub methods: Vec<Method>,
    /// Whether what does not verify is refused (default) or forwarded with a mark.
    pub enforce: bool,
    /// The status for a signature that does not verify, 400 to 599. Default 401, or the scheme's own.
    pub reject_status: StatusCode,
    /// Clients that are let in; empty (default) lets in all.
    pub allowed_ips: Networks,
    /// The longest body in bytes, at least 1. Default 1 MiB, or the scheme's own.
    pub max_body: u64,
    /// How long the whole body may take to come in; not zero. Default 10 s.
    pub body_timeout: Duration,
    /// Deliveries in flight at once, over all threads, each until its response is done; at least 1. Default 1024.
    pub max_in_flight: u32,
    /// How many requests are let in over time, if that is bounded.
    pub rate_limit: Option<RateLimit>,
    /// How long the upstream may take until its response head, and how long it may pause in the response's body; not
    /// zero. Default 10 s, or 500 ms less than the scheme's deadline.
    pub timeout: Duration,
}

/// How many requests a route lets in over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// On average.
    pub per_second: NonZeroU32,
    /// At once, after a pause. Default: as many as in a second.
    pub burst: NonZeroU32,
}

impl AccessLog {
    /// As the file has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Refused => "refused",
            Self::None => "none",
        }
    }
}

impl Route {
    /// The route as far as signatures go.
    pub fn suspect(&self) -> Suspect<'_> {
        Suspect {
            route: &self.name,
            spec: &self.scheme,
            options: &self.scheme_options,
            secrets: &self.secrets,
            ids: &self.secret_ids,
        }
    }
}

/// Names the scheme instead of printing its whole specification.
impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("host", &self.host)
            .field("scheme", &self.scheme.name)
            .field("scheme_options", &self.scheme_options)
            .field("verifier", &self.verifier)
            .field("secret_ids", &self.secret_ids)
            .field("upstream", &self.upstream)
            .field("methods", &self.methods)
            .field("enforce", &self.enforce)
            .field("reject_status", &self.reject_status)
            .field("allowed_ips", &self.allowed_ips)
            .field("max_body", &self.max_body)
            .field("body_timeout", &self.body_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("rate_limit", &self.rate_limit)
            .field("timeout", &self.timeout)
            .finish()
    }
}
