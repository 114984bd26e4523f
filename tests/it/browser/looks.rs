//! Accessibility as axe judges it, and what windows of any size, theme and colours show.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::driver::Browser;
use super::site::{Ids, Site};
use crate::support::tools;

/// Where npm installs axe.
const FOLDER: &str = "tests/it/browser";
/// The rules of WCAG 2.2 AA, and those below it.
const TAGS: [&str; 5] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/// The source of axe; `None` if the test is to be passed over.
fn axe() -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("node_modules/axe-core/axe.min.js");
    tools::have_packages(FOLDER).then(|| fs::read_to_string(file).unwrap())
}

/// What axe finds wrong with the page that is shown.
fn violations(browser: &Browser, axe: &str, run_only: &Value) -> Vec<String> {
    if browser.value("typeof axe") == "undefined" {
        browser.run(axe);
    }
    let found = browser.run(&format!(
        "return axe.run(document, {{ runOnly: {run_only}, resultTypes: ['violations'] }}).then((results) =>
             results.violations.flatMap((one) => one.nodes.map((node) => `${{one.id}}: ${{node.html}} ${{node.failureSummary}}`)));"
    ));
    found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn paths(ids: &Ids) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/ui/",
        "/ui/deliveries?q=is:nonsense",
        "/ui/routes",
        "/ui/routes/hook",
        "/ui/routes/waiting",
        "/ui/dead",
        "/ui/status",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend([&ids.forwarded, &ids.mismatch, &ids.unsigned, &ids.dead].map(|id| format!("/ui/deliveries/{id}")));
    paths.push(format!("/ui/deliveries/{}/replay", ids.forwarded));
    paths.push("/ui/replays?q=is:dead".to_owned());
    paths.push("/ui/deliveries/nothing".to_owned());
    paths
}

#[test]
fn axe_finds_nothing_on_any_page_in_light_dark_and_forced_colours() {
    let Some(axe) = axe() else { return };
    let Some((site, ids)) = Site::full("") else { return };
    let (all, colours) = (json!({ "type": "tag", "values": TAGS }), json!(["color-contrast", "link-in-text-block"]));
    let mut wrong = Vec::new();
    for path in paths(&ids) {
        site.open(&path);
        for (features, rules) in [
            (&[("prefers-color-scheme", "light")][..], &all),
            (&[("prefers-color-scheme", "dark")], &colours),
            (&[("forced-colors", "active")], &colours),
        ] {
            site.browser.prefer(features);
            let found = violations(&site.browser, &axe, rules);
            wrong.extend(found.into_iter().map(|violation| format!("{path} {features:?} {violation}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn axe_finds_nothing_on_empty_pages_and_at_the_login() {
    let Some(axe) = axe() else { return };
    let Some(site) = Site::start() else { return };
    let all = json!({ "type": "tag", "values": TAGS });
    for path in ["/ui/", "/ui/deliveries?q=is:dead", "/ui/routes/hook", "/ui/dead", "/ui/login"] {
        site.open(path);
        assert_eq!(violations(&site.browser, &axe, &all), [""; 0], "{path}");
    }
    // The dialogs, too.
    site.browser.press("?");
    site.browser.until("document.querySelector('#keys').open");
    assert_eq!(violations(&site.browser, &axe, &all), [""; 0]);
}

#[test]
fn a_narrow_or_enlarged_page_does_not_scroll_sideways_and_cuts_nothing() {
    let Some((site, ids)) = Site::full("") else { return };
    // A phone, and a window of 1280 pixels at a zoom of 200 %.
    for (width, scale) in [(320, 1), (640, 2)] {
        site.browser.resize(width, 800, scale);
        for path in paths(&ids) {
            site.open(&path);
            let over = site.browser.value(
                "[...document.querySelectorAll('body *')].filter((one) => {
                    const box = one.getBoundingClientRect();
                    const isShown = one.checkVisibility() && !one.closest('.visually-hidden, .skip, thead') && box.width > 0;
                    return isShown && (box.right > innerWidth + 0.5 || box.left < 0 || one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === 'hidden');
                }).map((one) => one.outerHTML.slice(0, 120))",
            );
            assert_eq!(over, json!([]), "{path} at {width}");
            let widest = site.browser.value(
                "document.documentElement.scrollWidth <= innerWidth || [...document.querySelectorAll('*')]
                     .filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML.slice(0, 99))",
            );
            assert_eq!(widest, true, "{path} at {width}");
        }
    }
}

#[test]
fn what_can_be_clicked_is_large_enough_and_states_have_a_word_and_a_sign() {
    let Some((site, ids)) = Site::full("") else { return };
    for path in paths(&ids) {
        site.open(&path);
        let small = site.browser.value(
            "[...document.querySelectorAll('button, input:not([type=hidden]), select, nav a, td a, th a')].filter((one) => {
                const box = one.getBoundingClientRect();
                return one.checkVisibility() && (box.height < 24 || box.width < 24);
            }).map((one) => one.outerHTML)",
        );
        assert_eq!(small, json!([]), "{path}");
    }
    site.open("/ui/");
    let states = site
        .browser
        .value("[...document.querySelectorAll('.outcome')].map((one) => one.innerText.replace(/\\s+/g, ' '))");
    let mut states: Vec<&str> = states.as_array().unwrap().iter().map(|state| state.as_str().unwrap()).collect();
    states.sort_unstable();
    states.dedup();
    assert_eq!(states, ["! failed", "■ dead", "◷ pending", "✓ forwarded", "✗ refused"]);
}

