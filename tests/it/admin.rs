//! The admin listener: metrics, health, configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::gateway::{Gateway, OLD_SECRET, SECRET, series};
use crate::support::http;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

const OUTCOMES: [&str; 3] = ["forwarded", "rejected", "upstream_error"];
const RESULTS: [&str; 7] = ["2xx", "3xx", "4xx", "5xx", "unreachable", "failed", "timeout"];
const REASONS: [&str; 10] = [
    "method_not_allowed",
    "draining",
    "overloaded",
    "bad_request",
    "body_too_large",
    "body_timeout",
    "missing_signature",
    "ambiguous_signature",
    "malformed_signature",
    "signature_mismatch",
];

/// Two routes; one can refuse for reasons that the other cannot.
fn two_routes() -> Gateway {
    let circleci =
        route("circleci", "upstream: \"http://127.0.0.1:1\", secrets: [{ env: SECRET, id: a }, { env: OLD_SECRET }]");
    let icr = route("icr", "upstream: \"http://127.0.0.1:1\", rate_limit: { per_second: 1 }").replace("hook", "icr");
    Gateway::start(&(circleci + &icr))
}

/// `_sum` and `_count` of a histogram.
fn histogram(name: &str, labels: &[(&str, &str)]) -> [String; 2] {
    ["_sum", "_count"].map(|end| series(&format!("{name}{end}"), labels))
}

