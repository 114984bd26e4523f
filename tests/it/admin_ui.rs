//! The pages of the admin listener, as a browser without script gets them.

use std::process::Command;

use crate::support::api::{Call, json};
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::page::Page;
use crate::support::process::{BINARY, poll};
use crate::support::queued::Queued;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

/// What people change.
mod acts;
/// One delivery: why it was refused, its head, body and attempts.
mod delivery;
/// Who is let in.
mod login;
/// Routes, dead letters, the gateway itself.
mod routes;

/// Every page that needs no delivery.
const PAGES: [&str; 9] = [
    "/ui/",
    "/ui/deliveries",
    "/ui/deliveries?q=is%3Arefused",
    "/ui/routes",
    "/ui/routes/hook",
    "/ui/dead",
    "/ui/replays?q=state%3Adead",
    "/ui/status",
    "/ui/deliveries/00000000-0000-0000-0000-000000000000",
];

/// A gateway whose route records all it can and forwards to a closed port, with further keys of the admin listener.
fn gateway(admin: &str) -> Gateway {
    Gateway::start_admin(admin, "", &route("circleci", "record: full, upstream: \"http://127.0.0.1:1\""))
}

/// Sends a delivery that is refused with this reason: its id, once it is recorded.
#[track_caller]
fn refused(gateway: &Gateway, delivery: &Delivery, reason: &str) -> String {
    let response = crate::support::http::send(gateway.server, &delivery.bytes());
    assert_eq!(response.json()["reason"], reason, "{response:?}");
    let request_id = response.header("x-request-id").unwrap().to_owned();
    let path = format!("/api/v1/deliveries?request_id={request_id}");
    let mut id = String::new();
    poll("recorded", || {
        let list = json(gateway.admin, &path);
        id = list["deliveries"][0]["id"].as_str().unwrap_or_default().to_owned();
        !id.is_empty()
    });
    id
}

fn get(gateway: &Gateway, path: &str) -> Response {
    Call::get(path).send(gateway.admin)
}

#[test]
fn every_page_is_whole_and_leads_nowhere_else() {
    let gateway = gateway("");
    for path in PAGES {
        let page = Page::get(gateway.admin, path);
        assert_eq!(page.status, if path.ends_with("000000") { 404 } else { 200 }, "{path}");
        page.has(" · hooklatch</title>").has("<a href=\"/ui/routes\"");
        page.lacks("Log out").lacks("{{").lacks("{%");
        assert!(!page.html.contains("src=\"http"), "{path}");
    }
    for path in ["/", "/ui"] {
        let home = get(&gateway, path);
        assert_eq!((home.status, home.header("location")), (303, Some("/ui/")), "{path}");
    }
    assert_eq!(get(&gateway, "/ui/login").header("location"), Some("/ui/"), "without a token nobody logs in");
    for (path, status) in [("/ui/nothing", 404), ("/ui/deliveries/x", 404), ("/ui/routes/none", 404), ("/ui/?x", 400)] {
        assert_eq!(Page::get(gateway.admin, path).status, status, "{path}");
    }
    for path in PAGES {
        let refused = crate::support::page::form(path, "").send(gateway.admin);
        assert!([404, 405, 400].contains(&refused.status), "{path}: {refused:?}");
    }
    for path in ["/ui/logout", "/ui/routes/hook/pause"] {
        assert_eq!(get(&gateway, path).status, 405, "{path} changes something, so it is no GET");
    }
}

#[test]
fn without_a_page_there_is_none() {
    let gateway = gateway("page: false");
    for path in ["/", "/ui", "/ui/", "/ui/login", "/ui/assets/x/app.js"] {
        assert_eq!(get(&gateway, path).status, 404, "{path}");
    }
}

#[test]
fn script_and_style_are_the_gateways_own_and_stay_as_long_as_their_content() {
    let gateway = gateway("");
    let page = Page::get(gateway.admin, "/ui/");
    for (before, kind) in [
        ("<script src=\"", "text/javascript; charset=utf-8"),
        ("<link rel=\"stylesheet\" href=\"", "text/css; charset=utf-8"),
    ] {
        let path = page.after(before, "\"");
        assert!(path.starts_with("/ui/assets/"), "{path}");
        let asset = get(&gateway, path);
        assert_eq!((asset.status, asset.header("content-type")), (200, Some(kind)));
        assert_eq!(asset.all("cache-control"), ["public, max-age=31536000, immutable"]);
        assert_eq!(asset.all("x-content-type-options"), ["nosniff"]);
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(get(&gateway, &format!("/ui/assets/0000000000000000/{name}")).status, 404);
    }
    assert_eq!(get(&gateway, "/ui/assets/x/../../config").status, 404);
}

