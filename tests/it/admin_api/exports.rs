//! A recorded request for other programs: raw HTTP, a shell command, a HAR file.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::delivered;
use crate::support::api::{Call, json};
use crate::support::gateway::SECRET;
use crate::support::queued::Queued;
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

/// The id of the newest delivery.
fn newest(queued: &Queued) -> String {
    let page = json(queued.admin(), "/api/v1/deliveries?limit=1");
    page["deliveries"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn signatures_are_shown_on_demand_and_credentials_never() {
    let mut queued = Queued::start("record: full");
    let delivery = Delivery::circleci("{}").header("Authorization", "Basic c2VjcmV0").header("Cookie", "c=s3cr3t");
    let bytes = String::from_utf8(delivery.bytes()).unwrap();
    let signature = bytes.lines().find_map(|line| line.strip_prefix("circleci-signature: ")).unwrap().to_owned();
    let id = delivered(&mut queued, &delivery);
    for part in ["", "/http", "/curl", "/har"] {
        let path = format!("/api/v1/deliveries/{id}{part}");
        let hidden = Call::get(&path).send(queued.admin());
        let shown = Call::get(&format!("{path}?signatures=true")).send(queued.admin());
        assert_eq!((hidden.status, shown.status), (200, 200), "{part}: {hidden:?}");
        let text = |response: &crate::support::http::Response| String::from_utf8(response.body.clone()).unwrap();
        assert!(!text(&hidden).contains(&signature), "{part}");
        assert!(text(&shown).contains(&signature), "{part}: {}", text(&shown));
        for response in [&hidden, &shown] {
            for secret in ["c2VjcmV0", "s3cr3t", SECRET] {
                assert!(!text(response).contains(secret), "{part}: {}", text(response));
            }
        }
    }
    let detail = json(queued.admin(), &format!("/api/v1/deliveries/{id}"));
    let headers = detail["request_headers"].as_array().unwrap();
    let value = |name: &str| {
        let pair = headers.iter().find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
        pair.unwrap_or_else(|| panic!("no {name} in {headers:?}"))[1].clone()
    };
    assert_eq!((value("circleci-signature"), value("authorization")), (json!("hidden"), json!("redacted")));
    assert_eq!(detail["verification"], json!({ "verified": true, "secret_id": "0" }));
}

#[test]
fn the_raw_request_is_what_explain_reads() {
    let mut queued = Queued::start("record: full");
    let body = b"{\"n\":\"\x00\xff\r\n\"}";
    let id = delivered(&mut queued, &Delivery::circleci(body).target("/hook?a=%20").header("X-Empty", ""));
    let raw = Call::get(&format!("/api/v1/deliveries/{id}/http?signatures=true")).send(queued.admin());
    assert!(raw.body.starts_with(b"POST /hook?a=%20 HTTP/1.1\r\n") && raw.body.ends_with(body), "{raw:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("request"), &raw.body).unwrap();
    let file = route("circleci", "upstream: \"http://127.0.0.1:1\"");
    fs::write(folder.path().join("gateway.yaml"), format!("routes:\n{file}")).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_hooklatch"))
        .args(["explain", "hook", "--request", "request"])
        .current_dir(folder.path())
        .env("SECRET", SECRET)
        .output()
        .unwrap();
    assert!(explained.status.success(), "{explained:?}");
}

#[test]
fn the_command_sends_the_same_request_from_an_empty_folder_by_either_shell() {
    let mut queued = Queued::start("record: full");
    let text = "it's 100% \\n \"$HOME\" `id`\n\ttab \u{202e}";
    for (body, kind) in [
        (&b"{\"n\":\"\x00\xff\r\n\x1b'%s\\\"}"[..], Some("application/octet-stream")),
        (text.as_bytes(), Some("text/plain; charset=\"utf-8\"")),
        (b"-n x", None),
        (b"", None),
    ] {
        let delivery = Delivery::circleci(body)
            .target("/hook?a=%20b&c[]={x}")
            .header("X-Quote", "it's \"$HOME\" `id` \\")
            .header("X-Twice", "one")
            .header("X-Twice", "two")
            .header("X-Empty", "");
        let delivery = kind.iter().fold(delivery, |delivery, kind| delivery.header("Content-Type", kind));
        queued.accepts(&delivery);
        queued.takes();
        let id = newest(&queued);
        let path = format!("/api/v1/deliveries/{id}/curl?signatures=true");
        let response = Call::get(&path).send(queued.admin());
        assert_eq!(response.status, 200, "{response:?}");
        let command = String::from_utf8(response.body).unwrap();
        let server = Upstream::bind();
        let command = command.replace("gateway.example", &server.address.to_string());
        for shell in ["sh", "bash"] {
            let folder = tempfile::tempdir().unwrap();
            let script = folder.path().join("script");
            fs::write(&script, &command).unwrap();
            let empty = folder.path().join("empty");
            fs::create_dir(&empty).unwrap();
            let curl = Command::new(shell).arg(&script).current_dir(&empty).spawn().unwrap();
            let mut peer = server.accept();
            let seen = peer.request();
            peer.answer();
            assert!(curl.wait_with_output().unwrap().status.success());
            assert_eq!(seen.line(), "POST /hook?a=%20b&c[]={x} HTTP/1.1");
            assert_eq!(seen.body, body, "{command}");
            assert_eq!(seen.all("x-quote"), ["it's \"$HOME\" `id` \\"]);
            assert_eq!((seen.all("x-twice").len(), seen.all("x-empty")), (2, vec![String::new()]));
            for own in ["accept", "user-agent", "expect"] {
                assert!(seen.all(own).is_empty(), "{own}: {command}");
            }
            assert_eq!(seen.all("content-type"), kind.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(seen.all("circleci-signature").len(), 1);
            assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "no file is left");
        }
    }
}

#[test]
fn a_har_file_has_the_request_once() {
    let mut queued = Queued::start("record: full");
    queued.accepts(&Delivery::circleci("{}").target("/hook?a=b+c").header("Content-Type", "application/json"));
    queued.takes();
    let id = newest(&queued);
    let har = Call::get(&format!("/api/v1/deliveries/{id}/har")).send(queued.admin()).json();
    let entries = har["log"]["entries"].as_array().unwrap();
    let [entry] = &entries[..] else { panic!("{har}") };
    let request = &entry["request"];
    assert_eq!((&har["log"]["version"], &request["method"]), (&"1.2".into(), &"POST".into()));
    assert_eq!(request["url"], "http://gateway.example/hook?a=b+c");
    assert_eq!(request["queryString"], json!([{ "name": "a", "value": "b c" }]));
    assert_eq!(
        (&request["postData"]["text"], &request["postData"]["mimeType"]),
        (&"{}".into(), &"application/json".into())
    );
}

#[test]
fn a_body_that_is_cut_is_called_so_in_every_form() {
    let queued = Queued::of("circleci", "record: full, record_body: 10B");
    assert_eq!(queued.send(&Delivery::circleci("{}").body("{\"a\":\"0123456789\"}")).status, 401);
    let mut path = String::new();
    crate::support::process::poll("recorded", || {
        let page = json(queued.admin(), "/api/v1/deliveries?limit=1");
        path = format!("/api/v1/deliveries/{}", page["deliveries"][0]["id"].as_str().unwrap_or_default());
        page["deliveries"][0]["id"].is_string()
    });
    let export = |form: &str| Call::get(&format!("{path}/{form}?signatures=true")).send(queued.admin());
    let (http, curl) = (export("http").body, String::from_utf8(export("curl").body).unwrap());
    assert!(String::from_utf8_lossy(&http).contains("\r\ncontent-length: 18\r\n\r\n"), "{http:?}");
    assert!(curl.ends_with("# The body is cut: 10 of its 18 bytes are kept.\n"), "{curl}");
    assert_eq!(export("har").json()["log"]["entries"][0]["request"]["bodySize"], 18);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("request"), &http).unwrap();
    let file = route("circleci", "upstream: \"http://127.0.0.1:1\"");
    fs::write(folder.path().join("gateway.yaml"), format!("routes:\n{file}")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hooklatch"));
        command.args(arguments).current_dir(folder.path()).env("SECRET", SECRET).output().unwrap()
    };
    let explained = run(&["explain", "hook", "--request", "request"]);
    let said = String::from_utf8(explained.stdout).unwrap();
    assert!(said.contains("8 are missing") && said.contains("cannot be said"), "{said}");
    let id = path.rsplit('/').next().unwrap();
    let shown = run(&["show", id, "--http", "--url", &format!("http://{}", queued.admin())]);
    let warned = String::from_utf8(shown.stderr).unwrap();
    assert!(warned.contains("10 of its 18 bytes are kept"), "{warned}");
}
