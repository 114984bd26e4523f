//! One delivery: why it was refused, its bytes, sending it again.

use std::fs;
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::driver::Browser;
use super::site::Site;
use crate::support::api::{self, Call};
use crate::support::gateway::SECRET;
use crate::support::http::{self, Connection};
use crate::support::process::{BINARY, GatewayProcess, poll};
use crate::support::rig::route;
use crate::support::sender::{self, Delivery};
use crate::support::upstream::Upstream;

#[test]
fn a_refused_delivery_says_why_in_the_words_of_explain() {
    let Some((site, ids)) = Site::full("") else { return };
    let browser = &site.browser;
    site.open(&format!("/ui/deliveries/{}", ids.mismatch));
    let page = browser.page();
    for words in ["refused: signature_mismatch (401)", "cause (proven)", "But for that, the signature is right."] {
        assert!(page.contains(words), "{words} in {page}");
    }
    // The command says the same of the file that the page offers.
    let file = http::send(
        site.gateway.admin,
        &Call::get(&format!("/api/v1/deliveries/{}/http?signatures=true", ids.mismatch)).bytes(),
    );
    let folder = tempfile::tempdir().unwrap();
    let (request, config) = (folder.path().join("request.http"), folder.path().join("hooks.yaml"));
    fs::write(&request, &file.body).unwrap();
    fs::write(&config, format!("routes:\n{}", route("circleci", "upstream: \"http://127.0.0.1:1/\""))).unwrap();
    let explained = Command::new(BINARY)
        .args(["explain", "hook", "-c"])
        .arg(&config)
        .arg("--request")
        .arg(&request)
        .env("SECRET", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8(explained.stdout).unwrap();
    let cause = browser.text(".causes li").replace("cause (proven)", "");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&said).contains(&words(&cause)), "{cause} in {said}");
    // Neither the secret nor the signature that would have been right is anywhere.
    let right = sender::sha256(SECRET, &file.body);
    let html = browser.value("document.documentElement.outerHTML");
    for secret in [SECRET, &right] {
        assert!(!html.as_str().unwrap().contains(secret));
    }
    site.is_content();
}

