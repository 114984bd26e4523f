//! Every key that changes alone is a difference, and shown; no secret is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const BASE: &str = r#"
server:
  name: gateway-1
  listen: 127.0.0.1:0
  tls: { certificate: a.pem, private_key: a.pem, client_ca: a.pem }
  trusted_proxies: [10.0.0.0/8]
  proxy_protocol: true
  threads: 4
  max_connections: 10
  header_timeout: 11s
  idle_timeout: 76s
  max_header_bytes: 65KiB
  buffered_bytes: 257MiB
  shutdown_grace: 31s
  access_log: all
admin:
  listen: "127.0.0.1:9190"
  page: false
  hosts: ["gateway.internal:9797"]
  token: { env: CANARY }
  read_only: true
telemetry:
  otlp:
    endpoint: https://c/v1/traces
    headers: { authorization: { env: CANARY } }
    tls: { ca: a.pem, client_certificate: a.pem, client_key: a.pem }
    timeout: 12s
    sample: 50%
    service_name: mine
    context_from: anyone
store:
  path: data
  max_size: 11GiB
  min_free: 2GiB
  keep: { delivered: 71h, dead: 31d, refused: 23h }
routes:
  - name: r
    path: /r
    host: hooks.example.com
    scheme: { name: icr, signed_content: body, match_payload: false }
    secrets: [{ env: CANARY, id: a }, { file: absent, optional: true }]
    upstream:
      url: https://u
      connect_timeout: 2s
      resend: false
      host_header: preserve
      tls: { ca: a.pem, client_certificate: a.pem, client_key: a.pem }
    methods: [PUT]
    enforce: false
    reject_status: 403
    tolerance: 6m
    allowed_ips: ["2001:db8::/32"]
    max_body: 2MiB
    body_timeout: 13s
    max_in_flight: 1025
    rate_limit: { per_second: 51, burst: 101 }
    timeout: 14s
  - { name: url, path: /url, scheme: { name: twilio, public_url: "https://p/a" }, secrets: [{ env: SET }], upstream: "http://u" }
  - { name: ask, path: /ask, scheme: { name: meta, challenge: false, verify_token: { env: CANARY } }, secrets: [{ env: SET }], upstream: { urls: ["http://u1?key=1", "http://u2"] } }
  - { name: own, path: /own, scheme: { name: acme, app_key: key-1 }, secrets: [{ env: SET }], upstream: "http://u" }
  - name: q
    path: /queue
    scheme: circleci
    secrets: [{ env: SET }]
    upstream: http://u
    delivery: queue
    response: { status: 202, body: taken, content_type: text/html }
    retry:
      max_backoff: 2h
      jitter: 21%
      schedule: [7s]
      max_age: 73h
      min_attempts: 6
      max_attempts: 20
      give_up_on: [404]
    max_concurrent: 33
    max_rate: 102
    circuit: { failures: 9, max_wait: 62s }
    paused: true
    dedupe: { window: 25h, key: { header: x-event } }
    sign: { secrets: [{ env: KEY }] }
    record: full
    record_body: 66KiB
  - { name: m, path: /m, scheme: circleci, secrets: [{ env: SET }], upstream: "http://u", timeout: 9s, dedupe: false, delivery: queue }
  - { name: w, path: /w, scheme: circleci, secrets: [{ env: SET }], upstream: "http://u", delivery: queue, retry: { min_backoff: 6s } }
schemes:
  acme:
    signature: { at: { header: x-acme }, encoding: hex }
    algorithm: { hmac: sha256 }
    secret: utf8
    parameters: [{ name: app_key, description: the key of the app }]
    forms: [{ name: body, content: [{ parameter: app_key }, body] }]
"#;

