//! Who is let in: the token, the session, the origin, the host.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use super::{PAGES, gateway};
use crate::support::api::{Call, problem};
use crate::support::http::Response;
use crate::support::page::{Page, does, form};
use crate::support::process::{GatewayProcess, Stream};
use crate::support::rig::route;

const TOKEN: &str = "the-secret-of-now";

fn with_token(admin: &str) -> crate::support::gateway::Gateway {
    gateway(&format!("token: {{ env: SECRET }}, {admin}"))
}

/// Logs in: the cookie's name and value.
#[track_caller]
fn log_in(admin: SocketAddr) -> String {
    let response = form("/ui/login", &format!("password={TOKEN}&next=%2Fui%2Froutes")).send(admin);
    assert_eq!((response.status, response.header("location")), (303, Some("/ui/routes")), "{response:?}");
    cookie(&response)
}

fn cookie(response: &Response) -> String {
    let [cookie] = response.all("set-cookie")[..] else { panic!("{response:?}") };
    cookie.split(';').next().unwrap().to_owned()
}

fn with(call: Call, cookie: &str) -> Call {
    call.line(&format!("Cookie: {cookie}"))
}

#[test]
fn without_a_session_every_page_is_the_login_and_tells_nothing() {
    let gateway = with_token("");
    for path in PAGES.into_iter().chain(["/ui", "/ui/nothing", "/ui/rows"]) {
        let page = Page::get(gateway.admin, path);
        assert_eq!(page.status, 401, "{path}");
        page.has("<label for=\"password\">").has("type=\"password\" id=\"password\" name=\"password\"");
        page.lacks("hook<").lacks("<nav").lacks(TOKEN);
        assert_eq!(page.response.header("www-authenticate"), Some("Bearer"));
    }
    Page::get(gateway.admin, "/ui/deliveries?q=a%22b").has("name=\"next\" value=\"/ui/deliveries?q=a%22b\"");
    assert_eq!(Page::get(gateway.admin, "/ui/login").status, 200);
    // The login needs them, and they tell nothing.
    let style = Page::get(gateway.admin, "/ui/login").after("<script src=\"", "\"").to_owned();
    assert_eq!(Call::get(&style).send(gateway.admin).status, 200);
    assert_eq!(form("/ui/routes/hook/pause", "").send(gateway.admin).status, 401);
    assert_eq!(problem(&Call::get("/api/v1/status").send(gateway.admin)).0, 401);
}

