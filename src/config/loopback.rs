//! Configurations changed so that one request can be tried on loopback: for `explain`, `conformance` and `demo`.
//!
//! Nothing that decides about the request changes, other than what each function says.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use http::Method;

use super::admin::Admin;
use super::delivery::Delivery;
use super::model::{AccessLog, Config, Route, Server};
use super::network::Networks;
use super::record::Record;
use super::upstream::Upstream;
use super::url::{Url, UrlPlace};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Config {
    /// The same routes between a sender and an upstream on loopback: one thread, no TLS and no proxy in front, no address
    /// that is not let in, no rate, no store, no queue, no dedupe, no record, no page. Everything is sent to `upstream`, which gets `patience` to take a connection and to
    /// answer.
    pub fn on_loopback(self, upstream: SocketAddr, patience: Duration) -> Self {
        let server = Server {
            listen: vec![ANY_PORT],
            threads: NonZeroUsize::MIN,
            tls: None,
            proxy_protocol: false,
            trusted_proxies: Networks::default(),
            access_log: AccessLog::None,
            ..self.server
        };
        let routes = self.routes.into_iter().map(|route| route.sent_to(upstream, patience)).collect();
        Self { server, admin: Admin { listen: ANY_PORT, page: false, ..Admin::default() }, store: None, routes, ..self }
    }

    /// The same configuration to see what `route` does to a request with `method`: it enforces, and every other route takes
    /// whatever comes to it, so that a request which belongs to another route is seen there.
    pub fn judging(self, route: &str, method: Option<&Method>) -> Self {
        let judged = |own: Route| match own.name == route {
            true => Route { enforce: true, ..own },
            false => own.taking_anything(method),
        };
        Self { routes: self.routes.into_iter().map(judged).collect(), ..self }
    }
}

impl Route {
    fn sent_to(self, address: SocketAddr, patience: Duration) -> Self {
        let place = UrlPlace::Tcp { host: address.ip().to_string(), port: address.port() };
        let urls = self.upstream.urls.into_iter().take(1).map(|url| Url {
            tls: false,
            place: place.clone(),
            query: None,
            ..url
        });
        let upstream =
            Upstream { urls: urls.collect(), certificates: None, connect_timeout: patience, ..self.upstream };
        Self {
            upstream,
            allowed_ips: Networks::default(),
            rate_limit: None,
            timeout: patience,
            delivery: Delivery::Proxy,
            dedupe: None,
            record: Record::None,
            ..self
        }
    }

    fn taking_anything(self, method: Option<&Method>) -> Self {
        let missing = method.filter(|method| !self.methods.contains(method)).cloned();
        let methods = self.methods.into_iter().chain(missing).collect();
        let verifier = self.verifier.without_challenges();
        Self { methods, verifier, max_body: u64::MAX, enforce: false, ..self }
    }
}
