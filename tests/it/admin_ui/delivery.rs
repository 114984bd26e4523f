//! `/ui/deliveries/ID`: why it was refused, its head, body and attempts.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{gateway, get, refused};
use crate::support::api::{Call, json};
use crate::support::gateway::{Gateway, OLD_SECRET, SECRET};
use crate::support::page::{Page, does, form};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

fn page(gateway: &Gateway, id: &str, query: &str) -> Page {
    let page = Page::get(gateway.admin, &format!("/ui/deliveries/{id}{query}"));
    assert_eq!(page.status, 200, "{page:?}");
    page
}

/// Text as HTML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[test]
fn a_refused_delivery_shows_its_cause_in_the_words_of_explain() {
    let gateway = gateway("");
    let signed = Delivery::circleci("{\"a\":1,\"b\":[1,2]}");
    let id = refused(&gateway, &signed.body("{\n  \"a\": 1,\n  \"b\": [1, 2]\n}"), "signature_mismatch");
    let explained = Call::post(&format!("/api/v1/deliveries/{id}/explain"), &json!({})).send(gateway.admin).json();
    assert_eq!(explained["proven"], true);
    for query in ["", "?explain=true"] {
        let page = page(&gateway, &id, query);
        page.has("✗</span> refused</span>: signature_mismatch (401)");
        page.has("The signature matches no secret of the route.").has("cause (proven)");
        for cause in explained["causes"].as_array().unwrap() {
            page.has(&escaped(cause.as_str().unwrap()));
        }
        page.lacks("another secret, or a body");
        page.has("But for that, the signature is right.").has("Judged by the secrets of now");
        page.has("Replay is not offered: it does not verify.").lacks(">Replay</button>");
        page.has(">Check again</button>").has("401, application/problem+json");
        page.lacks(SECRET).lacks(OLD_SECRET);
    }
    let title = page(&gateway, &id, "").after("<title>", "</title>").to_owned();
    assert!(title.starts_with("✗ signature_mismatch · hook · 20"), "{title}");
    // Nothing tells the digest that would have been right.
    let body = "{\n  \"a\": 1,\n  \"b\": [1, 2]\n}";
    let right = base16ct::lower::encode_string(&Sha256::digest(body));
    let signature = String::from_utf8(Delivery::circleci(body).head()).unwrap();
    let signature = signature.split("v1=").nth(1).unwrap().trim();
    page(&gateway, &id, "?signatures=true").lacks(signature).lacks(&right);
}

