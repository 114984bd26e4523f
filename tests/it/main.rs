//! End-to-end tests: the real gateway over real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

/// What is refused before a byte of the body is read: no route, method, host, the signature header's form.
mod refusals;

/// Who the client is: trusted proxies, allowed addresses, the PROXY protocol.
mod addresses;

/// TLS from senders, HTTP/1.1 and HTTP/2 over it, client certificates.
mod tls;

/// What HTTP/2 can be abused for.
mod http2_floods;

/// TLS to upstreams.
mod upstream_tls;

/// What is refused because of the body: its size, time and framing, and signatures that do not fit it.
mod bodies;

/// The bounds on connections, heads, time, bodies, deliveries in flight and rates.
mod limits;

/// A flood of slow senders against a gateway in a process of its own.
mod flood;

/// Request smuggling and parser differentials.
mod hygiene;

/// What the sender gets when the upstream does not answer.
mod upstream_faults;

/// What the upstream gets, byte for byte: body, headers, request line.
mod forwarding;

/// What the sender gets of the upstream's response.
mod responses;

/// Keep-alive, pipelining and the connections to the upstream.
mod connections;

/// The one request that is sent twice, and all those that are not.
mod resend;

/// Several secrets, routes that only report, statuses of refusals.
mod secrets;

/// Which of several routes a request takes.
mod routing;

/// Deliveries that are stored, answered and then sent: attempts, retries, pacing, restarts.
mod queue;

/// Deliveries that were there before.
mod dedupe;

/// A store that cannot be opened, or is full.
mod store;

/// Endpoint challenges, and what nobody gets by asking.
mod challenges;

/// What Prometheus and operators are told.
mod admin;

/// Traces, as a collector gets them.
mod telemetry;

/// The line that a delivery has in the log.
mod access_log;

/// Shutdown in this process: what happens to deliveries that are on their way.
mod draining;

/// The commands and their exit statuses.
mod cli;

/// `explain`: the verdict and the cause for captured requests.
mod explain;

/// `health`, for container engines.
mod health;

/// What a newcomer meets: each mistake is told with what to do next.
mod newcomers;

/// Completions and manual pages.
mod shipped;

/// The JSON Schema of gateway.yaml, as editors use it.
mod schema;

/// `serve` as a process: signals, logs, secrets that must not show.
mod serve;

/// Secrets that must show nowhere.
mod canary;

/// Deliveries that the providers publish, through the whole gateway.
mod vectors;

/// Properties over arbitrary input.
mod properties;

/// Everything at once and for long, and then the accounts.
mod soak;

/// What fuzzers start from and what they found.
mod corpora;

/// What changes while the gateway runs: triggers, failures, what is kept, what is told.
mod reload;

/// Reloads under constant traffic: no connection is dropped and no delivery lost.
mod reload_under_load;

/// Handlers in other languages behind the gateway, each checking the signature again itself.
mod handlers;

/// Prometheus in front of the gateway: its configuration, rules and the dashboard's queries.
mod prometheus;

/// The systemd unit, the Dockerfile, compose.yaml and the manifests for Kubernetes.
mod deploy;

/// nginx, Caddy, Traefik and HAProxy in front of the gateway.
mod in_front;

/// The scripts, read by shellcheck.
mod scripts;

/// The documentation against the code.
mod docs;
