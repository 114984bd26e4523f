//! Clients that others have written.

use std::process::{Command, Stdio};

use super::Secure;
use crate::support::gateway::SECRET;
use crate::support::sender::sha256;
use crate::support::tools::tool;

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
    // The gateway answers both before it has read them: one has no signature, one is longer than max_body.
    let signature = format!("circleci-signature: v1={}", "a".repeat(64));
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for (length, header, status) in [(300_000, "x-none: 1", 401), (3_000_000, signature.as_str(), 413)] {
            let body = secure.files.path("body");
            std::fs::write(&body, vec![b'x'; length]).unwrap();
            let output = Command::new(curl.get_program())
                .args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", option, "--cacert"])
                .arg(secure.files.path("ca.crt"))
                .args(["--resolve", &format!("gateway.example:{port}:127.0.0.1"), "--header", header])
                .args(["--header", "Expect:", "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"])
                .args(["--data-binary", &format!("@{body}")])
                .arg(format!("https://gateway.example:{port}/hook"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{version} {length}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{version} {status}"), "{output:?}");
        }
    }
}
