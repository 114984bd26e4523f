//! Secrets that must show nowhere: not in a log at its most talkative, nor in what is answered, told or refused.
//!
//! Each place that a secret can stand in has a canary of its own. The gateway runs through all that it has words for,
//! and everything that a reader could see of it is searched for them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use sha1::Sha1;
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use http::Request;

use crate::support::bookkeeper::Bookkeeper;
use crate::support::certificates::Files;
use crate::support::http::{get, send};
use crate::support::http2::Client;
use crate::support::process::{BINARY, Process, Stream};
use crate::support::sender::{Delivery, sha256};
use crate::support::served::delivery;

const IN_ENVIRONMENT: &str = "canary-in-the-environment";
const IN_FILE: &str = "canary-in-a-file";
const IN_NEW_FILE: &str = "canary-in-a-new-file";
const UNDECODABLE: &[u8] = b"canary-that-is-no-text\xff";
const LITERAL: &str = "canary-in-the-configuration";
const BODY: &str = r#"{"canary":"in-the-body"}"#;

/// The secrets that must not appear anywhere.
fn canaries() -> Vec<String> {
    let digests = [IN_ENVIRONMENT, IN_FILE, IN_NEW_FILE].map(|secret| sha256(secret, BODY.as_bytes()));
    let plain = [IN_ENVIRONMENT, IN_FILE, IN_NEW_FILE, "canary-that-is-no-text", LITERAL, "in-the-body", "in-a-header"];
    digests.into_iter().chain(plain.map(str::to_owned)).collect()
}

/// Configurations that put a secret where none may be; each is refused.
fn refused() -> Vec<String> {
    let route =
        |keys: &str| format!("routes:\n  - {{ name: r, path: /r, scheme: civo, upstream: 'http://a', {keys} }}\n");
    vec![
        route(&format!("secrets: [{LITERAL}]")),
        route(&format!("secrets: {LITERAL}")),
        route(&format!("secrets: [{{ value: {LITERAL} }}]")),
        route(&format!("secrets: [{{ env: '{LITERAL} ' }}]")),
        route(&format!("secret: {LITERAL}")),
        route(&format!("secrets: [{{ {LITERAL}: 1 }}]")),
        route(&format!("secrets: [{{ env: CANARY, env: {LITERAL} }}]")),
        route("secrets: [{ file: undecodable }]"),
        format!("secret: {LITERAL}\nroutes: [\n"),
        format!("{LITERAL}: {{"),
        format!("secret: *{LITERAL}\n"),
        format!("secret: !!int {LITERAL}\n"),
    ]
}

#[test]
fn no_secret_shows_in_logs_at_trace_level_metrics_summaries_answers_errors_and_checks() {
    for heard in [everything_about("text"), everything_about("json"), everything_over_http2()] {
        for canary in canaries() {
            for text in &heard {
                assert!(!text.contains(&canary), "{canary} in: {text}");
            }
        }
    }
}

/// Holds as long as the features of these crates that it takes are on.
#[test]
fn keys_and_keyed_states_are_wiped_from_memory_when_they_are_dropped() {
    fn wiped<T: ZeroizeOnDrop>() {}
    // What HMAC keeps of a key are two states of its hash.
    wiped::<Sha1>();
    wiped::<Sha256>();
    wiped::<Zeroizing<Vec<u8>>>();
}

/// All that can be read of a gateway and its commands.
fn everything_about(format: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let upstream = Bookkeeper::start();
    let secrets = "secrets: [{ env: CANARY, id: one }, { file: key, id: two }]";
    let good = format!(
        "server: {{ listen: 127.0.0.1:0, threads: 1, access_log: all }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n  \
         - {{ name: hook, path: /hook, scheme: circleci, upstream: 'http://{}', {secrets} }}\n  \
         - {{ name: lax, path: /lax, scheme: circleci, upstream: 'http://{0}', enforce: false, {secrets} }}\n  \
         - {{ name: dead, path: /dead, scheme: circleci, upstream: 'http://127.0.0.1:1', {secrets} }}\n",
        upstream.address
    );
    fs::write(folder.path().join("key"), IN_FILE).unwrap();
    fs::write(folder.path().join("undecodable"), UNDECODABLE).unwrap();
    fs::write(&file, &good).unwrap();
    let mut heard = Vec::new();

    let hooklatch = |command: &str| {
        let mut hooklatch = Command::new(BINARY);
        hooklatch.args([command, "--log-format", format, "-c"]).arg(&file);
        hooklatch.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("CANARY", IN_ENVIRONMENT);
        hooklatch
    };
    let mut gateway = Process::start("the gateway", &mut hooklatch("serve"), "");
    let server = listening(&mut gateway, "server");
    let admin = listening(&mut gateway, "admin");

    deliver(server, &[IN_ENVIRONMENT, IN_FILE], &mut heard);
    fs::write(folder.path().join("key"), IN_NEW_FILE).unwrap();
    gateway.signal("HUP");
    told(&mut gateway, "configuration reloaded");
    deliver(server, &[IN_ENVIRONMENT, IN_NEW_FILE], &mut heard);
    for yaml in refused() {
        fs::write(&file, yaml).unwrap();
        gateway.signal("HUP");
        told(&mut gateway, "the configuration was not reloaded");
        let check = hooklatch("check").output().unwrap();
        assert_eq!(check.status.code(), Some(78), "{check:?}");
        heard.push(format!("{check:?}"));
    }
    fs::write(&file, &good).unwrap();
    let check = hooklatch("check").output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    heard.push(format!("{check:?}"));
    for path in ["/metrics", "/config", "/livez", "/readyz", "/nowhere"] {
        heard.push(String::from_utf8(send(admin, &get(path)).body).unwrap());
    }
    assert_eq!(gateway.terminate().code(), Some(0));
    for stream in [Stream::Stdout, Stream::Stderr] {
        heard.push(gateway.printed(stream).join("\n"));
    }
    let lines = heard.last().unwrap().lines().count();
    assert!(lines > 2 * refused().len() + 40, "the log tells of all this in {lines} lines");
    heard
}

