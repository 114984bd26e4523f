//! Several gateways on one PostgreSQL: what one has accepted is delivered though it dies, and all act as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::docs::markdown::Document;
use crate::support::api::{self, Call};
use crate::support::bookkeeper::Bookkeeper;
use crate::support::gateway::Metrics;
use crate::support::http::{Connection, Response};
use crate::support::postgres::Server;
use crate::support::process::{BINARY, Process, Stream, poll};

use gateways::Gateways;

/// Circuits, which gateways share.
mod circuits;
/// A database that is gone for a while, or is another one from now on.
mod faults;
/// The processes.
mod gateways;
/// What the tests stand on.
mod servers;
/// All faults in turn under load; then the accounts.
mod soak;
/// Whether the database is the one that is meant.
mod tls;

const SECRET: &str = "a-secret-of-the-test";

/// What a later version could do to the tables. Each statement is a transaction, so that it waits for no other.
const CHANGES: [&str; 3] = [
    "ALTER TABLE hooklatch.queue ADD COLUMN IF NOT EXISTS later integer",
    "ALTER TABLE hooklatch.deliveries ADD COLUMN IF NOT EXISTS later text",
    "CREATE TABLE IF NOT EXISTS hooklatch.later (number integer)",
];

/// Gateways that share a database, and the handler behind all of them.
struct Cluster {
    gateways: Gateways,
    handler: Bookkeeper,
}

