//! The list of deliveries while it is open.

use serde_json::json;

use super::site::Site;
use crate::support::api::{Call, Events};
use crate::support::postgres::Proxy;
use crate::support::process::poll;
use crate::support::sender::Delivery;

/// What the list's line says of the stream.
const LIVE: &str = "document.querySelector('#live').innerText";
/// A row with an event's type.
fn row_of(event: &str) -> String {
    format!("document.querySelector('#rows').innerText.includes({event:?})")
}

fn event(name: &str) -> Delivery {
    Delivery::circleci(json!({ "type": name }).to_string()).header("circleci-event-type", name)
}

#[test]
fn a_delivery_appears_in_an_open_list_and_an_empty_list_becomes_one() {
    let Some(site) = Site::start() else { return };
    site.open("/ui/");
    assert!(site.browser.page().contains("No deliveries yet. Send one:"));
    site.browser.until(&format!("{LIVE} === 'live'"));
    site.browser.run("window.isSamePage = true;");
    site.send(&event("job-completed"));
    site.browser.until(&row_of("job-completed"));
    site.send(&Delivery::unsigned("{}"));
    site.browser.until(&row_of("missing_signature"));
    assert_eq!(site.browser.count("#rows tr"), 2);
    assert_eq!(site.browser.count("#empty"), 0);
    // The newest one is the first.
    assert!(site.browser.text("#rows tr").contains("refused"), "{}", site.browser.page());
    assert_eq!(site.browser.value("window.isSamePage"), true);
    site.browser.until("document.querySelector('#announce').textContent.startsWith('1 new delivery')");
    site.is_content();
}

#[test]
fn a_list_shows_only_what_matches_its_search() {
    let Some(site) = Site::start() else { return };
    site.open("/ui/deliveries?q=is:refused");
    site.browser.until(&format!("{LIVE} === 'live'"));
    site.record(&event("job-completed"));
    site.send(&Delivery::unsigned("{}"));
    site.browser.until(&row_of("missing_signature"));
    assert_eq!(site.browser.count("#rows tr"), 1);
}

#[test]
fn new_rows_wait_while_someone_reads() {
    let Some(site) = Site::start() else { return };
    site.record(&event("first"));
    site.open("/ui/");
    let browser = &site.browser;
    let waiting = |count: usize| format!("document.querySelector('#newer').innerText.startsWith('{count} new')");

    // While text is selected; the selection stays as it is, and the row too.
    browser.run("getSelection().selectAllChildren(document.querySelector('#rows td:nth-child(3)'));");
    let selected = browser.value("getSelection().toString()");
    assert!(selected.as_str().unwrap().contains("first"), "{selected}");
    site.record(&event("second"));
    browser.until(&waiting(1));
    assert_eq!((browser.value("getSelection().toString()"), browser.count("#rows tr")), (selected, 1));
    browser.run("getSelection().removeAllRanges();");
    browser.until(&row_of("second"));

    // While the focus is in the list.
    browser.press("j");
    site.record(&event("third"));
    browser.until(&waiting(1));
    assert!(!browser.text("#rows").contains("third"));
    browser.press(".");
    browser.until(&row_of("third"));

    // While it is paused.
    browser.run("document.activeElement.blur();");
    browser.click_on("Pause");
    browser.until(&format!("{LIVE} === 'paused'"));
    site.record(&event("fourth"));
    site.record(&event("fifth"));
    browser.until(&waiting(2));
    assert_eq!(browser.count("#rows tr"), 3);
    browser.click_on("Resume");
    browser.until(&row_of("fifth"));
    assert_eq!(browser.count("#rows tr"), 5);
    browser.until("document.querySelector('#newer').hidden");
    site.is_content();
}

#[test]
fn a_lost_stream_is_said_and_comes_back_with_what_was_missed() {
    let Some(site) = Site::start() else { return };
    let line = Proxy::to(site.gateway.admin);
    site.browser.open(&format!("http://{}/ui/", line.address));
    site.browser.until(&format!("{LIVE} === 'live'"));
    line.cut();
    site.browser.until(&format!("/^reconnecting, stale since \\d\\d:\\d\\d:\\d\\d UTC$/.test({LIVE})"));
    site.record(&event("missed"));
    assert_eq!(site.browser.count("#rows tr"), 0);
    line.restore();
    site.browser.until(&row_of("missed"));
    site.browser.until(&format!("{LIVE} === 'live'"));
    assert_eq!(site.browser.count("#rows tr"), 1);
}

#[test]
fn deliveries_that_were_left_out_are_one_click_away_though_no_new_one_comes() {
    let Some(site) = Site::start() else { return };
    let browser = &site.browser;
    site.record(&event("first"));
    site.open("/ui/");
    browser.until(&format!("{LIVE} === 'live'"));
    // From now on the stream says nothing but that some were left out.
    browser.run(
        "window.isSamePage = true;
         const gap = new TextEncoder().encode('event: gap\\ndata: {\"count\":7}\\n\\n');
         window.fetch = async () => new Response(new ReadableStream({ start: (events) => events.enqueue(gap) }));
         dispatchEvent(new Event('online'));",
    );
    browser.until("document.querySelector('#newer').innerText === '7 new – show them'");
    site.record(&event("second"));
    browser.click("#newer");
    browser.until(&row_of("second"));
    browser.until("document.querySelector('#newer').hidden");
    assert_eq!((browser.count("#rows tr"), browser.value("window.isSamePage")), (2, json!(true)));
    site.is_content();
}

#[test]
fn a_hidden_tab_closes_its_stream_and_many_tabs_load() {
    let Some(site) = Site::start() else { return };
    site.open("/ui/");
    site.browser.until(&format!("{LIVE} === 'live'"));
    let first = site.browser.tab();
    for _ in 0..7 {
        site.browser.new_tab();
        site.open("/ui/");
        assert_eq!(site.browser.text("h1"), "Deliveries");
    }
    site.browser.until(&format!("{LIVE} === 'live'"));
    // Eight lists are open, but of the 32 streams that the gateway has only one is taken.
    let mut streams = Vec::new();
    let call = Call::get("/api/v1/stream");
    poll("31 streams are free", || {
        streams.extend(Events::try_open(site.gateway.admin, &call));
        streams.len() == 31
    });
    assert_eq!(Events::try_open(site.gateway.admin, &call).map_err(|head| head.status).err(), Some(503));
    drop(streams);
    // Shown again, a tab catches up.
    site.record(&event("meanwhile"));
    site.browser.go_to_tab(&first);
    site.browser.until(&row_of("meanwhile"));
}

#[test]
fn a_list_stays_short_and_says_what_it_leaves_out() {
    let Some(site) = Site::start() else { return };
    site.open("/ui/");
    site.browser.until(&format!("{LIVE} === 'live'"));
    site.browser.click_on("Pause");
    site.send_many(260, |number| event(&format!("event-{number}")));
    site.browser.until("document.querySelector('#newer').innerText.startsWith('260 new')");
    site.browser.click("#newer");
    site.browser.until("document.querySelectorAll('#rows tr').length === 200");
    assert!(site.browser.text("#live").contains("60 left out of the list"), "{}", site.browser.text("#live"));
    assert!(site.browser.text("#rows tr").contains("event-259"));
    let last = site.browser.value("[...document.querySelectorAll('#rows tr')].at(-1).innerText");
    assert!(last.as_str().unwrap().contains("event-60"), "{last}");
    // What comes next is one click away.
    site.browser.click_on("Older");
    assert!(site.browser.text("#rows tr").contains("event-59"), "{}", site.browser.page());
    site.is_content();
}
