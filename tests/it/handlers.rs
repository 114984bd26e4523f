//! Handlers in other languages behind the gateway, each checking the signature again itself.
//!
//! They stand in `tests/handlers`, written as a user would write them. The deliveries are those of
//! `tests/handlers/deliveries.json`. `scripts/test` installs what the handlers need; plain `cargo test` passes over the
//! tests of a handler that lacks it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::http::{self, Response};
use crate::support::process::{GatewayProcess, Process, Stream};
use crate::support::tools;

const HINT: &str = "Run scripts/test, which installs what the handlers need.";

/// An example handler: which scheme it takes, what runs it, where it is and the path at which it takes deliveries.
struct Example {
    scheme: &'static str,
    program: &'static str,
    file: &'static str,
    path: &'static str,
    signature_header: &'static str,
}

const EXPRESS: Example = Example {
    scheme: "icr",
    program: "node",
    file: "express-icr/server.js",
    path: "/webhook",
    signature_header: "x-icr-signature-256",
};
const PYTHON: Example = Example {
    scheme: "civo",
    program: "python3",
    file: "python-civo/server.py",
    path: "/civo",
    signature_header: "X-Civo-Signature",
};
const NODE: Example = Example {
    scheme: "circleci",
    program: "node",
    file: "node-circleci/server.mjs",
    path: "/log-circleci-webhook",
    signature_header: "circleci-signature",
};