#[test]
fn a_login_opens_a_session_that_pages_and_api_take_until_the_log_out() {
    let gateway = with_token("");
    let admin = gateway.admin;
    let port = admin.port();
    let response = form("/ui/login", &format!("password={TOKEN}")).host(Some(&admin.to_string())).send(admin);
    assert_eq!((response.status, response.header("location")), (303, Some("/ui/")));
    let [line] = response.all("set-cookie")[..] else { panic!("{response:?}") };
    let (pair, flags) = line.split_once("; ").unwrap();
    assert_eq!(flags, "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
    let value = pair.strip_prefix(&format!("hooklatch_session_{port}=")).unwrap();
    assert!(value.len() == 64 && !line.contains(TOKEN), "{line}");
    let own = |call: Call| with(call.host(Some(&admin.to_string())), pair);
    for path in PAGES {
        let page = Page::of(own(Call::get(path)).send(admin));
        assert_ne!(page.status, 401, "{path}");
        page.has(if path.ends_with("000000") { "Not found" } else { "Log out" }).lacks(TOKEN).lacks(value);
    }
    assert_eq!(own(Call::get("/api/v1/status")).send(admin).status, 200);
    assert_eq!(own(Call::get("/config")).send(admin).status, 200);
    let pause = || own(form("/ui/routes/hook/pause", ""));
    assert_eq!(pause().send(admin).status, 409, "a proxy route has nothing to pause");

    let out = own(form("/ui/logout", "")).send(admin);
    assert_eq!((out.status, out.header("location")), (303, Some("/ui/login")));
    assert_eq!(
        out.all("set-cookie"),
        [format!("hooklatch_session_{port}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")]
    );
    assert_eq!(own(Call::get("/ui/")).send(admin).status, 401);
    assert_eq!(own(Call::get("/api/v1/status")).send(admin).status, 401);
    assert_eq!(pause().send(admin).status, 401);
}

#[test]
fn a_session_alone_does_not_show_that_a_change_comes_from_the_page() {
    let gateway = with_token("");
    let admin = gateway.admin;
    let cookie = log_in(admin);
    let pause = "/api/v1/routes/none/pause";
    let unknown = (404, "unknown_route".to_owned());
    let cross = (403, "cross_origin".to_owned());
    let call = || with(Call::post(pause, &json!({})), &cookie);
    assert_eq!(problem(&call().send(admin)), cross, "a browser would say where from");
    assert_eq!(problem(&call().line("Sec-Fetch-Site: same-origin").send(admin)), unknown);
    assert_eq!(problem(&call().line("Origin: http://localhost").send(admin)), unknown);
    for line in
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example", "Origin: null"]
    {
        assert_eq!(problem(&call().line(line).send(admin)), cross, "{line}");
    }
    // The token itself is known to no page of another site.
    assert_eq!(problem(&Call::post(pause, &json!({})).token(TOKEN).send(admin)), unknown);
    for other in ["hooklatch_session_1=x", "hooklatch_session_=", &cookie.replace('=', "=0")] {
        assert_eq!(with(Call::get("/ui/"), other).send(admin).status, 401, "{other}");
    }
}

#[test]
fn a_wrong_password_opens_nothing_and_few_are_tried_a_second() {
    let gateway = with_token("");
    let admin = gateway.admin;
    let mut statuses = Vec::new();
    for at in 0..8 {
        let page = Page::of(form("/ui/login", &format!("password=wrong-{at}&next=%2F%2Fevil.example")).send(admin));
        assert!(page.response.all("set-cookie").is_empty());
        page.has("name=\"next\" value=\"/ui/\"").lacks("wrong-");
        statuses.push(page.status);
    }
    assert!(statuses.starts_with(&[401; 5]), "{statuses:?}");
    // On a machine that stalls, a second may pass between two of them.
    assert!(statuses.contains(&429) || statuses == [401; 8], "{statuses:?}");
    crate::support::process::poll("another second", || {
        form("/ui/login", &format!("password={TOKEN}")).send(admin).status == 303
    });
    for fields in ["password=a&password=b", "user=a", "\u{0}=%zz"] {
        assert_eq!(Page::of(form("/ui/login", fields).send(admin)).status, 400, "{fields}");
    }
    let foreign = Call::of("POST", "/ui/login").line("Origin: http://evil.example").body(b"password=x");
    assert_eq!(Page::of(foreign.send(admin)).status, 403);
}

#[test]
fn a_change_on_the_page_comes_from_the_page() {
    let gateway = gateway("");
    let admin = gateway.admin;
    let own = format!("http://{admin}");
    let post = || {
        let call = Call::of("POST", "/ui/routes/hook/capture").host(Some(&admin.to_string()));
        call.line("Content-Type: application/x-www-form-urlencoded")
    };
    for lines in [
        &[][..],
        &["Sec-Fetch-Site: cross-site", &format!("Origin: {own}")],
        &["Sec-Fetch-Site: none"],
        &["Origin: null"],
        &["Origin: http://evil.example"],
    ] {
        let call = lines.iter().fold(post(), |call, line| call.line(line));
        let page = Page::of(call.send(admin));
        assert_eq!(page.status, 403, "{lines:?}");
        page.has("cross_origin").lacks("/ui/dead");
    }
    // Over plain HTTP, on an address that is not this machine, browsers send no Sec-Fetch-Site. They send the origin only if the
    // page lets them.
    assert_eq!(post().line(&format!("Origin: {own}")).send(admin).status, 303);
    Page::get(admin, "/ui/").has("<meta name=\"referrer\" content=\"same-origin\">");
    assert_eq!(does(admin, "/ui/routes/hook/capture", "").0, "/ui/routes/hook");
}

#[test]
fn another_site_may_lead_to_a_page_and_not_use_it() {
    let gateway = gateway("");
    let get = |mode: &str, destination: &str| {
        let call = Call::get("/ui/deliveries?q=body%3Ax").line("Sec-Fetch-Site: cross-site");
        let call = call.line(&format!("Sec-Fetch-Mode: {mode}")).line(&format!("Sec-Fetch-Dest: {destination}"));
        Page::of(call.send(gateway.admin))
    };
    assert_eq!(get("navigate", "document").status, 200);
    let others = [("no-cors", "image"), ("cors", "empty"), ("websocket", "websocket"), ("navigate", "iframe")];
    for (mode, destination) in others {
        assert_eq!(get(mode, destination).status, 403, "{mode} {destination}");
    }
}

#[test]
fn an_unknown_host_gets_a_page_that_says_what_to_do() {
    let gateway = gateway("hosts: [gateway.internal:9797]");
    for path in ["/", "/ui/", "/ui/login", "/ui/assets/x/app.js"] {
        let page = Page::of(Call::get(path).host(Some("evil.example")).send(gateway.admin));
        assert_eq!(page.status, 421, "{path}");
        page.has("admin.hosts").lacks("/ui/dead").lacks("hook<");
    }
    let known = Call::get("/ui/").host(Some("gateway.internal:9797"));
    assert_eq!(Page::of(known.send(gateway.admin)).status, 200);
}

#[test]
fn read_only_has_no_buttons_and_refuses_what_they_would_do() {
    let gateway = gateway("read_only: true");
    let id =
        super::refused(&gateway, &crate::support::sender::Delivery::circleci("{}").body("[]"), "signature_mismatch");
    for path in
        PAGES.into_iter().chain([format!("/ui/deliveries/{id}").as_str(), &format!("/ui/deliveries/{id}/erase")])
    {
        let page = Page::get(gateway.admin, path);
        page.lacks("method=\"post\"");
        if !path.contains("000000") {
            page.has("read only</small>");
        }
    }
    for path in ["/ui/routes/hook/capture", &format!("/ui/deliveries/{id}/erase"), "/ui/replays"] {
        let page = Page::of(form(path, "").send(gateway.admin));
        assert_eq!(page.status, 403, "{path}");
        page.has("Nothing can be changed").has("read_only");
    }
    Page::get(gateway.admin, &format!("/ui/deliveries/{id}?explain=true")).has("<section class=\"why\"");
}

#[test]
fn a_login_works_where_nothing_can_be_changed() {
    let gateway = with_token("read_only: true");
    let cookie = log_in(gateway.admin);
    assert_eq!(with(Call::get("/ui/"), &cookie).send(gateway.admin).status, 200);
    assert_eq!(with(form("/ui/routes/hook/capture", ""), &cookie).send(gateway.admin).status, 403);
    assert_eq!(with(form("/ui/logout", ""), &cookie).send(gateway.admin).status, 303);
    assert_eq!(with(Call::get("/ui/"), &cookie).send(gateway.admin).status, 401);
}

#[test]
fn the_log_has_a_line_for_each_login_and_each_change_and_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("secret", "a-secret-of-the-tests");
    write("token", "a-token-of-the-tests");
    let routes = route("circleci", "secrets: [{ file: secret }], upstream: \"http://127.0.0.1:1\"");
    let admin = "admin: { listen: 127.0.0.1:0, token: { file: token } }";
    write("gateway.yaml", &format!("server: {{ listen: 127.0.0.1:0 }}\n{admin}\nroutes:\n{routes}"));
    let mut gateway = GatewayProcess::start(Path::new(&folder.path().join("gateway.yaml")));
    let post = |path: &str, fields: &str| form(path, fields).send(gateway.admin);
    assert_eq!(post("/ui/login", "password=a-wrong-password").status, 401);
    let opened = post("/ui/login", "password=a-token-of-the-tests");
    let cookie = cookie(&opened);
    assert_eq!(with(form("/ui/routes/hook/capture", ""), &cookie).send(gateway.admin).status, 303);
    gateway.process.terminate();
    let log = gateway.process.printed(Stream::Stderr).join("\n");
    for line in [
        "a login with a wrong password",
        "a login\"",
        "a change was asked for",
        "/ui/routes/hook/capture",
        "127.0.0.1:",
    ] {
        assert!(log.contains(line), "no {line} in {log}");
    }
    let value = cookie.split('=').nth(1).unwrap();
    for secret in ["a-wrong-password", "a-token-of-the-tests", value] {
        assert!(!log.contains(secret), "{log}");
    }
}
