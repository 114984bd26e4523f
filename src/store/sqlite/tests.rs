//! What only the database does.

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::attempt::{AttemptOutcome, KeptBody, Next, Settled};
use crate::store::tests::{Fixture, KEEP, NOW, accept, clock, delivery, id, open_sqlite, outcome, settled};
use crate::store::types::{Change, DedupeKey, Delivery, RequestId, Shown, State};

fn plan(store: &Sqlite, sql: &str) -> Vec<String> {
    let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get(3).unwrap());
    }
    steps
}

/// Every query of the running store finds its rows by an index or a key.
#[test]
fn no_query_scans_a_table() {
    let folder = TempDir::new().unwrap();
    let store = open_sqlite(&folder);
    for sql in statements::ALL {
        let steps = plan(&store, sql);
        for step in &steps {
            assert!(!step.starts_with("SCAN") || step == "SCAN CONSTANT ROW", "{sql}\n{steps:#?}");
            assert!(!step.contains("TEMP B-TREE"), "{sql}\n{steps:#?}");
        }
    }
    // The expected index, where the planner has a choice.
    for (sql, index) in [
        (statements::DUE, "queue_due"),
        (statements::LIST_STATE, "deliveries_by_state"),
        (statements::LIST_REASON, "deliveries_by_reason"),
        (statements::LIST_EVENT, "deliveries_by_event"),
        (statements::LIST_REQUEST, "deliveries_by_request"),
        (statements::EXPIRED, "deliveries_by_state"),
        (statements::EXPIRE_KEYS, "PRIMARY KEY"),
        (statements::KEY_AFTER, "PRIMARY KEY"),
    ] {
        let steps = plan(&store, sql);
        assert!(steps.iter().any(|step| step.contains(index)), "{sql}\n{steps:#?}");
    }
}

#[test]
fn the_list_of_statements_is_complete() {
    let text = include_str!("statements.rs");
    let declared = text.matches("pub const ").count() - text.matches("pub const ALL").count();
    assert_eq!(statements::ALL.len(), declared);
}

#[test]
fn the_database_is_set_up_as_the_module_says() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/er");
    let store = Sqlite::open(&path, KEEP, clock()).unwrap();
    for (pragma, expected) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("auto_vacuum", "2"),
        ("page_size", "16384"),
        ("wal_autocheckpoint", "0"),
        ("mmap_size", "0"),
        ("secure_delete", "1"),
        ("application_id", "1212894292"),
        ("user_version", "3"),
    ] {
        let value: rusqlite::types::Value =
            store.connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
        let value = match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(value, expected, "{pragma}");
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    let version = rusqlite::version_number();
    assert!(version >= 3_051_003, "SQLite {version} has the WAL-reset bug");
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let folder = TempDir::new().unwrap();
    let _first = open_sqlite(&folder);
    let error = Sqlite::open(folder.path(), KEEP, clock()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())));
}

#[test]
fn a_foreign_a_newer_and_a_damaged_database_are_told_apart_and_left_alone() {
    let make = |sql: &str| {
        let folder = TempDir::new().unwrap();
        Connection::open(folder.path().join("hooklatch.db")).unwrap().execute_batch(sql).unwrap();
        folder
    };
    let open = |folder: &TempDir| {
        let path = folder.path().join("hooklatch.db");
        let before = std::fs::read(&path).unwrap();
        let error = Sqlite::open(folder.path(), KEEP, clock()).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        error
    };
    let error = open(&make("PRAGMA application_id = 7; CREATE TABLE t (x)"));
    assert!(matches!(error, OpenError::Foreign { id: 7, .. }), "{error}");
    let error = open(&make("CREATE TABLE t (x)"));
    assert!(matches!(error, OpenError::Foreign { id: 0, .. }), "{error}");
    let error = open(&make("PRAGMA application_id = 1212894292; PRAGMA user_version = 99; CREATE TABLE t (x)"));
    assert!(matches!(error, OpenError::Newer { found: 99, known: 3, .. }), "{error}");
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("hooklatch.db"), vec![b'x'; 4096]).unwrap();
    let error = open(&folder);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("hooklatch store recover"));
}

