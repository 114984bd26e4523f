//! Routes, what to enter at a provider, the gateway itself.

use std::fs;
use std::process::Command;

use hooklatch::schemes;
use hooklatch::schemes::spec::SecretFrom;

use super::{gateway, refused};
use crate::support::gateway::Gateway;
use crate::support::page::Page;
use crate::support::process::{BINARY, GatewayProcess, poll};
use crate::support::queued::Queued;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

#[test]
fn a_route_waits_for_its_first_delivery_and_then_says_what_became_of_it() {
    let gateway = gateway("");
    let page = || Page::get(gateway.admin, "/ui/routes/hook");
    let before = page();
    before.has("waiting for the first delivery…").has("data-poll=\"1\"");
    before.has("<code>https://YOUR-HOST/hook</code>").has("hooklatch send hook -c gateway.yaml");
    before.has("<dt>Signature in</dt><dd>circleci-signature</dd>").has("<dt>Algorithm</dt><dd>HMAC-SHA256</dd>");
    before.has("Set up CircleCI").has("circleci.com").has("–</span> quiet for an hour");
    let id = refused(&gateway, &Delivery::circleci("{}").body("[]"), "signature_mismatch");
    let after = page();
    after.has("the last delivery was refused").has(&format!("<a href=\"/ui/deliveries/{id}\">signature_mismatch</a>"));
    after.lacks("waiting for the first").has("✗</span> mostly refused").has("Last hour (1)");
    assert_eq!(after.ids(), [id.as_str()]);
}

#[test]
fn a_route_shows_its_traffic_and_its_secrets() {
    let keys = "record: full, secrets: [{ env: SECRET, id: \"2026-12\" }, { env: OLD_SECRET, id: \"2026-06\" }]";
    let mut rig = Rig::with(keys);
    let page = |rig: &Rig| Page::get(rig.gateway.admin, "/ui/routes/hook");
    page(&rig).has("rotation not finished").has("none since the start of the gateway");
    rig.forwards(&Delivery::circleci("{}"));
    poll("counted", || page(&rig).html.contains("deliveries arrive"));
    let shown = page(&rig);
    let new = shown.after("<th scope=\"row\">2026-12</th>", "</tr>");
    assert!(new.contains("<time datetime=\"20"), "{new}");
    let old = shown.after("<th scope=\"row\">2026-06</th>", "</tr>");
    assert!(old.contains("none since the start"), "{old}");
    let took = shown.after("Half of the attempts to reach the handler ended within ", "</p>");
    assert!(took.contains(" ms (p50), 95 % within ") && took.contains(" ms (p95)"), "{took}");
    shown.has("✓</span> ok").has("Last hour (1)").has("<span class=\"bar-label\">forwarded</span>");
    shown.lacks(crate::support::gateway::SECRET).lacks(crate::support::gateway::OLD_SECRET);
    let list = Page::get(rig.gateway.admin, "/ui/routes");
    assert_eq!(list.ids(), ["hook"]);
    list.has("circleci").has("<code>/hook</code>").has("✓</span> ok").has("<span class=\"pair\">p95 ");
    let one = Rig::start();
    Page::get(one.gateway.admin, "/ui/routes/hook").lacks("rotation not finished").lacks("<button>Pause</button>");
}

