//! The schema of a route.

use serde_json::{Value, json};

use super::delivery;
use super::kinds::{any_of, duration, file, flag, list, map, put, set_default, size, text, whole, word};
use super::scheme;
use super::secret::secret;
use crate::config::route as of;
use crate::config::units::MAX_COUNT;
use crate::config::upstream::{DEFAULT_CONNECT_TIMEOUT, HOST_HEADERS, HostHeader};

/// Begins with `http://` or `https://`; no user or fragment. Or `unix:`, the path of a socket, and perhaps a colon and a path.
const URL: &str = "^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?|unix:/[^:?#]+(:/[^?#]*)?)([?][^#]+)?$";

pub(super) fn route() -> Value {
    let mut methods =
        list("The methods that are let in.", json!({ "enum": of::METHODS.map(|method| method.to_string()) }));
    put(&mut methods, "uniqueItems", json!(true));
    set_default(&mut methods, json!(["POST"]));
    let name = "The route's name in logs and metrics: unique, a-z 0-9 _ -, starts with a letter or digit.";
    let path = "The public path: exact, or a prefix that ends in /*. Compared with the request's path byte by byte.";
    let mut route = map(
        "A public path with its scheme, secrets and handler.",
        &["name", "path", "scheme", "secrets", "upstream"],
        [
            ("name", text(name, "^[a-z0-9][a-z0-9_-]*$")),
            ("path", text(path, "^/[^?#*]*$|^/([^?#*]*/)?\\*$")),
            ("host", file("A name or an address, without a port. Default: any host.")),
            ("scheme", scheme::any()),
            ("secrets", list("The secrets. A delivery may match any of them, so you can rotate a secret.", secret())),
            (
                "upstream",
                any_of("The handler that gets verified deliveries.", [text("Its URL.", URL), upstream()], None),
            ),
            ("methods", methods),
            (
                "enforce",
                flag(
                    "Whether deliveries that do not verify are refused. false: forward them too, marked \
                     Hooklatch-Verified: false.",
                    true,
                ),
            ),
            ("reject_status", reject_status()),
            (
                "allowed_ips",
                networks("Clients that are let in, as networks or addresses; others get 403. Empty: all are let in."),
            ),
            ("max_body", size("The largest body; larger ones get 413. Default: 1MiB, or the scheme's own.", None)),
            (
                "tolerance",
                duration(
                    "The largest difference between a signed time and this clock. Default: the scheme's own.",
                    None,
                ),
            ),
            ("body_timeout", duration("Time to receive the whole body; then 408.", Some(of::DEFAULT_BODY_TIMEOUT))),
            (
                "max_in_flight",
                whole(
                    "Deliveries in progress at once; above it 503.",
                    MAX_COUNT.into(),
                    Some(of::DEFAULT_IN_FLIGHT.into()),
                ),
            ),
            ("rate_limit", rate_limit()),
            (
                "timeout",
                duration(
                    "Time until the upstream's response head; then 504. Default: 500ms less than the provider waits, \
                     or 10s if that is unknown; 30s with a queue.",
                    None,
                ),
            ),
        ],
    );
    if let Some(Value::Object(properties)) = route.get_mut("properties") {
        properties.extend(delivery::keys().map(|(key, value)| (key.to_owned(), value)));
    }
    route
}

/// Networks and addresses. Unlike other lists, it may be empty.
pub(super) fn networks(about: &str) -> Value {
    let network = text("A network or an address: 10.0.0.0/8, 192.0.2.1, 2001:db8::/32.", "^[0-9A-Fa-f.:]+(/[0-9]+)?$");
    json!({ "description": about, "type": "array", "items": network, "default": [] })
}

fn upstream() -> Value {
    let words = HOST_HEADERS.map(|(word, _)| word);
    let host_header = "The Host header sent to the upstream: its own, or the sender's.";
    let resend = "Whether to send again what a stale connection lost. false: only if none of it was sent.";
    let urls = "Several URLs with one path, instead of url: they get deliveries in turn, and one that cannot be reached rests.";
    let mut urls = list(urls, text("One of them.", URL));
    put(&mut urls, "uniqueItems", json!(true));
    let mut upstream = map(
        "The upstream's URL and connection options.",
        &[],
        [
            (
                "url",
                text("http://, https:// or unix:/run/app.sock:/path. A query comes before that of each delivery.", URL),
            ),
            ("urls", urls),
            ("connect_timeout", duration("Time to connect; then 502.", Some(DEFAULT_CONNECT_TIMEOUT))),
            ("resend", flag(resend, true)),
            ("tls", client_tls("the upstream's")),
            ("host_header", word(host_header, &words, HostHeader::default().as_str())),
        ],
    );
    put(&mut upstream, "oneOf", json!([{ "required": ["url"] }, { "required": ["urls"] }]));
    upstream
}

/// Certificates for a connection; `whose` names the server: "the upstream's".
pub(super) fn client_tls(whose: &str) -> Value {
    let ca = format!("PEM: authorities for {whose} certificate, instead of the system's roots.");
    let mut tls = map(
        "Certificates for https://. Default: the system's roots and no client certificate.",
        &[],
        [
            ("ca", file(&ca)),
            ("client_certificate", file("PEM: the gateway's own certificate, then its chain.")),
            ("client_key", file("PEM, not encrypted.")),
        ],
    );
    let pair = json!({ "client_certificate": ["client_key"], "client_key": ["client_certificate"] });
    put(&mut tls, "dependentRequired", pair);
    tls
}

fn reject_status() -> Value {
    let (least, most) = (of::REJECT_STATUSES.start(), of::REJECT_STATUSES.end());
    json!({
        "description": "The status for a signature that does not verify. Default: 401, or the scheme's own.",
        "type": "integer",
        "minimum": least,
        "maximum": most,
    })
}

fn rate_limit() -> Value {
    let most = MAX_COUNT.into();
    map(
        "The rate of requests; above it 429. Default: no limit.",
        &["per_second"],
        [
            ("per_second", whole("Requests a second, on average.", most, None)),
            ("burst", whole("Requests at once after a pause. Default: per_second.", most, None)),
        ],
    )
}
