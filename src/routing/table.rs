//! The routes as they run, and the table that finds one by path and host.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use smol_str::SmolStr;

use crate::config::{self, PathPattern};
use crate::metrics::{Metrics, RouteKind, RouteLabels, RouteMetrics};
use crate::reject::Reject;
use crate::routing::diagnose_limit::DiagnoseLimit;
use crate::routing::last_host::LastHost;
use crate::routing::limits::{LimitStates, RouteLimits};
use crate::routing::route_headers::RouteHeaders;
use crate::schemes::Credentials;
use crate::upstream::pool::Pool;
use crate::upstream::send::Endpoint;

/// A route as one worker thread holds it: the part that all threads share, and the thread's connections to the upstream.
pub struct Route {
    /// What all threads share.
    pub shared: Arc<RouteShared>,
    /// This thread's connections to the upstream, for each of its URLs.
    pub pools: Box<[Rc<Pool>]>,
    /// Its name, for records. Each thread has its own, so that threads do not count references on one place.
    pub name: Arc<str>,
    /// The name of its scheme, for records.
    pub scheme: Arc<str>,
    /// The ids of its secrets, for records.
    pub secret_ids: Box<[SmolStr]>,
    /// The path of all its deliveries, if its path is exact, for records.
    pub exact_path: Option<SmolStr>,
    /// The host that the last delivery was for, for records.
    pub last_host: LastHost,
}

impl Route {
    /// A route for one thread, with a pool for each URL of its upstream.
    pub fn new(shared: Arc<RouteShared>, pools: impl Into<Box<[Rc<Pool>]>>) -> Self {
        let config = &shared.config;
        let (name, scheme) = (Arc::from(&*config.name), Arc::from(&*config.scheme.name));
        let secret_ids = config.secret_ids.iter().map(SmolStr::new).collect();
        let exact_path = match &config.path {
            PathPattern::Exact(path) => Some(path.into()),
            PathPattern::Prefix(_) => None,
        };
        let last_host = LastHost::default();
        Self { shared, pools: pools.into(), name, scheme, secret_ids, exact_path, last_host }
    }
}

/// A route's configuration, and the values that are made from it once.
pub struct RouteShared {
    /// What the file says.
    pub config: config::Route,
    /// Deliveries in flight, rate and bytes, over all threads.
    pub limits: RouteLimits,
    /// Handles of the route's series.
    pub metrics: RouteMetrics,
    /// The field lines that the gateway adds to each request.
    pub headers: RouteHeaders,
    /// Where requests go.
    pub endpoint: Endpoint,
    /// The `Allow` header of a 405 (RFC 9110 section 10.2.1).
    pub allow: HeaderValue,
    /// Limits how often deliveries that do not verify are diagnosed.
    pub diagnose_limit: DiagnoseLimit,
    /// Where in a request a secret itself stands, which no record may have.
    pub credentials: Credentials,
}

/// All routes, by path and then by host.
#[derive(Default)]
pub struct Router {
    // Ordered, not hashed: comparing a path with a few others costs less than hashing it.
    exact: BTreeMap<String, Hosts>,
    prefixes: BTreeMap<String, Hosts>,
    /// The lengths of the prefixes, longest first: a look-up costs one probe for each, whatever the path.
    prefix_lengths: Vec<usize>,
}

/// The routes of one path.
#[derive(Default)]
struct Hosts {
    by_name: BTreeMap<String, Rc<Route>>,
    any: Option<Rc<Route>>,
}

impl RouteShared {
    /// Readies a route for all threads; makes its series.
    ///
    /// # Errors
    /// A header value that cannot be made, which validation of the configuration rules out.
    pub fn new(
        config: config::Route,
        metrics: &Metrics,
        limits: &LimitStates,
    ) -> Result<Self, http::header::InvalidHeaderValue> {
        let reachable = metrics.reachable(&config.name, &upstreams(&config));
        let methods: Vec<_> = config.methods.iter().map(http::Method::as_str).collect();
        let metrics =
            metrics.route(&config.name, &config.scheme.name, &config.secret_ids, &reasons(&config), kind(&config));
        Ok(Self {
            allow: HeaderValue::from_str(&methods.join(", "))?,
            headers: RouteHeaders::new(&config)?,
            endpoint: Endpoint::new(&config, metrics.upstream.clone(), reachable)?,
            metrics,
            limits: limits.route(&config),
            diagnose_limit: DiagnoseLimit::default(),
            credentials: config.scheme.credentials().with_secrets(&config.scheme, &config.secrets),
            config,
        })
    }

