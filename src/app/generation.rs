//! A running configuration. The start and each reload make one; all worker threads share it.
//!
//! These outlive a generation: the metrics registry, the counters of the limits, and connections to upstreams that the next
//! generation has as well.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Semaphore;

use super::open_files;
use crate::admin::{self, Running};
use crate::config::{self, ClientTls, Config, Identity, Place, UrlPlace, View};
use crate::metrics::{Configured, Expiry, Metrics};
use crate::net::connect::Connector;
use crate::net::tls::client_config;
use crate::observe::otlp::Telemetry;
use crate::routing::limits::LimitStates;
use crate::routing::table::RouteShared;
use crate::server::handshake::Handshake;

/// How long a reload waits until every thread runs the new configuration.
const PATIENCE: Duration = Duration::from_secs(1);

/// A configuration, and the values that are made from it once.
pub(super) struct Generation {
    /// Its `max_connections` is what fits into the limit of open files.
    pub(super) server: config::Server,
    /// The routes, each with the connectors to the URLs of its upstream. Those with the same destination share a connector, also
    /// across generations; threads find their pools by it.
    pub(super) routes: Vec<(Arc<RouteShared>, Vec<Arc<Connector>>)>,
    /// Every key with its value. A reload compares the views of two generations.
    pub(super) view: View,
    /// What the admin listener needs of it.
    pub(super) running: Arc<Running>,
    /// The exporter of traces. It is kept, with its queue, until its section of the configuration changes.
    pub(super) telemetry: Option<Arc<Telemetry>>,
    /// The store; its limits can change with a generation.
    pub(super) store: Option<config::Store>,
    /// The PROXY protocol and TLS settings of connections from senders.
    pub(super) handshake: Handshake,
    /// The counters of the limits by route, shared by all generations.
    limits: Arc<LimitStates>,
    /// The connectors by destination.
    connectors: HashMap<Destination, Arc<Connector>>,
    /// The TLS configurations for `https` upstreams, by their certificates.
    tls: HashMap<Option<ClientTls>, Arc<ClientConfig>>,
    /// Has a permit for each thread that runs this generation.
    taken_up: Semaphore,
}

/// How to connect to a URL of an upstream. Routes with equal destinations share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Destination {
    place: UrlPlace,
    tls: bool,
    certificates: Option<ClientTls>,
    connect_timeout: Duration,
}

impl Generation {
    /// Builds a generation of `config`. Takes the values that do not change from `before`. Makes the metric series of its
    /// routes.
    ///
    /// # Errors
    /// The system has no root certificates, or a host is not a valid TLS server name.
    pub(super) fn new(config: Config, before: Option<&Self>, metrics: &Metrics) -> io::Result<Self> {
        let view = View::of(&config);
        let summary = admin::summary(&config);
        let mut server = config.server;
        server.max_connections = open_files::connections(server.max_connections);
        // Unchanged settings keep their handshake, and with it the key of its session tickets.
        let handshake = match before.filter(|before| has_same_handshake(&before.server, &server)) {
            Some(before) => before.handshake.clone(),
            None => Handshake::new(&server, metrics.handshakes())?,
        };
        let telemetry = match (&config.telemetry, before.and_then(|before| before.telemetry.as_ref())) {
            (None, _) => None,
            (Some(otlp), Some(before)) if before.is_as(otlp) => Some(before.clone()),
            (Some(otlp), _) => Some(Arc::new(Telemetry::start(otlp, metrics.spans.clone())?)),
        };
        let limits = before.map(|before| before.limits.clone()).unwrap_or_default();
        let mut tls = HashMap::new();
        let mut connectors = HashMap::new();
        let destinations = |route: &config::Route| Destination::all(&route.upstream);
        for destination in config.routes.iter().flat_map(destinations) {
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
                    Arc::new(Connector::new(destination.place.clone(), destination.connect_timeout, tls)?)
                }
            };
            connectors.insert(destination, connector);
        }
        let routes = config.routes.into_iter().map(|route| {
            let own =
                destinations(&route).iter().filter_map(|destination| connectors.get(destination).cloned()).collect();
            let shared = RouteShared::new(route, metrics, &limits).map_err(io::Error::other)?;
            Ok((Arc::new(shared), own))
        });
        let routes: Vec<(Arc<RouteShared>, _)> = routes.collect::<io::Result<_>>()?;
        let running = Arc::new(Running {
            admin: config.admin,
            summary,
            routes: routes.iter().map(|(shared, _)| shared.clone()).collect(),
            store_kind: match config.store.as_ref().map(|store| &store.place) {
                None => "memory",
                Some(Place::Folder(_)) => "sqlite",
                Some(Place::Postgres { .. }) => "postgres",
            },
            max_bytes: config.store.as_ref().map(|store| store.max_size),
        });
        Ok(Self {
            routes,
            running,
            server,
            view,
            telemetry,
            store: config.store,
            handshake,
            limits: limits.clone(),
            connectors,
            tls,
            taken_up: Semaphore::new(0),
        })
    }

    /// Notes that one more thread runs this generation.
    pub(super) fn take_up(&self) {
        self.taken_up.add_permits(1);
    }

    /// Waits until this many threads run this generation, at most [`PATIENCE`], because a thread can be busy.
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
        self.routes.iter().map(|(shared, _)| (shared.config.name.as_str(), &shared.config)).collect()
    }

    /// Shows the values of this configuration in the metrics.
    pub(super) fn show(&self, metrics: &Metrics) {
        let expiry = |upstream, identity: Option<&Identity>| Some(Expiry { upstream, at: identity?.expiry()? });
        let server = expiry(None, self.server.tls.as_ref().map(|tls| &tls.identity));
        let upstreams = self.routes.iter().filter_map(|(shared, _)| {
            let tls = shared.config.upstream.certificates.as_ref();
            expiry(Some(shared.config.name.as_str()), tls.and_then(|tls| tls.identity.as_ref()))
        });
        metrics.configured(&Configured {
            max_connections: self.server.max_connections,
            buffered_bytes: self.server.buffered_bytes,
            certificates: server.into_iter().chain(upstreams).collect(),
        });
    }

    /// Removes the metric series that do not belong to this configuration.
    pub(super) fn drop_other_series(&self, metrics: &Metrics) {
        let labels = self.routes.iter().map(|(shared, _)| (shared.config.name.as_str(), shared.labels()));
        metrics.retain(&labels.collect());
    }
}

/// Whether connections from senders have the same PROXY protocol and TLS settings.
fn has_same_handshake(a: &config::Server, b: &config::Server) -> bool {
    (&a.tls, a.proxy_protocol, &a.trusted_proxies) == (&b.tls, b.proxy_protocol, &b.trusted_proxies)
}

impl Destination {
    /// One for each URL.
    fn all(upstream: &config::Upstream) -> Vec<Self> {
        let of = |url: &config::Url| Self {
            place: url.place.clone(),
            tls: url.tls,
            certificates: upstream.certificates.clone().filter(|_| url.tls),
            connect_timeout: upstream.connect_timeout,
        };
        upstream.urls.iter().map(of).collect()
    }
}
