//! A real Prometheus with what stands in `deploy/prometheus` and `deploy/grafana`, in front of a running gateway.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::Files;
use crate::support::collector::Collector;
use crate::support::http::{self, Connection};
use crate::support::process::{Process, poll};
use crate::support::served::{Served, delivery, route};
use crate::support::tools::{succeeds, tool};
use crate::support::upstream::Nobody;

/// How often the tests' Prometheus scrapes and looks at its rules, instead of every 15 seconds.
const OFTEN: &str = "100ms";

/// A running Prometheus; it keeps its data in `_folder`.
struct Prometheus {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

/// A gateway with TLS and traces, one route whose handler answers, one whose handler does not, and one with a queue.
struct Watched {
    served: Served,
    files: Files,
    _nobody: Nobody,
}

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

impl Prometheus {
    /// With the configuration and rules that are shipped, and `admin` in the place of the gateway's address.
    fn start(admin: SocketAddr) -> Option<Self> {
        let mut command = tool("prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let shipped = fs::read_to_string(deployed("prometheus/prometheus.yml")).unwrap();
        let config = shipped
            .replace("gateway:9797", &admin.to_string())
            .replace("_interval: 15s", &format!("_interval: {OFTEN}"));
        assert!(config.contains(&admin.to_string()) && config.matches(OFTEN).count() == 2, "{config}");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        fs::copy(deployed("prometheus/rules.yml"), folder.path().join("rules.yml")).unwrap();
        command.arg("--config.file").arg(file).arg("--storage.tsdb.path").arg(folder.path().join("data"));
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        let mut process = Process::start("prometheus", &mut command, "");
        let address = process.wait_for("where it listens", |_, line| {
            let (_, address) = line.split_once("Listening on")?.1.split_once("address=")?;
            address.split_whitespace().next()?.parse().ok()
        });
        let prometheus = Self { _process: process, _folder: folder, address };
        poll("ready", || http::send(address, &http::get("/-/ready")).status == 200);
        Some(prometheus)
    }

    fn get(&self, path: &str) -> Value {
        let response = http::send(self.address, &http::get(path));
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()["data"].clone()
    }

    /// The samples that a query gives now, each its labels and value.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}", encoded(query));
        let data = self.get(&path);
        assert_eq!(data["resultType"], "vector", "{query}");
        let samples = data["result"].as_array().unwrap().iter();
        samples
            .map(|sample| (sample["metric"].clone(), sample["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// Waits until a query that gives one sample gives this value.
    #[track_caller]
    fn wait_for(&self, query: &str, value: f64) {
        poll(query, || self.query(query).iter().map(|(_, value)| *value).eq([value]));
    }
}

impl Watched {
    fn start() -> Self {
        let files = Files::new();
        let nobody = Nobody::bind();
        let server = format!("listen: 127.0.0.1:0, threads: 1, {}", files.server(""));
        let routes = route("up", "[{ file: new, id: new }, { file: old, id: old }]", "")
            + &route("down", "[{ file: new, id: new }]", "")
                .replace("UPSTREAM", &format!("\"http://{}\"", nobody.address));
        let collector = Collector::start();
        let queued = route("queued", "[{ file: new, id: new }]", "delivery: queue, ");
        let store = "store: { path: store, min_free: 0MiB }\n";
        let routes = routes + &queued + store + &collector.telemetry("");
        let served = Served::start_with(&server, &routes, &[("new", "the-new-secret"), ("old", "the-old-secret")]);
        Self { served, files, _nobody: nobody }
    }

    fn send(&self, path: &str, secret: &str) -> u16 {
        let client = self.files.authority.client(&["http/1.1"]);
        let mut connection = Connection::open_tls(self.served.gateway.server, client);
        connection.write(&delivery(path, secret, b"{}"));
        connection.receive().status
    }

    /// Five deliveries: one for each secret, a forged one, one whose handler does not answer, and a queued one.
    fn send_some(&self) {
        for (path, secret, status) in [
            ("/up", "the-new-secret", 200),
            ("/up", "the-old-secret", 200),
            ("/up", "forged", 401),
            ("/down", "the-new-secret", 502),
            ("/queued", "the-new-secret", 200),
        ] {
            assert_eq!(self.send(path, secret), status);
        }
    }
}

/// What may stand in a query as it is, and the rest in percent-encoding.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

#[test]
fn prometheus_scrapes_the_gateway_and_watches_it_by_the_rules_that_are_shipped() {
    let mut watched = Watched::start();
    let Some(prometheus) = Prometheus::start(watched.served.gateway.admin) else { return };
    prometheus.wait_for(r#"up{job="hooklatch"}"#, 1.0);
    for _ in 0..3 {
        watched.send_some();
    }
    for (query, value) in [
        (r#"hooklatch_requests_total{route="up", scheme="circleci", outcome="forwarded"}"#, 6.0),
        (r#"hooklatch_requests_total{route="down", outcome="upstream_error"}"#, 3.0),
        (r#"hooklatch_rejections_total{route="up", reason="signature_mismatch"}"#, 3.0),
        (r#"sum(hooklatch_rejections_total{reason!="signature_mismatch"})"#, 0.0),
        (r#"hooklatch_upstream_responses_total{route="up", result="2xx"}"#, 6.0),
        (r#"hooklatch_upstream_responses_total{route="down", result="unreachable"}"#, 3.0),
        (r#"hooklatch_requests_total{route="queued", outcome="accepted"}"#, 3.0),
        (r#"hooklatch_queue_delivered_total{route="queued"}"#, 3.0),
        (r#"sum(hooklatch_queue_deliveries{route="queued"})"#, 0.0),
        ("hooklatch_store_failed", 0.0),
        (r#"sum(hooklatch_request_duration_seconds_count{outcome="forwarded"})"#, 6.0),
        (r#"count(time() - hooklatch_secret_last_match_timestamp_seconds{route="up"} < 60)"#, 2.0),
        (r#"hooklatch_spans_total{result="exported"}"#, 54.0),
        (r#"sum(hooklatch_spans_total{result!="exported"})"#, 0.0),
        ("hooklatch_in_flight_requests", 0.0),
        ("hooklatch_config_last_reload_successful", 1.0),
    ] {
        prometheus.wait_for(query, value);
    }

    let names = |rules: &Value| -> BTreeSet<String> {
        let groups = rules["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().iter());
        rules.filter(|rule| rule["health"] == "ok").map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    };
    let shipped: serde_json::Value =
        serde_yaml::from_str(&fs::read_to_string(deployed("prometheus/rules.yml")).unwrap()).unwrap();
    let shipped: BTreeSet<String> = shipped["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule.get("alert").or(rule.get("record")).unwrap().as_str().unwrap().to_owned())
        .collect();
    assert!(shipped.len() >= 12);
    poll("every rule has been looked at", || names(&prometheus.get("/api/v1/rules")) == shipped);

    // What is wrong now, and no more: a handler, two secrets in use, and a configuration that does not load.
    watched.served.write("gateway.yaml", "routes: []\n");
    watched.served.gateway.process.signal("HUP");
    watched.served.reload_failed();
    let expected =
        ["HooklatchOldSecretStillInUse", "HooklatchReloadFailed", "HooklatchUpstreamFailing"].map(str::to_owned);
    let alerts = || -> BTreeSet<String> {
        let samples = prometheus.query("ALERTS").into_iter();
        samples.map(|(labels, _)| labels["alertname"].as_str().unwrap().to_owned()).collect()
    };
    poll("the alerts", || alerts().into_iter().eq(expected.clone()));
}

#[test]
fn every_query_of_the_dashboard_gives_data() {
    let watched = Watched::start();
    let Some(prometheus) = Prometheus::start(watched.served.gateway.admin) else { return };
    prometheus.wait_for(r#"up{job="hooklatch"}"#, 1.0);
    watched.send_some();
    let dashboard: Value = serde_json::from_slice(&fs::read(deployed("grafana/dashboard.json")).unwrap()).unwrap();
    let queries: Vec<(String, String)> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten().map(move |target| (panel, target)))
        .map(|(panel, target)| {
            (panel["title"].as_str().unwrap().to_owned(), target["expr"].as_str().unwrap().to_owned())
        })
        .collect();
    assert!(queries.len() >= 25, "{queries:?}");
    for (title, query) in queries {
        let query = query.replace("$route", ".*").replace("$__rate_interval", "1m");
        assert!(!query.contains('$'), "{title}: a variable that the test does not know in {query}");
        // Nothing is known of a rate before the second scrape.
        poll(&format!("{title}: {query}"), || prometheus.query(&query).iter().any(|(_, value)| !value.is_nan()));
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let route = variables.iter().find(|variable| variable["name"] == "route").unwrap();
    assert_eq!(route["query"]["query"], "label_values(hooklatch_requests_total, route)");
    let values = prometheus.get("/api/v1/label/route/values?match[]=hooklatch_requests_total");
    assert_eq!(values, serde_json::json!(["down", "none", "queued", "up"]));
}

#[test]
fn promtool_finds_nothing_wrong() {
    let Some(mut promtool) = tool("promtool") else { return };
    let folder = deployed("prometheus");
    succeeds(promtool.args(["check", "config", "prometheus.yml"]).current_dir(&folder));
    let tests = ["rules.test.yml", "rules.days.test.yml"];
    succeeds(tool("promtool").unwrap().args(["test", "rules"]).args(tests).current_dir(&folder));

    let watched = Watched::start();
    watched.send_some();
    let metrics = watched.served.admin("/metrics").body;
    let file = watched.served.path("metrics");
    fs::write(&file, metrics).unwrap();
    let mut check = tool("promtool").unwrap();
    let said = succeeds(check.args(["check", "metrics"]).stdin(Stdio::from(fs::File::open(file).unwrap())));
    assert_eq!(said, "");
}

#[test]
fn every_alert_has_a_case_in_which_it_comes_and_one_in_which_it_does_not() {
    let read = |name: &str| -> Value { serde_yaml::from_str(&fs::read_to_string(deployed(name)).unwrap()).unwrap() };
    let rules = read("prometheus/rules.yml");
    let alerts: BTreeSet<&str> =
        rules["groups"][0]["rules"].as_array().unwrap().iter().filter_map(|rule| rule["alert"].as_str()).collect();
    let listed = fs::read_to_string(deployed("README.md")).unwrap();
    let unlisted: Vec<_> = alerts.iter().filter(|alert| !listed.contains(&format!("`{alert}`"))).collect();
    assert!(unlisted.is_empty(), "not in the table of deploy/README.md: {unlisted:?}");
    let files = ["prometheus/rules.test.yml", "prometheus/rules.days.test.yml"].map(read);
    let cases: Vec<&Value> = files
        .iter()
        .flat_map(|file| file["tests"].as_array().unwrap())
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    for comes in [true, false] {
        let tested: BTreeSet<&str> = cases
            .iter()
            .filter(|case| case.get("exp_alerts").is_some() == comes)
            .map(|case| case["alertname"].as_str().unwrap())
            .collect();
        assert_eq!(tested, alerts);
    }
}
