//! One configuration as it runs: made by the start and by each reload, shared by all worker threads.
//!
//! What outlives it: the metrics registry, what counts against limits, and connections to upstreams that the next one has as well.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::admin;
use crate::config::{self, ClientTls, Config, Identity, View};
use crate::metrics::{Configured, Expiry, Metrics};
use crate::net::connect::Connector;
use crate::net::tls::client_config;
use crate::observe::otlp::Telemetry;
use crate::routing::limits::Limits;
use crate::routing::table::RouteShared;
use crate::server::handshake::Handshake;

/// How long a reload waits for every thread before it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// A configuration and all that is made from it once.
pub(super) struct Generation {
    pub(super) server: config::Server,
    /// The routes, each with the connector to its upstream. Routes that connect alike have the same connector, also across
    /// generations: threads find their pools by it.
    pub(super) routes: Vec<(Arc<RouteShared>, Arc<Connector>)>,
    /// Every key with its value: what a reload compares.
    pub(super) view: View,
    /// The JSON of `/config`.
    pub(super) summary: serde_json::Value,
    /// Where traces go. It stays, with what waits in it, as long as its part of the configuration does.
    pub(super) telemetry: Option<Arc<Telemetry>>,
    /// How connections from senders begin.
    pub(super) handshake: Handshake,
    /// What is on its way, by route: the same in every generation.
    limits: Arc<Limits>,
    connectors: HashMap<Destination, Arc<Connector>>,
    /// For upstreams by https, by the certificates that they ask for.
    tls: HashMap<Option<ClientTls>, Arc<ClientConfig>>,
    /// A permit for each thread that runs it.
    taken_up: Semaphore,
}

/// How to connect to an upstream. Routes that connect alike share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Destination {
    host: String,
    port: u16,
    tls: bool,
    certificates: Option<ClientTls>,
    connect_timeout: Duration,
}

impl Generation {
    /// Readies `config`; takes over from `before` what stays. Makes the metric series of its routes.
    ///
    /// # Errors
    /// No root certificates, or a host that can be no TLS server name.
    pub(super) fn new(config: Config, before: Option<&Self>, metrics: &Metrics) -> io::Result<Self> {
        let view = View::of(&config);
        let summary = admin::summary(&config);
        // One that stays is kept, with the key of its session tickets.
        let handshake = match before.filter(|before| enters_alike(&before.server, &config.server)) {
            Some(before) => before.handshake.clone(),
            None => Handshake::new(&config.server, metrics.handshakes())?,
        };
        let telemetry = match (&config.telemetry, before.and_then(|before| before.telemetry.as_ref())) {
            (None, _) => None,
            (Some(otlp), Some(before)) if before.is_as(otlp) => Some(before.clone()),
            (Some(otlp), _) => Some(Arc::new(Telemetry::start(otlp, metrics.spans.clone())?)),
        };
        let limits = before.map(|before| before.limits.clone()).unwrap_or_default();
        let mut tls = HashMap::new();
        let mut connectors = HashMap::new();
        let mut connectors_of_routes = Vec::new();
        for route in &config.routes {
            let destination = Destination::of(&route.upstream);
            if destination.tls && !tls.contains_key(&destination.certificates) {
                let known = before.and_then(|before| before.tls.get(&destination.certificates)).cloned();
                let made = known.map_or_else(|| client_config(destination.certificates.as_ref()), Ok)?;
                tls.insert(destination.certificates.clone(), made);
            }
            let known = connectors.get(&destination).or_else(|| before?.connectors.get(&destination)).cloned();
            let connector = match known {
                Some(connector) => connector,
                None => {
                    let tls = tls.get(&destination.certificates).filter(|_| destination.tls).cloned();
                    Arc::new(Connector::new(&destination.host, destination.port, destination.connect_timeout, tls)?)
                }
            };
            connectors.insert(destination, connector.clone());
            connectors_of_routes.push(connector);
        }
        let routes = config.routes.into_iter().zip(connectors_of_routes).map(|(route, connector)| {
            let common = RouteShared::new(route, metrics, &limits).map_err(io::Error::other)?;
            Ok((Arc::new(common), connector))
        });
        Ok(Self {
            routes: routes.collect::<io::Result<_>>()?,
            server: config.server,
            view,
            summary,
            telemetry,
            handshake,
            limits: limits.clone(),
            connectors,
            tls,
            taken_up: Semaphore::new(0),
        })
    }

    /// Says that one more thread runs it.
    pub(super) fn take_up(&self) {
        self.taken_up.add_permits(1);
    }

    /// Waits until this many threads run it, though not for long: a thread can be busy.
    pub(super) async fn taken_up_by(&self, threads: usize) {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let taken_up = tokio::time::timeout(PATIENCE, self.taken_up.acquire_many(threads)).await;
        if taken_up.is_err() {
            tracing::warn!("not every thread has taken the new configuration up yet");
        }
    }

    /// The configurations of the routes.
    pub(super) fn configs(&self) -> Vec<&config::Route> {
        self.routes.iter().map(|(shared, _)| &shared.config).collect()
    }

    /// The configurations of the routes, by name.
    pub(super) fn by_name(&self) -> BTreeMap<&str, &config::Route> {
        self.routes.iter().map(|(common, _)| (common.config.name.as_str(), &common.config)).collect()
    }

    /// Shows what this configuration says, as the one that runs.
    pub(super) fn show(&self, metrics: &Metrics) {
        let expiry = |upstream, identity: Option<&Identity>| Some(Expiry { upstream, at: identity?.expiry()? });
        let server = expiry(None, self.server.tls.as_ref().map(|tls| &tls.identity));
        let upstreams = self.routes.iter().filter_map(|(common, _)| {
            let tls = common.config.upstream.certificates.as_ref();
            expiry(Some(common.config.name.as_str()), tls.and_then(|tls| tls.identity.as_ref()))
        });
        metrics.configured(&Configured {
            max_connections: self.server.max_connections,
            buffered_bytes: self.server.buffered_bytes,
            certificates: server.into_iter().chain(upstreams).collect(),
        });
    }

    /// Drops the metric series that this configuration does not have.
    pub(super) fn drop_other_series(&self, metrics: &Metrics) {
        let labels = self.routes.iter().map(|(common, _)| (common.config.name.as_str(), common.labels()));
        metrics.retain(&labels.collect());
    }
}

/// Whether connections from senders begin in the same destination.
fn enters_alike(a: &config::Server, b: &config::Server) -> bool {
    (&a.tls, a.proxy_protocol, &a.trusted_proxies) == (&b.tls, b.proxy_protocol, &b.trusted_proxies)
}

impl Destination {
    fn of(upstream: &config::Upstream) -> Self {
        Self {
            host: upstream.host.clone(),
            port: upstream.port,
            tls: upstream.tls,
            certificates: upstream.certificates.clone(),
            connect_timeout: upstream.connect_timeout,
        }
    }
}
