//! The JSON Schema of gateway.yaml (draft 2020-12), for editors, which complete keys and mark errors.
//!
//! The schema accepts every file that the loader accepts. It refuses errors of shape: unknown keys, missing keys, kinds of
//! values, units, ranges, words, the names of built-in schemes and their options. It does not check what needs more than
//! the file (secrets, certificates), what depends on several values (repeated names, ports in use), or the inside of a
//! scheme that the file defines. Tests compare it with the loader, key by key and value by value.

mod delivery;
mod kinds;
mod route;
mod scheme;
mod secret;
mod store;
mod telemetry;

use serde_json::{Value, json};

use self::kinds::{
    any_of, duration, duration_or_zero, file, flag, list, map, or_nothing, put, set_default, size, text, whole, word,
};
use super::admin::Admin;
use super::model::AccessLog;
use super::units::display_size;
use super::validate as of;

/// An IP address and a port, as far as a pattern tells.
const LISTEN: &str = "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]+$";
const LISTEN_EXAMPLE: &str = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";

/// The schema of the whole file.
pub fn schema() -> Value {
    let routes = list("The public paths, each with its scheme, its secrets and the handler behind it.", route::route());
    let mut root = map(
        "The configuration of hooklatch.",
        &["routes"],
        [
            ("server", or_nothing(server())),
            ("admin", or_nothing(admin())),
            ("telemetry", or_nothing(telemetry::telemetry())),
            ("store", store::store()),
            ("routes", routes),
            ("schemes", scheme::own()),
        ],
    );
    put(&mut root, "$schema", json!("https://json-schema.org/draft/2020-12/schema"));
    put(&mut root, "title", json!("gateway.yaml of hooklatch"));
    // A schema cannot express "a built-in scheme or one under `schemes`", so a file with `schemes` may use any name.
    put(&mut root, "if", json!({ "required": ["schemes"] }));
    let routes = json!({ "items": { "properties": { "scheme": scheme::built_in() } } });
    put(&mut root, "else", json!({ "properties": { "routes": routes } }));
    root
}

fn server() -> Value {
    let listen = |about: &str| text(about, LISTEN);
    let header_bytes = format!(
        "The largest request head, {} to {}; above it, or above 100 header lines: 431 and a close.",
        display_size((*of::HEADER_BYTES.start()).into()),
        display_size((*of::HEADER_BYTES.end()).into())
    );
    let proxies =
        "Proxies whose X-Forwarded-* and Forwarded headers are trusted, as networks or addresses. Default: none.";
    map(
        "The public listeners, where deliveries arrive.",
        &[],
        [
            (
                "name",
                text(
                    "The gateway's name among those that share a store. Default: the host name. Needs a restart.",
                    "^[A-Za-z0-9._-]{1,63}$",
                ),
            ),
            (
                "listen",
                any_of(
                    "Where to listen: an IP address and a port, or a list of them. Needs a restart.",
                    [listen(LISTEN_EXAMPLE), list("Several addresses.", listen(LISTEN_EXAMPLE))],
                    Some(json!(of::DEFAULT_LISTEN.to_string())),
                ),
            ),
            ("tls", server_tls()),
            ("trusted_proxies", route::networks(proxies)),
            (
                "proxy_protocol",
                flag(
                    "Whether connections from trusted_proxies (or, if that is empty, all connections) begin with a PROXY \
                     protocol header, version 1 or 2.",
                    false,
                ),
            ),
            ("threads", whole("Worker threads. Default: one per core. Needs a restart.", of::MAX_THREADS as u64, None)),
            (
                "max_connections",
                whole(
                    "Open connections; further ones are answered 503 and closed.",
                    of::MAX_CONNECTIONS.into(),
                    Some(of::DEFAULT_CONNECTIONS.into()),
                ),
            ),
            (
                "header_timeout",
                duration("Time to receive a request's head; then 408 or a close.", Some(of::DEFAULT_HEADER_TIMEOUT)),
            ),
            (
                "idle_timeout",
                duration(
                    "Time between two requests of a connection, and without progress of a response; then a close.",
                    Some(of::DEFAULT_IDLE_TIMEOUT),
                ),
            ),
            ("max_header_bytes", size(&header_bytes, Some(of::DEFAULT_HEADER_BYTES.into()))),
            (
                "buffered_bytes",
                size("Memory for bodies, all requests together; above it 503.", Some(of::DEFAULT_BUFFERED_BYTES)),
            ),
            (
                "shutdown_grace",
                duration_or_zero("Time for deliveries in flight to finish after SIGTERM.", of::DEFAULT_GRACE),
            ),
            (
                "access_log",
                word(
                    "Which deliveries get a line in the log.",
                    &of::ACCESS_LOGS.map(|(name, _)| name),
                    AccessLog::default().as_str(),
                ),
            ),
        ],
    )
}

fn server_tls() -> Value {
    map(
        "HTTPS: HTTP/2 and HTTP/1.1, chosen by ALPN. Default: plain HTTP.",
        &["certificate", "private_key"],
        [
            ("certificate", file("PEM: the certificate, then its chain. Relative to this file's folder.")),
            ("private_key", file("PEM, not encrypted.")),
            (
                "client_ca",
                file("PEM. If set, every client must present a certificate that one of these authorities signed."),
            ),
        ],
    )
}

fn admin() -> Value {
    let default = Admin::default();
    let mut listen = text("The address and port of metrics, health, the page and the API. Needs a restart.", LISTEN);
    set_default(&mut listen, json!(default.listen.to_string()));
    let host = text("A host, with its port where the browser shows one: gateway.internal:9797.", "^[^/@?#]+$");
    let hosts = "Further values of the Host header that are accepted.";
    let token = "The token of the page and the API. Required unless listen is a loopback address or page is false.";
    map(
        "The listener for operators: metrics, health, the page and the API.",
        &[],
        [
            ("listen", listen),
            ("page", flag("Whether there is a page (/ui/) and an API (/api/v1/).", default.page)),
            ("hosts", json!({ "description": hosts, "type": "array", "items": host, "default": [] })),
            ("token", secret::source(token)),
            ("read_only", flag("Whether the API refuses every change.", default.read_only)),
        ],
    )
}
