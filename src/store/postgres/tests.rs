//! What only a store that gateways share does, on a real server.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::OpenError;
use super::url::Target;
use super::*;
use crate::clock::Clock;
use crate::store::backend::Due;
use crate::store::tests::server::{ask, let_leases_end, open, settings, target};
use crate::store::tests::{NOW, accept, attempt, clock, delivery, id};
use crate::store::{
    Accepted, AttemptOutcome, Claimed, DedupeKey, Delivery, Filter, Health, Limits, Next, RequestId, Shown, State,
    Store, StoreError,
};

mod circuits;
mod fresh;

/// A gateway's backend with its reader of what is due.
struct Gateway {
    backend: Postgres,
    reader: Box<dyn Reader>,
}

impl Gateway {
    fn new(target: &Target, name: &str) -> Self {
        let backend = Postgres::open(settings(target, name)).unwrap();
        Self { reader: backend.reader().unwrap(), backend }
    }

    fn claim(&mut self, limit: usize) -> Vec<Claimed> {
        let none = HashSet::new();
        let query =
            Due { route: "github", destination: 0, now: NOW + 1_000, limit, max_bytes: 1 << 20, claimed: &none };
        self.reader.due(&query).unwrap()
    }

    fn one(&mut self, write: Write) -> Answer {
        self.backend.commit(&[write], NOW, &mut |_| ()).unwrap().remove(0)
    }

    fn end(&mut self, claimed: &Claimed, next: Next) {
        let attempt = attempt(claimed.waiting.attempts + 1);
        let (id, ticket, since) = (claimed.id, claimed.ticket, claimed.waiting.since);
        let outcome = AttemptOutcome { id, ticket, since, attempt, next, reason: None, settled: None };
        self.one(Write::Complete(Box::new(outcome)));
    }

    fn late(&self) -> u64 {
        self.backend.sharing.late_outcomes.load(Ordering::Relaxed)
    }

    fn shown(&mut self, number: u64) -> (Shown, usize) {
        let (stored, attempts) = self.reader.get(id(number)).unwrap().unwrap();
        (stored.shown, attempts.len())
    }
}

fn two(target: &Target) -> [Gateway; 2] {
    ["one", "two"].map(|name| Gateway::new(target, name))
}

fn start(target: &Target, name: &str) -> Store {
    let backend = Box::new(Postgres::open(settings(target, name)).unwrap());
    Store::start(backend, Limits { min_free: 0, ..Limits::default() }, clock(), Box::new(|_| ())).unwrap()
}

const DELIVERED: Next = Next::Settle(State::Delivered);

#[test]
fn what_one_gateway_has_claimed_another_gets_only_after_its_lease() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.one(accept(0, None));
    let claimed = one.claim(9).remove(0);
    assert!(two.claim(9).is_empty() && one.claim(9).is_empty());
    assert!(two.reader.is_claimed(id(0)).unwrap());
    let_leases_end(&target, "one");
    assert!(!two.reader.is_claimed(id(0)).unwrap());
    let again = two.claim(9).remove(0);
    assert_eq!((again.id, again.ticket), (claimed.id, claimed.ticket));
    // The first one's outcome comes late.
    one.end(&claimed, DELIVERED);
    assert_eq!((one.late(), two.shown(0)), (1, (Shown::Pending, 0)));
    two.end(&again, Next::Retry(NOW + 5_000));
    assert_eq!((two.late(), one.shown(0)), (0, (Shown::Retrying, 1)));
}

#[test]
fn an_outcome_of_a_lease_that_has_ended_does_not_count_though_nobody_has_claimed_since() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    one.one(accept(0, None));
    let claimed = one.claim(9).remove(0);
    let_leases_end(&target, "one");
    one.end(&claimed, DELIVERED);
    assert_eq!((one.late(), one.shown(0)), (1, (Shown::Pending, 0)));
}