    /// The label values that this route's series may have.
    pub fn labels(&self) -> RouteLabels<'_> {
        let reasons = reasons(&self.config).into_iter().map(Reject::reason).collect();
        let kind = kind(&self.config);
        let upstreams = upstreams(&self.config);
        RouteLabels { scheme: &self.config.scheme.name, secrets: &self.config.secret_ids, reasons, kind, upstreams }
    }
}

impl Router {
    /// All of `routes`; of two with the same path and host, which validation rules out, the later stays.
    pub fn new(routes: impl IntoIterator<Item = Rc<Route>>) -> Self {
        let mut router = Self::default();
        for route in routes {
            let hosts = match &route.shared.config.path {
                PathPattern::Exact(path) => router.exact.entry(path.clone()).or_default(),
                PathPattern::Prefix(path) => {
                    router.prefix_lengths.push(path.len());
                    router.prefixes.entry(path.clone()).or_default()
                }
            };
            match &route.shared.config.host {
                Some(host) => drop(hosts.by_name.insert(host.clone(), route.clone())),
                None => hosts.any = Some(route.clone()),
            }
        }
        router.prefix_lengths.sort_unstable_by(|a, b| b.cmp(a));
        router.prefix_lengths.dedup();
        router
    }

    /// The headers that carry signatures on any route.
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        let hosts = self.exact.values().chain(self.prefixes.values());
        let routes = hosts.flat_map(|hosts| hosts.by_name.values().chain(&hosts.any));
        let mut names: Vec<_> = routes.flat_map(|route| route.shared.config.verifier.signature_headers()).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
    }

    /// The route of a path and, if there is one, a host (with or without a port, in any case).
    pub fn find(&self, path: &str, host: Option<&str>) -> Option<&Rc<Route>> {
        self.exact.get(path).and_then(|hosts| hosts.find(host)).or_else(|| {
            let lengths = self.prefix_lengths.iter().filter(|&&length| length <= path.len());
            lengths.filter_map(|&length| self.prefixes.get(path.get(..length)?)?.find(host)).next()
        })
    }
}

impl Hosts {
    fn find(&self, host: Option<&str>) -> Option<&Rc<Route>> {
        if !self.by_name.is_empty()
            && let Some(host) = host
            && let Some(route) = self.by_name.get(canonical_host(host).as_str())
        {
            return Some(route);
        }
        self.any.as_ref()
    }
}

/// Lower case, without port and final dot, as the configuration has hosts.
pub fn canonical_host(host: &str) -> String {
    // The colons of an IPv6 address are inside its brackets.
    let after_address = host.rfind(']').unwrap_or(0);
    let port = host.get(after_address..).and_then(|rest| rest.find(':'));
    let name = port.and_then(|port| host.get(..after_address + port)).unwrap_or(host);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// What the metrics call the URLs of the upstream, if there are several.
fn upstreams(config: &config::Route) -> Vec<String> {
    let urls = &config.upstream.urls;
    if urls.len() > 1 { urls.iter().map(ToString::to_string).collect() } else { Vec::new() }
}

fn kind(config: &config::Route) -> RouteKind {
    RouteKind {
        challenges: config.verifier.challenges().is_some(),
        queue: matches!(config.delivery, config::Delivery::Queue(_)),
        dedupe: config.dedupe.is_some(),
    }
}

/// The refusals that a route's configuration makes possible.
fn reasons(config: &config::Route) -> Vec<Reject> {
    let (kind, signature) = (kind(config), config.verifier.possible_errors());
    Reject::ALL
        .into_iter()
        .filter(|reject| match reject {
            Reject::StorageFull | Reject::StorageFailed | Reject::StorageSlow => kind.queue || kind.dedupe,
            Reject::DuplicateInFlight => kind.dedupe && !kind.queue,
            Reject::IpNotAllowed => !config.allowed_ips.is_empty(),
            Reject::RateLimited => config.rate_limit.is_some(),
            Reject::Signature(error) => signature.contains(error),
            reject => reject.can_have_a_route(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_case_port_and_final_dot() {
        for host in ["hooks.example.com", "Hooks.Example.COM", "hooks.example.com:8443", "hooks.example.com."] {
            assert_eq!(canonical_host(host), "hooks.example.com", "{host}");
        }
        assert_eq!(canonical_host("[2001:DB8::1]:80"), "[2001:db8::1]");
        assert_eq!(canonical_host("[2001:db8::1]"), "[2001:db8::1]");
        assert_eq!(canonical_host(""), "");
    }
}
