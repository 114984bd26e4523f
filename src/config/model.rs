//! A valid configuration: the types that the rest of the gateway uses.
//!
//! Every value here has been checked, every default is filled in, and no field is an `Option` that must be `Some`.
//! Only [`parse`](super::parse) and [`load`](super::load) make a [`Config`], and only
//! [`Config::on_loopback`] and [`Config::judging`] change one. `Debug` shows no secret: that of
//! [`Secret`] and of [`Verifier`] is redacted.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::address::PathPattern;
use super::admin::Admin;
use super::dedupe::Dedupe;
use super::delivery::Delivery;
use super::error::ConfigError;
use super::mark::Mark;
use super::network::Networks;
use super::record::Record;
use super::sign::Sign;
use super::store::Store;
use super::telemetry::Otlp;
use super::tls::ServerTls;
use super::upstream::Upstream;
use crate::schemes::diagnose::Suspect;
use crate::schemes::{SchemeOptions, Secret, Spec, Verifier};

/// A whole, valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listeners.
    pub server: Server,
    /// The listener for operators.
    pub admin: Admin,
    /// Where traces go, if anywhere.
    pub telemetry: Option<Otlp>,
    /// Where deliveries and their records are kept; `None`: in memory, and no route has a queue.
    pub store: Option<Store>,
    /// At least one; names are unique, and so is each pair of path and host.
    pub routes: Vec<Route>,
    /// Warnings about valid but unwise values: weak secrets.
    pub warnings: Vec<ConfigError>,
}

/// The public listeners, where deliveries arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The gateway's name among those that share a store: 1 to 63 letters, digits, `-`, `_` and `.`. Default: the host name.
    pub name: String,
    /// Addresses to bind; at least one, none twice (port 0 aside). Default `0.0.0.0:8080`.
    pub listen: Vec<SocketAddr>,
    /// The TLS settings of the public listeners; `None` for plain HTTP.
    pub tls: Option<ServerTls>,
    /// The proxies whose `X-Forwarded-*` and `Forwarded` headers are trusted. Default: none.
    pub trusted_proxies: Networks,
    /// Whether connections begin with a PROXY protocol header: connections from [`Server::trusted_proxies`], or
    /// all connections if that is empty. Default false.
    pub proxy_protocol: bool,
    /// Worker threads, 1 to 1024. Default: one per core.
    pub threads: NonZeroUsize,
    /// The most open connections, all threads together; at least 1. Default 10000.
    pub max_connections: u32,
    /// The time to receive a request's head, from its first byte or, for the first request, from the acceptance of the
    /// connection; not zero. Default 10 s.
    pub header_timeout: Duration,
    /// The time that a connection may be idle between two requests, and that a response may make no progress because the
    /// upstream sends nothing or the sender reads nothing; not zero. Default 75 s.
    pub idle_timeout: Duration,
    /// The longest request head in bytes, 1 KiB to 1 MiB. Default 64 KiB.
    pub max_header_bytes: u32,
    /// The most bytes of bodies in memory, all threads together; not zero. Default 256 MiB.
    pub buffered_bytes: u64,
    /// The time for deliveries in flight to finish on shutdown; zero ends them at once. Default 30 s.
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

/// A public path with its scheme, secrets and upstream.
#[derive(Clone)]
pub struct Route {
    /// Unique; `[a-z0-9][a-z0-9_-]*`, never `none`. A metric label.
    pub name: String,
    /// The paths that the route takes.
    pub path: PathPattern,
    /// The host that the route takes; `None` for any. Lower case, without a port or a final dot; an IPv6 address in
    /// brackets and in canonical form.
    pub host: Option<String>,
    /// The scheme: how the provider signs.
    pub scheme: Arc<Spec>,
    /// The scheme's options as the route sets them.
    pub scheme_options: SchemeOptions,
    /// Verifies and makes signatures with this route's secrets.
    pub verifier: Verifier,
    /// The secrets that are present, at least one. They stay in memory for [`diagnose`](crate::schemes::diagnose) alone:
    /// deliveries are verified with the keys that the verifier has derived from them.
    pub secrets: Vec<Secret>,
    /// The label of each secret, in the same order; unique.
    pub secret_ids: Vec<String>,
    /// The mark of each secret, in the same order: equal marks in two loads mean equal secrets.
    pub secret_marks: Vec<Mark>,
    /// The handler that gets verified deliveries.
    pub upstream: Upstream,
    /// The methods that are let in, at least one, each once. Default `POST`.
    pub methods: Vec<Method>,
    /// Whether a delivery that does not verify is refused (`true`, the default) or forwarded with a mark.
    pub enforce: bool,
    /// The status for a signature that does not verify, 400 to 599. Default 401, or the scheme's own.
    pub reject_status: StatusCode,
    /// The clients that are let in. Empty, the default: all.
    pub allowed_ips: Networks,
    /// The largest body in bytes, at least 1. Default 1 MiB, or the scheme's own.
    pub max_body: u64,
    /// The time to receive the whole body; not zero. Default 10 s.
    pub body_timeout: Duration,
    /// The most deliveries in progress, all threads together, each until its response is complete; at least 1. Default 1024.
    pub max_in_flight: u32,
    /// The rate of requests; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// The time until the upstream's response head, and the longest pause within the response's body; not
    /// zero. Default 10 s, or 500 ms less than the scheme's deadline; 30 s with a queue.
    pub timeout: Duration,
    /// Whether deliveries are forwarded at once or through a queue. Default: at once.
    pub delivery: Delivery,
    /// How duplicates are recognised; `None`: not at all. Default: none, or with a queue the provider's event id if the
    /// signature covers it.
    pub dedupe: Option<Dedupe>,
    /// How deliveries are signed for the handler; `None`, the default: not at all.
    pub sign: Option<Sign>,
    /// What is kept of a delivery for people to look at. Default: its metadata.
    pub record: Record,
    /// The most bytes of a body that are kept with [`Record::Full`]; may be zero. Default 64 KiB.
    pub record_body: u64,
}

/// The rate of requests that a route lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second, on average.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause. Default: `per_second`.
    pub burst: NonZeroU32,
}

impl AccessLog {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Refused => "refused",
            Self::None => "none",
        }
    }
}

impl Route {
    /// The route's secrets, scheme and options, for `diagnose`.
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
            .field("delivery", &self.delivery)
            .field("dedupe", &self.dedupe)
            .field("sign", &self.sign)
            .field("record", &self.record)
            .field("record_body", &self.record_body)
            .finish()
    }
}