#[test]
fn an_outcome_counts_once_though_it_is_written_twice() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    for (number, next, shown) in
        [(0, DELIVERED, Shown::Settled(State::Delivered)), (1, Next::Retry(NOW + 9_000), Shown::Retrying)]
    {
        one.one(accept(number, None));
        let claimed = one.claim(9).remove(0);
        let lease = one.backend.leases.of(claimed.ticket).unwrap();
        one.end(&claimed, next.clone());
        // As if the answer to the commit had been lost.
        one.backend.leases.hold(claimed.ticket, lease);
        one.end(&claimed, next);
        assert_eq!(one.shown(number), (shown, 1));
        assert_eq!(one.reader.get(id(number)).unwrap().unwrap().0.attempts, 1);
    }
}

#[test]
fn what_is_stored_for_an_attempt_at_once_is_claimed_from_the_begin_and_given_back_by_word() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let delivery = Box::new(delivery(0, State::Pending));
    let Answer::Stored(ticket) = one.one(Write::Accept { delivery, key: None, destinations: 1, claim: true }) else {
        panic!("stored")
    };
    assert!(two.claim(9).is_empty());
    one.one(Write::Release(vec![ticket]));
    let claimed = two.claim(9).remove(0);
    // The claim is another gateway's by now.
    one.one(Write::Release(vec![ticket]));
    assert!(one.claim(9).is_empty());
    two.end(&claimed, DELIVERED);
    assert_eq!(one.shown(0), (Shown::Settled(State::Delivered), 1));
}

#[test]
fn a_gateway_that_ends_in_order_gives_up_its_claims_at_once() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.one(accept(0, None));
    assert_eq!(one.claim(9).len(), 1);
    one.backend.close().unwrap();
    assert_eq!(two.claim(9).len(), 1);
}

#[test]
fn gateways_that_claim_at_once_get_different_deliveries() {
    let Some(target) = target() else { return };
    let mut gateways = two(&target);
    let batch: Vec<Write> = (0..200).map(|number| accept(number, None)).collect();
    gateways[0].backend.commit(&batch, NOW, &mut |_| ()).unwrap();
    let claims = gateways.each_mut().map(|gateway| Mutex::new(Some(gateway)));
    let found: Vec<Vec<Uuid>> = thread::scope(|scope| {
        let each = claims.iter().map(|gateway| {
            scope.spawn(move || {
                let gateway = lock(gateway).take().unwrap();
                let mut ids = Vec::new();
                loop {
                    let claimed = gateway.claim(7);
                    if claimed.is_empty() {
                        return ids;
                    }
                    ids.extend(claimed.into_iter().map(|claimed| claimed.id));
                }
            })
        });
        let threads: Vec<_> = each.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all: HashSet<Uuid> = found.iter().flatten().copied().collect();
    assert_eq!((all.len(), found.iter().map(Vec::len).sum::<usize>()), (200, 200));
}

#[test]
fn a_delivery_that_one_gateway_has_taken_is_a_duplicate_at_the_other() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    let key = Some(DedupeKey { key: [7; 16], until: NOW + 1_000 });
    assert!(matches!(one.one(accept(0, key)), Answer::Stored(_)));
    assert_eq!(two.one(accept(1, key)), Answer::Duplicate(id(0)));
    // Both at once: one of them is stored.
    let answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> = [(&mut one, 2), (&mut two, 3)]
            .into_iter()
            .map(|(gateway, number)| {
                let key = Some(DedupeKey { key: [8; 16], until: NOW + 1_000 });
                scope.spawn(move || gateway.one(accept(number, key)))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Answer::Stored(_))).count(), 1, "{answers:?}");
}

#[test]
fn each_gateway_knows_what_others_have_paused_and_counted() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.one(accept(0, None));
    one.one(Write::Change(Change::Pause { route: "github".into(), paused: true }));
    while two.backend.maintain(NOW).unwrap() {}
    let book = two.backend.book();
    let book = lock(&book);
    assert!(book.routes["github"].paused);
    assert_eq!(book.counts[&("github".into(), Shown::Pending)], 1);
}

