//! Finds the route of a request by its path and host, as raw bytes: no decoding, no dot-segment folding.
//!
//! Refuses, in this order:
//! 1. `bad_request`: several `Host` lines, an HTTP/1.1 request with none (RFC 9112 section 3.2), an HTTP/2 request with
//!    neither `:authority` nor `Host` or with two that differ (RFC 9113 section 8.3.1);
//! 2. `draining`: the gateway is shutting down;
//! 3. `no_route`: no route has this path and host;
//! 4. `method_not_allowed`: the route does not take the method, and the request is none of its challenges;
//! 5. `ip_not_allowed`: the client is none of the route's `allowed_ips`.
//!
//! An exact path beats a prefix, a longer prefix a shorter one, and at the same path a route with a host one without.
//! The host of a request in absolute-form is that of its target (RFC 9112 section 3.2.2).

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, Version};
use tower::Service;

use crate::config::{self, PathPattern};
use crate::delivery::stages::{Arrived, Peer, Routed};
use crate::gateway::body::refuse;
use crate::gateway::headers::RouteHeaders;
use crate::gateway::report::Pace;
use crate::gateway::respond::{Body, Handled};
use crate::gateway::stage::Here;
use crate::metrics::{Metrics, RouteLabels, RouteMetrics};
use crate::reject::{Refusal, Reject};
use crate::routing::limits::{Limits, RouteLimits};
use crate::schemes::{Asked, RequestHead};
use crate::upstream::pool::Pool;

/// A route as one worker thread holds it: what all of them share, and its own connections to the upstream.
pub struct Route {
    common: Arc<Common>,
    /// Connections to the upstream.
    pub pool: Arc<Pool>,
}

/// A route's configuration and all that is made from it once.
pub struct Common {
    /// What the file says.
    pub config: config::Route,
    /// Deliveries in flight, rate and bytes, over all threads.
    pub limits: RouteLimits,
    /// Handles of the route's series.
    pub metrics: RouteMetrics,
    /// What the forwarding stage adds to each request.
    pub headers: RouteHeaders,
    /// The `Allow` header of a 405 (RFC 9110 section 10.2.1).
    pub allow: HeaderValue,
    /// Bounds how often it is found out why deliveries do not verify.
    pub diagnosed: Pace,
}

/// All routes, by path and then by host.
#[derive(Default)]
pub struct Router {
    exact: HashMap<String, Hosts>,
    prefixes: HashMap<String, Hosts>,
    /// The lengths of the prefixes, longest first: a look-up costs one probe for each, whatever the path.
    prefix_lengths: Vec<usize>,
}

/// The routes of one path.
#[derive(Default)]
struct Hosts {
    by_name: HashMap<String, Rc<Route>>,
    any: Option<Rc<Route>>,
}

impl Route {
    /// A route with a thread's connections.
    pub fn new(common: Arc<Common>, pool: Arc<Pool>) -> Self {
        Self { common, pool }
    }

    /// What all threads share of it.
    pub fn common(&self) -> Arc<Common> {
        self.common.clone()
    }
}

impl Deref for Route {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Common {
    /// Readies a route for all threads; makes its series.
    ///
    /// # Errors
    /// A header value that cannot be made, which validation of the configuration rules out.
    pub fn new(
        config: config::Route,
        metrics: &Metrics,
        limits: &Limits,
    ) -> Result<Self, http::header::InvalidHeaderValue> {
        let methods: Vec<_> = config.methods.iter().map(http::Method::as_str).collect();
        Ok(Self {
            allow: HeaderValue::from_str(&methods.join(", "))?,
            headers: RouteHeaders::new(&config)?,
            metrics: metrics.route(
                &config.name,
                &config.scheme.name,
                &config.secret_ids,
                &reasons(&config),
                config.verifier.challenges().is_some(),
            ),
            limits: limits.route(&config),
            diagnosed: Pace::default(),
            config,
        })
    }

    /// The label values that this route's series may have.
    pub fn labels(&self) -> RouteLabels<'_> {
        let reasons = reasons(&self.config).into_iter().map(Reject::reason).collect();
        let challenges = self.config.verifier.challenges().is_some();
        RouteLabels { scheme: &self.config.scheme.name, secrets: &self.config.secret_ids, reasons, challenges }
    }
}