#[test]
fn every_series_of_a_configured_route_exists_at_0_from_the_start_and_deliveries_move_no_counter_but_theirs() {
    let gateway = two_routes();
    let metrics = gateway.metrics();
    let mut expected = BTreeSet::new();
    let routes: [(&str, &str, &[&str]); 3] = [
        ("hook", "circleci", &REASONS),
        ("icr", "icr", &REASONS),
        (
            "none",
            "none",
            &[
                "no_route",
                "bad_request",
                "draining",
                "overloaded",
                "header_timeout",
                "header_too_large",
                "uri_too_long",
            ],
        ),
    ];
    for (route, scheme, reasons) in routes {
        for outcome in OUTCOMES {
            let labels = [("route", route), ("scheme", scheme), ("outcome", outcome)];
            expected.insert(series("hooklatch_requests_total", &labels));
            let labels = [("route", route), ("outcome", outcome)];
            expected.extend(histogram("hooklatch_request_duration_seconds", &labels));
        }
        for reason in reasons {
            let labels = [("route", route), ("scheme", scheme), ("reason", reason)];
            expected.insert(series("hooklatch_rejections_total", &labels));
        }
    }
    for reason in ["payload_mismatch", "rate_limited"] {
        let labels = [("route", "icr"), ("scheme", "icr"), ("reason", reason)];
        expected.insert(series("hooklatch_rejections_total", &labels));
    }
    for (route, scheme) in [("hook", "circleci"), ("icr", "icr")] {
        for result in RESULTS {
            let labels = [("route", route), ("result", result)];
            expected.insert(series("hooklatch_upstream_responses_total", &labels));
        }
        expected.insert(series("hooklatch_upstream_resends_total", &[("route", route)]));
        expected.extend(histogram("hooklatch_verification_duration_seconds", &[("scheme", scheme)]));
        expected.extend(histogram("hooklatch_request_body_bytes", &[("route", route)]));
        expected.extend(histogram("hooklatch_upstream_duration_seconds", &[("route", route)]));
    }
    for route in ["hook", "icr"] {
        expected.insert(series("hooklatch_replays_total", &[("route", route)]));
    }
    for (route, secret) in [("hook", "a"), ("hook", "1"), ("icr", "0")] {
        let labels = [("route", route), ("secret", secret)];
        expected.insert(series("hooklatch_secret_last_match_timestamp_seconds", &labels));
    }
    for gauge in ["in_flight_requests", "connections", "buffered_bytes", "log_dropped_total"] {
        expected.insert(format!("hooklatch_{gauge}"));
    }
    // In memory.
    for gauge in
        ["bytes", "max_bytes", "free_bytes", "failed", "shared", "replicated", "unreachable", "late_outcomes_total"]
    {
        expected.insert(format!("hooklatch_store_{gauge}"));
    }
    for name in ["sync_seconds", "batch_deliveries"] {
        expected.extend(histogram(&format!("hooklatch_store_{name}"), &[]));
    }
    for protocol in ["proxy", "tls"] {
        expected.insert(series("hooklatch_handshake_failures_total", &[("protocol", protocol)]));
    }
    for result in ["exported", "failed", "dropped"] {
        expected.insert(series("hooklatch_spans_total", &[("result", result)]));
    }
    for reason in ["rate", "full"] {
        expected.insert(series("hooklatch_records_dropped_total", &[("reason", reason)]));
    }
    expected.insert("hooklatch_dedupe_evicted_total".to_owned());
    for result in ["success", "failure"] {
        expected.insert(series("hooklatch_config_reloads_total", &[("result", result)]));
    }
    for (name, value) in metrics.all().iter().filter(|(name, _)| expected.contains(*name)) {
        assert_eq!(*value, 0.0, "{name}");
    }
    let version = [("version", hooklatch::VERSION), ("revision", hooklatch::REVISION)];
    for (name, labels, value) in
        [("hooklatch_build_info", &version[..], 1.0), ("hooklatch_config_last_reload_successful", &[], 1.0)]
    {
        assert_eq!(metrics.get(name, labels), value);
        expected.insert(series(name, labels));
    }
    expected.insert("hooklatch_config_last_reload_success_timestamp_seconds".to_owned());
    for (bound, value) in [("connections", 10_000.0), ("buffered_bytes", 268_435_456.0)] {
        let name = format!("hooklatch_max_{bound}");
        assert_eq!(metrics.get(&name, &[]), value);
        expected.insert(name);
    }
    let found: BTreeSet<String> = metrics
        .all()
        .keys()
        .filter(|name| !name.starts_with("process_") && !name.contains("_bucket{"))
        .cloned()
        .collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\nmore: {more:#?}");

    // One delivery is refused, one does not reach the upstream.
    assert_eq!(http::send(gateway.server, &Delivery::unsigned("{}").bytes()).status, 401);
    assert_eq!(http::send(gateway.server, &Delivery::circleci("{}").bytes()).status, 502);
    let labels = |last| [("route", "hook"), ("scheme", "circleci"), last];
    let moved = [
        (series("hooklatch_requests_total", &labels(("outcome", "rejected"))), 1.0),
        (series("hooklatch_rejections_total", &labels(("reason", "missing_signature"))), 1.0),
        (series("hooklatch_requests_total", &labels(("outcome", "upstream_error"))), 1.0),
        (series("hooklatch_upstream_responses_total", &[("route", "hook"), ("result", "unreachable")]), 1.0),
    ];
    assert_eq!(gateway.metrics().all_counted_since(&metrics), BTreeMap::from(moved));
}

#[test]
fn every_series_of_a_route_with_a_queue_exists_at_0_from_the_start_and_no_other_route_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store: {{ path: {:?}, min_free: 0MiB }}\n", folder.path());
    let queue = route("circleci", "upstream: \"http://127.0.0.1:1\", delivery: queue");
    let proxy = route("icr", "upstream: \"http://127.0.0.1:1\"").replace("hook", "icr");
    let gateway = Gateway::start(&(queue + &proxy + &store));
    let metrics = gateway.metrics();
    let hook = ("route", "hook");
    let mut expected = BTreeSet::new();
    for state in ["pending", "retrying", "dead", "held"] {
        expected.insert(series("hooklatch_queue_deliveries", &[hook, ("state", state)]));
    }
    for result in RESULTS {
        expected.insert(series("hooklatch_queue_attempts_total", &[hook, ("result", result)]));
    }
    for name in ["oldest_seconds", "delivered_total", "dead_total", "in_flight", "circuit_open", "paused"] {
        expected.insert(series(&format!("hooklatch_queue_{name}"), &[hook]));
    }
    expected.extend(histogram("hooklatch_queue_delay_seconds", &[hook]));
    for outcome in ["accepted", "duplicate", "rejected"] {
        let labels = [hook, ("scheme", "circleci"), ("outcome", outcome)];
        expected.insert(series("hooklatch_requests_total", &labels));
    }
    for reason in REASONS.into_iter().chain(["storage_full", "storage_failed", "storage_slow"]) {
        let labels = [hook, ("scheme", "circleci"), ("reason", reason)];
        expected.insert(series("hooklatch_rejections_total", &labels));
    }
    let of_queues = |name: &str| {
        let family = ["hooklatch_queue_", "hooklatch_requests_total{", "hooklatch_rejections_total{"];
        let is_family = family.iter().any(|family| name.starts_with(family)) && !name.contains("_bucket{");
        is_family && (name.contains("route=\"hook\"") || name.starts_with("hooklatch_queue_"))
    };
    let found: BTreeMap<_, _> = metrics.all().iter().filter(|(name, _)| of_queues(name)).collect();
    assert!(found.keys().copied().eq(&expected), "{found:#?}\n{expected:#?}");
    assert!(found.values().all(|value| **value == 0.0), "{found:#?}");
    assert_eq!(metrics.get("hooklatch_store_max_bytes", &[]), 10.0 * 1024.0 * 1024.0 * 1024.0);
}

#[test]
fn the_process_is_described_as_usual() {
    let metrics = two_routes().metrics();
    for name in [
        "cpu_seconds_total",
        "open_fds",
        "max_fds",
        "virtual_memory_bytes",
        "resident_memory_bytes",
        "start_time_seconds",
    ] {
        assert!(metrics.get(&format!("process_{name}"), &[]) >= 0.0);
    }
}