#[test]
fn an_empty_list_says_how_to_begin_and_a_search_without_a_hit_where_all_are() {
    let gateway = gateway("");
    let empty = Page::get(gateway.admin, "/ui/");
    empty.has("No deliveries yet. Send one:").has("hooklatch send hook -c gateway.yaml");
    empty.has("data-stream=\"/api/v1/stream?q=\"").has("data-rows=\"/ui/rows?q=\"");
    let nothing = Page::get(gateway.admin, "/ui/deliveries?q=route%3Ahook+%3Cb%3E");
    assert_eq!(nothing.status, 200);
    nothing.has("Nothing matches <code>route:hook &#60;b&#62;</code>").has("<a href=\"/ui/\">All deliveries</a>");
    nothing.has("value=\"route:hook &#60;b&#62;\"").has("/api/v1/stream?q=route%3Ahook%20%3Cb%3E");
    let end = Page::get(gateway.admin, "/ui/deliveries?before=01890a5d-ac96-774b-bcce-b302099a8057");
    end.has("There are no older ones.").lacks("data-stream");
}

#[test]
fn lists_to_choose_from_write_the_search() {
    let gateway = gateway("");
    let leads_to = |query: &str| {
        let response = get(&gateway, &format!("/ui/deliveries?{query}"));
        assert_eq!(response.status, 303, "{query}: {response:?}");
        response.header("location").unwrap().to_owned()
    };
    for (query, expected) in [
        ("q=&was=&route=&state=", "/ui/"),
        ("q=&was=&route=hook&state=refused", "/ui/deliveries?q=route%3Ahook%20is%3Arefused"),
        ("q=x+is%3Adead&was=x+is%3Adead&route=&state=", "/ui/deliveries?q=x"),
        // What was typed beside a list that was left alone counts.
        ("q=is%3Afailed&was=is%3Adead&route=&state=dead", "/ui/deliveries?q=is%3Afailed"),
        ("q=-is%3Adead&was=-is%3Adead&route=&state=*", "/ui/deliveries?q=%2Dis%3Adead"),
        ("q=-is%3Adead&was=-is%3Adead&route=&state=failed", "/ui/deliveries?q=is%3Afailed"),
        ("q=stat%3Ax&was=&route=none&state=", "/ui/deliveries?q=stat%3Ax%20route%3Anone"),
    ] {
        assert_eq!(leads_to(query), expected, "{query}");
    }
    let chosen = Page::get(gateway.admin, "/ui/deliveries?q=route%3Ahook+is%3Arefused");
    chosen.has("<option selected>hook</option>").has("<option selected>refused</option>");
    chosen.has("name=\"was\" value=\"route:hook is:refused\"").lacks("as in the search");
    let other = Page::get(gateway.admin, "/ui/deliveries?q=-is%3Adead");
    other.has("<option value=\"*\" selected>as in the search</option>").has("<option>dead</option>");
    Page::get(gateway.admin, "/ui/").has("<select name=\"state\" aria-label=\"State\">").lacks(" selected");
    assert_eq!(get(&gateway, "/ui/deliveries?status=500").status, 400);
}

#[test]
fn a_mistake_in_a_search_is_shown_at_its_place() {
    let gateway = gateway("");
    let wrong = Page::get(gateway.admin, "/ui/deliveries?q=is%3Arefused+stat%3Adead");
    assert_eq!(wrong.status, 400);
    wrong.has("<code>is:refused <mark>stat:dead</mark></code>").has("there is no key &#34;stat&#34;");
    wrong.has("value=\"is:refused stat:dead\"").has("aria-invalid=\"true\"").lacks("data-stream");
    for query in ["q=is%3Arefused&q=x", "before=x", "limit=3", "q=%zz"] {
        assert_eq!(Page::get(gateway.admin, &format!("/ui/deliveries?{query}")).status, 400, "{query}");
    }
}

