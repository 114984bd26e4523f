//! The schema of a route.

use serde_json::{Value, json};

use super::kinds::{any_of, duration, file, flag, list, map, put, set_default, size, text, whole, word};
use super::scheme;
use super::secret::secret;
use crate::config::route as of;
use crate::config::upstream::{DEFAULT_CONNECT_TIMEOUT, HOST_HEADERS, HostHeader};

/// Begins with `http://` or `https://`; no user, query or fragment.
const URL: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?$";

pub(super) fn route() -> Value {
    let mut methods = list("The methods let in.", json!({ "enum": of::METHODS.map(|method| method.to_string()) }));
    put(&mut methods, "uniqueItems", json!(true));
    set_default(&mut methods, json!(["POST"]));
    let name = "What logs and metrics call the route: unique, of a-z 0-9 _ -, first a letter or digit.";
    let path = "The public path: exact, or a prefix that ends in /*. Compared with the raw bytes of the request.";
    map(
        "A public path with its scheme, its secrets and the handler behind it.",
        &["name", "path", "scheme", "secrets", "upstream"],
        [
            ("name", text(name, "^[a-z0-9][a-z0-9_-]*$")),
            ("path", text(path, "^/[^?#*]*$|^/([^?#*]*/)?\\*$")),
            ("host", file("A name or an address without a port. Default: any host.")),
            ("scheme", scheme::any()),
            ("secrets", list("The secrets; any of them may match, so that a secret can be rotated.", secret())),
            (
                "upstream",
                any_of("The handler that gets verified deliveries.", [text("Its URL.", URL), upstream()], None),
            ),
            ("methods", methods),
            (
                "enforce",
                flag(
                    "Whether what does not verify is refused. false: forward it as well, marked Hooklatch-Verified: \
                     false.",
                    true,
                ),
            ),
            ("reject_status", reject_status()),
            ("allowed_ips", networks("Networks and addresses that are let in, others get 403; empty lets in all.")),
            ("max_body", size("The longest body, over it 413. Default: 1MiB, or the scheme's own.", None)),
            (
                "tolerance",
                duration("How far a signed time may be from this clock, either way. Default: the scheme's own.", None),
            ),
            (
                "body_timeout",
                duration("How long the whole body may take to come in; over it 408.", Some(of::DEFAULT_BODY_TIMEOUT)),
            ),
            (
                "max_in_flight",
                whole(
                    "Deliveries on their way at once; over it 503.",
                    of::MAX_COUNT.into(),
                    Some(of::DEFAULT_IN_FLIGHT.into()),
                ),
            ),
            ("rate_limit", rate_limit()),
            (
                "timeout",
                duration(
                    "How long the upstream may take until its response's head; over it 504. Default: 500ms less than \
                     the provider waits, or 10s where that is not known.",
                    None,
                ),
            ),
        ],
    )
}

/// Networks and addresses; unlike other lists it may be empty.
pub(super) fn networks(about: &str) -> Value {
    let network = text("A network or an address: 10.0.0.0/8, 192.0.2.1, 2001:db8::/32.", "^[0-9A-Fa-f.:]+(/[0-9]+)?$");
    json!({ "description": about, "type": "array", "items": network, "default": [] })
}

fn upstream() -> Value {
    let words = HOST_HEADERS.map(|(word, _)| word);
    let host_header = "The Host that the upstream sees: its own, or the sender's.";
    let resend = "Whether to send once more what a stale connection swallowed. false: only if none of it was sent.";
    map(
        "The upstream's URL, and how to talk to it.",
        &["url"],
        [
            ("url", text("http:// or https://, without a query: that of each delivery goes along by itself.", URL)),
            ("connect_timeout", duration("How long connecting may take; over it 502.", Some(DEFAULT_CONNECT_TIMEOUT))),
            ("resend", flag(resend, true)),
            ("tls", client_tls("the upstream's")),
            ("host_header", word(host_header, &words, HostHeader::default().as_str())),
        ],
    )
}

/// Certificates for a connection to whom `whose` names.
pub(super) fn client_tls(whose: &str) -> Value {
    let ca = format!("PEM: who must have signed {whose} certificate, in place of the system's roots.");
    let mut tls = map(
        "Certificates for https://. Default: the system's roots, and no certificate of the gateway's own.",
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
    let most = of::MAX_COUNT.into();
    map(
        "How many requests are let in over time; over it 429. Default: no limit.",
        &["per_second"],
        [
            ("per_second", whole("On average.", most, None)),
            ("burst", whole("At once, after a pause. Default: as many as in a second.", most, None)),
        ],
    )
}
