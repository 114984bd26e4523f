//! The API of the admin listener: who is let in, and what it answers.

use serde_json::json;

use crate::support::api::{Call, json, problem};
use crate::support::gateway::Gateway;
use crate::support::http::{self, Connection};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::rig::route;
use crate::support::sender::Delivery;

/// Calls that change something, and `explain`.
mod acts;

/// Secrets of deliveries that wait.
mod hidden;

/// Recorded requests for other programs.
mod exports;

/// What a delivery, a route and the gateway look like.
mod reads;

/// Deliveries as they come.
mod stream;

/// A token of the tests.
const TOKEN: &str = "the-secret-of-now";

/// A gateway whose admin listener has these further keys.
fn gateway(admin: &str) -> Gateway {
    Gateway::start_admin(admin, "", &route("circleci", "upstream: \"http://127.0.0.1:1\""))
}

fn with_token(admin: &str) -> Gateway {
    gateway(&format!("token: {{ env: SECRET }}, {admin}"))
}

/// Sends a delivery, which the handler takes; returns its id once that is stored.
fn delivered(queued: &mut Queued, delivery: &Delivery) -> String {
    queued.accepts(delivery);
    let id = queued.takes().one("hooklatch-delivery-id");
    let path = format!("/api/v1/deliveries/{id}");
    poll("delivered", || json(queued.admin(), &path)["state"] == "delivered");
    id
}

/// Paths that the host, the token and `page` decide about.
const GUARDED: [&str; 6] =
    ["/api", "/api/", "/api/v1/deliveries", "/api/v1/status", "/api/v1/openapi.json", "/api/v1/nothing"];

#[test]
fn a_host_that_is_not_the_gateways_is_refused_on_every_path() {
    let gateway = gateway("hosts: [gateway.internal:9797]");
    let own = gateway.admin.to_string();
    let port = gateway.admin.port();
    let same_port = format!("localhost:{port}");
    for host in [own.as_str(), "localhost", &same_port, "127.0.0.1:1", "[::1]", "LOCALHOST:80", "gateway.internal:9797"]
    {
        assert_eq!(Call::get("/api/v1/status").host(Some(host)).send(gateway.admin).status, 200, "{host}");
        assert_eq!(Call::get("/livez").host(Some(host)).send(gateway.admin).status, 200, "{host}");
    }
    let rebound = format!("evil.example:{port}");
    for host in [Some(rebound.as_str()), Some("gateway.internal"), Some("localhost.evil.example"), Some(""), None] {
        for path in ["/metrics", "/livez", "/readyz", "/config", "/", "/api/v1/deliveries"] {
            let refused = Call::get(path).host(host).send(gateway.admin);
            // Without a host a request of HTTP/1.1 is malformed.
            assert!(refused.status == 421 || (host.is_none() && refused.status == 400), "{host:?} {path}: {refused:?}");
        }
    }
    let both = Call::get("/api/v1/status").line("Host: evil.example").send(gateway.admin);
    assert!([400, 421].contains(&both.status), "{both:?}");
    let refused = Call::get("/api/v1/status").host(Some("evil.example")).send(gateway.admin);
    assert_eq!(problem(&refused), (421, "unknown_host".to_owned()));
    let absolute = Call::get("http://evil.example/api/v1/status").send(gateway.admin);
    assert_eq!(absolute.status, 421);
}