#[test]
fn a_gateway_tells_which_one_has_taken_and_sent_a_delivery() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.one(accept(0, None));
    let claimed = two.claim(1).remove(0);
    two.end(&claimed, DELIVERED);
    let (stored, attempts) = one.reader.get(id(0)).unwrap().unwrap();
    assert_eq!((stored.gateway.as_deref(), attempts[0].gateway.as_deref()), (Some("one"), Some("two")));
}

#[test]
fn texts_that_the_database_cannot_keep_or_index_as_they_are_are_stored_and_found() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    let long = "x".repeat(100_000);
    let odd = Delivery {
        event_id: Some("a\0b".into()),
        request_id: RequestId::Named(long.as_str().into()),
        ..delivery(0, State::Failed)
    };
    one.one(Write::Record(Arc::new(odd.into())));
    let mut found = |filter: Filter| one.reader.list(&filter, 9).unwrap().deliveries.len();
    assert_eq!(found(Filter { request_id: Some(long.clone()), ..Filter::default() }), 1);
    assert_eq!(found(Filter { event_id: Some("a\u{fffd}b".to_owned()), ..Filter::default() }), 1);
    assert_eq!(found(Filter { some_id: Some("a\0c".to_owned()), ..Filter::default() }), 0);
}

#[test]
fn a_clock_that_is_wrong_delays_nothing_of_what_its_gateway_has_taken() {
    let Some(target) = target() else { return };
    // Its clock is years behind that of the database; all other clocks are right.
    let mut wrong = Gateway::new(&target, "wrong");
    wrong.backend.trust_clock = false;
    while wrong.backend.maintain(NOW).unwrap() {}
    wrong.one(accept(0, None));
    assert_eq!(wrong.reader.next_due("github", 0, NOW - 1).unwrap(), Some(NOW));
    let due: i64 = ask(&target, "SELECT due_at FROM queue").parse().unwrap();
    let now: i64 = ask(&target, "SELECT (extract(epoch FROM now()) * 1000)::bigint").parse().unwrap();
    assert!((now - due).abs() < 60_000, "{due} by the clock of the database, which is {now}");
    let claimed = wrong.claim(1).remove(0);
    assert_eq!((claimed.waiting.due_at, claimed.waiting.since), (NOW, NOW));
}

/// Does something with a plain connection, on this thread.
fn on<T>(target: &Target, work: impl AsyncFnOnce(&mut Client) -> Result<T, PgError>) -> T {
    let setup = check::setup(target).unwrap();
    check::on(&setup, async |client| {
        work(client).await.map_err(|error| OpenError::Unreachable { target: target.to_string(), error })
    })
    .unwrap()
}

#[test]
fn a_schema_of_each_version_is_brought_up_to_date_and_its_deliveries_stay() {
    let versions = schema::MIGRATIONS.len();
    for version in 0..=versions {
        let Some(target) = target() else { return };
        on(&target, async |client| {
            schema::migrate_to(client, target.schema(), &schema::MIGRATIONS[..version]).await.map(drop)
        });
        if version > 0 {
            ask(
                &target,
                "INSERT INTO routes (name) VALUES ('github'); INSERT INTO counts VALUES (0, 1, 0, 1); \
                 INSERT INTO deliveries (id, received_at, route, state, attempts, scheme, peer, method, path, \
                 request_bytes, gateway, details, head) \
                 VALUES ('018bcfe5-6800-7000-8000-000000000000', 1, 1, 0, 0, '', '', '', '', 0, '', '', ''); \
                 INSERT INTO queue (row, destination, route, due_at, attempts, counted, since, replay, once, fence) \
                 VALUES (1, 0, 1, 1, 0, 0, 1, false, false, 0)",
            );
        }
        let mut gateway = Gateway::new(&target, "one");
        assert_eq!(ask(&target, "SELECT version FROM version"), schema::version().to_string());
        assert_eq!(gateway.claim(9).len(), usize::from(version > 0), "from version {version}");
        assert_eq!(check::look(&target).unwrap().schema, Some(schema::version()));
    }
}

