//! The page without a mouse.

use serde_json::json;

use super::site::{ENTER, ESCAPE, Site, TAB};
use crate::support::sender::Delivery;

/// The id of the row that has the focus.
const FOCUSED: &str = "document.activeElement.closest('tr')?.dataset.id ?? null";

#[test]
fn a_person_without_a_mouse_finds_a_delivery_reads_the_cause_and_comes_back() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    for number in 0..3 {
        site.record(
            &Delivery::circleci(json!({ "number": number }).to_string()).body(format!("{{ \"number\":{number} }}")),
        );
    }
    site.record(&Delivery::circleci("{}"));
    site.open("/ui/");
    browser.press(&format!("/is:refused{ENTER}"));
    browser.until("document.querySelectorAll('#rows tr').length === 3");
    // The first `j` takes the first row.
    browser.press("j");
    assert_eq!(browser.value(FOCUSED), browser.value("document.querySelector('#rows tr').dataset.id"));
    browser.press("jjk");
    let id = browser.value(FOCUSED);
    assert_eq!(id, browser.value("document.querySelectorAll('#rows tr')[1].dataset.id"));
    browser.press(ENTER);
    browser.arrives_at(id.as_str().unwrap());
    browser.until("document.querySelector('[data-key=explain]') !== null");
    browser.press("e");
    browser.arrives_at("?explain=true");
    browser.shows("proven");
    browser.press("c");
    browser.until("document.querySelector('#announce').textContent === 'Copied: Copy as curl'");
    browser.press(ESCAPE);
    browser.arrives_at("?q=is%3Arefused");
    browser.until(&format!("({FOCUSED}) === {id}"));
    site.is_content();
}

#[test]
fn a_person_without_a_mouse_replays() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    let id = site.record(&Delivery::circleci("{}"));
    site.open("/ui/");
    browser.press(&format!("j{ENTER}"));
    browser.arrives_at(&id);
    browser.until("document.querySelector('[data-key=replay]') !== null");
    browser.press("r");
    browser.until("document.querySelector('#ask-replay').open");
    browser.press(ENTER);
    browser.shows("Attempts (2)");
    browser.press(ESCAPE);
    browser.arrives_at("/ui/");
    browser.until(&format!("({FOCUSED}) === {id:?}"));
    site.is_content();
}

#[test]
fn letters_do_nothing_in_fields_and_can_be_switched_off() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    site.record(&Delivery::circleci("{}"));
    site.open("/ui/");
    browser.press("/jkpgr?");
    assert_eq!(browser.value("document.activeElement.value"), "jkpgr?");
    assert_eq!(browser.text("#pause-live"), "Pause");
    browser.press(&format!("{ESCAPE}?"));
    browser.until("document.querySelector('#keys').open");
    browser.click("#keys-on");
    browser.press(ESCAPE);
    browser.until("!document.querySelector('#keys').open");
    browser.press("p?j");
    assert_eq!(browser.text("#pause-live"), "Pause");
    assert_eq!(browser.value("document.querySelector('#keys').open"), false);
    assert_eq!(browser.value(FOCUSED), json!(null));
    // It stays so.
    browser.reload();
    browser.press("p");
    assert_eq!(browser.text("#pause-live"), "Pause");
    browser.click_on("Keys");
    browser.click("#keys-on");
    browser.press(ESCAPE);
    browser.press("p");
    browser.until("document.querySelector('#pause-live').innerText === 'Resume'");
    browser.press("gr");
    browser.arrives_at("/ui/routes");
    browser.press("gx");
    browser.arrives_at("/ui/dead");
    browser.press("gd");
    browser.arrives_at("/ui/");
    site.is_content();
}

#[test]
fn the_focus_can_always_be_seen() {
    let Some(site) = Site::start() else { return };
    let id = site.record(&Delivery::circleci("{}").body("{ }"));
    for path in ["/ui/", &format!("/ui/deliveries/{id}"), "/ui/routes", "/ui/routes/hook", "/ui/dead", "/ui/status"] {
        site.open(path);
        let browser = &site.browser;
        let mut seen = Vec::new();
        loop {
            browser.press(TAB);
            let element = browser.value("document.activeElement.outerHTML.slice(0, 200)");
            if browser.value("document.activeElement === document.body") == true || seen.contains(&element) {
                break;
            }
            let is_seen = browser.value(
                "(() => {
                    const element = document.activeElement;
                    const box = element.getBoundingClientRect();
                    const isInWindow = box.bottom > 0 && box.top < innerHeight && box.width > 0 && box.height > 0;
                    return isInWindow && getComputedStyle(element).outlineStyle !== 'none';
                })()",
            );
            assert_eq!(is_seen, true, "{path}: {element}");
            seen.push(element);
        }
        assert!(seen.len() > 5, "{path}: {seen:?}");
    }
}