#[test]
fn a_delivery_that_was_refused_by_its_head_offers_a_capture_and_then_its_cause() {
    let gateway = Gateway::start_admin("", "", &route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let unsigned = Delivery::unsigned("{\"a\":1}").header("X-Signature", "v1=00");
    let id = refused(&gateway, &unsigned, "missing_signature");
    let before = page(&gateway, &id, "");
    before.has("It was refused by its head: its body was not read").has("The signature header is missing or empty.");
    before
        .has("is a secret set at the provider?")
        .has(">Capture for 5 minutes</button>")
        .has("Not read: the delivery was refused");
    before.lacks(">Replay</button>").lacks("Copy as curl").lacks("Download");
    let (back, after) = does(gateway.admin, "/ui/routes/hook/capture", &format!("delivery={id}"));
    assert_eq!(back, format!("/ui/deliveries/{id}"));
    after.has("Capture is on: the next refused").has("Capture is on for the route hook: up to 20 more");
    Page::get(gateway.admin, "/ui/routes/hook").has("Capture is on until <time");
    let captured = refused(&gateway, &unsigned, "missing_signature");
    let shown = page(&gateway, &captured, "");
    shown.has("<th scope=\"row\">X-Signature</th>").has("&#34;a&#34;: 1").has("class=\"causes\"").has("up to 19 more");
    let outside = form("/ui/routes/hook/capture", "delivery=%2F%2Fevil.example").send(gateway.admin);
    assert_eq!(outside.status, 400);
}

#[test]
fn a_request_that_no_route_takes_says_which_path_it_had() {
    let gateway = gateway("");
    let id = refused(&gateway, &Delivery::circleci("{}").target("/hok?a=b"), "no_route");
    let page = page(&gateway, &id, "");
    page.has("no route had the path /hok")
        .has("`hooklatch check` lists the routes")
        .has("Not read: the delivery was refused by its head.");
    page.lacks("Capture for").lacks("a=b");
}

#[test]
fn signatures_are_masked_until_they_are_asked_for_and_secrets_are_never_stored() {
    let gateway = gateway("");
    let delivery = Delivery::circleci("{}").body("[]").header("authorization", "Basic c2VjcmV0").header("x-b", "c");
    let id = refused(&gateway, &delivery, "signature_mismatch");
    let masked = page(&gateway, &id, "");
    let line = masked.after("<th scope=\"row\">circleci-signature</th>", "</tr>");
    assert!(line.contains("••••••••") && !line.contains("v1="), "{line}");
    masked
        .has("<th scope=\"row\">authorization</th><td><em>not stored (redacted)</em>")
        .has("<td>c</td>")
        .lacks("c2VjcmV0");
    masked.has(&format!("href=\"/ui/deliveries/{id}?signatures=true#headers-title\"")).lacks("v1=");
    let shown = page(&gateway, &id, "?signatures=true");
    shown.has("Signatures are shown.").lacks("••••••••").lacks("c2VjcmV0");
    assert!(shown.after("<th scope=\"row\">circleci-signature</th>", "</tr>").contains("v1="));
    shown.has(&format!("/ui/deliveries/{id}?view=raw&#38;signatures=true#body"));
}

#[test]
fn a_body_is_shown_indented_as_it_came_and_in_hexadecimal() {
    let gateway = gateway("");
    let body = "{\"b\":12345678901234567890,\"a\":1e400,\"b\":\"\\u00e9\"}";
    let id = refused(&gateway, &Delivery::circleci("{}").body(body), "signature_mismatch");
    let pretty = page(&gateway, &id, "");
    for line in ["  &#34;b&#34;: 12345678901234567890,", "  &#34;a&#34;: 1e400,", "  &#34;b&#34;: &#34;\\u00e9&#34;"] {
        pretty.has(&format!("<span class=\"line\">{line}</span>"));
    }
    let api = format!("/api/v1/deliveries/{id}");
    pretty.has(&format!("<a href=\"{api}/body\" download>")).has(&format!("<a href=\"{api}/http\" download>"));
    pretty.has(&format!("data-copy=\"{api}/curl\" data-key=\"copy\">Copy as curl</button>")).has(&format!("{api}/har"));
    page(&gateway, &id, "?view=raw").has(&escaped(body)).has("?view=raw#body\" aria-current=\"true\">Raw</a>");
    page(&gateway, &id, "?view=hex")
        .has("00000000  7b 22 62 22 3a 31 32 33  34 35 36 37 38 39 30 31  |{&#34;b&#34;:12345678901|");

    let broken = refused(&gateway, &Delivery::circleci("{}").body("{\"a\":1,}"), "signature_mismatch");
    page(&gateway, &broken, "").has("not JSON: byte 7: key must be a string. As it came:").has("{&#34;a&#34;:1,}");
    let bytes: Vec<u8> = (0..=255).collect();
    let binary = refused(&gateway, &Delivery::circleci("{}").body(&bytes), "signature_mismatch");
    page(&gateway, &binary, "").has("not UTF-8: byte 128").has("\\u{0}\\u{1}").has("\\xff");
    let hex = page(&gateway, &binary, "?view=hex");
    for line in (0..16).map(|line| format!("{:08x}  {0:02x} ", line * 16)) {
        hex.has(&line);
    }
    assert_eq!(get(&gateway, &format!("/api/v1/deliveries/{binary}/body")).body, bytes);
    let long = format!("[{}]", vec!["0"; 3_000].join(","));
    let long = refused(&gateway, &Delivery::circleci("{}").body(long), "signature_mismatch");
    page(&gateway, &long, "").has("1002 more lines.").has("?view=pretty&#38;all=true#body\">Show more</a>");
    page(&gateway, &long, "?all=true").lacks("more lines");
    assert_eq!(Page::get(gateway.admin, &format!("/ui/deliveries/{id}?view=html")).status, 400);
}

#[test]
fn what_is_not_kept_says_why() {
    let metadata = Gateway::start_admin("", "", &route("circleci", "upstream: \"http://127.0.0.1:1\""));
    let id = refused(&metadata, &Delivery::circleci("{}").body("[]"), "signature_mismatch");
    let shown = page(&metadata, &id, "");
    shown.has("Its head and body are not kept in full").has("the route has record: metadata. record: full keeps");
    shown.has("Replay is not offered: the delivery&#39;s head and body are not kept in full.");

    let keys = "record: full, record_body: 1KiB, upstream: \"http://127.0.0.1:1\"";
    let cut = Gateway::start_admin("", "", &route("circleci", keys));
    let id = refused(&cut, &Delivery::circleci("{}").body("x".repeat(2_000)), "signature_mismatch");
    page(&cut, &id, "").has("Cut: 1.0 KiB of 2.0 KiB are kept.").has("2.0 KiB");
}

#[test]
fn after_the_secret_is_corrected_a_refused_delivery_is_accepted_and_can_be_replayed() {
    let mut queued = Queued::of("circleci", "record: full");
    let delivery = Delivery::circleci_with(OLD_SECRET, "{\"a\":1}");
    assert_eq!(queued.send(&delivery).status, 401);
    let mut id = String::new();
    poll("recorded", || {
        let list = json(queued.admin(), "/api/v1/deliveries");
        id = list["deliveries"][0]["id"].as_str().unwrap_or_default().to_owned();
        !id.is_empty()
    });
    let path = format!("/ui/deliveries/{id}");
    let before = Page::get(queued.admin(), &path);
    before.lacks(">Replay</button>");
    // The page does not offer it, and does not do it.
    let refused = Page::of(form(&format!("{path}/replay"), "attempts=0").send(queued.admin()));
    assert_eq!(refused.status, 409);
    refused.has("not_verified");

    queued.restart_of("circleci", "record: full, secrets: [{ env: OLD_SECRET, id: corrected }]");
    let after = Page::get(queued.admin(), &format!("{path}?explain=true"));
    after.has("✓</span> accepted</span> It verifies now, with the secret corrected.").has(">Replay</button>");
    assert_eq!(does(queued.admin(), &format!("{path}/replay"), "attempts=0").0, path);
    let seen = queued.takes();
    assert_eq!((seen.body.as_slice(), seen.one("hooklatch-replay")), (&b"{\"a\":1}"[..], "true".to_owned()));
    poll("delivered", || Page::get(queued.admin(), &path).html.contains("✓</span> delivered"));
    let delivered = Page::get(queued.admin(), &path);
    delivered.has("✓</span> delivered</span> (200)").has("<dt>Verified</dt><dd>not when it came</dd>");
    delivered.has("401, application/problem+json: The signature matches no secret of the route");
}

#[test]
fn a_status_beside_the_outcome_is_that_of_the_last_attempt() {
    let mut queued = Queued::start("record: full, circuit: false, retry: { max_attempts: 1 }");
    queued.accepts(&Delivery::circleci("{\"a\":1}"));
    let id = queued.fails("500 Oops").one("hooklatch-delivery-id");
    queued.wait_for_state("dead", 1.0);
    let path = format!("/ui/deliveries/{id}");
    Page::get(queued.admin(), &path).has("dead</span>").has("(500)</h1>");
    does(queued.admin(), &format!("{path}/replay"), "attempts=1");
    queued.takes();
    poll("delivered", || Page::get(queued.admin(), &path).html.contains("✓</span> delivered"));
    assert_eq!(json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["status"], 200);
    Page::get(queued.admin(), &path).has("delivered</span> (200)</h1>").has("200, once the delivery was stored");
}

#[test]
fn a_capture_is_offered_where_the_body_was_not_read_though_the_route_records_all() {
    let gateway = gateway("");
    let id = refused(&gateway, &Delivery::unsigned("{\"a\":1}"), "missing_signature");
    page(&gateway, &id, "").has(">Capture for 5 minutes</button>").lacks("the body is empty").lacks("wrong secret");
    let id = refused(&gateway, &Delivery::circleci("{}").body("[]"), "signature_mismatch");
    page(&gateway, &id, "").lacks(">Capture for 5 minutes</button>");
}

#[test]
fn a_secret_is_never_called_hidden() {
    let gateway = Gateway::start_admin("", "", &route("gitlab", "record: full, upstream: \"http://127.0.0.1:1\""));
    let wrong = Delivery::unsigned("{}").header("X-Gitlab-Token", "an-0ther-secret");
    let id = refused(&gateway, &wrong, "signature_mismatch");
    page(&gateway, &id, "").has("<th scope=\"row\">X-Gitlab-Token</th><td><em>not stored (redacted)</em>");
    let detail = json(gateway.admin, &format!("/api/v1/deliveries/{id}"));
    let headers = detail["request_headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["X-Gitlab-Token", "redacted"])), "{headers:?}");
}

#[test]
fn a_body_that_is_cut_is_not_offered_for_a_replay_and_a_response_that_went_through_is_not_empty() {
    let mut rig = Rig::with("record: full, record_body: 10B");
    let ids = [rig.forwards(&Delivery::circleci("{\"a\":\"0123456789\"}")), rig.forwards(&Delivery::circleci("{}"))]
        .map(|seen| seen.one("hooklatch-delivery-id"));
    for (id, is_offered) in ids.iter().zip([false, true]) {
        poll("recorded", || Call::get(&format!("/ui/deliveries/{id}")).send(rig.gateway.admin).status == 200);
        let page = page(&rig.gateway, id, "");
        assert_eq!(page.html.contains(">Replay</button>"), is_offered, "{page:?}");
        page.has("The body went through to the sender: it is not kept.");
        let detail = json(rig.gateway.admin, &format!("/api/v1/deliveries/{id}"));
        assert_eq!(detail["attempts"][0]["response_body"], Value::Null);
    }
}

#[test]
fn attempts_show_what_the_handler_answered() {
    let mut queued = Queued::start("record: full, retry: { min_backoff: 1h }");
    queued.accepts(&Delivery::circleci("{}").header("X-Request-Id", "id-1"));
    let id = queued.request().one("hooklatch-delivery-id");
    queued.peer.as_mut().unwrap().write("HTTP/1.1 500 Oops\r\nx-why: because\r\nContent-Length: 9\r\n\r\n<b>no</b>");
    queued.wait_for_state("retrying", 1.0);
    let page = Page::get(queued.admin(), &format!("/ui/deliveries/{id}"));
    page.has("◷</span> retrying").has("Attempts (1)").has("!</span> 5xx").has("<dt>x-why</dt><dd>because</dd>");
    page.has("&#60;b&#62;no&#60;/b&#62;").has("<dt>Next attempt</dt>").has("<dt>Request id</dt><dd>id-1</dd>");
    page.has("200, once the delivery was stored")
        .has(">Replay</button>")
        .has(">Discard</button>")
        .has(">Erase</button>");
    let list = Page::get(queued.admin(), "/ui/deliveries?q=is%3Awaiting");
    assert_eq!(list.ids(), [id.as_str()]);
    list.has("next <time datetime=\"");
}

#[test]
fn gone_unknown_and_erased_deliveries_say_so() {
    let mut queued = Queued::with_server("", "keep: { delivered: 0s }", "circleci", "delivery: queue");
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.takes().one("hooklatch-delivery-id");
    let path = format!("/ui/deliveries/{id}");
    poll("gone", || Call::get(&path).send(queued.admin()).status == 410);
    Page::get(queued.admin(), &path).has("<h1>Gone</h1>").has("store.keep");
    assert_eq!(Page::of(form(&format!("{path}/replay"), "").send(queued.admin())).status, 410);
    for id in ["x", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        let unknown = Page::get(queued.admin(), &format!("/ui/deliveries/{id}"));
        assert_eq!(unknown.status, 404);
        unknown.has("no delivery has this id");
    }

    let gateway = gateway("");
    let id = refused(&gateway, &Delivery::circleci("{}").body("[]"), "signature_mismatch");
    let ask = page(&gateway, &id, "/erase");
    ask.has("Erase this delivery?").has(&format!("action=\"/ui/deliveries/{id}/erase\""));
    let (_, erased) = does(gateway.admin, &format!("/ui/deliveries/{id}/erase"), "");
    erased.has("Erased: head and body are overwritten.").has("–</span> erased").lacks(">Erase</button>").lacks("[]");
    let state: Value = json(gateway.admin, &format!("/api/v1/deliveries/{id}"));
    assert_eq!(state["state"], "erased");
}
