//! Deliveries that would run a script in the reader's browser, if they could.

use serde_json::json;

use super::site::{ESCAPE, Site};
use crate::support::api;
use crate::support::process::poll;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

/// Markup, and what template languages and terminals take for their own.
const EVIL: &str =
    "<img src=x onerror=alert(1)>\"'><svg/onload=alert(2)></script><script>alert(3)</script>{{7*7}}${7*7}\u{202e}";
/// How the start of it is to be shown: as it is.
const SHOWN: &str =
    "<img src=x onerror=alert(1)>\"'><svg/onload=alert(2)></script><script>alert(3)</script>{{7*7}}${7*7}";
/// The handler's answer.
const ANSWER: &str = "HTTP/1.1 500 <b>No</b>\r\nX-Evil: <img src=x onerror=alert(4)>\r\nContent-Type: text/html\r\nContent-Length: 39\r\n\r\n<script>alert(5)</script></code></pre>\n";

#[test]
fn what_senders_and_handlers_write_is_shown_as_text_and_runs_nowhere() {
    let evil = Upstream::bind();
    evil.answer_by(|_| ANSWER);
    let site = Site::with_routes("", "STORE", |_| {
        let keys = "scheme: circleci, secrets: [{ env: SECRET }], record: full";
        format!(
            "  - {{ name: hook, path: /hook, upstream: \"http://{}\", {keys} }}\n  \
               - {{ name: dead, path: /dead, delivery: queue, retry: {{ max_attempts: 1 }}, upstream: \"http://{}\", {keys} }}\n",
            evil.address, evil.address
        )
    });
    let Some(site) = site else { return };
    let browser = &site.browser;
    let body = json!({ "type": EVIL, "id": EVIL, EVIL: { EVIL: [EVIL] } }).to_string();
    // Other characters are refused in a request line.
    let query = "?q=%3Cscript%3Ealert(6)%3C/script%3E'onload=alert(7)";
    let delivery = |path: &str| {
        Delivery::circleci(&body)
            .target(&format!("{path}{query}"))
            .header("circleci-event-type", "<svg/onload=alert(9)>")
            .header("X-Evil", "\"'><img/src=x/onerror=alert(8)>")
    };
    let id = site.record(&delivery("/hook"));
    let dead = site.record(&delivery("/dead"));
    let refused = site.record(&Delivery::unsigned("{}").target("/%22%3E%3Csvg/onload=alert(9)%3E'"));
    let target = format!("/api/v1/deliveries/{dead}");
    poll("it is dead", || api::json(site.gateway.admin, &target)["state"] == "dead");

    site.open("/ui/");
    assert!(browser.text("#rows").contains(SHOWN), "{}", browser.page());
    site.is_content();
    for (path, shown) in [
        (format!("/ui/deliveries/{id}"), vec![SHOWN, "\"'><img/src=x/onerror=alert(8)>"]),
        (format!("/ui/deliveries/{id}?view=raw"), vec!["<img src=x onerror=alert(1)>", "\\u{202e}"]),
        (format!("/ui/deliveries/{id}?view=hex"), vec!["<img src=x"]),
        (format!("/ui/deliveries/{id}?signatures=true&explain=true"), vec!["alert(8)"]),
        (format!("/ui/deliveries/{dead}"), vec![SHOWN, "<script>alert(5)</script></code></pre>"]),
        (format!("/ui/deliveries/{refused}"), vec!["/%22%3E%3Csvg/onload=alert(9)%3E'"]),
        ("/ui/dead".to_owned(), vec!["dead"]),
        ("/ui/deliveries?q=%22%3E%3Csvg%2Fonload%3Dalert(10)%3E".to_owned(), vec!["<svg/onload=alert(10)>"]),
        ("/ui/deliveries?q=event:%3Csvg%2Fonload%3Dalert(11)%3E%22".to_owned(), vec!["<svg/onload=alert(11)>"]),
        ("/ui/deliveries/%3Csvg%2Fonload%3Dalert(12)%3E".to_owned(), vec!["404"]),
        ("/ui/routes/%3Csvg%2Fonload%3Dalert(13)%3E".to_owned(), vec!["404"]),
    ] {
        site.open(&path);
        browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; });");
        let page = browser.page();
        for text in shown {
            assert!(page.contains(text), "{path}: {text} in {page}");
        }
        assert_eq!(browser.count("img, main script, main svg[onload], iframe, object, embed"), 0, "{path}");
        assert_eq!(
            browser.value("document.title.includes('\\u202e') || document.body.innerText.includes('\\u202e')"),
            false
        );
        let complaints: Vec<String> =
            browser.console().into_iter().filter(|one| !one.contains("Failed to load resource")).collect();
        assert_eq!(complaints, [""; 0], "{path}");
        assert_eq!(browser.alert(), None, "{path}");
    }
    // In a live list, too.
    site.open("/ui/");
    browser.until("document.querySelector('#live').innerText === 'live'");
    site.send(&delivery("/hook"));
    browser.until("document.querySelectorAll('#rows tr').length === 4");
    browser.press(&format!("j{ESCAPE}"));
    site.is_content();
}
