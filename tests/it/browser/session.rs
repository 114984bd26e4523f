//! A gateway with a token: logging in and out.

use std::fs;

use super::driver::Browser;
use super::site::{ENTER, Site};
use crate::support::sender::Delivery;

const TOKEN: &str = "a-token-that-nobody-guesses";

/// Whether a text of the page or its address has the token.
fn has_token(browser: &Browser) -> bool {
    browser.address().contains(TOKEN)
        || browser.value(&format!("document.documentElement.outerHTML.includes({TOKEN:?})")) == true
}

#[test]
fn a_person_logs_in_works_and_logs_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let Some(site) = Site::of(&format!("token: {{ file: {file:?} }}"), "", "record: full") else { return };
    let browser = &site.browser;
    site.send(&Delivery::circleci("{}"));

    site.open("/ui/");
    assert!(!browser.page().contains("forwarded"));
    assert!(browser.cookies().is_empty());
    browser.click("input[type=password]");
    browser.press(&format!("wrong{ENTER}"));
    browser.until("document.querySelector('[role=alert]') !== null");
    assert!(!has_token(browser));
    browser.console();

    browser.click("input[type=password]");
    browser.press(&format!("{TOKEN}{ENTER}"));
    browser.until("document.querySelector('h1')?.innerText === 'Deliveries'");
    browser.until("document.querySelector('#live').innerText === 'live'");
    assert!(!has_token(browser));
    let cookies = browser.cookies();
    let [cookie] = cookies.as_slice() else { panic!("{cookies:?}") };
    assert_eq!(
        (&cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]),
        (&true.into(), &"Strict".into(), &"/".into())
    );
    assert!(cookie["name"].as_str().unwrap().contains(&site.gateway.admin.port().to_string()), "{cookie}");
    assert!(!cookie["value"].as_str().unwrap().contains(TOKEN), "{cookie}");
    // Live, like without a token.
    site.send(&Delivery::unsigned("{}"));
    browser.until("document.querySelector('#rows').innerText.includes('missing_signature')");
    site.is_content();

    browser.click_on("Log out");
    browser.until("document.querySelector('input[type=password]') !== null");
    site.open("/ui/");
    assert!(!browser.page().contains("forwarded"));
    assert_eq!(browser.count("input[type=password]"), 1);
}