/// A properly signed delivery.
struct Delivery {
    secret: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// A running handler.
struct Handler {
    _process: Process,
    address: SocketAddr,
}

/// A running handler behind a running gateway.
struct Rig {
    handler: Handler,
    gateway: GatewayProcess,
    scheme: &'static str,
    _files: tempfile::TempDir,
}

#[test]
fn the_express_handler_confirms_every_icr_delivery_that_the_gateway_lets_in() {
    confirms_what_the_gateway_lets_in(&EXPRESS, &["installed"]);
}

#[test]
fn the_python_handler_confirms_every_civo_delivery_that_the_gateway_lets_in() {
    confirms_what_the_gateway_lets_in(&PYTHON, &["instance.created"]);
}

#[test]
fn the_node_handler_confirms_every_circleci_delivery_that_the_gateway_lets_in() {
    confirms_what_the_gateway_lets_in(&NODE, &["", "workflow-completed"]);
}

#[test]
fn the_express_handler_never_sees_a_delivery_that_was_tampered_with_or_is_unsigned() {
    let Some(rig) = Rig::start(&EXPRESS) else { return };
    let delivery = &deliveries(&EXPRESS)[0];
    let outside = delivery.body.replacen("\"installed\"", "\"uninstalled\"", 1);
    let inside = delivery.body.replacen("\"signedData\":\"ey", "\"signedData\":\"eX", 1);
    rig.refuses("payload_mismatch", &delivery.with_body(outside));
    rig.refuses("signature_mismatch", &delivery.with_body(inside));
    rig.refuses("missing_signature", &delivery.without_header(EXPRESS.signature_header));
    assert_eq!(rig.handler.seen(), 0);
}

#[test]
fn the_python_handler_never_sees_a_delivery_that_was_tampered_with_or_is_unsigned() {
    let Some(rig) = Rig::start(&PYTHON) else { return };
    let delivery = &deliveries(&PYTHON)[0];
    rig.refuses("signature_mismatch", &delivery.with_body(delivery.body.replacen("created", "deleted", 1)));
    rig.refuses("missing_signature", &delivery.without_header(PYTHON.signature_header));
    assert_eq!(rig.handler.seen(), 0);
}

#[test]
fn the_node_handler_never_sees_a_delivery_that_was_tampered_with_or_is_unsigned() {
    let Some(rig) = Rig::start(&NODE) else { return };
    let delivery = &deliveries(&NODE)[0];
    rig.refuses("signature_mismatch", &delivery.with_body(format!("{}\n", delivery.body)));
    rig.refuses("missing_signature", &delivery.without_header(NODE.signature_header));
    assert_eq!(rig.handler.seen(), 0);
}

#[test]
fn a_delivery_that_circleci_sends_twice_reaches_the_node_handler_twice_and_is_known_by_its_id() {
    let delivery = &deliveries(&NODE)[1];
    let Some(rig) = Rig::start_with(&NODE, &delivery.secret) else { return };
    for duplicate in [false, true] {
        let answer = rig.deliver(delivery);
        assert_eq!(answer.json()["duplicate"], duplicate, "{answer:?}");
    }
}

#[test]
fn a_civo_retry_carries_the_event_id_through_to_the_python_handler() {
    let Some(rig) = Rig::start(&PYTHON) else { return };
    let delivery = &deliveries(&PYTHON)[0];
    let id = &delivery.headers.iter().find(|(name, _)| name == "X-Civo-Event").unwrap().1;
    for _ in 0..2 {
        let answer = rig.deliver(delivery);
        assert_eq!(answer.json()["id"], **id, "{answer:?}");
    }
}

#[test]
fn the_gateway_stops_when_told_to_while_a_handler_keeps_its_connection_open() {
    let Some(mut rig) = Rig::start(&NODE) else { return };
    let answer = rig.deliver(&deliveries(&NODE)[0]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(rig.gateway.process.terminate().code(), Some(0));
}

#[test]
fn every_handler_checks_the_signature_by_itself_when_no_gateway_is_in_front() {
    for example in [&EXPRESS, &PYTHON, &NODE] {
        let delivery = &deliveries(example)[0];
        let Some(handler) = Handler::start(example, &delivery.secret) else { continue };
        let statuses = [
            delivery.send(handler.address, example.path),
            delivery.with_secret_of_another(example).send(handler.address, example.path),
            delivery.without_header(example.signature_header).send(handler.address, example.path),
        ]
        .map(|answer| answer.status);
        assert_eq!(statuses, [200, 401, 401], "{}", example.file);
        assert_eq!(handler.seen(), 3, "{}", example.file);
    }
}

/// Every delivery in the file, through the gateway: 200, and the handler confirms signature, bytes and gateway headers.
fn confirms_what_the_gateway_lets_in(example: &Example, events: &[&str]) {
    let deliveries = deliveries(example);
    assert_eq!(deliveries.len(), events.len(), "an event for each delivery");
    for (delivery, event) in deliveries.iter().zip(events) {
        let Some(rig) = Rig::start_with(example, &delivery.secret) else { return };
        let answer = rig.deliver(delivery);
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        assert_eq!(said["verified"], true);
        assert_eq!(said["event"].as_str().unwrap_or_default(), *event);
        assert_eq!(said["gateway"], json!({ "verified": "true", "route": example.scheme, "secret_id": "current" }));
        let sha256 = base16ct::lower::encode_string(&Sha256::digest(&delivery.body));
        assert_eq!(said["body"], json!({ "bytes": delivery.body.len(), "sha256": sha256 }));
        assert_eq!(rig.handler.seen(), 1);
    }
}

impl Delivery {
    fn send(&self, address: SocketAddr, path: &str) -> Response {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        http::send(address, &http::post(path, headers, self.body.as_bytes()))
    }

    fn with_body(&self, body: String) -> Self {
        assert_ne!(body, self.body, "the body must have been changed");
        Self { secret: self.secret.clone(), headers: self.headers.clone(), body }
    }

    fn without_header(&self, name: &str) -> Self {
        let headers: Vec<_> = self.headers.iter().filter(|(key, _)| key != name).cloned().collect();
        assert_eq!(headers.len() + 1, self.headers.len(), "{name} must have been there");
        Self { secret: self.secret.clone(), headers, body: self.body.clone() }
    }

    /// The same with one digit of the signature changed, as if another secret had made it.
    fn with_secret_of_another(&self, example: &Example) -> Self {
        let mut other = Self { secret: self.secret.clone(), headers: self.headers.clone(), body: self.body.clone() };
        let (_, value) = other.headers.iter_mut().find(|(name, _)| name == example.signature_header).unwrap();
        let last = if value.ends_with('0') { '1' } else { '0' };
        value.pop();
        value.push(last);
        other
    }
}

impl Handler {
    /// `None` if the test is to be passed over, since the handler's program or packages are missing.
    fn start(example: &Example, secret: &str) -> Option<Self> {
        if !tools::have(&[example.program])
            || (example.file == EXPRESS.file && !tools::have_packages("tests/handlers/express-icr"))
        {
            return None;
        }
        let file = handlers().join(example.file);
        let mut command = Command::new(example.program);
        command.arg(&file).env("WEBHOOK_SECRET", secret).env("PORT", "0");
        let mut process = Process::start(example.file, &mut command, HINT);
        let port: u16 = process.wait_for("its port", |stream, line| {
            let port = line.strip_prefix("listening ").filter(|_| stream == Stream::Stdout)?;
            port.trim().parse().ok()
        });
        Some(Self { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// How many deliveries came in, good or bad; asked past the gateway.
    fn seen(&self) -> u64 {
        http::send(self.address, &http::get("/seen")).json()["seen"].as_u64().unwrap()
    }
}

impl Rig {
    /// With the secret of the scheme's first delivery.
    fn start(example: &Example) -> Option<Self> {
        Self::start_with(example, &deliveries(example)[0].secret)
    }

    /// `None` if the test is to be passed over.
    fn start_with(example: &Example, secret: &str) -> Option<Self> {
        let handler = Handler::start(example, secret)?;
        let files = tempfile::tempdir().unwrap();
        let (secret_file, config) = (files.path().join("secret"), files.path().join("gateway.yaml"));
        fs::write(&secret_file, format!("{secret}\n")).unwrap();
        fs::write(&config, gateway_yaml(example, &secret_file, handler.address)).unwrap();
        let gateway = GatewayProcess::start(&config);
        Some(Self { handler, gateway, scheme: example.scheme, _files: files })
    }

    fn deliver(&self, delivery: &Delivery) -> Response {
        delivery.send(self.gateway.server, &format!("/webhooks/{}", self.scheme))
    }

    #[track_caller]
    fn refuses(&self, reason: &str, delivery: &Delivery) {
        let answer = self.deliver(delivery);
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["reason"], reason);

        let scheme = self.scheme;
        let counted =
            format!("hooklatch_rejections_total{{reason=\"{reason}\",route=\"{scheme}\",scheme=\"{scheme}\"}} 1");
        let metrics = http::send(self.gateway.admin, &http::get("/metrics"));
        let metrics = String::from_utf8_lossy(&metrics.body);
        assert!(metrics.lines().any(|line| line == counted), "no {counted} in\n{metrics}");
    }
}

/// One route, its handler's path behind the gateway's own.
fn gateway_yaml(example: &Example, secret_file: &Path, handler: SocketAddr) -> String {
    let Example { scheme, path, .. } = example;
    let secret_file = secret_file.display();
    format!(
        "\
server:
  listen: 127.0.0.1:0
admin:
  listen: 127.0.0.1:0
routes:
  - name: {scheme}
    path: /webhooks/{scheme}
    scheme: {scheme}
    secrets:
      - file: {secret_file}
        id: current
    upstream: http://{handler}{path}
"
    )
}

/// The deliveries of an example's scheme.
fn deliveries(example: &Example) -> Vec<Delivery> {
    let all: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(handlers().join("deliveries.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found: Vec<Delivery> = all
        .iter()
        .filter(|delivery| delivery["scheme"] == example.scheme)
        .map(|delivery| Delivery {
            secret: text(&delivery["secret"]),
            headers: delivery["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            body: text(&delivery["body"]),
        })
        .collect();
    assert!(!found.is_empty(), "no delivery for {}", example.scheme);
    found
}

fn handlers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handlers")
}