#[test]
fn what_was_claimed_since_a_statement_began_under_a_session_that_it_does_not_see_is_not_claimed_by_it() {
    let Some(target) = target() else { return };
    let [mut dead, mut fast] = ["dead", "fast"].map(|name| Gateway::new(&target, name));
    dead.one(accept(0, None));
    assert_eq!(dead.claim(9).len(), 1);
    let_leases_end(&target, "dead");
    // The slow one looks at the delivery, and waits until it may go on.
    ask(
        &target,
        "CREATE OR REPLACE FUNCTION session_lives(bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN \
         IF current_setting('test.waits', true) = 'yes' THEN PERFORM 1 FROM pause FOR UPDATE; END IF; \
         RETURN EXISTS (SELECT 1 FROM sessions s WHERE s.number = $1 AND s.lease_until > clock_timestamp()); END $$; \
         CREATE TABLE pause (id integer); INSERT INTO pause VALUES (1)",
    );
    let mut config = target.config().clone();
    config.options("-c test.waits=yes");
    let mut slow = Gateway::new(&Target { config, ..target.clone() }, "slow");
    let holder = on(&target, async |client| {
        client.batch_execute(&schema::select(target.schema())).await?;
        client.batch_execute("BEGIN; SELECT 1 FROM pause FOR UPDATE").await?;
        let looks = thread::spawn(move || slow.claim(9).len());
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
            WHERE c.relname = 'pause' AND c.relnamespace = to_regnamespace(current_schema)::oid AND l.mode = 'RowShareLock'";
        while client.query_one(waits, &[]).await?.try_get::<_, i64>(0)? < 2 {}
        assert_eq!(thread::spawn(move || fast.claim(9).len()).join().unwrap(), 1);
        client.batch_execute("COMMIT").await?;
        Ok(looks)
    });
    assert_eq!(holder.join().unwrap(), 0, "it is under way already");
}

#[test]
fn gateways_that_start_at_once_make_the_tables_once() {
    let Some(target) = target() else { return };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| drop(open(&target)))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(ask(&target, "SELECT count(*) FROM version"), "1");
}