/// A key of the file, its text in [`BASE`], another text, and the key that tells of the change.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    ("server.name", "name: gateway-1", "name: gateway-2", "server.name"),
    ("server.listen", "listen: 127.0.0.1:0", "listen: 127.0.0.2:0", "server.listen"),
    (
        "server.tls.certificate",
        "certificate: a.pem, private_key: a",
        "certificate: b.pem, private_key: b",
        "server.tls",
    ),
    (
        "server.tls.private_key",
        "certificate: a.pem, private_key: a",
        "certificate: b.pem, private_key: b",
        "server.tls",
    ),
    ("server.tls.client_ca", "client_ca: a", "client_ca: b", "server.tls"),
    ("server.trusted_proxies", "10.0.0.0/8", "10.0.0.0/9", "server.trusted_proxies"),
    ("server.proxy_protocol", "proxy_protocol: true", "proxy_protocol: false", "server.proxy_protocol"),
    ("server.threads", "threads: 4", "threads: 5", "server.threads"),
    ("server.max_connections", "max_connections: 10", "max_connections: 11", "server.max_connections"),
    ("server.header_timeout", "11s", "111s", "server.header_timeout_seconds"),
    ("server.idle_timeout", "76s", "77s", "server.idle_timeout_seconds"),
    ("server.max_header_bytes", "65KiB", "66KiB", "server.max_header_bytes"),
    ("server.buffered_bytes", "257MiB", "258MiB", "server.buffered_bytes"),
    ("server.shutdown_grace", "31s", "32s", "server.shutdown_grace_seconds"),
    ("server.access_log", "access_log: all", "access_log: none", "server.access_log"),
    ("admin.listen", "127.0.0.1:9190", "127.0.0.1:9191", "admin.listen"),
    ("admin.page", "page: false", "page: true", "admin.page"),
    ("admin.hosts", "gateway.internal:9797", "gateway.internal", "admin.hosts"),
    ("admin.token.env", "  token: { env: CANARY }", "  token: { env: SET }", "admin.token"),
    ("admin.token.file", "  token: { env: CANARY }", "  token: { file: key }", "admin.token"),
    ("admin.read_only", "read_only: true", "read_only: false", "admin.read_only"),
    ("telemetry.otlp.endpoint", "https://c/", "https://d/", "telemetry.otlp"),
    ("telemetry.otlp.headers", "authorization: { env: CANARY }", "authorization: { env: SET }", "telemetry.otlp"),
    (
        "telemetry.otlp.tls.ca",
        "ca: a.pem, client_certificate: a.pem, client_key: a.pem }\n    timeout",
        "ca: b.pem, client_certificate: a.pem, client_key: a.pem }\n    timeout",
        "telemetry.otlp",
    ),
    (
        "telemetry.otlp.tls.client_certificate",
        "client_certificate: a.pem, client_key: a.pem }\n    timeout",
        "client_certificate: b.pem, client_key: b.pem }\n    timeout",
        "telemetry.otlp",
    ),
    (
        "telemetry.otlp.tls.client_key",
        "client_certificate: a.pem, client_key: a.pem }\n    timeout",
        "client_certificate: b.pem, client_key: b.pem }\n    timeout",
        "telemetry.otlp",
    ),
    ("telemetry.otlp.timeout", "12s", "15s", "telemetry.otlp"),
    ("telemetry.otlp.sample", "50%", "49%", "telemetry.otlp"),
    ("telemetry.otlp.service_name", "service_name: mine", "service_name: ours", "telemetry.otlp"),
    ("telemetry.otlp.context_from", "context_from: anyone", "context_from: nobody", "telemetry.otlp"),
    ("routes[].path", "path: /r\n", "path: /q\n", "r path"),
    ("routes[].host", "hooks.example.com", "hooks.example.org", "r host"),
    (
        "routes[].scheme",
        "scheme: { name: icr, signed_content: body, match_payload: false }",
        "scheme: civo",
        "r match_payload scheme signed_content",
    ),
    ("routes[].scheme", "signed_content: body", "signed_content: auto", "r signed_content"),
    ("routes[].scheme", "match_payload: false", "match_payload: true", "r match_payload"),
    ("routes[].scheme", "https://p/a", "https://p/b", "url public_url"),
    ("routes[].scheme", "challenge: false, ", "", "ask challenge"),
    ("routes[].scheme", "verify_token: { env: CANARY }", "verify_token: { env: SET }", "ask scheme_secrets"),
    ("routes[].scheme", "key-1", "key-2", "own parameters"),
    ("schemes", "content: [{ parameter: app_key }, body]", "content: [body, { parameter: app_key }]", "own scheme"),
    ("routes[].secrets[].id", "id: a }", "id: b }", "r secrets"),
    ("routes[].upstream.url", "url: https://u", "url: https://u/", "r upstream"),
    ("routes[].upstream.urls", "http://u2", "http://u3", "ask upstream"),
    ("routes[].upstream.urls", "key=1", "key=2", "ask upstream"),
    ("routes[].upstream.connect_timeout", "connect_timeout: 2s", "connect_timeout: 3s", "r connect_timeout_seconds"),
    ("routes[].upstream.resend", "resend: false", "resend: true", "r resend"),
    ("routes[].upstream.host_header", "preserve", "upstream", "r host_header"),
    (
        "routes[].upstream.tls.ca",
        "ca: a.pem, client_certificate: a.pem, client_key: a.pem }\n    methods",
        "ca: b.pem, client_certificate: a.pem, client_key: a.pem }\n    methods",
        "r upstream_tls",
    ),
    (
        "routes[].upstream.tls.client_certificate",
        "client_certificate: a.pem, client_key: a.pem }\n    methods",
        "client_certificate: b.pem, client_key: b.pem }\n    methods",
        "r upstream_tls",
    ),
    (
        "routes[].upstream.tls.client_key",
        "client_certificate: a.pem, client_key: a.pem }\n    methods",
        "client_certificate: b.pem, client_key: b.pem }\n    methods",
        "r upstream_tls",
    ),
    ("routes[].methods", "[PUT]", "[PUT, POST]", "r methods"),
    ("routes[].enforce", "enforce: false", "enforce: true", "r enforce"),
    ("routes[].reject_status", "403", "404", "r reject_status"),
    ("routes[].tolerance", "6m", "7m", "r tolerance_seconds"),
    ("routes[].allowed_ips", "2001:db8::/32", "2001:db8::/33", "r allowed_ips"),
    ("routes[].max_body", "2MiB", "3MiB", "r max_body_bytes"),
    ("routes[].body_timeout", "13s", "16s", "r body_timeout_seconds"),
    ("routes[].max_in_flight", "1025", "1026", "r max_in_flight"),
    ("routes[].rate_limit.per_second", "per_second: 51", "per_second: 52", "r rate_limit"),
    ("routes[].rate_limit.burst", "burst: 101", "burst: 102", "r rate_limit"),
    ("routes[].timeout", "14s", "17s", "r timeout_seconds"),
    ("store.path", "path: data", "path: elsewhere", "store.path"),
    ("store.postgres.url.env", "path: data", "postgres: { url: { env: DATABASE_URL } }", "store.path, store.postgres"),
    (
        "store.postgres.url.file",
        "path: data",
        "postgres: { url: { file: database_url } }",
        "store.path, store.postgres",
    ),
    ("store.max_size", "11GiB", "12GiB", "store.max_size_bytes"),
    ("store.min_free", "2GiB", "0MiB", "store.min_free_bytes"),
    ("store.keep.delivered", "71h", "72h", "store.keep_delivered_seconds"),
    ("store.keep.dead", "31d", "30d", "store.keep_dead_seconds"),
    ("store.keep.refused", "23h", "24h", "store.keep_refused_seconds"),
    (
        "routes[].delivery",
        "dedupe: false, delivery: queue",
        "dedupe: false, delivery: proxy",
        "m circuit delivery max_concurrent paused response retry",
    ),
    ("routes[].response.status", "status: 202", "status: 200", "q response"),
    ("routes[].response.body", "body: taken", "body: thanks", "q response"),
    ("routes[].response.content_type", "text/html", "text/plain", "q response"),
    ("routes[].retry.min_backoff", "min_backoff: 6s", "min_backoff: 5s", "w retry"),
    ("routes[].retry.max_backoff", "max_backoff: 2h", "max_backoff: 1h", "q retry"),
    ("routes[].retry.jitter", "21%", "20%", "q retry"),
    ("routes[].retry.schedule", "[7s]", "[7s, 8s]", "q retry"),
    ("routes[].retry.max_age", "73h", "72h", "q retry"),
    ("routes[].retry.min_attempts", "min_attempts: 6", "min_attempts: 0", "q retry"),
    ("routes[].retry.max_attempts", "max_attempts: 20", "max_attempts: 0", "q retry"),
    ("routes[].retry.give_up_on", "[404]", "[]", "q retry"),
    ("routes[].max_concurrent", "max_concurrent: 33", "max_concurrent: 32", "q max_concurrent"),
    ("routes[].max_rate", "max_rate: 102", "max_rate: 103", "q max_rate"),
    ("routes[].circuit.failures", "failures: 9", "failures: 10", "q circuit"),
    ("routes[].circuit.failures", "circuit: { failures: 9, max_wait: 62s }", "circuit: false", "q circuit"),
    ("routes[].circuit.max_wait", "62s", "60s", "q circuit"),
    ("routes[].paused", "paused: true", "paused: false", "q paused"),
    ("routes[].dedupe.window", "25h", "26h", "q dedupe"),
    ("routes[].dedupe.key.header", "header: x-event", "header: x-id", "q dedupe"),
    ("routes[].dedupe.key.json", "header: x-event", "json: /id", "q dedupe"),
    ("routes[].sign.secrets[].env", "{ secrets: [{ env: KEY }] }", "{ secrets: [{ env: OTHER_KEY }] }", "q sign"),
    ("routes[].sign.secrets[].file", "{ secrets: [{ env: KEY }] }", "{ secrets: [{ file: key }] }", "q sign"),
    ("routes[].record", "record: full", "record: none", "q record"),
    ("routes[].record_body", "66KiB", "0B", "q record_body_bytes"),
];

