//! The pages of routes and dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hooklatch::clock::Clock;
use serde_json::json;

use super::site::Site;
use crate::support::api::{self, Call};
use crate::support::gateway::{OLD_SECRET, SECRET};
use crate::support::http;
use crate::support::process::poll;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

#[test]
fn a_route_waits_for_its_first_delivery_and_says_what_came() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    site.open("/ui/routes/hook");
    browser.shows("waiting for the first delivery…");
    let page = browser.page();
    for words in ["https://YOUR-HOST/hook", "circleci-signature", "hooklatch send hook -c gateway.yaml"] {
        assert!(page.contains(words), "{words} in {page}");
    }
    site.send(&Delivery::circleci("{}").body("{ }"));
    browser.shows("the last delivery was refused signature_mismatch");
    site.is_content();
}

#[test]
fn a_rotation_is_shown_until_the_old_secret_is_silent_and_no_secret_is() {
    let Some(site) = Site::of("", "", "secrets: [{ env: SECRET, id: new }, { env: OLD_SECRET, id: old }]") else {
        return;
    };
    let browser = &site.browser;
    site.record(&Delivery::circleci_with(OLD_SECRET, "{}"));
    site.record(&Delivery::circleci("{}"));
    site.open("/ui/routes/hook");
    browser.shows("rotation not finished");
    for secret in ["new", "old"] {
        let row = browser.value(&format!(
            "[...document.querySelectorAll('.secrets tbody tr')].find((row) => row.cells[0].innerText === '{secret}').innerText"
        ));
        assert!(!row.as_str().unwrap().contains("none since"), "{row}");
    }
    let html = browser.value("document.documentElement.outerHTML");
    assert!(![SECRET, OLD_SECRET].iter().any(|secret| html.as_str().unwrap().contains(secret)));
}

#[test]
fn dead_letters_are_counted_then_replayed_at_a_rate_with_progress_and_a_stop() {
    let (handler, works) = (Upstream::bind(), Arc::new(AtomicBool::new(false)));
    let is_working = works.clone();
    handler.answer_by(move |_| match is_working.load(Ordering::SeqCst) {
        true => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        false => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    });
    let site = Site::with_routes("", "STORE", |_| {
        format!(
            "  - {{ name: hook, path: /hook, scheme: circleci, secrets: [{{ env: SECRET }}], delivery: queue, \
               retry: {{ max_attempts: 1 }}, upstream: \"http://{}/\" }}\n",
            handler.address
        )
    });
    let Some(site) = site else { return };
    let browser = &site.browser;
    site.send_many(500, |number| Delivery::circleci(json!({ "id": number }).to_string()));
    let queue = || api::json(site.gateway.admin, "/api/v1/routes/hook")["queue"].clone();
    poll("500 are dead", || queue()["dead"] == 500);
    site.open("/ui/dead");
    let groups = browser.text(".dead tbody");
    assert!(groups.contains("hook") && groups.contains("500"), "{groups}");
    works.store(true, Ordering::SeqCst);

    // Slowly, and stopped.
    browser.click_on("Replay all…");
    browser.until("document.querySelector('#matched')?.innerText === '500'");
    browser.run("document.querySelector('#per-second').value = 1;");
    browser.click_on("Replay");
    browser.until("document.querySelector('[data-field=state]')?.innerText === 'running'");
    browser.until("Number(document.querySelector('[data-field=done]').innerText) > 0");
    browser.click_on("Stop");
    browser.until("document.querySelector('[data-field=state]').innerText === 'stopped'");
    assert!(!browser.has("Stop"));
    assert_eq!(browser.text("[data-field=matched]"), "500");

    // The rest, faster; the page says by itself when it is done. One of them is erased meanwhile: it cannot be sent.
    let oldest = api::json(site.gateway.admin, "/api/v1/deliveries?limit=500&state=dead");
    let oldest = oldest["deliveries"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    site.open("/ui/dead");
    browser.click_on("Replay all…");
    browser.run("document.querySelector('#per-second').value = 100;");
    let begun = Clock::system().now();
    browser.click_on("Replay");
    // The run has found its deliveries; the oldest one is its last.
    browser.until("document.querySelector('[data-field=matched]') !== null");
    let erase = Call::post(&format!("/api/v1/deliveries/{oldest}/erase"), &json!({}));
    assert_eq!(http::send(site.gateway.admin, &erase.bytes()).status, 200);
    browser.until("document.querySelector('[data-field=state]')?.innerText === 'done'");
    let number = |field: &str| browser.text(&format!("[data-field={field}]")).parse::<u32>().unwrap();
    let matched = number("matched");
    assert!((400..500).contains(&matched), "{}", browser.page());
    assert_eq!((number("done"), number("failed"), number("left")), (matched - 1, 1, 0));
    // The first ones of a second may go together.
    let least = f64::from(matched) / 100.0 - 1.5;
    assert!(begun.elapsed().as_secs_f64() > least, "{matched} went faster than 100 a second");
    poll("all are delivered", || queue()["delivered"] == 499);
    site.open("/ui/dead");
    browser.shows("No dead letters.");
    site.is_content();
}
