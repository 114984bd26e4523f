//! End-to-end tests: the real gateway over real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

/// Refusals before the body is read: route, method, host, the form of the signature header.
mod refusals;

/// The client's address: trusted proxies, allowed addresses, the PROXY protocol.
mod addresses;

/// TLS from senders, HTTP/1.1 and HTTP/2 over it, client certificates.
mod tls;

/// Abuse of HTTP/2.
mod http2_floods;

/// TLS to upstreams.
mod upstream_tls;

/// Refusals because of the body: its size, time and framing, and signatures that do not match.
mod bodies;

/// The limits on connections, heads, time, bodies, deliveries in flight and rates.
mod limits;

/// A flood of slow senders against a gateway in a process of its own.
mod flood;

/// Request smuggling and parser differentials.
mod hygiene;

/// The response when the upstream does not answer.
mod upstream_faults;

/// The request to the upstream, byte for byte: body, headers, request line.
mod forwarding;

/// The upstream's response, as the sender gets it.
mod responses;

/// Keep-alive, pipelining and the connections to the upstream.
mod connections;

/// The rule by which a request is sent twice.
mod resend;

/// Several upstreams, sockets of the file system, URLs with a query.
mod upstreams;

/// Several secrets, routes with `enforce: false`, statuses of refusals.
mod secrets;

/// The choice among several routes.
mod routing;

/// Deliveries that are stored, answered and then sent: attempts, retries, pacing, restarts.
mod queue;

/// What people do: replay, discard, erase, pause, explain, capture.
mod acts;

/// Deliveries that were there before.
mod dedupe;

/// A store that cannot be opened, or is full.
mod store;

/// A disk that fails, is slow or full, a database that is damaged, a clock that jumps.
mod faults;

/// Several gateways that share a PostgreSQL.
mod cluster;

/// What every receiver of webhooks has to survive, with a naive handler behind the gateway.
mod conformance_delivery;
/// What is kept of deliveries to look at, and what is not.
mod records;

/// Endpoint challenges, and requests that must not be answered as one.
mod challenges;

/// The API of the admin listener: who is let in, reading, acting, the stream.
mod admin_api;

/// The pages of the admin listener, without a browser.
mod admin_ui;

/// The page in a real browser.
mod browser;

/// The admin listener: metrics, health, configuration.
mod admin;

/// Traces, as a collector gets them.
mod telemetry;

/// The line of a delivery in the access log.
mod access_log;

/// Shutdown in this process: deliveries in flight are finished.
mod draining;

/// Sockets of a service manager, and what it is told.
mod handover;

/// The commands and their exit statuses.
mod cli;

/// `explain`: the verdict and the cause for captured requests.
mod explain;

/// `explain` for exports of other programs and outputs of curl.
mod captures;

/// What real senders, handlers and operators hit, as data.
mod cases;

/// `health`, for container engines.
mod health;

/// The mistakes of newcomers: each message says what to do next.
mod newcomers;

/// Completions and manual pages.
mod shipped;

/// Completions of lines that are typed into real shells.
mod completing;

/// The JSON Schema of gateway.yaml, as editors use it.
mod schema;

/// The commands that ask a running gateway.
mod commands;

/// `listen`: copies of deliveries for a handler on this machine.
mod listen;

/// `init`: a first configuration.
mod init;

/// What `serve` and `demo` say on a terminal, and `ui`.
mod terminal;

/// `serve` as a process: signals, logs, secrets that must not appear.
mod serve;

/// Secrets that must not appear anywhere.
mod canary;

/// The providers' published deliveries, through the whole gateway.
mod vectors;

/// Properties over arbitrary input.
mod properties;

/// Everything at once and for a long time; then the accounts are compared.
mod soak;

/// The corpora and the findings of the fuzzers.
mod corpora;

/// Reloads: their triggers, their failures, the state that they keep, their log lines.
mod reload;

/// Reloads under constant traffic: no connection is dropped and no delivery lost.
mod reload_under_load;

/// Handlers in other languages behind the gateway, each checking the signature again itself.
mod handlers;

/// Prometheus in front of the gateway: its configuration, rules and the dashboard's queries.
mod prometheus;

/// The systemd unit, the Dockerfile, compose.yaml and the manifests for Kubernetes.
mod deploy;

/// The Helm chart.
mod chart;

/// nginx, Caddy, Traefik and HAProxy in front of the gateway.
mod in_front;

/// The scripts, read by shellcheck.
mod scripts;

/// The documentation against the code.
mod docs;