/// Keys of the schema that have no row: one whose change is another route, and those of a secret, whose content a reload
/// compares by marks.
const WITHOUT_ROW: [&str; 4] =
    ["routes[].name", "routes[].secrets[].env", "routes[].secrets[].file", "routes[].secrets[].optional"];

const CANARY: &str = "canary-3f1c9a7e";

fn made() -> Made {
    let pem = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem() + &key.serialize_pem()
    };
    // The first key is the canary in base64.
    let made = Made::new().env("CANARY", CANARY).env("KEY", "Y2FuYXJ5LTNmMWM5YTdl").env("OTHER_KEY", "whsec_AAAA");
    let made = made.file("/etc/hl/key", b"BBBB\n");
    let url = format!("postgres://u:{CANARY}@h/d");
    let made = made.file("/etc/hl/database_url", url.as_bytes()).env("DATABASE_URL", url);
    made.file("/etc/hl/a.pem", pem().as_bytes()).file("/etc/hl/b.pem", pem().as_bytes())
}

fn view(made: &Made, text: &str) -> View {
    View::of(&made.parse(text).unwrap_or_else(|errors| panic!("{errors:#?}")))
}

/// The paths of the keys below a schema that have no keys themselves. Schemes and their options are one key.
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let shapes = schema["anyOf"].as_array().into_iter().flatten();
    let maps: Vec<&Value> = shapes.chain([schema]).filter(|shape| shape["properties"].is_object()).collect();
    if let ("array", items) = (schema["type"].as_str().unwrap_or_default(), &schema["items"])
        && items["properties"].is_object()
    {
        return leaves(items, &format!("{path}[]"), found);
    }
    if maps.is_empty() || path.ends_with(".scheme") {
        found.insert(path.to_owned());
    }
    for (key, below) in maps.iter().flat_map(|map| map["properties"].as_object().unwrap()) {
        if path.ends_with(".scheme") {
            break;
        }
        let dot = if path.is_empty() { "" } else { "." };
        leaves(below, &format!("{path}{dot}{key}"), found);
    }
}

