//! A gateway with one route called `hook`, the upstream behind it, and the checks that most tests make.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::gateway::{Gateway, Metrics, series};
use super::http::{Connection, Response};
use super::sender::Delivery;
use super::upstream::{Peer, Seen, Upstream};

/// In the order in which they end: the upstream looks back when the gateway is gone.
pub struct Rig {
    pub gateway: Gateway,
    /// The connection that the gateway made last, as long as it lasts.
    pub peer: Option<Peer>,
    pub upstream: Upstream,
    scheme: String,
}

impl Rig {
    /// For CircleCI's scheme.
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same with further flow-style keys of the route.
    pub fn with(keys: &str) -> Self {
        Self::of("circleci", keys)
    }

    /// The same for any scheme.
    pub fn of(scheme: &str, keys: &str) -> Self {
        Self::of_routes(scheme, |upstream| route(scheme, &format!("upstream: \"http://{upstream}/in\", {keys}")))
    }

    /// With routes of the test's own; `scheme` is that of the route called `hook`.
    pub fn of_routes(scheme: &str, routes: impl FnOnce(SocketAddr) -> String) -> Self {
        let upstream = Upstream::bind();
        Self::of_parts("threads: 1", scheme, upstream, routes)
    }

    /// With further flow-style keys of the server, and of the route.
    pub fn with_server(server: &str, keys: &str) -> Self {
        let routes = |upstream: SocketAddr| route("circleci", &format!("upstream: \"http://{upstream}/in\", {keys}"));
        Self::of_parts(&format!("threads: 1, {server}"), "circleci", Upstream::bind(), routes)
    }

    /// With further flow-style keys of the server, and routes of the test's own for CircleCI's scheme.
    pub fn with_server_and_routes(server: &str, routes: impl FnOnce(SocketAddr) -> String) -> Self {
        Self::of_parts(&format!("threads: 1, {server}"), "circleci", Upstream::bind(), routes)
    }

    fn of_parts(server: &str, scheme: &str, upstream: Upstream, routes: impl FnOnce(SocketAddr) -> String) -> Self {
        let gateway = Gateway::start_with(server, &routes(upstream.address), &[]);
        Self { gateway, peer: None, upstream, scheme: scheme.to_owned() }
    }

    /// A connection to the gateway.
    pub fn connect(&self) -> Connection {
        Connection::open(self.gateway.server)
    }

    /// Sends on a connection of its own and reads the answer.
    pub fn send(&self, request: &[u8]) -> Response {
        super::http::send(self.gateway.server, request)
    }

    /// The upstream's next request, on the connection that the gateway has, or a new one if it has none.
    #[track_caller]
    pub fn request(&mut self) -> Seen {
        let upstream = &self.upstream;
        self.peer.get_or_insert_with(|| upstream.accept()).request()
    }

    /// The connection on which the last request came.
    pub fn peer(&mut self) -> &mut Peer {
        self.peer.as_mut().unwrap()
    }

    /// Sends a delivery, which the upstream must see and answers with 200: what it saw.
    #[track_caller]
    pub fn forwards(&mut self, delivery: &Delivery) -> Seen {
        self.forwards_bytes(&delivery.bytes())
    }

    #[track_caller]
    pub fn forwards_bytes(&mut self, request: &[u8]) -> Seen {
        let mut sender = self.connect();
        sender.write(request);
        let seen = self.request();
        self.peer().answer();
        let response = sender.receive();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"ok\n"[..]), "{response:?}");
        seen
    }

    /// Sends a delivery, which the route must refuse; see [`Rig::refused`].
    #[track_caller]
    pub fn refuses(&self, request: &[u8], status: u16, reason: &str) -> Response {
        let before = self.gateway.metrics();
        let response = self.send(request);
        self.refused(&before, &response, status, reason);
        response
    }

    /// That a response is a refusal, was counted once as the route's, and the upstream saw nothing.
    #[track_caller]
    pub fn refused(&self, before: &Metrics, response: &Response, status: u16, reason: &str) {
        is_problem(response, status, reason);
        self.upstream.expect_nothing();
        let counted = self.gateway.metrics().counted_since(before);
        assert_eq!(counted, rejection("hook", &self.scheme, reason));
    }

    /// The same for a request that matches no route.
    #[track_caller]
    pub fn refuses_without_route(&self, request: &[u8], status: u16, reason: &str) -> Response {
        let before = self.gateway.metrics();
        let response = self.send(request);
        is_problem(&response, status, reason);
        self.upstream.expect_nothing();
        assert_eq!(self.gateway.metrics().counted_since(&before), rejection("none", "none", reason));
        response
    }

    /// Asserts that a response reports the upstream's failure, and that the failure was counted once.
    #[track_caller]
    pub fn failed(&self, before: &Metrics, response: &Response, status: u16, result: &str) {
        is_problem(response, status, &format!("upstream_{result}"));
        let counted = self.gateway.metrics().counted_since(before);
        let requests = [("route", "hook"), ("scheme", &self.scheme), ("outcome", "upstream_error")];
        let expected = BTreeMap::from([
            (series("hooklatch_requests_total", &requests), 1.0),
            (series("hooklatch_upstream_responses_total", &[("route", "hook"), ("result", result)]), 1.0),
        ]);
        assert_eq!(counted, expected);
    }

    /// Scrapes until `name` (a gauge without labels) is `value`; the client's deadline bounds it.
    #[track_caller]
    pub fn wait_for_gauge(&self, name: &str, value: f64) {
        super::process::poll(name, || self.gateway.metrics().get(name, &[]) == value);
    }
}

/// A route called `hook` at `/hook` as an item of the list.
pub fn route(scheme: &str, keys: &str) -> String {
    let secrets = if keys.contains("secrets:") { "" } else { "secrets: [{ env: SECRET }], " };
    format!("  - {{ name: hook, path: /hook, scheme: {scheme}, {secrets}{keys} }}\n")
}

/// That a response is a problem (RFC 9457) with the contract's members, and no more than they need to say.
#[track_caller]
pub fn is_problem(response: &Response, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.all("content-type"), ["application/problem+json"]);
    let problem = response.json();
    let members: Vec<&String> = problem.as_object().unwrap().keys().collect();
    assert_eq!(members, ["type", "title", "status", "reason", "request_id"]);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["reason"], reason);
    assert_eq!(response.all("x-request-id"), [problem["request_id"].as_str().unwrap()]);
    assert!(!problem["request_id"].as_str().unwrap().is_empty());
    for member in ["type", "title"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    let whole = format!("{response:?}");
    for secret in [super::gateway::SECRET, super::gateway::OLD_SECRET] {
        assert!(!whole.contains(secret), "{whole}");
    }
}

fn rejection(route: &str, scheme: &str, reason: &str) -> BTreeMap<String, f64> {
    let labels = |last| [("route", route), ("scheme", scheme), last];
    BTreeMap::from([
        (series("hooklatch_requests_total", &labels(("outcome", "rejected"))), 1.0),
        (series("hooklatch_rejections_total", &labels(("reason", reason))), 1.0),
    ])
}
