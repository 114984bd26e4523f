//! The pictures of the pages in the documentation.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::site::Site;
use crate::support::api;
use crate::support::process::poll;
use crate::support::sender::Delivery;
use crate::support::upstream::{Nobody, Upstream};

/// The largest file, in bytes.
const MAX_BYTES: usize = 150_000;

/// `UPDATE_DOCS=1 cargo test --test it pictures_of_the_pages` takes them anew.
#[test]
fn pictures_of_the_pages_are_small_and_can_be_taken_anew() {
    let (handler, nobody) = (Upstream::bind(), Nobody::bind());
    handler.answer_by(|_| "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\naccepted\n");
    let site = Site::with_routes("", "STORE", |_| {
        let up = handler.address;
        format!(
            "  - {{ name: circleci, path: /webhooks/circleci, scheme: circleci, secrets: [{{ env: SECRET, id: new }}, {{ env: OLD_SECRET, id: old }}], record: full, upstream: \"http://{up}/\" }}\n  \
               - {{ name: civo, path: /webhooks/civo, scheme: civo, secrets: [{{ env: SECRET }}], record: full, delivery: queue, upstream: \"http://{up}/\" }}\n  \
               - {{ name: icr, path: /webhooks/icr, scheme: icr, secrets: [{{ env: SECRET }}], record: full, delivery: queue, retry: {{ max_attempts: 1 }}, upstream: \"http://{}/\" }}\n",
            nobody.address
        )
    });
    let Some(site) = site else { return };
    let event = |number: u32, status: &str| {
        json!({
            "type": "workflow-completed",
            "id": format!("3888f21b-eaa7-38e3-8f3d-{number:012}"),
            "happened_at": "2026-11-28T09:00:00.123Z",
            "workflow": { "name": "build-and-test", "status": status },
            "project": { "slug": "github/acme/shop" },
        })
    };
    let circleci = |body: &Value| {
        Delivery::circleci(body.to_string())
            .target("/webhooks/circleci")
            .header("Content-Type", "application/json")
            .header("circleci-event-type", "workflow-completed")
    };
    let civo = |name: &str| {
        Delivery::civo(json!({ "event": "instance.created", "payload": { "hostname": name } }).to_string())
            .target("/webhooks/civo")
    };
    site.record(&circleci(&event(1, "success")));
    site.record(&civo("web-1"));
    site.record(&Delivery::icr(r#"{"event":"repository.push","id":"evt_41"}"#).target("/webhooks/icr"));
    site.record(&Delivery::unsigned("{}").target("/webhooks/civo"));
    site.record(&circleci(&event(2, "failed")));
    site.record(&civo("web-2"));
    let changed = event(3, "success");
    let refused = site.record(&circleci(&changed).body(format!("{changed:#}")));
    site.record(&circleci(&event(4, "success")));
    poll("one is dead", || api::json(site.gateway.admin, "/api/v1/routes/icr")["queue"]["dead"] == 1);
    poll("two are delivered", || api::json(site.gateway.admin, "/api/v1/routes/civo")["queue"]["delivered"] == 2);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    site.browser.prefer(&[("prefers-color-scheme", "light")]);
    for (name, path, height) in [
        ("deliveries", "/ui/".to_owned(), 560),
        ("delivery", format!("/ui/deliveries/{refused}"), 900),
        ("routes", "/ui/routes".to_owned(), 420),
        ("route", "/ui/routes/circleci".to_owned(), 900),
        ("dead", "/ui/dead".to_owned(), 420),
    ] {
        site.browser.resize(1100, height, 1);
        site.open(&path);
        let picture = site.browser.picture();
        assert!(picture.len() < MAX_BYTES, "{name}: {}", picture.len());
        let file = folder.join(format!("page-{name}.png"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, picture).unwrap();
        }
        assert!(fs::metadata(&file).unwrap().len() < MAX_BYTES as u64);
    }
    site.is_content();
}
