//! `serve` as a process: signals, logs, secrets that must not show.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::gateway::{Metrics, SECRET};
use crate::support::http::{self, Connection};
use crate::support::process::{BINARY, GatewayProcess, Process, Stream, poll};
use crate::support::rig::{is_problem, route};
use crate::support::sender::{Delivery, sha256};
use crate::support::upstream::Upstream;

/// A serving process, the upstream behind it, and the folder with its configuration.
struct Served {
    gateway: GatewayProcess,
    upstream: Upstream,
    _folder: tempfile::TempDir,
}

/// Serves CircleCI's scheme with these flow-style keys of the server and these arguments.
fn serve(server: &str, arguments: &[&str]) -> Served {
    let (upstream, folder) = configure(server);
    let gateway = GatewayProcess::start_with(&folder.path().join("gateway.yaml"), arguments);
    Served { gateway, upstream, _folder: folder }
}

fn configure(server: &str) -> (Upstream, tempfile::TempDir) {
    let upstream = Upstream::bind();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let keys = format!("secrets: [{{ file: secret }}], upstream: \"http://{}/in\", timeout: 60s", upstream.address);
    let yaml = format!(
        "server: {{ listen: 127.0.0.1:0, {server} }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n{}",
        route("circleci", &keys)
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    (upstream, folder)
}

impl Served {
    /// A sender whose delivery the upstream has got and not answered.
    fn in_flight(&self) -> (Connection, crate::support::upstream::Peer) {
        let mut sender = Connection::open(self.gateway.server);
        sender.write(&Delivery::circleci("{}").bytes());
        let mut peer = self.upstream.accept();
        peer.request();
        (sender, peer)
    }

    fn ready(&self) -> u16 {
        http::send(self.gateway.admin, &http::get("/readyz")).status
    }
}

#[test]
fn sigterm_and_sigint_let_the_delivery_in_flight_finish_and_end_with_0() {
    for signal in ["TERM", "INT"] {
        let mut served = serve("shutdown_grace: 60s", &[]);
        let (mut sender, mut peer) = served.in_flight();
        assert_eq!(served.ready(), 200);
        served.gateway.process.signal(signal);
        poll("not ready", || served.ready() == 503);
        peer.answer();
        assert_eq!(sender.receive().body, b"ok\n");
        sender.expect_end();
        drop(sender);
        assert_eq!(served.gateway.process.wait().code(), Some(0));
    }
}

#[test]
fn a_grace_that_runs_out_ends_with_1_and_is_logged() {
    let mut served = serve("shutdown_grace: 200ms", &[]);
    let (mut sender, _peer) = served.in_flight();
    assert_eq!(served.gateway.process.terminate().code(), Some(1));
    sender.expect_end();
    let log = served.gateway.process.printed(Stream::Stderr).join("\n");
    assert!(log.contains("the shutdown grace ran out"), "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut served = serve("shutdown_grace: 60s", &[]);
    let (mut sender, _peer) = served.in_flight();
    served.gateway.process.signal("TERM");
    poll("not ready", || served.ready() == 503);
    assert_eq!(served.gateway.process.terminate().code(), Some(1));
    sender.expect_end();
}

#[test]
fn a_port_is_free_again_as_soon_as_the_gateway_has_ended() {
    let mut served = serve("", &[]);
    let address = served.gateway.server;
    let (mut sender, mut peer) = served.in_flight();
    peer.answer();
    sender.receive();
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    let (_upstream, folder) = configure("");
    let file = folder.path().join("gateway.yaml");
    let again = fs::read_to_string(&file).unwrap().replacen("127.0.0.1:0", &address.to_string(), 1);
    fs::write(&file, again).unwrap();
    let mut again = GatewayProcess::start(&file);
    assert_eq!(again.server, address);
    assert_eq!(again.process.terminate().code(), Some(0));
}

#[test]
fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let mut first = serve("threads: 2", &[]);
    let (_upstream, folder) = configure("threads: 2");
    let file = folder.path().join("gateway.yaml");
    let taken = first.gateway.server.to_string();
    fs::write(&file, fs::read_to_string(&file).unwrap().replacen("127.0.0.1:0", &taken, 1)).unwrap();
    let mut second = Process::start("the second", Command::new(BINARY).arg("serve").arg("-c").arg(&file), "");
    assert_eq!(second.wait().code(), Some(1));
    let said = second.printed(Stream::Stderr).join("\n");
    assert!(said.contains(&taken) && said.contains("server.listen"), "{said}");
    assert_eq!(first.gateway.process.terminate().code(), Some(0));
}

#[test]
fn a_signal_is_heeded_from_the_moment_that_the_listeners_are_announced() {
    for _ in 0..20 {
        let mut served = serve("", &[]);
        assert_eq!(served.gateway.process.terminate().code(), Some(0));
    }
}

#[test]
fn log_lines_are_json_when_not_on_a_terminal() {
    let mut served = serve("", &[]);
    http::send(served.gateway.server, &Delivery::unsigned("").header("X-Request-Id", "id-1").bytes());
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    let lines = served.gateway.process.printed(Stream::Stderr);
    let entries: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().all(|entry| entry["timestamp"].is_string() && entry["level"].is_string()), "{entries:?}");
    let deliveries: Vec<&Value> =
        entries.iter().map(|entry| &entry["fields"]).filter(|fields| fields["message"] == "delivery").collect();
    assert_eq!(deliveries.len(), 1, "{entries:?}");
    for (field, value) in [
        ("route", "hook"),
        ("scheme", "circleci"),
        ("outcome", "rejected"),
        ("reason", "missing_signature"),
        ("request_id", "id-1"),
        ("method", "POST"),
        ("path", "/hook"),
    ] {
        assert_eq!(deliveries[0][field], value, "{field}");
    }
    assert_eq!(deliveries[0]["status"], 401);
}