#[test]
fn a_body_is_shown_byte_by_byte_and_token_by_token() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    let bytes: Vec<u8> = (0..=255).collect();
    let id = site.record(&Delivery::circleci(&bytes).header("Content-Type", "text/html"));
    site.open(&format!("/ui/deliveries/{id}?view=hex"));
    let shown = browser.text("#body pre");
    let hex: Vec<String> = shown
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1).take(16).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let expected: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected, "{shown}");
    let body = http::send(site.gateway.admin, &Call::get(&format!("/api/v1/deliveries/{id}/body")).bytes());
    assert_eq!(Sha256::digest(&body.body), Sha256::digest(&bytes));

    let odd = r#"{"id":1234567890123456789,"big":1e400,"a":1,"a":2,"Z":"\u00e9\/","0":[]}"#;
    let id = site.record(&Delivery::circleci(odd));
    site.open(&format!("/ui/deliveries/{id}"));
    let shown: String = browser.text("#body pre").split_whitespace().collect();
    assert_eq!(shown, odd);
    let id = site.record(&Delivery::circleci(r#"{"a": 1, oops}"#));
    site.open(&format!("/ui/deliveries/{id}"));
    let text = browser.text("#body");
    assert!(text.contains("byte 9") && text.contains("{\"a\": 1, oops}"), "{text}");
    site.is_content();
}

#[test]
fn a_body_of_a_mebibyte_makes_a_page_that_is_small_enough_to_be_there_at_once() {
    let Some(site) = Site::of("", "", "record: full, record_body: 2MiB, max_body: 2MiB") else { return };
    let browser = &site.browser;
    let numbers: Vec<String> = (0..).map(|number| format!("{{\"id\":{number}}}")).take(90_000).collect();
    let body = format!("[{}]", numbers.join(","));
    assert!(body.len() > 1 << 20, "{}", body.len());
    let id = site.record(&Delivery::circleci(&body));
    for view in ["pretty", "raw", "hex"] {
        site.open(&format!("/ui/deliveries/{id}?view={view}"));
        browser.until("performance.getEntriesByName('first-contentful-paint').length === 1");
        // How long it takes depends on what else the machine does; how much there is to draw does not.
        let size = browser.value("performance.getEntriesByType('navigation')[0].decodedBodySize");
        let elements = browser.value("document.querySelectorAll('*').length");
        assert!(size.as_f64().unwrap() < 300e3, "{view}: {size} bytes");
        assert!(elements.as_u64().unwrap() < 3_000, "{view}: {elements} elements");
        assert!(browser.text("#body pre").len() > 1_000, "{view}");
    }
    site.is_content();
}

#[test]
fn a_double_click_on_replay_makes_one_attempt_whose_result_comes_by_itself() {
    let upstream = Upstream::bind();
    let Some(site) = Site::with_routes("", "", |_| {
        route("circleci", &format!("upstream: \"http://{}/in\", record: full", upstream.address))
    }) else {
        return;
    };
    let browser = &site.browser;
    let body = json!({ "type": "job" }).to_string();
    let delivery = Delivery::circleci(&body);
    let mut sender = Connection::open(site.gateway.server);
    sender.write(&delivery.bytes());
    let mut peer = upstream.accept();
    let first = peer.request();
    peer.answer();
    sender.receive();
    let id = site.recorded("/api/v1/deliveries");
    site.open(&format!("/ui/deliveries/{id}"));
    browser.click_on("Replay");
    browser.until("document.querySelector('dialog[open]') !== null");
    browser.double_click("dialog[open] button");
    let again = peer.request();
    assert_eq!(again.body, first.body);
    assert_eq!(again.one("x-request-id"), first.one("x-request-id"));
    assert_eq!((again.one("hooklatch-replay"), again.one("hooklatch-attempt")), ("true".to_owned(), "2".to_owned()));
    peer.answer();
    browser.shows("Attempts (2)");
    browser.until("document.querySelector('.attempts tbody tr:nth-child(2)').innerText.includes('200')");
    // Nothing more has come on this connection, and no other one.
    upstream.expect_nothing();
    site.is_content();
}

#[test]
fn an_erasure_asks_first() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    let id = site.record(&Delivery::circleci(r#"{"name":"personal"}"#));
    site.open(&format!("/ui/deliveries/{id}"));
    browser.click_on("Erase");
    browser.click_on("Cancel");
    browser.until("document.querySelector('dialog[open]') === null");
    let target = format!("/api/v1/deliveries/{id}");
    assert_eq!(api::json(site.gateway.admin, &target)["state"], "forwarded");
    browser.click_on("Erase");
    browser.click("dialog[open] button");
    browser.shows("Erased: head and body are overwritten.");
    assert!(!browser.page().contains("personal"));
    assert_eq!(api::json(site.gateway.admin, &target)["state"], "erased");
    site.is_content();
}

#[test]
fn a_refused_delivery_can_be_replayed_once_its_secret_is_corrected() {
    let Some(browser) = Browser::start(&[]) else { return };
    let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
    let (secret, config) = (folder.path().join("secret"), folder.path().join("hooks.yaml"));
    fs::write(&secret, "a-secret-of-another-provider").unwrap();
    let keys = format!("secrets: [{{ file: {secret:?} }}], record: full, upstream: \"http://{}/in\"", upstream.address);
    let yaml = format!(
        "server: {{ listen: 127.0.0.1:0 }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n{}",
        route("circleci", &keys)
    );
    fs::write(&config, yaml).unwrap();
    let gateway = GatewayProcess::start(&config);
    http::send(gateway.server, &Delivery::circleci("{}").bytes());
    browser.open(&format!("http://{}/ui/", gateway.admin));
    browser.until("document.querySelector('#rows tr') !== null");
    browser.click("#rows a");
    browser.shows("Replay is not offered");
    // By the API neither.
    let id = browser.value("location.pathname.split('/').at(-1)");
    let replay = format!("/api/v1/deliveries/{}/replay", id.as_str().unwrap());
    let refused = http::send(gateway.admin, &Call::post(&replay, &json!({})).bytes());
    assert_eq!(api::problem(&refused), (409, "not_verified".to_owned()));

    fs::write(&secret, SECRET).unwrap();
    gateway.process.signal("HUP");
    poll("the gateway has loaded the secret", || {
        browser.click_on("Check again");
        browser.until("document.readyState === 'complete'");
        browser.has("Replay")
    });
    browser.shows("accepted");
    browser.click_on("Replay");
    browser.click("dialog[open] button");
    let mut peer = upstream.accept();
    assert_eq!(peer.request().body, b"{}");
    peer.answer();
    browser.until("document.querySelector('.attempts tbody')?.innerText.includes('200')");
}

#[test]
fn a_copied_curl_command_sends_the_same_bytes() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    browser.devtools(
        "Browser.grantPermissions",
        json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
    );
    let id = site.record(
        &Delivery::circleci("it's `$(date)` \"x\"\n")
            .header("X-Odd", "'\"$(date)`")
            .header("Authorization", "Bearer abc"),
    );
    site.open(&format!("/ui/deliveries/{id}"));
    browser.click_on("Copy as curl");
    browser.until("document.querySelector('#announce').textContent === 'Copied: Copy as curl'");
    let copied = browser.value("navigator.clipboard.readText()");
    let exported = http::send(site.gateway.admin, &Call::get(&format!("/api/v1/deliveries/{id}/curl")).bytes());
    assert_eq!(copied.as_str().unwrap(), String::from_utf8(exported.body).unwrap().trim_end());
    assert!(!copied.as_str().unwrap().contains("Bearer abc"));
    site.is_content();
}
