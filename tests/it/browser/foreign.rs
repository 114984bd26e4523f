//! Pages of other origins in the same browser, and names that someone else points at this machine.

use super::site::{ESCAPE, Site, elsewhere};
use crate::support::api;
use crate::support::process::poll;
use crate::support::rig::route;
use crate::support::sender::Delivery;

/// What a page tries with a gateway. `outcomes` gets what it could read.
const ATTACK: &str = r#"<!DOCTYPE html><title>elsewhere</title>
<form method="post" action="TARGET/api/v1/deliveries/ID/replay" target="frame"><input name="a" value="b"></form>
<form method="post" action="TARGET/ui/deliveries/ID/replay" target="frame2"><input name="a" value="b"></form>
<iframe name="frame"></iframe><iframe name="frame2"></iframe><iframe id="shown"></iframe>
<script>
window.outcomes = {};
const note = (name, promise) => promise.then((value) => { outcomes[name] = String(value); }, () => { outcomes[name] = 'refused'; });
const post = (type, mode) => fetch('TARGET/api/v1/deliveries/ID/replay', { method: 'POST', mode, headers: { 'content-type': type }, body: '{}' });
document.querySelectorAll('form').forEach((form) => form.submit());
note('text', post('text/plain', 'no-cors').then((response) => response.text()));
note('json', post('application/json', 'cors').then((response) => response.text()));
note('list', fetch('TARGET/api/v1/deliveries').then((response) => response.text()));
note('opaque', fetch('TARGET/api/v1/deliveries', { mode: 'no-cors' }).then((response) => response.text()));
note('page', fetch('TARGET/ui/', { mode: 'no-cors' }).then((response) => response.text()));
note('image', new Promise((take, leave) => { const image = new Image(); image.onload = () => take('shown'); image.onerror = leave; image.src = 'TARGET/ui/'; }));
note('stream', new Promise((take, leave) => { const stream = new EventSource('TARGET/api/v1/stream'); stream.onopen = () => take('open'); stream.onerror = () => { stream.close(); leave(); }; }));
note('frame', new Promise((take, leave) => { const frame = document.querySelector('#shown'); frame.onload = () => { try { take(frame.contentDocument.body.innerText); } catch { leave(); } }; frame.src = 'TARGET/ui/'; }));
</script>"#;

fn site(names: &[&str], admin: &str) -> Option<Site> {
    Site::with_names(names, admin, "", |upstream| {
        route("circleci", &format!("upstream: \"http://{upstream}/in\", record: full"))
    })
}

#[test]
fn a_page_of_another_origin_changes_nothing_and_reads_nothing() {
    let Some(site) = site(&["evil.example"], "") else { return };
    let id = site.record(&Delivery::circleci("{}"));
    let target = format!("http://{}", site.gateway.admin);
    let address = elsewhere(ATTACK.replace("TARGET", &target).replace("ID", &id));
    // Of another site, and of the same site by another port.
    for origin in [format!("http://evil.example:{}", address.port()), format!("http://{address}")] {
        site.browser.open(&origin);
        site.browser.until("Object.keys(window.outcomes).length === 8");
        let outcomes = site.browser.value("window.outcomes");
        for (name, outcome) in outcomes.as_object().unwrap() {
            // An opaque response has an empty body for the page.
            assert!(["refused", "", "null"].contains(&outcome.as_str().unwrap()), "{origin}: {name}: {outcome}");
        }
        let delivery = api::json(site.gateway.admin, &format!("/api/v1/deliveries/{id}"));
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "{delivery}");
    }
}

#[test]
fn a_name_that_someone_points_at_the_gateway_is_refused() {
    let Some(site) = site(&["rebound.example"], "") else { return };
    let id = site.record(&Delivery::circleci("{}"));
    let origin = format!("http://rebound.example:{}", site.gateway.admin.port());
    for path in ["/ui/", &format!("/ui/deliveries/{id}"), "/api/v1/deliveries", "/config"] {
        site.browser.open(&format!("{origin}{path}"));
        let text = site.browser.value("document.documentElement.innerText");
        let text = text.as_str().unwrap();
        assert!(text.contains("421") && !text.contains("circleci") && !text.contains(&id), "{path}: {text}");
    }
    // A script of that origin reads no more than that, and changes nothing.
    let status = "fetch('/api/v1/deliveries').then((response) => response.status)";
    assert_eq!(site.browser.value(status), 421);
    let post =
        format!("fetch('/api/v1/deliveries/{id}/replay', {{ method: 'POST' }}).then((response) => response.status)");
    assert_eq!(site.browser.value(&post), 421);
    let delivery = api::json(site.gateway.admin, &format!("/api/v1/deliveries/{id}"));
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "{delivery}");
}

/// A name of the network by plain HTTP: the browser takes it for no secure context, sends no `Sec-Fetch-Site`, and lets no script
/// write into the clipboard.
#[test]
fn by_a_name_that_the_operator_lists_buttons_work_and_what_cannot_be_copied_can_be_selected() {
    let Some(site) = site(&["gateway.internal:80"], "hosts: [gateway.internal]") else { return };
    let id = site.record(&Delivery::circleci("{}"));
    let browser = &site.browser;
    browser.open(&format!("http://gateway.internal/ui/deliveries/{id}"));
    assert_eq!(browser.value("isSecureContext"), false);
    browser.click_on("Copy as curl");
    browser.until("document.querySelector('#copy-text').open");
    let text = browser.value("document.querySelector('#copy-text textarea').value");
    assert!(text.as_str().unwrap().contains("curl "), "{text}");
    assert_eq!(browser.value("getSelection().toString()"), text);
    browser.press(ESCAPE);
    browser.click_on("Replay");
    browser.click("dialog[open] button");
    poll("it is replayed", || {
        let delivery = api::json(site.gateway.admin, &format!("/api/v1/deliveries/{id}"));
        delivery["attempts"].as_array().unwrap().len() == 2
    });
}
