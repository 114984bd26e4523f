//! A gateway whose page a browser shows, and the handler behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::driver::Browser;
use crate::support::api;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Connection, Response};
use crate::support::process::poll;
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::{Nobody, Upstream};

/// The Escape key.
pub const ESCAPE: &str = "\u{e00c}";
/// The Enter key.
pub const ENTER: &str = "\u{e007}";
/// The Tab key.
pub const TAB: &str = "\u{e004}";

/// In the order in which they end.
pub struct Site {
    pub browser: Browser,
    pub gateway: Gateway,
    _upstream: Upstream,
    _nobody: Nobody,
    _store: TempDir,
}

/// Deliveries of a site that has some of every kind.
pub struct Ids {
    pub forwarded: String,
    pub mismatch: String,
    pub unsigned: String,
    pub dead: String,
}

impl Site {
    /// With a route called `hook` for CircleCI's scheme of which everything is recorded, in memory, and a handler that takes all.
    /// `None` if the test is to be passed over.
    pub fn start() -> Option<Self> {
        Self::of("", "", "record: full")
    }

    /// The same with flow-style keys of the admin listener, further sections, and keys of the route.
    pub fn of(admin: &str, sections: &str, keys: &str) -> Option<Self> {
        Self::with_routes(admin, sections, |upstream| {
            route("circleci", &format!("upstream: \"http://{upstream}/in\", {keys}"))
        })
    }

    /// The same with routes of the test's own.
    pub fn with_routes(admin: &str, sections: &str, routes: impl FnOnce(SocketAddr) -> String) -> Option<Self> {
        Self::with_names(&[], admin, sections, routes)
    }

    /// With a store, routes of each kind, and deliveries of each kind on them.
    pub fn full(admin: &str) -> Option<(Self, Ids)> {
        let site = Self::with_routes(admin, "STORE", |upstream| {
            let keys = "scheme: circleci, secrets: [{ env: SECRET }, { env: OLD_SECRET }]";
            [
                format!("name: hook, path: /hook, record: full, upstream: \"http://{upstream}/in\""),
                "name: dead, path: /dead, delivery: queue, retry: { max_attempts: 1 }, upstream: \"http://NOBODY/\""
                    .to_owned(),
                "name: waiting, path: /waiting, delivery: queue, paused: true, upstream: \"http://NOBODY/\"".to_owned(),
                format!("name: quiet, path: /quiet, record: none, upstream: \"http://{upstream}/\""),
                format!("name: short, path: /short, record: metadata, upstream: \"http://{upstream}/\""),
                "name: broken, path: /broken, record: full, upstream: \"http://NOBODY/\"".to_owned(),
            ]
            .map(|route| format!("  - {{ {route}, {keys} }}\n"))
            .concat()
        })?;
        let event = |number: u32| {
            let id = format!("3a0f8c1e-0000-4000-8000-{number:012}");
            json!({ "type": "workflow-completed", "id": id, "workflow": { "name": "build", "number": number } })
        };
        let signed =
            |number| Delivery::circleci(event(number).to_string()).header("circleci-event-type", "workflow-completed");
        // As a proxy writes it that parses JSON.
        let indented = |number| format!("{:#}", event(number));
        let ids = Ids {
            dead: site.record(&signed(1).target("/dead")),
            unsigned: site.record(&Delivery::unsigned("{}")),
            mismatch: site.record(&signed(3).body(indented(3))),
            forwarded: site.record(&signed(4)),
        };
        site.record(&signed(2).target("/waiting"));
        site.record(&signed(5).target("/short"));
        site.record(&signed(6).target("/broken"));
        site.record(&signed(7).target("/elsewhere"));
        site.send(&signed(8).target("/quiet"));
        let target = format!("/api/v1/deliveries/{}", ids.dead);
        poll("it is dead", || api::json(site.gateway.admin, &target)["state"] == "dead");
        Some((site, ids))
    }

    /// The same, and the browser takes these names for the gateway's address: a name with a port for its port as well.
    pub fn with_names(
        names: &[&str],
        admin: &str,
        sections: &str,
        routes: impl FnOnce(SocketAddr) -> String,
    ) -> Option<Self> {
        let (upstream, nobody, store) = (Upstream::bind(), Nobody::bind(), tempfile::tempdir().unwrap());
        upstream.answer_always();
        let path = store.path().join("store");
        let sections = sections.replace("STORE", &format!("store: {{ path: {path:?}, min_free: 0MiB }}\n"));
        let routes = routes(upstream.address).replace("NOBODY", &nobody.address.to_string());
        let gateway = Gateway::start_admin(admin, &sections, &routes);
        let (ip, port) = (gateway.admin.ip(), gateway.admin.port());
        let rules: Vec<String> = names
            .iter()
            .map(|name| if name.contains(':') { format!("MAP {name} {ip}:{port}") } else { format!("MAP {name} {ip}") })
            .collect();
        let browser = Browser::start(&[&format!("--host-resolver-rules={}", rules.join(", "))])?;
        Some(Self { browser, gateway, _upstream: upstream, _nobody: nobody, _store: store })
    }

    /// The address of a page.
    pub fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin)
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, path: &str) {
        self.browser.open(&self.address(path));
    }

    /// Sends a delivery on a connection of its own, and waits until it is recorded: its id.
    #[track_caller]
    pub fn record(&self, delivery: &Delivery) -> String {
        let response = self.send(delivery);
        let id = response.header("x-request-id").unwrap().to_owned();
        let target = format!("/api/v1/deliveries?request_id={id}");
        self.recorded(&target)
    }

    /// Waits until the list at a target of the API has a delivery: its id.
    #[track_caller]
    pub fn recorded(&self, target: &str) -> String {
        let mut found = Value::Null;
        poll("it is recorded", || {
            let list = api::json(self.gateway.admin, target);
            found = list["deliveries"][0]["id"].clone();
            found.is_string()
        });
        found.as_str().unwrap().to_owned()
    }

    /// Sends a delivery on a connection of its own and reads the answer.
    pub fn send(&self, delivery: &Delivery) -> Response {
        http::send(self.gateway.server, &delivery.bytes())
    }

    /// Sends so many deliveries, one after the other on one connection.
    pub fn send_many(&self, count: usize, delivery: impl Fn(usize) -> Delivery) {
        let mut sender = Connection::open(self.gateway.server);
        for number in 0..count {
            sender.write(&delivery(number).bytes());
            sender.receive();
        }
    }

    /// That pages have complained of nothing, neither scripts nor the policy that bounds them, have asked nothing in a dialog,
    /// and that this one has asked no other host for anything.
    #[track_caller]
    pub fn is_content(&self) {
        assert_eq!(self.browser.console(), [""; 0], "{}", self.browser.address());
        assert_eq!(self.browser.alert(), None);
        let others = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => new URL(name).origin !== location.origin)";
        assert_eq!(self.browser.value(others), json!([]));
    }
}

/// A server of another origin, which answers every request with this page.
pub fn elsewhere(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let page = page.clone();
            // A browser opens connections on which it sends nothing.
            thread::spawn(move || {
                let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                head.for_each(drop);
                let length = page.len();
                let lines = format!("Content-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // A browser that has gone wants no page.
                let _ = (&stream).write_all(format!("HTTP/1.1 200 OK\r\n{lines}{page}").as_bytes());
            });
        }
    });
    address
}