#[test]
fn a_newer_schema_and_one_of_something_else_are_refused_and_left_as_they_are() {
    let Some(target_of_newer) = target() else { return };
    drop(open(&target_of_newer));
    ask(&target_of_newer, "UPDATE version SET version = 99, least = 99");
    let refused = |target: &Target| match Postgres::open(settings(target, "one")) {
        Err(OpenError::Unfit { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(&target_of_newer).contains("version 99"), "{}", refused(&target_of_newer));
    assert!(check::look(&target_of_newer).is_err());
    assert_eq!(ask(&target_of_newer, "SELECT version FROM version"), "99");
    let foreign = target().unwrap();
    ask(&foreign, &format!("CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id integer)", foreign.schema()));
    assert!(refused(&foreign).contains("something else"));
}

#[test]
fn a_newer_schema_that_only_has_more_is_used_and_left_as_it_is() {
    let Some(target) = target() else { return };
    drop(open(&target));
    let newer = "UPDATE version SET version = 99; ALTER TABLE deliveries ADD COLUMN later integer";
    ask(&target, newer);
    let mut gateway = Gateway::new(&target, "one");
    gateway.one(accept(0, None));
    assert_eq!(gateway.claim(9).len(), 1);
    assert_eq!(ask(&target, "SELECT version FROM version"), "99");
    assert_eq!(check::look(&target).unwrap().schema, Some(99));
}

#[test]
fn a_database_that_answers_commits_before_they_are_on_disk_is_refused() {
    let Some(target) = target() else { return };
    let mut config = target.config().clone();
    for setting in ["off", "local"] {
        config.options(format!("-c synchronous_commit={setting}"));
        let lax = Target { config: config.clone(), ..target.clone() };
        let Err(OpenError::Unfit { why, .. }) = Postgres::open(settings(&lax, "one")) else { panic!("taken") };
        assert!(why.starts_with(&format!("synchronous_commit is {setting}")), "{why}");
    }
}

#[test]
fn a_host_that_takes_connections_and_says_nothing_keeps_the_gateway_from_no_other() {
    let Some(target) = target() else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (good, mut config) = (target.config(), tokio_postgres::Config::new());
    config.host("127.0.0.1").port(silent.local_addr().unwrap().port());
    config.host("127.0.0.1").port(good.get_ports()[0]);
    config.user(good.get_user().unwrap()).dbname(good.get_dbname().unwrap());
    let target = Target { config, ..target };
    let numbers = on(&target, async |client| Ok(client.query_one("SELECT 1", &[]).await?.try_get::<_, i32>(0)?));
    assert_eq!(numbers, 1);
}

/// Tries until it succeeds; the store heals by itself.
async fn until_ok<T, F: Future<Output = Result<T, StoreError>>>(mut work: impl FnMut() -> F) -> T {
    let end = Clock::system().now() + Duration::from_secs(60);
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(matches!(error, StoreError::Unreachable(_)), "{error}"),
        }
        assert!(Clock::system().now() < end, "it does not heal");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn connections_that_the_server_ends_are_made_again_and_no_outcome_is_lost() {
    let Some(target) = target() else { return };
    let mut config = target.config().clone();
    config.application_name(format!("hooklatch {}", target.schema()));
    let target = Target { config, ..target };
    let store = start(&target, "one");
    let take = |number, claim| store.accept(delivery(number, State::Pending), None, 1, claim);
    let Ok(Accepted::Stored(_)) = take(0, false).await else { panic!("stored") };
    let claimed = store.claim("github", 0, NOW + 99, 9).await.unwrap().remove(0);
    // A name that only connections of this test have; other tests run beside.
    let end_all = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        target.config().get_application_name().unwrap()
    );
    ask(&target, &end_all);
    let outcome = AttemptOutcome {
        id: claimed.id,
        ticket: claimed.ticket,
        since: claimed.waiting.since,
        attempt: attempt(1),
        next: DELIVERED,
        reason: None,
        settled: None,
    };
    store.complete(outcome).unwrap();
    until_ok(|| take(2, false)).await;
    assert_eq!(store.health(), Health::Good);
    until_ok(|| async {
        match store.get(id(0)).await? {
            Some((stored, _)) if stored.shown == Shown::Settled(State::Delivered) => Ok(()),
            _ => Err(StoreError::Unreachable("not yet".into())),
        }
    })
    .await;
}

#[tokio::test]
async fn gateways_hear_what_is_due_and_followers_what_is_new_at_another_one() {
    let Some(target) = target() else { return };
    let (one, two) = (start(&target, "one"), start(&target, "two"));
    let (due, woken) = mpsc::channel();
    two.on_due(move |route| due.send(route.to_owned()).unwrap());
    let mut news = two.follow();
    // The other gateway finds out within a second that this one has a follower.
    let end = Clock::system().now() + Duration::from_secs(60);
    let mut number = 0;
    let heard = loop {
        assert!(Clock::system().now() < end, "nothing is heard");
        one.accept(delivery(number, State::Pending), None, 1, false).await.unwrap();
        number += 1;
        if let Ok(Ok(news)) = tokio::time::timeout(Duration::from_millis(100), news.recv()).await {
            break news;
        }
    };
    assert!(heard.notices[0].is_new && (0..number).any(|number| heard.notices[0].id == id(number)));
    assert_eq!(woken.try_recv().as_deref(), Ok("github"));
}