#[test]
fn the_log_format_and_level_may_stand_before_or_after_the_command() {
    let (_upstream, folder) = configure("");
    let file = folder.path().join("gateway.yaml");
    let file = file.to_str().unwrap();
    for arguments in [
        &["--log-format", "text", "--log-level", "info", "serve", "-c", file][..],
        &["serve", "-c", file, "--log-format", "text", "--log-level", "info"],
        &["--log-level", "info", "serve", "--log-format", "text", "-c", file],
    ] {
        let mut command = Command::new(BINARY);
        let mut process = Process::start("the gateway", command.args(arguments).env("RUST_LOG", "off"), "");
        process.wait_for("a line for people", |stream, line| {
            assert!(serde_json::from_str::<Value>(line).is_err(), "{line}");
            (stream == Stream::Stderr && line.contains("listening")).then_some(())
        });
        assert_eq!(process.terminate().code(), Some(0));
    }
    for arguments in
        [&["--log-format", "json", "serve", "-c", file][..], &["serve", "-c", file, "--log-format", "json"]]
    {
        let mut command = Command::new(BINARY);
        let mut gateway = GatewayProcess::start_command(command.args(arguments).env("RUST_LOG", "info"));
        assert_eq!(gateway.process.terminate().code(), Some(0));
    }
}

#[test]
fn the_access_log_has_a_line_for_the_deliveries_that_it_is_set_to() {
    for (setting, expected) in [("all", 2), ("refused", 1), ("none", 0)] {
        let mut served = serve(&format!("access_log: {setting}"), &[]);
        http::send(served.gateway.server, &Delivery::unsigned("").bytes());
        let (mut sender, mut peer) = served.in_flight();
        peer.answer();
        sender.receive();
        drop(sender);
        assert_eq!(served.gateway.process.terminate().code(), Some(0));
        let lines = served.gateway.process.printed(Stream::Stderr);
        assert_eq!(lines.iter().filter(|line| line.contains("\"delivery\"")).count(), expected, "{setting}: {lines:?}");
    }
}