#[test]
fn without_the_right_token_every_path_of_the_api_is_unauthorized() {
    let gateway = with_token("");
    for path in GUARDED {
        for call in [
            Call::get(path),
            Call::get(path).token("wrong"),
            Call::get(path).token(""),
            Call::get(path).line("Authorization: Basic dGhlLXNlY3JldC1vZi1ub3c="),
            Call::get(path).token(TOKEN).token(TOKEN),
            Call::post(path, &json!({})),
            Call::of("OPTIONS", path),
            Call::get(&format!("{path}?token={TOKEN}")),
        ] {
            let refused = call.send(gateway.admin);
            assert_eq!(problem(&refused), (401, "token_required".to_owned()), "{path}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
            assert!(!format!("{refused:?}").contains(TOKEN));
        }
    }
    assert_eq!(Call::get("/config").send(gateway.admin).status, 401);
    assert_eq!(Call::get("/config").token(TOKEN).send(gateway.admin).status, 200);
    assert_eq!(Call::get("/api/v1/status").token(TOKEN).send(gateway.admin).status, 200);
    assert_eq!(Call::get("/api/v1/nothing").token(TOKEN).send(gateway.admin).status, 404);
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(Call::get(path).send(gateway.admin).status, 200, "{path}");
    }
    assert!(!gateway.debug.contains(TOKEN));
}

#[test]
fn a_change_that_a_page_of_another_site_asks_for_is_refused_whatever_it_brings() {
    let (open, closed) = (gateway(""), with_token(""));
    let path = "/api/v1/routes/none/pause";
    let own = format!("Origin: http://{}", open.admin);
    for lines in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: none"],
        &["Sec-Fetch-Site: cross-site", own.as_str()],
        &["Origin: http://evil.example"],
        &["Origin: null"],
    ] {
        let call = lines.iter().fold(Call::post(path, &json!({})), |call, line| call.line(line));
        assert_eq!(problem(&call.send(open.admin)), (403, "cross_origin".to_owned()), "{lines:?}");
        assert_eq!(problem(&call.token(TOKEN).send(closed.admin)), (403, "cross_origin".to_owned()), "{lines:?}");
    }
    // What a form can send without a word of where it comes from.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let form = Call::of("POST", path).line(&format!("Content-Type: {kind}")).body(b"{}");
        assert_eq!(problem(&form.send(open.admin)), (403, "cross_origin".to_owned()), "{kind}");
    }
    assert_eq!(problem(&Call::of("POST", path).send(open.admin)), (403, "cross_origin".to_owned()));
    assert_eq!(problem(&Call::of("DELETE", "/api/v1/replays/x").send(open.admin)), (403, "cross_origin".to_owned()));

    // These reach the call, which knows no such route.
    let unknown = (404, "unknown_route".to_owned());
    assert_eq!(problem(&Call::post(path, &json!({})).send(open.admin)), unknown);
    assert_eq!(problem(&Call::of("POST", path).line("Sec-Fetch-Site: same-origin").send(open.admin)), unknown);
    let same = Call::of("POST", path).host(Some(&open.admin.to_string())).line(&own);
    assert_eq!(problem(&same.send(open.admin)), unknown);
    assert_eq!(problem(&Call::of("POST", path).token(TOKEN).send(closed.admin)), unknown);
}

