//! What the whole module takes and refuses, error by error, and that no secret gets out.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use zeroize::Zeroizing;

use super::*;

mod addresses;
mod certificates;
mod delivery;
mod errors;
mod robustness;
mod schema;
mod schemes;
mod secrets;
mod upstreams;
mod view;

/// Variables and files that a test makes up. `SET` is set, all else is absent.
#[derive(Default)]
struct Made {
    env: HashMap<String, OsString>,
    files: HashMap<PathBuf, Vec<u8>>,
    broken: Vec<PathBuf>,
}

impl Made {
    fn new() -> Self {
        Self::default().env("SET", "s3cret")
    }

    fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.insert(path.into(), content.to_vec());
        self
    }

    fn broken(mut self, path: &str) -> Self {
        self.broken.push(path.into());
        self
    }

    fn parse(&self, text: &str) -> Result<Config, Vec<ConfigError>> {
        parse(text, Path::new("/etc/hl"), self)
    }

    fn errors(&self, text: &str) -> Vec<String> {
        let errors = self.parse(text).expect_err("must be refused");
        assert!(!errors.is_empty(), "a refusal has a reason");
        errors.iter().map(ToString::to_string).collect()
    }
}

impl Sources for Made {
    fn env(&self, name: &str) -> Option<OsString> {
        self.env.get(name).cloned()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        if self.broken.iter().any(|broken| broken == path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.get(path).cloned().map(Zeroizing::new).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

const SERVER_AND_ADMIN: &str = "server: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}\n";

/// The keys that a route must have, one a line; a line of `changes` replaces the line of its key or comes on top.
fn route(changes: &[&str]) -> String {
    let mut lines =
        vec!["name: r", "path: /r", "scheme: civo", "secrets: [{env: SET}]", "upstream: http://127.0.0.1:1/u"];
    for change in changes {
        let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        lines.retain(|line| key(line) != key(change));
        lines.push(change);
    }
    format!("  - {}\n", lines.join("\n    "))
}

fn with_routes(routes: &[String]) -> String {
    format!("{SERVER_AND_ADMIN}routes:\n{}", routes.concat())
}

/// A configuration with one route.
fn one(changes: &[&str]) -> String {
    with_routes(&[route(changes)])
}

fn only_route(changes: &[&str]) -> Route {
    Made::new().parse(&one(changes)).expect("valid").routes.remove(0)
}

#[test]
fn the_annotated_reference_is_valid_and_shows_the_defaults() {
    let text = include_str!("../../gateway.yaml");
    let secrets =
        Made::new().env("CIRCLECI_WEBHOOK_SECRET", "a").env("CIVO_WEBHOOK_SECRET", "b").env("ICR_WEBHOOK_SECRET", "c");
    let shown = secrets.parse(text).expect("gateway.yaml is valid");

    let required =
        ["name:", "path:", "scheme:", "upstream:", "secrets:", "- ", "env:", "file:", "id:", "optional:", "url:"];
    let bare = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("routes:") || required.iter().any(|key| line.starts_with(key))
    };
    let bare: String = text.lines().filter(bare).map(|line| format!("{line}\n")).collect();
    let default = secrets.parse(&bare).expect("valid without the optional keys");
    assert_eq!(shown.server, default.server);
    assert_eq!(format!("{:?}", shown.admin), format!("{:?}", default.admin));
    assert_eq!(shown.routes.len(), 3);
    for (shown, default) in shown.routes.iter().zip(&default.routes) {
        let mut default = format!("{default:?}");
        // The reference spells out what a scheme does without the options.
        if shown.name == "icr" {
            default = default.replace(
                "signed_content: None, match_payload: None",
                "signed_content: Some(\"auto\"), match_payload: Some(true)",
            );
        }
        assert_eq!(format!("{shown:?}"), default);
    }
}

#[test]
fn the_annotated_reference_shows_every_key() {
    let queue = ["delivery: queue", "response: {@: 1}", "retry: {@: 1}", "circuit: {@: 1}"];
    let both = ["dedupe: {key: {@: 1}, @: 1}", "sign: {@: 1}"];
    let maps = ["secrets: [{@: 1}]", "scheme: {@: 1}", "upstream: {tls: {@: 1}, @: 1}", "@: 1"];
    let route = route(&[&queue[..], &both, &maps].concat());
    let sections =
        "server: {tls: {@: 1}, @: 1}\nadmin: {token: {@: 1}, @: 1}\nstore: {keep: {@: 1}, postgres: {@: 1}, @: 1}\n";
    let text = format!("@: 1\n{sections}routes:\n{route}").replace('@', "an_unknown_key");
    let errors = Made::new().errors(&text);
    let lists: Vec<&str> = errors.iter().filter_map(|error| Some(error.split_once("known here: ")?.1)).collect();
    assert_eq!(lists.len(), 19, "one a section: {errors:?}");
    let reference = include_str!("../../gateway.yaml");
    for key in lists.iter().flat_map(|list| list.split(", ")) {
        assert!(reference.contains(&format!(" {key}:")) || reference.contains(&format!("\n{key}:")), "{key}");
    }
}

#[test]
fn server_and_admin_have_defaults() {
    let minimal = with_routes(&[route(&[])]).replace(SERVER_AND_ADMIN, "");
    for text in
        [minimal.clone(), format!("server:\nadmin:\n{minimal}"), format!("server: {{}}\nadmin: {{}}\n{minimal}")]
    {
        let config = Made::new().parse(&text).expect("valid");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
        assert_eq!(config.server.name, host.trim());
        assert_eq!(config.server.listen, [SocketAddr::from(([0, 0, 0, 0], 8080))]);
        assert_eq!(config.server.max_connections, 10_000);
        assert_eq!(config.server.header_timeout, Duration::from_secs(10));
        assert_eq!(config.server.idle_timeout, Duration::from_secs(75));
        assert_eq!(config.server.max_header_bytes, 64 << 10);
        assert_eq!(config.server.buffered_bytes, 256 << 20);
        assert_eq!(config.server.shutdown_grace, Duration::from_secs(30));
        assert_eq!(config.server.access_log, AccessLog::Refused);
        assert_eq!(config.admin.listen, SocketAddr::from(([127, 0, 0, 1], 9797)));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        assert_eq!(config.server.threads.get(), cores.min(1024));
    }
}

#[test]
fn server_and_admin_can_be_set() {
    let text = with_routes(&[route(&[])]).replace(
        SERVER_AND_ADMIN,
        "server: {listen: [127.0.0.1:1, '[::1]:1'], threads: 1024, shutdown_grace: 0s, access_log: none, max_connections: 1, \
         header_timeout: 1ms, idle_timeout: 2ms, max_header_bytes: 1KiB, buffered_bytes: 1B}\n\
         admin: {listen: 127.0.0.1:2}\n",
    );
    let config = Made::new().parse(&text).expect("valid");
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.threads.get(), 1024);
    assert_eq!(config.server.shutdown_grace, Duration::ZERO);
    assert_eq!(config.server.max_connections, 1);
    assert_eq!(config.server.header_timeout, Duration::from_millis(1));
    assert_eq!(config.server.idle_timeout, Duration::from_millis(2));
    assert_eq!(config.server.max_header_bytes, 1024);
    assert_eq!(config.server.buffered_bytes, 1);
    assert_eq!(config.server.access_log, AccessLog::None);
    assert_eq!(config.admin.listen.port(), 2);
}

#[test]
fn a_route_has_defaults() {
    let route = only_route(&[]);
    assert_eq!(route.methods, [Method::POST]);
    assert!(route.enforce);
    assert_eq!(route.reject_status, StatusCode::UNAUTHORIZED);
    assert_eq!(route.max_body, 1_048_576);
    assert_eq!(route.body_timeout, Duration::from_secs(10));
    assert_eq!(route.max_in_flight, 1024);
    assert_eq!(route.rate_limit, None);
    assert_eq!(route.host, None);
    assert_eq!(route.secret_ids, ["0"]);
    assert_eq!(route.upstream.connect_timeout, Duration::from_secs(3));
    assert!(route.upstream.resend);
    assert_eq!(route.upstream.host_header, HostHeader::Upstream);
}

#[test]
fn the_default_timeout_is_less_than_the_provider_waits() {
    let timeout = |scheme: &str| only_route(&[scheme]).timeout;
    assert_eq!(timeout("scheme: civo"), Duration::from_millis(4500));
    assert_eq!(timeout("scheme: circleci"), Duration::from_millis(9500));
    assert_eq!(timeout("scheme: icr"), Duration::from_secs(10));
}

#[test]
fn a_route_can_be_set() {
    let route = only_route(&[
        "host: Hooks.Example.com",
        "path: /r/*",
        "scheme: {name: icr, signed_content: body, match_payload: false}",
        "upstream: {url: 'https://u/x/', connect_timeout: 2s, resend: false, host_header: preserve}",
        "methods: [PUT, POST]",
        "enforce: false",
        "reject_status: 403",
        "max_body: 25MiB",
        "body_timeout: 1m",
        "max_in_flight: 1",
        "rate_limit: {per_second: 50, burst: 100}",
        "timeout: 250ms",
    ]);
    assert_eq!(route.host.as_deref(), Some("hooks.example.com"));
    assert_eq!(route.path, PathPattern::Prefix("/r/".to_owned()));
    assert_eq!(route.path.to_string(), "/r/*");
    assert_eq!(route.scheme.name, "icr");
    assert_eq!(route.scheme_options.signed_content.as_deref(), Some("body"));
    assert_eq!(route.scheme_options.match_payload, Some(false));
    assert_eq!(route.upstream.to_string(), "https://u/x/");
    assert_eq!(route.upstream.connect_timeout, Duration::from_secs(2));
    assert!(!route.upstream.resend);
    assert_eq!(route.upstream.host_header, HostHeader::Preserve);
    assert_eq!(route.methods, [Method::PUT, Method::POST]);
    assert!(!route.enforce);
    assert_eq!(route.reject_status, StatusCode::FORBIDDEN);
    assert_eq!(route.max_body, 25 << 20);
    assert_eq!(route.body_timeout, Duration::from_secs(60));
    assert_eq!(route.max_in_flight, 1);
    let numbers = |limit: RateLimit| (limit.per_second.get(), limit.burst.get());
    assert_eq!(route.rate_limit.map(numbers), Some((50, 100)));
    let without_burst = only_route(&["rate_limit: {per_second: 7}"]).rate_limit;
    assert_eq!(without_burst.map(numbers), Some((7, 7)));
    assert_eq!(route.timeout, Duration::from_millis(250));
}

#[test]
fn aliases_may_share_parts() {
    let first = route(&["secrets: &shared [{env: SET}]"]);
    let second = route(&["name: s", "path: /s", "secrets: *shared"]);
    assert_eq!(Made::new().parse(&with_routes(&[first, second])).expect("valid").routes.len(), 2);
}

#[test]
fn one_path_on_two_hosts_and_a_prefix_beside_its_exact_path_are_fine() {
    let routes = [
        route(&["name: a"]),
        route(&["name: b", "host: a.example"]),
        route(&["name: c", "host: b.example"]),
        route(&["name: d", "path: /r/"]),
        route(&["name: e", "path: /r/*"]),
    ];
    assert_eq!(Made::new().parse(&with_routes(&routes)).expect("valid").routes.len(), 5);
}