impl Router {
    /// All of `routes`; of two with the same path and host, which validation rules out, the later stays.
    pub fn new(routes: impl IntoIterator<Item = Rc<Route>>) -> Self {
        let mut router = Self::default();
        for route in routes {
            let hosts = match &route.config.path {
                PathPattern::Exact(path) => router.exact.entry(path.clone()).or_default(),
                PathPattern::Prefix(path) => {
                    router.prefix_lengths.push(path.len());
                    router.prefixes.entry(path.clone()).or_default()
                }
            };
            match &route.config.host {
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
        let mut names: Vec<_> = routes.flat_map(|route| route.config.verifier.signature_headers()).collect();
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

/// What the routing stage needs of its thread.
#[derive(Clone)]
pub struct RouteContext {
    /// The routes.
    pub router: Rc<Router>,
    /// Whether the gateway is shutting down.
    pub draining: Rc<Cell<bool>>,
}

/// The stage: finds the route and checks the method.
pub async fn route<S>(here: Rc<Here<RouteContext, S>>, arrived: Arrived) -> Result<Handled, Infallible>
where
    S: Service<Routed, Response = Response<Body>, Error = Refusal> + Clone,
{
    let Arrived { arrival, body } = arrived;
    let (route, checked) = find(&here.context, &arrival.head, &arrival.peer);
    Ok(match (route, checked) {
        (Some(route), Ok(asked)) => {
            let result = here.next(Routed { arrival, route: route.clone(), body, asked }).await;
            Handled { route: Some(route), result }
        }
        (route, checked) => {
            let reject = checked.err().unwrap_or(Reject::NoRoute);
            Handled { route, result: Err(refuse(&arrival.head.headers, body, reject).await) }
        }
    })
}

/// The route, if one matches, and whether the request may go on: with the challenge that it is, if it is one.
fn find(context: &RouteContext, head: &Parts, peer: &Peer) -> (Option<Rc<Route>>, Result<Option<Asked>, Reject>) {
    let host = match host(head.version, &head.uri, &head.headers) {
        Ok(host) => host,
        Err(reject) => return (None, Err(reject)),
    };
    let route = context.router.find(head.uri.path(), host).cloned();
    let checked = match &route {
        _ if context.draining.get() => Err(Reject::Draining),
        None => Err(Reject::NoRoute),
        Some(route) => check(&route.config, head, peer),
    };
    (route, checked)
}

fn check(config: &config::Route, head: &Parts, peer: &Peer) -> Result<Option<Asked>, Reject> {
    let asked = config.verifier.challenges().and_then(|challenges| challenges.in_head(RequestHead::of(head)));
    if asked.is_none() && !config.methods.contains(&head.method) {
        return Err(Reject::MethodNotAllowed);
    }
    if lets_in(config, peer.client) { Ok(asked) } else { Err(Reject::IpNotAllowed) }
}

/// Whether the route takes deliveries from the client.
fn lets_in(config: &config::Route, client: IpAddr) -> bool {
    config.allowed_ips.is_empty() || config.allowed_ips.contains(client)
}

/// The host that a request is for, as the sender wrote it; `None` where HTTP/1.0 leaves it out.
pub fn host<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Reject> {
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next().map(HeaderValue::to_str).transpose().map_err(|_| Reject::BadRequest)?;
    let authority = uri.authority().map(Authority::as_str);
    let host = authority.or(line);
    let consistent = match version {
        Version::HTTP_2 => host.is_some() && authority.zip(line).is_none_or(|(a, b)| a.eq_ignore_ascii_case(b)),
        Version::HTTP_11 => line.is_some(),
        _ => true,
    };
    // No user information (RFC 9110 section 4.2.4).
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    if lines.next().is_some() || !consistent || !host.is_none_or(|host| host.bytes().all(is_host)) {
        return Err(Reject::BadRequest);
    }
    Ok(host)
}

/// Lower case, without port and final dot, as the configuration has hosts.
fn canonical_host(host: &str) -> String {
    // The colons of an IPv6 address are inside its brackets.
    let after_address = host.rfind(']').unwrap_or(0);
    let port = host.get(after_address..).and_then(|rest| rest.find(':'));
    let name = port.and_then(|port| host.get(..after_address + port)).unwrap_or(host);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The refusals that a route's configuration makes possible.
fn reasons(config: &config::Route) -> Vec<Reject> {
    let signature = config.verifier.possible_errors();
    Reject::ALL
        .into_iter()
        .filter(|reject| match reject {
            Reject::NoRoute => false,
            Reject::IpNotAllowed => !config.allowed_ips.is_empty(),
            Reject::RateLimited => config.rate_limit.is_some(),
            Reject::Signature(error) => signature.contains(error),
            _ => true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

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

    fn request(version: Version, target: &str, hosts: &[&[u8]]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        request
    }

    fn host(request: &Request<()>) -> Result<Option<&str>, Reject> {
        super::host(request.version(), request.uri(), request.headers())
    }

    #[test]
    fn a_request_has_one_host() {
        let bad = |version, target, hosts: &[&[u8]]| host(&request(version, target, hosts)).map(|_| ()).unwrap_err();
        assert_eq!(bad(Version::HTTP_11, "/", &[]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"a", b"a"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"a b"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"user@a"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"\xff"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "http://a/", &[]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "http://user@a/", &[b"a"]), Reject::BadRequest);
        assert_eq!(host(&request(Version::HTTP_11, "http://a/", &[b"b"])), Ok(Some("a")));
        assert_eq!(host(&request(Version::HTTP_11, "/", &[b"b:80"])), Ok(Some("b:80")));
        assert_eq!(host(&request(Version::HTTP_10, "/", &[])), Ok(None));
        assert_eq!(bad(Version::HTTP_11, "http://user@a/", &[b"a"]), Reject::BadRequest);
    }

    #[test]
    fn the_host_of_http_2_is_its_authority() {
        let two = |target, hosts: &[&[u8]]| {
            host(&request(Version::HTTP_2, target, hosts)).map(|host| host.map(str::to_owned))
        };
        assert_eq!(two("https://a:8443/", &[]), Ok(Some("a:8443".to_owned())));
        assert_eq!(two("https://a/", &[b"A"]), Ok(Some("a".to_owned())));
        assert_eq!(two("/", &[b"a"]), Ok(Some("a".to_owned())));
        for (target, hosts) in
            [("https://a/", &[b"b".as_slice()][..]), ("/", &[]), ("https://u@a/", &[]), ("/", &[b"a", b"a"])]
        {
            assert_eq!(two(target, hosts), Err(Reject::BadRequest), "{target} {hosts:?}");
        }
    }
}