/// Text as a template writes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[test]
fn every_scheme_says_what_to_enter_and_where_its_provider_says_so() {
    let specs = || schemes::names().filter_map(schemes::find).filter(|spec| spec.unsupported.is_none());
    let folder = tempfile::tempdir().unwrap();
    let mut init = Command::new(BINARY);
    init.arg("init").args(specs().map(|spec| spec.name.as_str())).current_dir(&folder);
    assert!(init.output().unwrap().status.success());
    let file = folder.path().join("gateway.yaml");
    let routes = fs::read_to_string(&file).unwrap();
    let addresses = "server: { listen: 127.0.0.1:0, threads: 1 }\nadmin: { listen: 127.0.0.1:0 }\n";
    fs::write(&file, format!("{addresses}{routes}")).unwrap();
    let gateway = GatewayProcess::start(&file);
    let mut places = 0;
    for spec in specs() {
        let page = Page::get(gateway.admin, &format!("/ui/routes/{}", spec.name));
        let signature = escaped(&spec.signature_in_words().replace('`', ""));
        page.has(&format!("<dt>Signature in</dt><dd>{signature}</dd>"));
        // `init` writes a public URL where the scheme signs it.
        let host = if routes.contains(&format!("https://hooks.example.com/webhooks/{} }}", spec.name)) {
            "hooks.example.com"
        } else {
            "YOUR-HOST"
        };
        page.has(&format!("https://{host}/webhooks/{}", spec.name));
        for document in &spec.documentation {
            page.has(&format!("<a href=\"{}\"", escaped(document)));
        }
        if let Some(place) = &spec.setup {
            page.has(&format!("<dt>Where</dt><dd>{}</dd>", escaped(place)));
            places += 1;
        }
        let secret = fs::read_to_string(folder.path().join("secrets").join(&spec.name)).unwrap();
        // The placeholder of a secret that the provider makes is in its documentation's examples.
        if spec.secret_from == SecretFrom::User {
            page.has("<dt>Secret</dt><dd>you make it, and enter it at ").lacks(secret.trim());
        }
    }
    assert!(places >= 14, "{places}");
}

#[test]
fn a_route_that_records_nothing_says_so() {
    let gateway = Gateway::start(&route("circleci", "record: none, upstream: \"http://127.0.0.1:1\""));
    let page = Page::get(gateway.admin, "/ui/routes/hook");
    page.has("none: nothing is kept of its deliveries to look at").has("Whether deliveries come cannot be shown");
    Page::get(gateway.admin, "/ui/").has("<code>record: none</code>");
}

#[test]
fn an_upstream_that_is_down_opens_the_circuit() {
    let mut queued = Queued::start("circuit: { failures: 1 }, retry: { min_backoff: 1h }");
    queued.accepts(&Delivery::circleci("{}"));
    queued.fails("503 Down");
    poll("open", || Page::get(queued.admin(), "/ui/routes").html.contains("upstream down"));
    Page::get(queued.admin(), "/ui/routes/hook").has("the upstream is down, and attempts wait").has("state%3Aretrying");
    queued.answer_always();
}

#[test]
fn the_status_shows_version_store_and_records() {
    let memory = gateway("");
    Page::get(memory.admin, "/ui/status")
        .has("memory: the newest 1,000 deliveries")
        .has("✓</span> yes")
        .has("✓</span> loaded");
    let queued = Queued::start("");
    let page = Page::get(queued.admin(), "/ui/status");
    page.has(env!("CARGO_PKG_VERSION")).has("sqlite").has("✓</span> good").has("of 10.0 GiB").has("Free on its disk");
    page.has("<dt>Dropped since the start</dt><dd>0</dd>").has("allowed");
    assert_eq!(Page::get(queued.admin(), "/ui/status?x").status, 400);
}

#[test]
fn what_is_signed_and_the_url_to_enter_are_those_of_the_route() {
    let of = |scheme: &str| {
        let gateway = Gateway::start_admin("", "", &route(scheme, "upstream: \"http://127.0.0.1:1\""));
        Page::get(gateway.admin, "/ui/routes/hook")
    };
    let twilio = of("{ name: twilio, public_url: \"https://hooks.example.com/sms\" }");
    twilio.has("<code>https://hooks.example.com/sms</code>").lacks("YOUR-HOST");
    assert!(twilio.after("<dt>What is signed</dt><dd>", "</dd>").contains("public URL"), "{twilio:?}");
    of("slack").has("<dt>What is signed</dt><dd>the signed time, the body</dd>");
    of("github").has("<dt>What is signed</dt><dd>the body</dd>");
}