#[test]
fn a_change_of_one_key_is_a_difference_at_that_key_and_no_other() {
    let made = made();
    let before = view(&made, BASE);
    for (key, from, to, told) in CHANGES {
        assert_eq!(BASE.matches(from).count(), 1, "{key}: {from}");
        let after = view(&made, &BASE.replace(from, to));
        let mut keys = before.changed_keys(&after);
        for route in ["r", "url", "ask", "own", "q", "m", "w"] {
            let mut changed = before.changed_keys_of_route(&after, route);
            changed.sort_unstable();
            if !changed.is_empty() {
                keys.push(format!("{route} {}", changed.join(" ")));
            }
        }
        assert_eq!(keys.join(", "), *told, "{key}");
        let at_start: &[&str] = &[
            "server.name",
            "server.listen",
            "server.threads",
            "admin.listen",
            "store.path",
            "store.postgres.url.env",
            "store.postgres.url.file",
        ];
        let refused = before.changed_at_start_only(&after);
        assert_eq!(!refused.is_empty(), at_start.contains(key), "{key}: {refused:?}");
    }
}

#[test]
fn every_key_of_the_schema_has_a_row() {
    let mut known = BTreeSet::new();
    leaves(&schema(), "", &mut known);
    let rows = CHANGES.iter().map(|(key, ..)| (*key).to_owned());
    let rows: BTreeSet<String> = rows.chain(WITHOUT_ROW.map(str::to_owned)).collect();
    assert_eq!(known, rows);
}

#[test]
fn a_change_is_shown_unless_it_is_a_secret_or_the_inside_of_a_scheme() {
    let made = made();
    let before = view(&made, BASE).to_json();
    let mut hidden = Vec::new();
    for (key, from, to, told) in CHANGES {
        if view(&made, &BASE.replace(from, to)).to_json() == before {
            hidden.push((*key, *told));
        }
    }
    let expected = [
        ("admin.token.env", "admin.token"),
        ("admin.token.file", "admin.token"),
        ("telemetry.otlp.headers", "telemetry.otlp"),
        ("routes[].scheme", "ask scheme_secrets"),
        ("schemes", "own scheme"),
        ("routes[].upstream.url", "r upstream"),
        ("routes[].upstream.urls", "ask upstream"),
        ("routes[].sign.secrets[].env", "q sign"),
        ("routes[].sign.secrets[].file", "q sign"),
    ];
    assert_eq!(hidden, expected);
}

#[test]
fn no_secret_is_shown() {
    let view = view(&made(), BASE);
    let shown = format!("{} {view:?}", Value::Object(view.to_json()));
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains("verify_token") && shown.contains("authorization"), "{shown}");
}