/// Deliveries that are taken, refused for each reason that a signature can give, and lost at the upstream.
fn deliver(server: SocketAddr, secrets: &[&str], heard: &mut Vec<String>) {
    for secret in secrets {
        let digest = sha256(secret, BODY.as_bytes());
        let signed = Delivery::circleci_with(secret, BODY).header("Authorization", "in-a-header");
        let unsigned = signed.clone().without("circleci-signature");
        for (request, status) in [
            (delivery("/hook", secret, BODY.as_bytes()), 200),
            (signed.bytes(), 200),
            (signed.clone().target("/lax").body("{}").bytes(), 200),
            (signed.clone().target("/dead").bytes(), 502),
            (signed.clone().body("{}").bytes(), 401),
            (signed.clone().header("circleci-signature", &digest).bytes(), 401),
            (unsigned.clone().header("circleci-signature", &digest).bytes(), 401),
            (unsigned.bytes(), 401),
            (signed.clone().target("/nowhere").bytes(), 404),
            (signed.clone().header("Host", "another").bytes(), 400),
        ] {
            let response = send(server, &request);
            assert_eq!(response.status, status, "{response:?}");
            heard.push(format!("{response:?} {}", String::from_utf8_lossy(&response.body)));
        }
    }
}

/// All that can be read of a gateway that speaks HTTP/2.
fn everything_over_http2() -> Vec<String> {
    let upstream = Bookkeeper::start();
    let files = Files::new();
    let yaml = format!(
        "server: {{ listen: 127.0.0.1:0, threads: 1, access_log: all, {} }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n  \
         - {{ name: hook, path: /hook, scheme: circleci, upstream: 'http://{}', secrets: [{{ env: CANARY }}] }}\n",
        files.server(""),
        upstream.address
    );
    let mut command = Command::new(BINARY);
    command.args(["serve", "-c", &files.write("gateway.yaml", &yaml)]);
    let mut gateway = Process::start("the gateway", command.env("RUST_LOG", "trace").env("CANARY", IN_ENVIRONMENT), "");
    let server = listening(&mut gateway, "server");
    let client = Client::connect(server, files.authority.client(&["h2"]));
    let mut heard = Vec::new();
    for (body, status) in [(BODY, 200), ("{}", 401)] {
        let request = Request::post("https://gateway.example/hook")
            .header("circleci-signature", format!("v1={}", sha256(IN_ENVIRONMENT, BODY.as_bytes())))
            .header("authorization", "in-a-header");
        let answer = client.start(request.body(body.as_bytes().to_vec()).unwrap()).wait();
        assert_eq!(answer.status, status);
        heard.push(format!("{answer:?} {}", String::from_utf8_lossy(&answer.body)));
    }
    drop(client);
    assert_eq!(gateway.terminate().code(), Some(0));
    for stream in [Stream::Stdout, Stream::Stderr] {
        heard.push(gateway.printed(stream).join("\n"));
    }
    let key = fs::read_to_string(files.path("tls.key")).unwrap();
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!heard.iter().any(|text| text.contains(line)), "the private key shows");
    }
    assert!(heard.last().unwrap().contains("TRACE"), "the log is at its most talkative: {heard:?}");
    heard
}

/// The address that a listener announces, in either format.
fn listening(gateway: &mut Process, listener: &str) -> SocketAddr {
    gateway.wait_for("its address", |_, line| {
        let rest = line.split_once(&format!("listener={listener:?}")).map(|(_, rest)| rest);
        let rest = rest.or_else(|| line.split_once(&format!("\"listener\":{listener:?}")).map(|(_, rest)| rest))?;
        let address = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        address.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next()?.parse().ok()
    })
}

fn told(gateway: &mut Process, what: &str) {
    gateway.wait_for(what, |_, line| line.contains(what).then_some(()));
}