#[test]
fn the_list_has_the_newest_first_and_leads_to_older_ones() {
    let mut queued = Queued::start("paused: true, dedupe: false");
    for _ in 0..52 {
        queued.accepts(&Delivery::circleci("{}").header("circleci-event-type", "job-completed"));
    }
    queued.wait_for_state("pending", 52.0);
    let list = json(queued.admin(), "/api/v1/deliveries?limit=60");
    let ids: Vec<&str> = list["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let page = Page::get(queued.admin(), "/ui/");
    assert_eq!(page.ids(), ids[..50]);
    page.has("◷</span> pending").has("job-completed").has("POST /hook").has("showing 50").has("52 kept, ");
    page.has("<time datetime=\"20").has("127.0.0.1");
    assert!(page.html.len() < 100_000, "{}", page.html.len());
    let older = page.after("<a href=\"/ui/deliveries?before=", "\"");
    let second = Page::get(queued.admin(), &format!("/ui/deliveries?before={older}"));
    assert_eq!(second.ids(), ids[50..]);
    second.has("<a href=\"/ui/\">Newest</a>").lacks("rel=\"next\"");
    let found = Page::get(queued.admin(), &format!("/ui/deliveries?q=id%3A{}", ids[3]));
    assert_eq!(found.ids(), [ids[3]]);
    let quick = Page::get(queued.admin(), "/ui/deliveries?q=is%3Awaiting");
    assert_eq!(quick.ids(), ids[..50]);
    quick.has("<a href=\"/ui/deliveries?q=is%3Awaiting\" aria-current=\"true\">Queued</a>");
    quick.has(&format!("/ui/deliveries?q=is%3Awaiting&#38;before={older}"));
    assert!(Page::get(queued.admin(), "/ui/deliveries?q=is%3Adead").ids().is_empty());
    queued.stop();
}

#[test]
fn page_api_and_command_find_the_same() {
    let gateway = gateway("");
    let named = |kind: &str| Delivery::circleci("{}").body("[]").header("circleci-event-type", kind);
    for kind in ["job-completed", "job-failed", "workflow-completed"] {
        refused(&gateway, &named(kind).header("X-Request-Id", kind), "signature_mismatch");
    }
    refused(&gateway, &Delivery::unsigned("{}").header("X-Foo", "bar"), "missing_signature");
    refused(&gateway, &Delivery::circleci("{}").target("/elsewhere?a=b"), "no_route");
    let url = format!("http://{}", gateway.admin);
    for query in [
        "",
        "is:refused",
        "-is:refused",
        "route:hook",
        "route:none",
        "reason:signature_mismatch",
        "reason:no_*",
        "status:401",
        "status:>=404",
        "event:job-*",
        "-event:job-*",
        "id:job-failed",
        "request_id:job-completed",
        "peer:127.0.0.0/8",
        "since:1h",
        "until:1h",
        "size:>1B",
        "took:<1h",
        "has:body",
        "body:[",
        "header:x-foo=bar",
        "elsewhere",
        "JOB",
        "event:job-failed event:workflow-completed route:hook -status:404",
    ] {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let api = json(gateway.admin, &format!("/api/v1/deliveries?q={encoded}"));
        let api: Vec<&str> =
            api["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        let page = Page::get(gateway.admin, &format!("/ui/deliveries?q={encoded}"));
        assert_eq!(page.ids(), api, "{query}");
        let command = Command::new(BINARY).args(["deliveries", "--url", &url, "--", query]).output().unwrap();
        let printed = String::from_utf8(command.stdout).unwrap();
        let printed: Vec<&str> = printed.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(printed, api, "{query}");
        assert_eq!(api.is_empty(), ["-is:refused", "until:1h"].contains(&query), "{query}");
    }
}

#[test]
fn the_script_gets_the_rows_of_the_ids_that_match() {
    let gateway = gateway("");
    let first = refused(&gateway, &Delivery::unsigned("{}"), "missing_signature");
    let second = refused(&gateway, &Delivery::circleci("{}").body("[]"), "signature_mismatch");
    let rows = |query: &str| Page::fragment(get(&gateway, &format!("/ui/rows?{query}")));
    let both = rows(&format!("q=&id={first}&id={second}&id={first}"));
    assert_eq!(both.ids(), [second.as_str(), &first]);
    both.has("</table>").lacks("<main").lacks("<nav");
    let one = rows(&format!("q=reason%3Asignature_mismatch&id={first}&id={second}"));
    assert_eq!(one.ids(), [second.as_str()]);
    assert!(rows("q=").ids().is_empty());
    assert!(rows("id=01890a5d-ac96-774b-bcce-b302099a8057").ids().is_empty());
    for query in ["id=x", "q=stat%3Ax", "x=y"] {
        assert_eq!(get(&gateway, &format!("/ui/rows?{query}")).status, 400, "{query}");
    }
    let many = vec![format!("id={first}"); 51].join("&");
    assert_eq!(get(&gateway, &format!("/ui/rows?{many}")).status, 400);
}

#[test]
fn what_a_sender_sends_is_text_wherever_it_is_shown() {
    const HOSTILE: &str = "\"><img/src=x/onerror=alert(1)></script>{{7*7}}";
    let mut queued = Queued::start("record: full, retry: { max_attempts: 1 }");
    let body =
        serde_json::json!({ "id": HOSTILE, "type": HOSTILE, HOSTILE: { "</script><svg/onload>": "\u{202e}\0" } });
    let delivery = Delivery::circleci(body.to_string())
        .target("/hook?a='&b=(1)&amp;")
        .header("circleci-event-type", HOSTILE)
        .header("x-a", HOSTILE)
        .header("x-'`|~", "1")
        .header("X-Request-Id", "<b>'\"");
    queued.accepts(&delivery);
    queued.request();
    queued
        .peer
        .as_mut()
        .unwrap()
        .write(format!("HTTP/1.1 500 Oops\r\nx-b: {HOSTILE}\r\nContent-Length: {}\r\n\r\n{HOSTILE}", HOSTILE.len()));
    queued.wait_for_state("dead", 1.0);
    let id = json(queued.admin(), "/api/v1/deliveries")["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let mut paths: Vec<String> = ["/ui/", "/ui/dead", "/ui/routes/hook"].map(str::to_owned).to_vec();
    paths.extend(["pretty", "raw", "hex"].map(|view| format!("/ui/deliveries/{id}?view={view}&explain=true")));
    paths.extend(["replay", "discard", "erase"].map(|act| format!("/ui/deliveries/{id}/{act}")));
    paths.push(format!("/ui/rows?id={id}"));
    paths.push("/ui/deliveries?q=%22%3E%3Cimg%2Fsrc%3Dx%3E".to_owned());
    paths.push("/ui/routes/%22%3E%3Cimg%2Fsrc%3Dx%3E".to_owned());
    for path in &paths {
        let page = Page::fragment(Call::get(path).send(queued.admin()));
        page.lacks("<img").lacks("<svg/").lacks("</script><").lacks("\u{202e}").lacks("\0").lacks("49</");
        assert_eq!(page.html.matches("<script").count(), usize::from(!path.starts_with("/ui/rows")), "{path}");
    }
    let list = Page::get(queued.admin(), "/ui/");
    list.has("&#34;&#62;&#60;img/src=x/onerror=alert(1)&#62;&#60;/script&#62;{{7*7}}");
    let detail = Page::get(queued.admin(), &paths[3]);
    for text in [
        "&#60;/script&#62;&#60;svg/onload&#62;",
        "\\u{202e}",
        "x-&#39;`|~",
        "<dt>x-b</dt><dd>&#34;&#62;&#60;img/src=x/onerror=alert(1)",
    ] {
        detail.has(text);
    }
}

#[test]
fn banners_say_what_people_should_know_wherever_they_are() {
    let mut queued =
        Queued::with_server("", "max_size: 4MiB", "circleci", "delivery: queue, dedupe: false, record: none");
    let calm = Page::get(queued.admin(), "/ui/status");
    calm.lacks("class=\"banner").has("<a href=\"/ui/dead\" data-key=\"x\">Dead letters</a>");
    Page::get(queued.admin(), "/ui/").has("Nothing is recorded of <a href=\"/ui/routes/hook\">hook</a>");
    let delivery = Delivery::circleci(vec![b'x'; 200 << 10]);
    poll("full", || queued.send(&delivery).status == 503);
    Page::get(queued.admin(), "/ui/routes").has("The store is full");
    Page::get(queued.admin(), "/ui/status").has("✗</span> full");
    queued.drain();
    Page::get(queued.admin(), "/ui/").has("The gateway is draining");
    queued.answer_always();
}

#[test]
fn deliveries_of_a_route_that_has_gone_are_held_and_said_to_be() {
    let mut queued = Queued::start("paused: true");
    queued.accepts(&Delivery::circleci("{}"));
    queued.stop();
    let store = format!("store: {{ path: {:?}, min_free: 0MiB }}\n", queued.store());
    let keys =
        "{ name: other, path: /other, scheme: circleci, secrets: [{ env: SECRET }], upstream: \"http://127.0.0.1:1\" }";
    let gateway = Gateway::start_admin("", &store, &format!("  - {keys}\n"));
    let page = Page::get(gateway.admin, "/ui/status");
    page.has("1 delivery waits for the route hook, which the configuration does not have any more.");
    let link = page.after("any more. <a href=\"", "\"").to_owned();
    let held = Page::get(gateway.admin, &link);
    assert_eq!(held.ids().len(), 1);
    held.has("◷</span> held");
    let id = held.ids()[0].to_owned();
    Page::get(gateway.admin, &format!("/ui/deliveries/{id}?explain=true")).has("no route has this name.");
    assert_eq!(Page::get(gateway.admin, "/ui/routes/hook").status, 404);
}

#[test]
fn what_is_not_recorded_in_a_flood_is_counted() {
    let gateway = gateway("");
    poll("counted", || {
        for _ in 0..50 {
            let refused = crate::support::http::send(gateway.server, &Delivery::unsigned("{}").bytes());
            assert_eq!(refused.status, 401);
        }
        Page::get(gateway.admin, "/ui/").html.contains(" not recorded")
    });
    Page::get(gateway.admin, "/ui/status").lacks("not recorded</dt><dd>0</dd>");
}

#[test]
fn a_long_page_holds_no_other_answer_up() {
    let keys = "record: full, max_body: 8MiB, record_body: 8MiB, upstream: \"http://127.0.0.1:1\"";
    let gateway = Gateway::start_admin("", "", &route("circleci", keys));
    let body = format!("[{}]", vec!["1"; 2 << 20].join(","));
    let id = refused(&gateway, &Delivery::circleci("{}").body(body), "signature_mismatch");
    let admin = gateway.admin;
    let path = format!("/ui/deliveries/{id}?all=true");
    let long = std::thread::spawn(move || Call::get(&path).send(admin));
    let mut asked = 0;
    while !long.is_finished() {
        assert_eq!(get(&gateway, "/livez").status, 200);
        asked += 1;
    }
    assert!(asked > 10, "only {asked} answers while the page was made");
    let page = Page::of(long.join().unwrap());
    assert!(page.html.len() > 8 << 20, "{}", page.html.len());
}

#[test]
fn templates_leave_escaping_on() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/ui/templates");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "html", "{path:?} would not be escaped");
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, at) in text.lines().zip(1..) {
            let tight: String = line.chars().filter(|char| *char != ' ').collect();
            for forbidden in ["|safe", "|escape", "|e(", "<script>", "style="] {
                assert!(!tight.contains(forbidden), "{path:?}:{at}: {forbidden}");
            }
            // A value without quotes: the name of an attribute right before it.
            let parts: Vec<&str> = line.split("={{").collect();
            for before in &parts[..parts.len() - 1] {
                let name = before.rsplit([' ', '\t']).next().unwrap_or_default();
                assert!(!name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'), "{path:?}:{at}: {name}");
            }
        }
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn a_page_of_a_rig_shows_what_was_forwarded() {
    let mut rig = Rig::with("record: full");
    let delivery = Delivery::circleci("{\"type\":\"job-completed\"}").header("circleci-event-type", "job-completed");
    rig.forwards(&delivery.header("x-a", "b"));
    poll("recorded", || !Page::get(rig.gateway.admin, "/ui/").ids().is_empty());
    let list = Page::get(rig.gateway.admin, "/ui/");
    list.has("✓</span> forwarded").has("<span class=\"event\">job-completed</span>").has(">200</td>");
    let id = list.ids()[0].to_owned();
    let detail = Page::get(rig.gateway.admin, &format!("/ui/deliveries/{id}"));
    detail.has("<th scope=\"row\">x-a</th><td>b</td>").has("  &#34;type&#34;: &#34;job-completed&#34;");
    detail.has("200, as the handler answered").has("Handler answered").lacks("<section class=\"why\"");
}