#[test]
fn the_histograms_observe_each_delivery_once_where_it_gets() {
    let mut rig = Rig::start();
    rig.forwards(&Delivery::circleci("12345"));
    rig.forwards(&Delivery::circleci("123"));
    rig.refuses(&Delivery::unsigned("1").bytes(), 401, "missing_signature");
    rig.refuses(&Delivery::circleci("12").body("1").bytes(), 401, "signature_mismatch");
    let metrics = rig.gateway.metrics();
    let hook = ("route", "hook");
    for (name, labels, count) in [
        ("hooklatch_request_duration_seconds", &[hook, ("outcome", "forwarded")][..], 2.0),
        ("hooklatch_request_duration_seconds", &[hook, ("outcome", "rejected")], 2.0),
        ("hooklatch_request_duration_seconds", &[hook, ("outcome", "upstream_error")], 0.0),
        ("hooklatch_verification_duration_seconds", &[("scheme", "circleci")], 3.0),
        ("hooklatch_request_body_bytes", &[hook], 3.0),
        ("hooklatch_upstream_duration_seconds", &[hook], 2.0),
    ] {
        assert_eq!(metrics.get(&format!("{name}_count"), labels), count, "{name} {labels:?}");
    }
    assert_eq!(metrics.get("hooklatch_request_body_bytes_sum", &[hook]), 9.0);
}

#[test]
fn the_gauges_rise_and_fall_with_the_delivery() {
    let mut rig = Rig::start();
    let mut sender = rig.connect();
    // The first makes the upstream's connection. Over a reused one the body is held until it cannot be asked for again.
    rig.forwards(&Delivery::circleci("{}"));
    sender.write(&Delivery::circleci("x".repeat(1000)).bytes());
    rig.request();
    let metrics = rig.gateway.metrics();
    assert_eq!(metrics.get("hooklatch_buffered_bytes", &[]), 1000.0);
    assert_eq!(metrics.get("hooklatch_in_flight_requests", &[]), 1.0);
    assert!(metrics.get("hooklatch_connections", &[]) >= 1.0);
    rig.peer().answer();
    sender.receive();
    drop(sender);
    for gauge in ["hooklatch_in_flight_requests", "hooklatch_connections", "hooklatch_buffered_bytes"] {
        rig.wait_for_gauge(gauge, 0.0);
    }
}

#[test]
fn no_label_comes_from_a_request() {
    let rig = Rig::start();
    let before: Vec<String> = rig.gateway.metrics().all().keys().cloned().collect();
    for (target, method, host) in [("/x", "GET", "a"), ("/hook", "INVENTED", "b"), ("/hook?x", "POST", "c")] {
        rig.send(&Delivery::unsigned("").target(target).method(method).host(host).bytes());
    }
    let after: Vec<String> = rig.gateway.metrics().all().keys().cloned().collect();
    assert_eq!(before, after);
}

#[test]
fn a_running_gateway_is_alive_and_ready() {
    let gateway = two_routes();
    for path in ["/livez", "/readyz", "/metrics", "/config", "/livez?verbose"] {
        assert_eq!(gateway.get(path).status, 200, "{path}");
    }
    for path in ["/metrics/", "/healthz", "/hook", "/config/x", "/-/reload", "/uix"] {
        assert_eq!(gateway.get(path).status, 404, "{path}");
    }
    let response = http::send(gateway.admin, b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn the_metrics_are_in_the_text_format_with_help_and_type_for_every_family() {
    let gateway = two_routes();
    let response = gateway.get("/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(response.body).unwrap();
    let families = |what: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix(what)?.split(' ').next()).collect()
    };
    assert_eq!(families("# HELP "), families("# TYPE "));
    assert!(families("# HELP ").len() > 16);
}

#[test]
fn the_admin_paths_are_not_on_the_public_listener_nor_routes_on_the_admin_listener() {
    let rig = Rig::start();
    for path in ["/metrics", "/livez", "/readyz", "/config"] {
        rig.refuses_without_route(&http::get(path), 404, "no_route");
    }
    assert_eq!(http::send(rig.gateway.admin, &Delivery::circleci("{}").host("localhost").bytes()).status, 404);
}

#[test]
fn the_configuration_is_told_without_its_secrets() {
    let gateway = two_routes();
    let response = gateway.get("/config");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let config = response.json();
    let names: Vec<_> =
        config["routes"].as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hook", "icr"]);
    assert_eq!(config["routes"][0]["secrets"], serde_json::json!(["a", "1"]));
    assert_eq!(config["routes"][0]["upstream"], "http://127.0.0.1:1/");
    for path in ["/config", "/metrics"] {
        let text = String::from_utf8(gateway.get(path).body).unwrap();
        assert!(!text.contains(SECRET) && !text.contains(OLD_SECRET), "{text}");
    }
}
