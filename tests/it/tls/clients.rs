//! Clients that others have written: curl, nghttp and that of Node.js.

use std::process::{Command, Stdio};

use super::Secure;
use crate::support::gateway::SECRET;
use crate::support::sender::sha256;
use crate::support::tools::{succeeds, tool};

/// A request that the gateway answers before it has read the body.
struct Early {
    path: &'static str,
    /// Of the body: more than a window of HTTP/2.
    length: usize,
    /// A header's name and value.
    header: (&'static str, String),
    status: u16,
}

/// One without a signature, one to a path without a route, one that is longer than `max_body`.
fn early() -> [Early; 3] {
    let signature = format!("v1={}", "a".repeat(64));
    [
        ("/hook", 300_000, "x-none", 401),
        ("/elsewhere", 300_000, "x-none", 404),
        ("/hook", 3_000_000, "circleci-signature", 413),
    ]
    .map(|(path, length, name, status)| Early { path, length, header: (name, signature.clone()), status })
}

/// The file that has a request's body.
fn body(secure: &Secure, length: usize) -> String {
    let file = secure.files.path("body");
    std::fs::write(&file, vec![b'x'; length]).unwrap();
    file
}

#[test]
fn curl_gets_through_by_each_version_of_http() {
    let Some(curl) = tool("curl") else { return };
    let mut secure = Secure::start();
    let port = secure.rig.gateway.server.port();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl = Command::new(curl.get_program())
            .args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", option, "--cacert"])
            .arg(secure.files.path("ca.crt"))
            .args(["--resolve", &format!("gateway.example:{port}:127.0.0.1")])
            .args(["--write-out", "%{http_version} %{http_code}", "--data-binary", "{}"])
            .args(["--header", &format!("circleci-signature: v1={}", sha256(SECRET, b"{}"))])
            .arg(format!("https://gateway.example:{port}/hook"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(secure.rig.request().body, b"{}");
        secure.rig.peer().answer();
        let output = curl.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("ok\n{version} 200"), "{output:?}");
    }
}

#[test]
fn curl_shows_a_refusal_that_comes_before_the_body_by_each_version_of_http() {
    let Some(curl) = tool("curl") else { return };
    let secure = Secure::start();
    let port = secure.rig.gateway.server.port();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for Early { path, length, header: (name, value), status } in early() {
            let output = Command::new(curl.get_program())
                .args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", option, "--cacert"])
                .arg(secure.files.path("ca.crt"))
                .args(["--resolve", &format!("gateway.example:{port}:127.0.0.1")])
                .args(["--header", &format!("{name}: {value}"), "--header", "Expect:"])
                .args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"])
                .args(["--data-binary", &format!("@{}", body(&secure, length))])
                .arg(format!("https://gateway.example:{port}{path}"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{version} {status}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{version} {status}"), "{output:?}");
        }
    }
}

#[test]
fn nghttp_shows_a_refusal_that_comes_before_the_body() {
    let Some(nghttp) = tool("nghttp") else { return };
    let secure = Secure::start();
    let port = secure.rig.gateway.server.port();
    for Early { path, length, header: (name, value), status } in early() {
        let said = succeeds(
            Command::new(nghttp.get_program())
                .args(["--verbose", "--null-out", "--no-verify-peer", "--timeout=30"])
                .args([&format!("--header={name}: {value}"), &format!("--data={}", body(&secure, length))])
                .arg(format!("https://127.0.0.1:{port}{path}")),
        );
        assert!(said.contains(&format!(":status: {status}\n")), "{status}: {said}");
        assert!(!said.contains("RST_STREAM"), "{status}: {said}");
    }
}

#[test]
fn node_shows_a_refusal_that_comes_before_the_body_by_http_2() {
    let Some(node) = tool("node") else { return };
    let secure = Secure::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/client.mjs");
    for Early { path, length, header: (name, value), status } in early() {
        let said =
            succeeds(
                Command::new(node.get_program())
                    .args([script, &format!("https://{}", secure.rig.gateway.server)])
                    .args([&secure.files.path("ca.crt"), path, &body(&secure, length), name, &value]),
            );
        assert_eq!(said, format!("status {status}, sent true, reset with 0\n"));
    }
}
