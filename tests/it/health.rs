//! `hooklatch health`: its request, and its verdict on the response.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};

use crate::support::gateway::Gateway;
use crate::support::http::Connection;
use crate::support::process::{BINARY, poll};
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::{Nobody, Upstream};

fn health(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("health").args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// Its exit status, and what it says on standard output.
fn asked(url: &str, arguments: &[&str]) -> (i32, String) {
    let output = health(&[&["--url", url], arguments].concat());
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Runs it with a configuration of this text.
fn configured(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, text).unwrap();
    health(&["-c", file.to_str().unwrap()])
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[test]
fn a_gateway_is_healthy_while_it_takes_deliveries_and_alive_while_it_drains() {
    let upstream = Upstream::bind();
    let routes = route("circleci", &format!("upstream: \"http://{}/in\"", upstream.address));
    let mut gateway = Gateway::start(&routes);
    let admin = url(gateway.admin);
    assert_eq!(asked(&admin, &[]), (0, "ready\n".to_owned()));
    assert_eq!(asked(&format!("{admin}/"), &["--live"]), (0, "alive\n".to_owned()));

    let mut sender = Connection::open(gateway.server);
    sender.write(&Delivery::circleci("{}").bytes());
    let mut peer = upstream.accept();
    peer.request();
    gateway.begin_to_stop();
    poll("not ready", || gateway.get("/readyz").status == 503);
    assert_eq!(asked(&admin, &[]), (1, "starting or draining\n".to_owned()));
    assert_eq!(asked(&admin, &["--live"]), (0, "alive\n".to_owned()));
    peer.answer();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn the_address_is_that_of_the_configuration_whatever_is_wrong_elsewhere_in_it() {
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let admin = gateway.admin;
    for broken in ["", "routes: []", "no_such_key: 1", "routes: [{ name: r, secrets: [{ env: NOT_SET }] }]"] {
        let output = configured(&format!("admin: {{ listen: \"{admin}\" }}\n{broken}\n"));
        assert_eq!(output.status.code(), Some(0), "{broken}: {output:?}");
    }
    // A listener on every address is asked on loopback.
    let output = configured(&format!("admin: {{ listen: \"0.0.0.0:{}\" }}\n", admin.port()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn who_does_not_answer_is_not_healthy() {
    let nobody = Nobody::bind();
    let output = health(&["--url", &url(nobody.address)]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("no answer from"));

    // Accepts the connection, and never sends a byte.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(asked(&url(silent.local_addr().unwrap()), &[]), (1, String::new()));

    // Another server's port: the gateway's own public one.
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    assert_eq!(asked(&url(gateway.server), &[]).0, 1);
}

#[test]
fn what_cannot_be_asked_is_told_apart_from_what_does_not_answer() {
    for (text, status) in [
        ("admin: { listen: \"127.0.0.1:0\" }", 2),
        ("admin: { listen: nonsense }", 78),
        ("admin: [", 78),
        ("- a list", 78),
    ] {
        let output = configured(text);
        assert_eq!(output.status.code(), Some(status), "{text}: {output:?}");
        assert!(!output.stderr.is_empty(), "{text}");
    }
    assert_eq!(health(&["-c", "there-is-no-such-file"]).status.code(), Some(78));
    assert_eq!(health(&["--url", "/readyz"]).status.code(), Some(2));
}