#[test]
fn a_full_database_refuses_the_batch_as_it_was_and_heals() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let big = |number| {
        Write::Record(Arc::new(
            Delivery { body: Some(vec![1; 1 << 20].into()), ..delivery(number, State::Forwarded) }.into(),
        ))
    };
    pragma(&store.connection, "max_page_count", &(pages + 4).to_string()).unwrap();
    assert_eq!(store.commit(&[accept(0, None), big(1)], NOW, &mut |_| ()), Err(StoreError::Full));
    assert!(lock(&store.book).counts.is_empty());
    let next_row = store.next_row;
    assert!(store.reader().unwrap().get(id(0)).unwrap().is_none());
    let answers = store.commit(&[accept(2, None)], NOW, &mut |_| ()).unwrap();
    let ticket = Ticket { row: next_row, destination: 0 };
    assert!(next_row > 1 && answers == [Answer::Stored(ticket)], "a row is given to one delivery only");
    pragma(&store.connection, "max_page_count", &(pages + 4_000).to_string()).unwrap();
    store.commit(&[big(1)], NOW, &mut |_| ()).unwrap();
    assert!(store.reader().unwrap().get(id(2)).unwrap().is_some());
}

/// The bytes of every file of the folder.
fn raw(folder: &TempDir) -> Vec<u8> {
    let files = std::fs::read_dir(folder.path()).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn contains(folder: &TempDir, needle: &[u8]) -> bool {
    memchr::memmem::find(&raw(folder), needle).is_some()
}

#[test]
fn erased_and_redacted_bytes_leave_all_files() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let with = |number: u64, len: usize| {
        let mut body = vec![b'.'; len];
        body.extend_from_slice(format!("needle-{number:04}").as_bytes());
        let head = Bytes::from(format!("authorization: canary-{number:04}"));
        let delivery = Delivery { head, body: Some(body.into()), ..delivery(number, State::Pending) };
        Write::Accept { delivery: Box::new(delivery), key: None, destinations: 1, claim: false }
    };
    let batch: Vec<Write> = (0..40).map(|number| with(number, if number % 2 == 0 { 900 } else { 60_000 })).collect();
    let answers = store.commit(&batch, NOW, &mut |_| ()).unwrap();
    assert!(contains(&folder, b"needle-0007") && contains(&folder, b"canary-0007"));
    for (number, answer) in (0..40).zip(answers) {
        let Answer::Stored(ticket) = answer else { panic!("stored") };
        if number % 4 < 2 {
            store.commit(&[Write::Change(Change::Erase { id: id(number) })], NOW, &mut |_| ()).unwrap();
        } else {
            let stays = Settled {
                is_kept: true,
                head: Some(Bytes::from_static(b"redacted")),
                body: KeptBody::Nothing,
                secret: true,
            };
            let outcome = AttemptOutcome { settled: Some(stays), ..outcome(ticket, 1, settled(State::Delivered)) };
            store.commit(&[Write::Complete(Box::new(outcome))], NOW, &mut |_| ()).unwrap();
        }
    }
    store.maintain(NOW + 20_000).unwrap();
    for number in 0..40 {
        assert!(!contains(&folder, format!("needle-{number:04}").as_bytes()), "body {number}");
        assert!(!contains(&folder, format!("canary-{number:04}").as_bytes()), "head {number}");
    }
}

#[test]
fn erased_bytes_leave_the_files_though_the_clock_is_set_back() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let body = Some(Bytes::from_static(b"a needle of some length"));
    let delivery = Box::new(Delivery { body, ..delivery(0, State::Pending) });
    let accepted = Write::Accept { delivery, key: None, destinations: 1, claim: false };
    store.commit(&[accepted], NOW, &mut |_| ()).unwrap();
    store.commit(&[Write::Change(Change::Erase { id: id(0) })], NOW, &mut |_| ()).unwrap();
    assert!(contains(&folder, b"a needle"));
    store.maintain(NOW - 3_600_000).unwrap();
    assert!(!contains(&folder, b"a needle"));
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/c");
    drop(Sqlite::open_unlocked(&path, KEEP, clock()));
    drop(Sqlite::open_unlocked(&path, KEEP, clock()));
    assert!(path.join("hooklatch.db").is_file());
}

#[test]
fn room_is_given_back_after_retention() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let big = |number| {
        Write::Record(Arc::new(
            Delivery { body: Some(vec![1; 200_000].into()), ..delivery(number, State::Refused) }.into(),
        ))
    };
    store.commit(&(0..100).map(big).collect::<Vec<_>>(), NOW, &mut |_| ()).unwrap();
    store.maintain(NOW).unwrap();
    let size = || folder.path().join("hooklatch.db").metadata().unwrap().len();
    let before = size();
    assert!(before > 20_000_000);
    for second in 0..60 {
        while store.maintain(NOW + KEEP.refused + 1_000 * second).unwrap() {}
    }
    store.close().unwrap();
    assert!(size() < 2_000_000, "{}", size());
}