#[test]
fn states_are_told_apart_by_shape_where_there_are_no_colours() {
    let Some((site, _)) = Site::full("") else { return };
    let browser = &site.browser;
    // All signs in one colour; other colours become grey.
    browser.prefer(&[("forced-colors", "active")]);
    browser.devtools("Emulation.setEmulatedVisionDeficiency", json!({ "type": "achromatopsia" }));
    site.open("/ui/");
    let words =
        browser.value("[...document.querySelectorAll('#rows .outcome')].map((one) => one.innerText.slice(1).trim())");
    let words: Vec<&str> = words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let signs = browser.pictures("#rows .outcome .icon");
    assert_eq!((words.len(), signs.len()), (8, 8));
    for (word, sign) in words.iter().zip(&signs) {
        for (other_word, other_sign) in words.iter().zip(&signs) {
            assert_eq!(word == other_word, sign == other_sign, "{word} and {other_word}");
        }
    }
}

#[test]
fn the_theme_follows_the_system_until_it_is_chosen_and_times_are_local_on_demand() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    site.record(&crate::support::sender::Delivery::circleci("{}"));
    browser.devtools("Emulation.setTimezoneOverride", json!({ "timezoneId": "Asia/Kathmandu" }));
    browser.prefer(&[("prefers-color-scheme", "dark")]);
    site.open("/ui/");
    let background = || browser.value("getComputedStyle(document.body).backgroundColor");
    let dark = background();
    assert_eq!(dark, "rgb(20, 23, 26)");
    browser.click("#theme");
    let light = background();
    assert_eq!((light.as_str().unwrap(), browser.text("#theme").as_str()), ("rgb(255, 255, 255)", "Theme: light"));
    browser.reload();
    assert_eq!(background(), light);
    browser.click("#theme");
    assert_eq!(background(), dark);

    let time = browser.text("#rows time");
    browser.click("#zone");
    let local = browser.text("#rows time");
    // Nepal is 5 hours and 45 minutes ahead.
    let minutes = |text: &str| text[text.len() - 9..][..2].parse::<u32>().unwrap();
    assert_eq!((minutes(&time) + 45) % 60, minutes(&local), "{time} {local}");
    assert_eq!(browser.text(".zone"), "local");
    browser.click("#zone");
    assert_eq!(browser.text("#rows time"), time);
}