#[test]
fn reading_needs_no_word_of_a_browser_and_no_other_site_may_read() {
    let gateway = gateway("");
    for site in ["cross-site", "same-site"] {
        let line = format!("Sec-Fetch-Site: {site}");
        for path in ["/api/v1/status", "/api/v1/deliveries?q=body:x", "/api/v1/stream", "/api/v1/nothing"] {
            let refused = Call::get(path).line(&line).send(gateway.admin);
            assert_eq!(problem(&refused), (403, "cross_origin".to_owned()), "{site} {path}");
        }
        assert_eq!(Call::get("/livez").line(&line).send(gateway.admin).status, 200);
    }
    for site in ["same-origin", "none"] {
        let call = Call::get("/api/v1/status").line(&format!("Sec-Fetch-Site: {site}"));
        assert_eq!(call.send(gateway.admin).status, 200, "{site}");
    }
    let response = Call::get("/api/v1/status").line("Origin: http://evil.example").send(gateway.admin);
    assert_eq!(response.status, 200);
    assert!(response.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{response:?}");
    let preflight =
        Call::of("OPTIONS", "/api/v1/status").line("Access-Control-Request-Method: POST").send(gateway.admin);
    assert_eq!(problem(&preflight), (405, "method_not_allowed".to_owned()));
    assert!(preflight.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{preflight:?}");
}

#[test]
fn every_response_tells_a_browser_to_do_no_more_than_show_it() {
    let gateway = gateway("");
    for path in
        ["/livez", "/metrics", "/config", "/nothing", "/api/v1/status", "/api/v1/deliveries/x", "/api/v1/routes?x"]
    {
        let response = Call::get(path).send(gateway.admin);
        let policy = response.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")]
        {
            assert_eq!(response.all(name), [value], "{path}");
        }
    }
}

#[test]
fn without_a_page_there_is_no_api() {
    let gateway = gateway("page: false");
    for path in GUARDED.into_iter().chain(["/ui", "/ui/"]) {
        assert_eq!(Call::get(path).send(gateway.admin).status, 404, "{path}");
        assert_eq!(Call::post(path, &json!({})).send(gateway.admin).status, 404, "{path}");
    }
    assert_eq!(gateway.get("/config").status, 200);
    let closed = with_token("page: false");
    assert_eq!(Call::get("/api/v1/status").send(closed.admin).status, 404);
}

#[test]
fn an_unknown_run_is_called_so_and_the_description_takes_no_key() {
    let gateway = gateway("");
    for id in ["x", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        let path = format!("/api/v1/replays/{id}");
        assert_eq!(problem(&Call::get(&path).send(gateway.admin)), (404, "unknown_run".to_owned()), "{id}");
    }
    let described = Call::get("/api/v1/openapi.json?x=1").send(gateway.admin);
    assert_eq!(problem(&described), (400, "bad_query".to_owned()));
}

#[test]
fn a_listener_for_reading_refuses_every_change() {
    let gateway = gateway("read_only: true");
    let posted = |path: &str, body: &serde_json::Value| problem(&Call::post(path, body).send(gateway.admin));
    let id = "/api/v1/deliveries/01890a5d-ac96-774b-bcce-b302099a8057";
    for path in ["/api/v1/routes/hook/pause", "/api/v1/nothing", &format!("{id}/replay"), &format!("{id}/x/explain")] {
        assert_eq!(posted(path, &json!({})), (403, "read_only".to_owned()), "{path}");
    }
    // What changes nothing is not refused: to explain, and to count.
    assert_eq!(posted(&format!("{id}/explain"), &json!({})), (404, "not_found".to_owned()));
    assert_eq!(posted("/api/v1/replays", &json!({ "q": "state:dead" })), (403, "read_only".to_owned()));
    let counted = Call::post("/api/v1/replays", &json!({ "q": "state:dead", "dry_run": true })).send(gateway.admin);
    assert_eq!((counted.status, &counted.json()["matched"]), (200, &json!(0)));
    let stop = Call::of("DELETE", "/api/v1/replays/x").line("Sec-Fetch-Site: same-origin").send(gateway.admin);
    assert_eq!(problem(&stop), (403, "read_only".to_owned()));
    assert_eq!(json(gateway.admin, "/api/v1/status")["read_only"], true);
}

#[test]
fn a_long_body_is_refused_and_its_client_reads_that() {
    let gateway = gateway("");
    let path = "/api/v1/replays";
    let body = |length: usize| format!("{{\"q\":\"{}\"}}", "x".repeat(length - 8)).into_bytes();
    let call = |length| Call::post(path, &json!({})).body(&body(length));
    assert_eq!(problem(&call(64 << 10).send(gateway.admin)).0, 400, "too long for a search, but not for a body");
    for length in [(64 << 10) + 1, 1 << 20] {
        assert_eq!(problem(&call(length).send(gateway.admin)), (413, "body_too_large".to_owned()), "{length}");
    }
    // On a path that does not take a body, too.
    let get = Call::get("/api/v1/status").body(&body((64 << 10) + 1)).send(gateway.admin);
    assert_eq!(problem(&get), (413, "body_too_large".to_owned()));
    let mut chunked = Connection::open(gateway.admin);
    chunked.write(
        b"POST /api/v1/replays HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..5 {
        chunked.write(format!("4000\r\n{}\r\n", "x".repeat(0x4000)).as_bytes());
    }
    chunked.write(b"0\r\n\r\n");
    assert_eq!(problem(&chunked.receive()), (413, "body_too_large".to_owned()));
}

#[test]
fn a_path_that_there_is_not_and_a_method_that_a_path_does_not_have_are_problems() {
    let gateway = gateway("");
    for path in
        ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/status", "/api/v1/status/", "/api/v1//status", "/api/x%00"]
    {
        assert_eq!(problem(&Call::get(path).send(gateway.admin)), (404, "not_found".to_owned()), "{path}");
    }
    let refused = Call::post("/api/v1/status", &json!({})).send(gateway.admin);
    assert_eq!(problem(&refused), (405, "method_not_allowed".to_owned()));
    assert_eq!(refused.header("allow"), Some("GET,HEAD"));
}

#[test]
fn the_description_has_the_methods_of_each_path() {
    let gateway = gateway("");
    let description = json(gateway.admin, "/api/v1/openapi.json");
    assert_eq!(description["openapi"], "3.1.0");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for (path, described) in paths {
        let target = path.replace("{id}", id).replace("{name}", "hook");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if (method, path.as_str()) == ("GET", "/api/v1/stream") {
                continue;
            }
            let call = Call::of(method, &target).line("Content-Type: application/json");
            let status = call.send(gateway.admin).status;
            let has = described.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(status != 405, has, "{method} {path}: {status}");
            if has {
                let documented = described[method.to_ascii_lowercase()]["responses"].get(status.to_string()).is_some();
                assert!(documented, "{method} {path}: {status}");
            }
        }
    }
}

#[test]
fn a_reload_changes_who_is_let_in() {
    use crate::support::served::{Served, route};

    let mut served =
        Served::start(&route("hook", "[{ file: key }]", ""), &[("key", "k"), ("token", "0123456789abcdef")]);
    let address = served.gateway.admin;
    let status = |call: Call| call.send(address).status;
    assert_eq!(status(Call::get("/api/v1/status")), 200);
    let configure = |served: &mut Served, keys: &str| {
        let text = std::fs::read_to_string(served.path("gateway.yaml")).unwrap();
        let (before, after) = text.split_once("admin: {").unwrap();
        let (_, after) = after.split_once('}').unwrap();
        let after = after.trim_start_matches(|c| c != '\n');
        served.write("gateway.yaml", &format!("{before}admin: {{ listen: 127.0.0.1:0{keys} }}{after}"));
        served.reload()
    };
    configure(&mut served, ", token: { file: token }, hosts: [gateway.internal]");
    assert_eq!(status(Call::get("/api/v1/status")), 401);
    let call = Call::get("/api/v1/status").token("0123456789abcdef");
    assert_eq!(status(call.clone()), 200);
    assert_eq!(status(call.clone().host(Some("gateway.internal"))), 200);
    served.write("token", "fedcba9876543210");
    served.reload();
    assert_eq!(status(call), 401);
    assert_eq!(status(Call::get("/api/v1/status").token("fedcba9876543210")), 200);
    configure(&mut served, ", read_only: true");
    assert_eq!(status(Call::post("/api/v1/routes/hook/resume", &json!({}))), 403);
    configure(&mut served, ", page: false");
    assert_eq!(status(Call::get("/api/v1/status")), 404);
    let summary = served.admin("/config").json();
    assert_eq!(summary["admin"]["token"], serde_json::Value::Null);
}

#[test]
fn the_listener_answers_until_the_gateway_ends_and_not_longer() {
    let mut gateway = gateway("");
    let admin = gateway.admin;
    let mut kept = Connection::open(admin);
    kept.write(&http::get("/livez"));
    assert_eq!(kept.receive().status, 200);
    gateway.begin_to_stop();
    drop(gateway);
    kept.expect_end();
    poll("closed", || std::net::TcpStream::connect(admin).is_err());
}