#[test]
fn the_log_stays_small_under_load() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    for number in 0..400 {
        let body = Some(vec![1; 30_000].into());
        let delivery = Delivery { body, ..delivery(number, State::Forwarded) };
        store.commit(&[Write::Record(Arc::new(delivery.into()))], NOW, &mut |_| ()).unwrap();
        store.maintain(NOW).unwrap();
    }
    let log = folder.path().join("hooklatch.db-wal").metadata().unwrap().len();
    assert!(log < 8 << 20, "{log}");
}

#[test]
fn a_crash_between_any_two_batches_leaves_what_was_answered() {
    let mut store = Fixture::sqlite();
    for number in 0..20 {
        store.accept(number);
        store = store.crash();
        assert_eq!(store.due_at(NOW + 100).len(), usize::try_from(number).unwrap() + 1);
    }
}

// --- Deliveries without a row in the queue -------------------------------------------------------------------------------

fn at_once(number: u64) -> Write {
    let delivery = Box::new(delivery(number, State::Pending));
    Write::Accept { delivery, key: None, destinations: 1, claim: true }
}

/// The rows that are in the queue.
fn queued(store: &Sqlite) -> Vec<i64> {
    let mut statement = store.connection.prepare("SELECT row FROM queue ORDER BY row").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn mark(store: &Sqlite) -> i64 {
    store.connection.query_row(statements::MARK, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_attempted_at_once_and_delivered_is_never_in_the_queue() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let answers = store.commit(&[at_once(0), at_once(1)], NOW, &mut |_| ()).unwrap();
    assert_eq!((answers.len(), queued(&store).len()), (2, 0));
    let Answer::Stored(ticket) = answers[0] else { panic!("stored") };
    let delivered = Write::Complete(Box::new(outcome(ticket, 1, settled(State::Delivered))));
    store.commit(&[delivered], NOW, &mut |_| ()).unwrap();
    assert!(queued(&store).is_empty());
    let Answer::Stored(ticket) = answers[1] else { panic!("stored") };
    store.commit(&[Write::Complete(Box::new(outcome(ticket, 1, Next::Retry(NOW + 9))))], NOW, &mut |_| ()).unwrap();
    assert_eq!(queued(&store), [ticket.row]);
}

#[test]
fn an_attempt_that_lasts_gets_its_row_after_a_number_of_batches() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    store.commit(&[at_once(0)], NOW, &mut |_| ()).unwrap();
    let mut batches = 0;
    while queued(&store).is_empty() {
        store.commit(&[at_once(batches + 1)], NOW, &mut |_| ()).unwrap();
        batches += 1;
    }
    assert_eq!(batches, 64);
}

#[test]
fn the_mark_follows_so_that_little_is_looked_through_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    assert_eq!(mark(&store), 1);
    for number in 0..40 {
        let batch: Vec<Write> = (0..100).map(|place| at_once(number * 100 + place)).collect();
        let answers = store.commit(&batch, NOW, &mut |_| ()).unwrap();
        // One of them is still being attempted.
        let delivered = answers.iter().skip(1).map(|answer| match answer {
            Answer::Stored(ticket) => Write::Complete(Box::new(outcome(*ticket, 1, settled(State::Delivered)))),
            other => panic!("not stored: {other:?}"),
        });
        store.commit(&delivered.collect::<Vec<_>>(), NOW, &mut |_| ()).unwrap();
    }
    let waits: u64 =
        lock(&store.book).counts.iter().filter(|((_, shown), _)| *shown == Shown::Pending).map(|(_, n)| n).sum();
    let without = usize::try_from(waits).unwrap() - queued(&store).len();
    assert!(mark(&store) > 4_000 - 32 * 100 - 1_024 && without == 32, "{} {without}", mark(&store));
    drop(store);
    let store = open_sqlite(&folder);
    assert_eq!((queued(&store).len(), mark(&store)), (40, 4_001));
}

#[test]
fn what_comes_after_the_last_rows_were_deleted_is_found_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    for number in 0..12 {
        let batch: Vec<Write> = (0..100).map(|place| accept(number * 100 + place, None)).collect();
        store.commit(&batch, NOW, &mut |_| ()).unwrap();
    }
    assert_eq!(mark(&store), 1_101);
    store.connection.execute_batch("DELETE FROM deliveries; DELETE FROM queue").unwrap();
    drop(store);
    let mut store = open_sqlite(&folder);
    store.commit(&[at_once(2_000)], NOW, &mut |_| ()).unwrap();
    drop(store);
    assert_eq!(queued(&open_sqlite(&folder)), [1_101]);
}