#[test]
fn what_is_refused_before_it_is_a_request_has_its_line_too() {
    let too_many = format!("POST /hook HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(101));
    let refused = [
        ("POST /hook HTTP/1.1\nHost: a\n\n", 400, "bad_request"),
        ("POST /hook HTTP/9\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (too_many.as_str(), 431, "header_too_large"),
        ("POST /hook HTTP/1.1\r\nHost: a", 408, "header_timeout"),
    ];
    for (setting, logged) in [("all", true), ("refused", true), ("none", false)] {
        let mut served = serve(&format!("access_log: {setting}, header_timeout: 300ms"), &[]);
        let answers = refused.map(|(request, ..)| http::send(served.gateway.server, request.as_bytes()));
        assert_eq!(served.gateway.process.terminate().code(), Some(0));
        let printed = served.gateway.process.printed(Stream::Stderr);
        let lines: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lines: Vec<&Value> = lines.iter().map(|line| &line["fields"]).collect();
        for ((_, status, reason), answer) in refused.iter().zip(&answers) {
            is_problem(answer, *status, reason);
            let line = lines.iter().find(|line| line["request_id"] == answer.json()["request_id"]);
            assert_eq!(line.is_some(), logged, "{setting}: {lines:#?}");
            let Some(line) = line else { continue };
            assert_eq!(
                (&line["message"], &line["route"], &line["outcome"], &line["reason"], &line["status"]),
                (&"delivery".into(), &"none".into(), &"rejected".into(), &(*reason).into(), &(*status).into())
            );
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        }
    }
}

#[test]
fn a_flood_of_refusals_is_counted_in_full_and_logged_in_part() {
    let mut served = serve("", &[]);
    let request = Delivery::unsigned("").bytes();
    let mut sender = Connection::open(served.gateway.server);
    for _ in 0..300 {
        sender.write(&request);
        assert_eq!(sender.receive().status, 401);
    }
    let labels = [("route", "hook"), ("scheme", "circleci"), ("reason", "missing_signature")];
    assert_eq!(Metrics::scrape(served.gateway.admin).get("hooklatch_rejections_total", &labels), 300.0);
    drop(sender);
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    let lines = served.gateway.process.printed(Stream::Stderr);
    let logged = lines.iter().filter(|line| line.contains("\"delivery\"")).count();
    assert!((20..300).contains(&logged), "{logged}");
}

#[test]
fn no_secret_signature_or_body_is_in_any_log_metric_or_answer() {
    const BODY: &str = r#"{"canary":"in-the-body"}"#;
    let mut served = serve("access_log: all", &["--log-level", "trace"]);
    let (server, admin) = (served.gateway.server, served.gateway.admin);
    let digest = sha256(SECRET, BODY.as_bytes());
    let right = Delivery::circleci(BODY).target("/hook?token=in-the-query").header("Authorization", "in-the-header");
    let mut heard = Vec::new();
    let mut sender = Connection::open(server);
    sender.write(&right.bytes());
    let mut peer = served.upstream.accept();
    peer.request();
    peer.answer();
    heard.push(sender.receive());
    for (request, reason) in [
        (right.clone().body("{}").bytes(), "signature_mismatch"),
        (right.clone().header("circleci-signature", &digest).bytes(), "ambiguous_signature"),
        (
            right.clone().without("circleci-signature").header("circleci-signature", &digest).bytes(),
            "malformed_signature",
        ),
        (right.clone().without("circleci-signature").bytes(), "missing_signature"),
        (right.clone().target("/nowhere?token=in-the-query").bytes(), "no_route"),
    ] {
        sender.write(&request);
        let response = sender.receive();
        is_problem(&response, response.status, reason);
        heard.push(response);
    }
    // A failing upstream has lines of its own.
    sender.write(&right.bytes());
    peer.request();
    peer.write("garbage from the upstream\r\n\r\n");
    heard.push(sender.receive());
    peer.expect_end();
    drop((sender, peer));
    heard.extend(["/metrics", "/config", "/livez", "/nowhere"].map(|path| http::send(admin, &http::get(path))));
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    let mut texts: Vec<String> =
        heard.iter().map(|response| format!("{response:?} {}", String::from_utf8_lossy(&response.body))).collect();
    for stream in [Stream::Stdout, Stream::Stderr] {
        texts.push(served.gateway.process.printed(stream).join("\n"));
    }
    assert!(texts.last().unwrap().lines().count() > 8, "the log has lines: {texts:?}");
    for canary in [SECRET, &digest, "in-the-body", "in-the-query", "in-the-header", "garbage from"] {
        for text in &texts {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}

#[test]
fn a_gateway_whose_log_nobody_reads_any_more_goes_on() {
    let (_upstream, folder) = configure("access_log: all");
    let mut command = Command::new(BINARY);
    command.args(["serve", "-c"]).arg(folder.path().join("gateway.yaml")).env_remove("RUST_LOG");
    let mut gateway = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let mut address = || -> SocketAddr {
        let entry: Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
        entry["fields"]["address"].as_str().unwrap().parse().unwrap()
    };
    let (server, admin) = (address(), address());
    drop(log);
    for _ in 0..3 {
        is_problem(&http::send(server, &Delivery::unsigned("{}").bytes()), 401, "missing_signature");
    }
    assert_eq!(http::send(admin, &http::get("/readyz")).status, 200);
    let id = gateway.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill \"$1\"", "sh", &id]).status().unwrap().success());
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}
