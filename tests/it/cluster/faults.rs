//! What gateways do when their database is gone, slow, or another one; and when their clocks are wrong.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hooklatch::clock::Clock;
use serde_json::Value;

use super::{CHANGES, Cluster};
use crate::support::http;
use crate::support::postgres::{Server, url};
use crate::support::process::{BINARY, Stream, poll};
use crate::support::rig::is_problem;
use crate::support::served::replace;
use crate::support::shim::Shim;

impl Cluster {
    /// That a delivery is refused since the database is away.
    #[track_caller]
    fn refuses(&self, at: usize, number: u32) {
        let response = self.send(at, number);
        is_problem(&response, 503, "storage_failed");
        assert_eq!(response.all("retry-after"), ["1"]);
    }

    /// Waits until a gateway says that it is ready, or that it is not.
    #[track_caller]
    fn becomes(&self, at: usize, readiness: u16) {
        poll(&format!("/readyz says {readiness}"), || self.gateways.readiness(at) == readiness);
    }
}

#[test]
fn a_gateway_that_is_cut_from_the_database_refuses_deliveries_and_comes_back_by_itself() {
    let Some(cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.accepts(0, 1);
    cluster.delivers([1]);
    cluster.settles(0);
    cluster.gateways.all[0].cut();
    cluster.refuses(0, 2);
    cluster.becomes(0, 503);
    assert_eq!(http::send(cluster.admin(0), &http::get("/readyz")).body, b"the database cannot be reached\n");
    assert_eq!(http::send(cluster.admin(0), &http::get("/livez")).status, 200);
    // The other one has its own way.
    cluster.accepts(1, 3);
    cluster.becomes(1, 200);
    cluster.gateways.all[0].restore();
    cluster.becomes(0, 200);
    cluster.accepts(0, 2);
    cluster.delivers(1..=3);
}

#[test]
fn a_database_that_does_not_answer_holds_up_no_answer_for_long() {
    let Some(cluster) = Cluster::start(&["a"], "") else { return };
    cluster.gateways.all[0].stall();
    let response = cluster.send(0, 1);
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(http::send(cluster.admin(0), &http::get("/livez")).status, 200);
    cluster.gateways.all[0].restore();
    poll("it takes deliveries again", || cluster.send(0, 2).status == 200);
    // Whether the first was stored is not known: the provider has been told to send it again.
    poll("the second is delivered", || cluster.handled().contains_key(&2));
    assert!(cluster.handled().values().all(|times| *times == 1), "{:?}", cluster.handled());
}

/// The provider's retry is then a duplicate, so the stored delivery is the only one.
#[test]
fn what_is_stored_after_its_sender_was_refused_is_delivered_though_its_first_attempt_fails() {
    let Some(primary) = Server::start() else { return };
    let standby = primary.standby();
    let keys = "retry: { schedule: [200ms] }, circuit: false";
    let mut cluster = Cluster::new(&[&primary, &standby], &["a"], keys);
    cluster.gateways.serve(0);
    cluster.handler.fail();
    // The commit waits for the standby.
    primary.replication.stall();
    let response = cluster.send(0, 1);
    assert_eq!(response.status, 503, "{response:?}");
    primary.replication.restore();
    poll("it is attempted twice", || cluster.handled().get(&1).is_some_and(|times| *times >= 2));
    cluster.handler.recover();
    let retried = cluster.send(0, 1);
    assert_eq!((retried.status, retried.header("hooklatch-duplicate")), (200, Some("true")), "{retried:?}");
    // The refusal has a record of its own, which the same request id finds.
    let states = |all: &[Value]| {
        let mut states: Vec<_> = all.iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect();
        states.sort_unstable();
        states
    };
    poll("it is delivered", || states(&cluster.list(0)) == ["delivered", "duplicate", "refused"]);
    let all = cluster.list(0);
    let of = |state: &str| all.iter().find(|one| one["state"] == state).unwrap();
    assert_eq!(of("delivered")["request_id"], of("refused")["request_id"]);
}

#[test]
fn a_route_without_a_queue_forwards_while_the_database_is_away_and_knows_repetitions_when_it_is_back() {
    let Some(server) = Server::shared() else { return };
    let mut cluster = Cluster::new(&[server], &["a"], "");
    let file = cluster.gateways.file(0);
    let yaml = fs::read_to_string(&file).unwrap();
    replace(&file, &yaml.replace("delivery: queue, ", "dedupe: { key: auto }, "));
    cluster.gateways.serve(0);
    let is_duplicate = |number| cluster.send(0, number).header("hooklatch-duplicate") == Some("true");
    cluster.accepts(0, 1);
    poll("the key is written", || is_duplicate(1));
    cluster.gateways.all[0].cut();
    cluster.becomes(0, 503);
    cluster.accepts(0, 2);
    assert!(is_duplicate(2), "what came meanwhile is known here");
    cluster.gateways.all[0].restore();
    cluster.becomes(0, 200);
    cluster.gateways.all[0].stall();
    cluster.accepts(0, 3);
    cluster.gateways.all[0].restore();
    poll("all are known", || (1..=3).all(is_duplicate));
}

#[test]
fn a_slow_database_delays_deliveries_and_loses_none() {
    let Some(cluster) = Cluster::start(&["a", "b"], "") else { return };
    for gateway in &cluster.gateways.all {
        gateway.slow(Duration::from_millis(30));
    }
    for number in 0..10 {
        cluster.accepts(number as usize % 2, number);
    }
    cluster.delivers(0..10);
}

#[test]
fn what_was_under_way_when_the_database_went_away_is_noted_when_it_is_back() {
    let Some(cluster) = Cluster::start(&["a"], "") else { return };
    cluster.handler.hold();
    cluster.accepts(0, 1);
    poll("it is attempted", || !cluster.handled().is_empty());
    cluster.gateways.all[0].cut();
    cluster.becomes(0, 503);
    cluster.handler.release();
    cluster.gateways.all[0].restore();
    cluster.settles(0);
    cluster.delivers([1]);
}

#[test]
fn sessions_that_the_server_ends_are_opened_again() {
    let Some(cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.accepts(0, 1);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: u32 = Server::shared().unwrap().ask(&cluster.gateways.database, end).parse().unwrap();
    assert!(ended >= 2, "{ended}");
    for at in 0..2 {
        let number = 2 + u32::try_from(at).unwrap();
        poll("it takes deliveries again", || cluster.send(at, number).status == 200);
    }
    cluster.delivers(1..=3);
}

#[test]
fn gateways_that_run_go_on_beside_the_tables_of_a_newer_version_and_start_if_these_only_have_more() {
    let Some(mut cluster) = Cluster::start(&["a", "b"], "") else { return };
    cluster.accepts(0, 0);
    cluster.accepts(1, 1);
    cluster.delivers(0..2);
    let server = Server::shared().unwrap();
    let database = cluster.gateways.database.clone();
    let ask = |statement: &str| server.ask(&database, statement);
    for change in CHANGES.iter().chain(&["UPDATE hooklatch.version SET version = version + 1"]) {
        ask(change);
    }
    for number in 2..10 {
        cluster.accepts(number as usize % 2, number);
    }
    cluster.delivers(0..10);
    cluster.settles(0);
    // On new connections, too.
    ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()");
    poll("they take deliveries again", || (0..2).all(|at| cluster.send(at, 10).status == 200));
    cluster.delivers(0..11);
    cluster.gateways.kill(0);
    cluster.gateways.serve(0);
    cluster.gateways.kill(0);
    ask("UPDATE hooklatch.version SET least = version");
    let (status, said) = cluster.does_not_serve(0);
    assert!(status == Some(78) && said.contains("newer version"), "{status:?} {said}");
    cluster.accepts(1, 11);
    cluster.delivers(0..12);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_primary_is_killed_and_the_standby_promoted() {
    let Some(mut primary) = Server::start() else { return };
    let standby = primary.standby();
    let mut cluster = Cluster::new(&[&primary, &standby], &["a", "b"], "");
    cluster.gateways.serve(0);
    cluster.gateways.serve(1);
    for number in 0..50 {
        cluster.accepts(number as usize % 2, number);
    }
    primary.kill();
    cluster.becomes(0, 503);
    cluster.becomes(1, 503);
    cluster.refuses(0, 50);
    standby.promote();
    cluster.becomes(0, 200);
    cluster.becomes(1, 200);
    cluster.accepts(0, 50);
    cluster.accepts(1, 51);
    poll("all are delivered", || cluster.handled().len() == 52);
    cluster.settles(0);
}

#[test]
fn a_gateway_that_starts_finds_the_primary_among_the_hosts() {
    let Some(primary) = Server::start() else { return };
    let standby = primary.standby();
    let mut cluster = Cluster::new(&[&primary], &["a"], "");
    cluster.gateways.connect(0, &url(&[&standby.proxy, &primary.proxy], &cluster.gateways.database));
    cluster.gateways.serve(0);
    cluster.accepts(0, 1);
    cluster.delivers([1]);
    // The standby alone takes no delivery.
    cluster.gateways.kill(0);
    let database = &cluster.gateways.database;
    // A commit waits until the standby has it on disk, not until it can be seen there.
    let known = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    poll("the standby knows the database", || standby.ask("postgres", &known) == "1");
    cluster.gateways.connect(0, &standby.url(database));
    let (status, said) = cluster.does_not_serve(0);
    assert!(matches!(status, Some(1 | 78)), "{status:?}");
    assert!(said.contains("standby") || said.contains("read-only"), "{said}");
}

/// For longer than any statement may take: a statement whose time is over waits for the standby no more, and what it has
/// committed can be seen. On a paused route, so that no gateway claims what it accepts.
#[test]
fn a_standby_that_is_away_holds_up_commits_and_none_is_acknowledged() {
    let Some(primary) = Server::start() else { return };
    let standby = primary.standby();
    let mut cluster = Cluster::new(&[&primary, &standby], &["a", "b"], "paused: true");
    cluster.gateways.serve(0);
    cluster.gateways.serve(1);
    cluster.accepts(0, 1);
    cluster.accepts(1, 2);
    primary.replication.stall();
    let clock = Clock::system();
    let until = clock.now() + Duration::from_secs(25);
    while clock.now() < until {
        for (at, number) in [(0, 3), (1, 3), (1, 4)] {
            let response = cluster.send(at, number);
            assert_eq!(response.status, 503, "{response:?}");
        }
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    let sessions: u32 = primary.ask(&cluster.gateways.database, sessions).parse().unwrap();
    assert!(sessions < 20, "{sessions} sessions wait for the standby");
    primary.replication.restore();
    for number in [3, 4] {
        poll("it is accepted", || cluster.send(0, number).status == 200);
    }
    let list = cluster.list(1).into_iter().filter(|delivery| delivery["state"] == "pending");
    let mut events: Vec<String> = list.map(|delivery| delivery["event_id"].to_string()).collect();
    events.sort();
    assert_eq!(events, ["\"1\"", "\"2\"", "\"3\"", "\"4\""]);
}

#[test]
fn a_database_that_does_not_sync_commits_is_refused() {
    let Some(server) = Server::shared() else { return };
    let cluster = Cluster::new(&[server], &["a"], "");
    for weak in ["off", "local"] {
        let database = &cluster.gateways.database;
        server.ask(database, &format!("ALTER DATABASE {database} SET synchronous_commit = {weak}"));
        let (status, said) = cluster.does_not_serve(0);
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("synchronous_commit") && said.contains(weak), "{said}");
        let checked = Command::new(BINARY).arg("check").arg("-c").arg(cluster.gateways.file(0)).output().unwrap();
        assert_eq!(checked.status.code(), status, "{checked:?}");
    }
    for tables in ["pg_tables", "pg_views"] {
        let none = format!("SELECT count(*) FROM {tables} WHERE schemaname = 'hooklatch'");
        assert_eq!(server.ask(&cluster.gateways.database, &none), "0", "a refused start makes nothing");
    }
}

/// The first gateway's clock is this many seconds wrong.
fn with_wrong_clock(seconds: i64) -> Option<(Cluster, Shim)> {
    let shim = Shim::compile()?;
    let mut cluster = Cluster::new(&[Server::shared()?], &["a", "b"], "");
    shim.set(&format!("clock {seconds}"));
    cluster.gateways.serve_by(0, |file| shim.serve(file));
    cluster.gateways.serve(1);
    Some((cluster, shim))
}

#[test]
fn a_clock_that_is_an_hour_ahead_delays_nothing_that_its_gateway_has_accepted() {
    is_delivered_by_the_other(3_600, |_shim| ());
}

#[test]
fn a_clock_that_was_an_hour_behind_and_is_set_right_delays_nothing_either() {
    is_delivered_by_the_other(-3_600, |shim| shim.set(""));
}

/// A gateway whose clock is so wrong accepts a delivery, and dies in the attempt.
#[track_caller]
fn is_delivered_by_the_other(wrong: i64, before: impl FnOnce(&Shim)) {
    let Some((mut cluster, shim)) = with_wrong_clock(wrong) else { return };
    before(&shim);
    cluster.handler.hold();
    cluster.accepts(0, 1);
    poll("it is attempted", || !cluster.handled().is_empty());
    cluster.gateways.kill(0);
    cluster.handler.release();
    cluster.end_leases(0);
    poll("the other delivers it", || cluster.handled().get(&1) == Some(&2));
    cluster.settles(1);
}

#[test]
fn a_clock_that_is_an_hour_wrong_ends_no_lease_and_takes_nothing_twice() {
    for seconds in [-3_600, 3_600] {
        let Some((cluster, _shim)) = with_wrong_clock(seconds) else { return };
        cluster.handler.hold();
        for number in 0..10 {
            cluster.accepts(number as usize % 2, number);
        }
        poll("all are attempted", || cluster.handled().len() == 10);
        cluster.handler.release();
        for at in 0..2 {
            cluster.settles(at);
        }
        cluster.delivers(0..10);
        let duplicate = cluster.send(0, 9);
        assert_eq!(duplicate.header("hooklatch-duplicate"), Some("true"), "{duplicate:?}");
    }
}

#[test]
fn the_url_of_the_database_is_shown_without_its_password() {
    let Some(server) = Server::shared() else { return };
    let mut cluster = Cluster::new(&[server], &["a"], "");
    let password = "a-password-of-the-test";
    let url = url(&[&cluster.gateways.all[0].ways[0]], &cluster.gateways.database);
    let url = url.replace("hooklatch@", &format!("hooklatch:{password}@"));
    cluster.gateways.connect(0, &url);
    cluster.gateways.serve(0);
    cluster.accepts(0, 1);
    cluster.delivers([1]);
    let shown = http::send(cluster.admin(0), &http::get("/config"));
    let shown = String::from_utf8(shown.body).unwrap();
    assert!(shown.contains("postgres") && !shown.contains(password), "{shown}");
    let checked = Command::new(BINARY).arg("check").arg("-c").arg(cluster.gateways.file(0)).output().unwrap();
    let said = format!("{checked:?}");
    assert!(checked.status.success() && !said.contains(password), "{said}");
    // While the database is away, too.
    cluster.gateways.all[0].cut();
    cluster.refuses(0, 2);
    let mut process = cluster.gateways.take(0).process;
    process.terminate();
    for stream in [Stream::Stdout, Stream::Stderr] {
        assert!(process.printed(stream).iter().all(|line| !line.contains(password)));
    }
}