#[test]
fn a_batch_that_fails_takes_nothing_out_of_what_has_no_row() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let answers = store.commit(&[at_once(0)], NOW, &mut |_| ()).unwrap();
    let Answer::Stored(ticket) = answers[0] else { panic!("stored") };
    let big = Delivery { body: Some(vec![1; 1 << 20].into()), ..delivery(1, State::Forwarded) };
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    pragma(&store.connection, "max_page_count", &(pages + 4).to_string()).unwrap();
    let batch = [Write::Release(vec![ticket]), at_once(2), Write::Record(Arc::new(big.into()))];
    assert_eq!(store.commit(&batch, NOW, &mut |_| ()), Err(StoreError::Full));
    assert!(queued(&store).is_empty());
    store.commit(&[Write::Release(vec![ticket])], NOW, &mut |_| ()).unwrap();
    assert_eq!(queued(&store), [ticket.row]);
}

#[test]
fn a_store_that_closes_has_everything_in_the_queue() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    store.commit(&[at_once(0)], NOW, &mut |_| ()).unwrap();
    store.close().unwrap();
    assert_eq!(queued(&store).len(), 1);
}

/// Makes a database of the second version of one that is new.
const TO_VERSION_2: &str = "INSERT INTO dedupe SELECT key, until, id FROM new_keys; DROP TABLE new_keys;
    CREATE INDEX dedupe_until ON dedupe (until); UPDATE deliveries SET request_id = NULL WHERE row = 2;
    PRAGMA user_version = 2;";

#[test]
fn a_database_of_the_second_version_keeps_its_keys_and_request_ids() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    let key = DedupeKey { key: [7; 16], until: NOW + 1 };
    store.commit(&[accept(0, Some(key)), accept(1, None)], NOW, &mut |_| ()).unwrap();
    store.connection.execute_batch(TO_VERSION_2).unwrap();
    store.close().unwrap();
    drop(store);
    let mut store = open_sqlite(&folder);
    assert_eq!(store.commit(&[accept(2, Some(key))], NOW, &mut |_| ()), Ok(vec![Answer::Duplicate(id(0))]));
    let mut reader = store.reader().unwrap();
    let mut request_id = |number| reader.get(id(number)).unwrap().unwrap().0.delivery.request_id;
    assert_eq!((request_id(0), request_id(1)), (RequestId::Named("req_0".into()), RequestId::Unknown));
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date_with_what_waits_in_it() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    store.commit(&[accept(0, None), accept(1, None)], NOW, &mut |_| ()).unwrap();
    store.connection.execute_batch(&format!("{TO_VERSION_2} DROP TABLE marks; PRAGMA user_version = 1")).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open_sqlite(&folder);
    assert_eq!((queued(&store).len(), mark(&store)), (2, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_erased_leaves_no_trace_whatever_was_done_before(
        sizes in proptest::collection::vec((1_usize..20_000, 1_usize..3_000), 20..80),
        steps in proptest::collection::vec((any::<u16>(), 0_u8..4), 0..150),
    ) {
        let folder = TempDir::new().unwrap();
        let mut store = open_sqlite(&folder);
        let mut tickets = Vec::new();
        for (number, (body, head)) in (0_u64..).zip(&sizes) {
            let mark = |size: usize| format!("needle-{number:04} ").repeat(size.div_ceil(12)).into_bytes();
            let (head, body) = (mark(*head).into(), Some(mark(*body).into()));
            let delivery = Box::new(Delivery { head, body, ..delivery(number, State::Pending) });
            let write = Write::Accept { delivery, key: None, destinations: 1, claim: false };
            let Answer::Stored(ticket) = store.commit(&[write], NOW, &mut |_| ()).unwrap()[0] else { panic!("stored") };
            tickets.push(ticket);
        }
        let mut erased = vec![false; tickets.len()];
        for (pick, step) in steps {
            let pick = usize::from(pick) % tickets.len();
            let stays = Settled { is_kept: true, head: None, body: KeptBody::Nothing, secret: false };
            let write = match step {
                0 => Write::Complete(Box::new(outcome(tickets[pick], 1, Next::Retry(NOW + 1)))),
                1 => Write::Complete(Box::new(AttemptOutcome {
                    settled: Some(stays),
                    ..outcome(tickets[pick], 2, settled(State::Delivered))
                })),
                _ => {
                    erased[pick] = true;
                    Write::Change(Change::Erase { id: id(u64::try_from(pick).unwrap()) })
                }
            };
            store.commit(&[write], NOW, &mut |_| ()).unwrap();
            store.maintain(NOW).unwrap();
        }
        store.maintain(NOW + 20_000).unwrap();
        let raw = raw(&folder);
        for (number, _) in erased.iter().enumerate().filter(|(_, erased)| **erased) {
            let needle = format!("needle-{number:04}");
            prop_assert!(memchr::memmem::find(&raw, needle.as_bytes()).is_none(), "{needle}");
        }
    }
}
