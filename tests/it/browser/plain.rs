//! The page without script.

use super::site::Site;
use crate::support::api;
use crate::support::process::poll;

#[test]
fn every_page_works_without_script() {
    let Some((site, ids)) = Site::full("") else { return };
    let browser = &site.browser;
    browser.turn_script_off();
    site.open("/ui/");
    // What does nothing without a script is not there.
    for name in ["Pause", "Keys", "Copy id"] {
        assert!(!browser.has(name), "{name}");
    }
    assert!(browser.page().contains("signature_mismatch"), "{}", browser.page());
    browser.click_on("Refused");
    browser
        .until("location.search.startsWith('?q=') && !document.querySelector('#rows').innerText.includes('forwarded')");
    browser.click("#rows tr:nth-child(2) a");
    browser.arrives_at(&ids.mismatch);
    assert!(browser.page().contains("cause (proven)"), "{}", browser.page());
    assert!(!browser.has("Replay") && browser.has("Copy as curl"));

    // The lists beside the search write a part of it.
    site.open("/ui/");
    browser.click("select[name=route] option:nth-child(2)");
    browser.click("select[name=state] option:nth-child(12)");
    browser.click_on("Search");
    browser.until("document.querySelector('#search').value === 'route:hook is:refused'");
    assert!(!browser.text("#rows").contains("forwarded"), "{}", browser.page());

    // A replay is asked for on a page of its own, and done once.
    site.open(&format!("/ui/deliveries/{}", ids.forwarded));
    browser.click_on("Replay");
    browser.arrives_at("/replay");
    browser.click_on("Replay");
    browser.until("location.search.startsWith('?said=') && document.readyState === 'complete'");
    browser.shows("It is sent again");
    let target = format!("/api/v1/deliveries/{}", ids.forwarded);
    poll("a second attempt", || api::json(site.gateway.admin, &target)["attempts"][1]["status"] == 200);
    browser.reload();
    assert!(browser.page().contains("Attempts (2)"), "{}", browser.page());

    // A route is paused and goes on.
    site.open("/ui/routes/waiting");
    browser.click_on("Resume");
    browser.shows("Resumed:");
    browser.click_on("Pause");
    browser.shows("Paused:");
    assert!(browser.has("Resume") && !browser.has("Pause"), "{}", browser.page());
    site.is_content();
}