impl Cluster {
    /// Gateways of these names on a database of the shared server, with further flow-style keys of the only route, `hook`;
    /// `None` if the test is to be passed over.
    fn start(names: &[&'static str], keys: &str) -> Option<Self> {
        let mut cluster = Self::new(&[Server::shared()?], names, keys);
        for at in 0..names.len() {
            cluster.gateways.serve(at);
        }
        Some(cluster)
    }

    /// Gateways that do not run yet. The first server is the primary.
    fn new(servers: &[&Server], names: &[&'static str], keys: &str) -> Self {
        let handler = Bookkeeper::start();
        Self { gateways: Gateways::new(servers, names, handler.address, keys), handler }
    }

    /// Has the leases of a gateway that is gone end now.
    fn end_leases(&self, at: usize) {
        end_leases(Server::shared().unwrap(), &self.gateways, at);
    }

    fn admin(&self, at: usize) -> SocketAddr {
        self.gateways.admin(at)
    }

    /// Sends a delivery with this number to a gateway.
    fn send(&self, at: usize, number: u32) -> Response {
        self.gateways.sending(at, &body(number)).receive()
    }

    /// The same, which must be accepted as a new one.
    #[track_caller]
    fn accepts(&self, at: usize, number: u32) {
        let response = self.send(at, number);
        assert_eq!((response.status, response.header("hooklatch-duplicate")), (200, None), "{response:?}");
    }

    /// How often the handler has got each number.
    fn handled(&self) -> BTreeMap<u32, usize> {
        let mut handled = BTreeMap::new();
        for entry in self.handler.entries() {
            let body: Value = serde_json::from_slice(&entry.body).unwrap();
            *handled.entry(u32::try_from(body["id"].as_u64().unwrap()).unwrap()).or_default() += 1;
        }
        handled
    }

    /// Waits until the handler has got each of these once, and nothing else.
    #[track_caller]
    fn delivers(&self, numbers: impl IntoIterator<Item = u32>) {
        let expected: BTreeMap<u32, usize> = numbers.into_iter().map(|number| (number, 1)).collect();
        poll("all are delivered", || self.handled().len() >= expected.len());
        assert_eq!(self.handled(), expected);
    }

    /// The value of a series of the route, at one gateway.
    #[track_caller]
    fn metric(&self, at: usize, name: &str, label: &[(&str, &str)]) -> f64 {
        Metrics::scrape(self.admin(at)).get(name, &[&[("route", "hook")], label].concat())
    }

    /// Waits until no delivery waits, as this gateway sees it.
    #[track_caller]
    fn settles(&self, at: usize) {
        let waiting = |state| self.metric(at, "hooklatch_queue_deliveries", &[("state", state)]);
        poll("nothing waits", || waiting("pending") + waiting("retrying") == 0.0);
    }

    /// The summaries of all deliveries, as one gateway lists them.
    #[track_caller]
    fn list(&self, at: usize) -> Vec<Value> {
        api::json(self.admin(at), "/api/v1/deliveries?limit=500")["deliveries"].as_array().unwrap().clone()
    }

    /// What one gateway says of the route.
    #[track_caller]
    fn route(&self, at: usize) -> Value {
        api::json(self.admin(at), "/api/v1/routes/hook")
    }

    /// Asks one gateway to act, which it must do.
    #[track_caller]
    fn act(&self, at: usize, target: &str) -> Response {
        let response = Call::post(target, &json!({})).send(self.admin(at));
        assert!((200..300).contains(&response.status), "{response:?}");
        response
    }

    /// The exit status of a gateway that must not serve, and what it says.
    #[track_caller]
    fn does_not_serve(&self, at: usize) -> (Option<i32>, String) {
        let mut command = Command::new(BINARY);
        let mut process = Process::start("the gateway", command.arg("serve").arg("-c").arg(self.gateways.file(at)), "");
        let status = process.wait();
        (status.code(), process.printed(Stream::Stderr).join("\n"))
    }
}

fn body(number: u32) -> Vec<u8> {
    format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(2_000)).into_bytes()
}

/// Has the leases of a gateway that is gone end now.
fn end_leases(server: &Server, gateways: &Gateways, at: usize) {
    let name = gateways.all[at].name;
    let end =
        format!("UPDATE hooklatch.sessions SET lease_until = now() - interval '1 second' WHERE gateway = '{name}'");
    server.ask(&gateways.database, &end);
}

#[test]
fn what_a_killed_gateway_has_accepted_is_delivered_by_another() {
    let Some(mut cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.handler.hold();
    for number in 0..20 {
        cluster.accepts(0, number);
    }
    poll("the first attempts them", || !cluster.handled().is_empty());
    cluster.gateways.kill(0);
    cluster.handler.release();
    cluster.end_leases(0);
    poll("the second delivers all", || cluster.handled().len() == 20);
    cluster.settles(1);
    // What was attempted as the first died is attempted again, and nothing else.
    assert!(cluster.handled().values().all(|times| *times <= 2), "{:?}", cluster.handled());
}

#[test]
fn a_gateway_that_stops_in_order_leaves_at_once_what_it_has_not_attempted() {
    let Some(mut cluster) = Cluster::start(&["a", "b"], "max_concurrent: 1") else { return };
    cluster.handler.hold();
    for number in 0..20 {
        cluster.accepts(0, number);
    }
    let mut process = cluster.gateways.take(0).process;
    process.signal("TERM");
    cluster.handler.release();
    assert_eq!(process.wait().code(), Some(0));
    cluster.delivers(0..20);
}

#[test]
fn gateways_share_the_work_and_attempt_nothing_twice() {
    let Some(cluster) = Cluster::start(&["a", "b", "c"], "max_concurrent: 4, paused: true") else { return };
    for number in 0..300 {
        cluster.accepts(number as usize % 3, number);
    }
    assert!(cluster.handled().is_empty());
    cluster.handler.hold();
    cluster.act(0, "/api/v1/routes/hook/resume");
    // Four of each.
    poll("all attempt some", || cluster.handled().len() == 12);
    cluster.handler.release();
    cluster.delivers(0..300);
    cluster.settles(0);
    let delivered = |at| cluster.metric(at, "hooklatch_queue_delivered_total", &[]);
    let each: Vec<f64> = (0..3).map(delivered).collect();
    assert!(each.iter().sum::<f64>() == 300.0 && each.iter().all(|count| *count >= 4.0), "{each:?}");
}

#[test]
fn a_delivery_that_one_gateway_has_is_a_duplicate_at_the_other() {
    let Some(cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.accepts(0, 1);
    let again = cluster.send(1, 1);
    assert_eq!((again.status, again.header("hooklatch-duplicate")), (200, Some("true")), "{again:?}");
    cluster.delivers([1]);
    // Both at once: the later one is the duplicate.
    for number in 2..22 {
        let mut sent: Vec<Connection> = (0..2).map(|at| cluster.gateways.sending(at, &body(number))).collect();
        let answers: Vec<Response> = sent.iter_mut().map(Connection::receive).collect();
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let duplicates = answers.iter().filter(|answer| answer.header("hooklatch-duplicate").is_some()).count();
        assert_eq!(duplicates, 1, "{answers:?}");
    }
    cluster.delivers(1..22);
}

#[test]
fn a_pause_at_one_gateway_holds_at_all_and_lasts_over_a_restart() {
    let Some(mut cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.act(0, "/api/v1/routes/hook/pause");
    poll("the other has heard of it", || cluster.route(1)["paused"] == true);
    cluster.accepts(1, 1);
    cluster.gateways.kill(1);
    cluster.end_leases(1);
    cluster.gateways.serve(1);
    assert_eq!(cluster.route(1)["paused"], true);
    cluster.accepts(1, 2);
    assert!(cluster.handled().is_empty());
    cluster.act(1, "/api/v1/routes/hook/resume");
    poll("the first has heard of it", || cluster.route(0)["paused"] == false);
    cluster.delivers([1, 2]);
}

#[test]
fn any_gateway_shows_and_replays_what_another_has_taken() {
    let Some(cluster) = Cluster::start(&["a", "b"], "record: full") else { return };
    cluster.accepts(0, 1);
    cluster.accepts(1, 2);
    cluster.delivers([1, 2]);
    for at in 0..2 {
        poll("both are delivered, as each sees it", || {
            let list = cluster.list(at);
            list.len() == 2 && list.iter().all(|delivery| delivery["state"] == "delivered")
        });
    }
    let list = cluster.list(1);
    assert_eq!(list, cluster.list(0));
    let of = |event: &str| list.iter().find(|delivery| delivery["event_id"] == event).unwrap();
    assert_eq!((&of("1")["gateway"], &of("2")["gateway"]), (&json!("a"), &json!("b")));

    let id = of("1")["id"].as_str().unwrap();
    let replayed = cluster.act(1, &format!("/api/v1/deliveries/{id}/replay"));
    assert_eq!((replayed.status, replayed.json()), (202, json!({ "attempt": 2 })));
    poll("it is replayed", || cluster.handled()[&1] == 2);
    let entries = cluster.handler.entries();
    let replay = entries.last().unwrap();
    assert_eq!((replay.header("hooklatch-attempt"), replay.header("hooklatch-replay")), (Some("2"), Some("true")));
    poll("either shows the attempts and who made them", || {
        let attempts = |at| api::json(cluster.admin(at), &format!("/api/v1/deliveries/{id}"))["attempts"].clone();
        let (first, second) = (attempts(0), attempts(1));
        let by: Vec<&Value> = first.as_array().unwrap().iter().map(|attempt| &attempt["gateway"]).collect();
        first == second && by.len() == 2 && by.iter().all(|name| **name == "a" || **name == "b")
    });
}

#[test]
fn a_gateway_whose_name_is_not_configured_has_that_of_the_host() {
    let Some(server) = Server::shared() else { return };
    let mut cluster = Cluster::new(&[server], &["a"], "");
    cluster.gateways.configure(0, "");
    cluster.gateways.serve(0);
    cluster.accepts(0, 1);
    let host = Command::new("uname").arg("-n").output().unwrap().stdout;
    assert_eq!(cluster.list(0)[0]["gateway"], String::from_utf8(host).unwrap().trim());
}

#[test]
fn the_role_and_the_database_that_the_page_makes_are_all_that_a_gateway_needs() {
    let Some(server) = Server::shared() else { return };
    let page = Document::read("docs/cluster.md");
    let blocks = page.blocks(&["sql"]);
    assert_eq!(blocks.len(), 1);
    // The superuser of the tests has the name that the page gives to the role.
    let name = "made_by_the_page";
    for statement in blocks[0].text.split_inclusive(";\n") {
        server.ask("postgres", &statement.replace("hooklatch", name).replace('…', "x"));
    }
    let mut cluster = Cluster::new(&[server], &["a"], "");
    let url = server.url(name).replace("hooklatch@", &format!("{name}:x@"));
    cluster.gateways.connect(0, &url);
    cluster.gateways.serve(0);
    cluster.accepts(0, 1);
    cluster.delivers([1]);
}
