//! Bytes of the database were changed while no gateway ran: `serve` ends with 1, names the file and what to do, and leaves
//! every file as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::support::process::{BINARY, GatewayProcess, Process, Stream, poll};
use crate::support::served::{Served, route};

use super::{DATABASE, SECRET, body, delivery};
use crate::support::http;

const PAGE: usize = 16_384;

/// A database with some deliveries that wait, after a regular end; and the configuration.
fn filled() -> Served {
    let routes = route("hook", "[{ file: secret }]", "delivery: queue, paused: true")
        + "store: { path: store, min_free: 0MiB }\n";
    let mut served = Served::start(&routes, &[("secret", SECRET)]);
    for number in 0..60 {
        let sent = delivery("/hook", SECRET, &[body(number), vec![b'x'; 3_000]].concat());
        assert_eq!(http::send(served.gateway.server, &sent).status, 200);
    }
    assert_eq!(served.gateway.process.terminate().code(), Some(0));
    served
}

/// Serves: the exit status and what it says, or `None` if it serves.
fn serve(file: &Path) -> Option<(Option<i32>, String)> {
    let mut process = Process::start("the gateway", Command::new(BINARY).arg("serve").arg("-c").arg(file), "");
    let mut is_ready = false;
    poll("it serves or has ended", || {
        is_ready = is_ready || process.has_printed("listening");
        is_ready || process.has_ended()
    });
    if !process.has_ended() {
        process.terminate();
        return None;
    }
    let status = process.wait();
    Some((status.code(), process.printed(Stream::Stderr).join("\n")))
}

/// Every file of the store but the lock, which has the last process's number, and the index of the log.
fn files(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(store).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.filter(|(name, _)| !name.ends_with(".lock") && !name.ends_with("-shm")).collect()
}

#[test]
fn a_database_that_was_damaged_anywhere_is_named_and_left_as_it_is() {
    let served = filled();
    let (file, store) = (served.path("gateway.yaml"), served.path("store"));
    let database = store.join(DATABASE);
    let whole = fs::read(&database).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 20, "{pages}");
    // The head of each page. The first page has that of the file before it.
    let heads = (0..pages).map(|page| page * PAGE + if page == 0 { 100 } else { 0 });
    // The magic of the file; the size of a page; a page in the middle, all of it; a part that is cut off.
    let places = heads.map(|at| at..at + 8).chain([0..16, 16..18, pages / 2 * PAGE..(pages / 2 + 1) * PAGE]);
    for place in places {
        let mut bytes = whole.clone();
        for byte in &mut bytes[place.clone()] {
            *byte ^= 0xa5;
        }
        is_refused(&file, &store, &bytes, &format!("{place:?} of {pages} pages"));
    }
    is_refused(&file, &store, &whole[..pages / 2 * PAGE], "half of it");
}

#[test]
fn damage_of_a_larger_database_names_the_file_too_if_it_shows_at_the_start() {
    let served = filled();
    let (file, database) = (served.path("gateway.yaml"), served.path("store").join(DATABASE));
    let connection = Connection::open(&database).unwrap();
    let mut statement = connection.prepare("SELECT DISTINCT rootpage FROM sqlite_schema WHERE rootpage > 0").unwrap();
    let roots: Vec<usize> = statement
        .query_map([], |row| row.get::<_, i64>(0))
        .unwrap()
        .map(|page| page.unwrap().try_into().unwrap())
        .collect();
    drop(statement);
    connection.close().unwrap();
    let whole = fs::read(&database).unwrap();
    let mut refused = 0;
    for root in roots {
        let mut bytes = whole.clone();
        bytes[(root - 1) * PAGE..root * PAGE].fill(0xa5);
        fs::write(&database, &bytes).unwrap();
        // So large that it is not read from end to end.
        fs::File::options().write(true).open(&database).unwrap().set_len(65 << 20).unwrap();
        let Some((status, said)) = serve(&file) else { continue };
        refused += 1;
        assert_eq!(status, Some(1), "{said}");
        for words in [database.to_str().unwrap(), "hooklatch store check", "hooklatch store recover"] {
            assert!(said.contains(words), "{said}");
        }
    }
    assert!(refused >= 3, "{refused}");
}

#[test]
fn a_delivery_of_which_a_bit_was_changed_is_dead_and_reaches_no_handler() {
    let mut served = filled();
    let (file, database) = (served.path("gateway.yaml"), served.path("store").join(DATABASE));
    let (body, mut bytes) = (b"{\"id\":7,\"text\"", fs::read(&database).unwrap());
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, body).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[at + body.len() - 2] ^= 1);
    fs::write(&database, bytes).unwrap();
    let checked = Command::new(BINARY).args(["store", "check", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!((checked.status.code(), said.matches("not those that were stored").count()), (Some(1), 1), "{said}");
    let yaml = fs::read_to_string(&file).unwrap();
    served.write("gateway.yaml", &yaml.replace("paused: true", ""));
    served.gateway = GatewayProcess::start(&file);
    poll("the others are delivered", || served.metric(super::DELIVERED) == Some(59.0));
    poll("it is dead", || served.metric("hooklatch_queue_dead_total{route=\"hook\"}") == Some(1.0));
    assert!(served.upstream.entries().iter().all(|entry| !entry.body.starts_with(b"{\"id\":7,")));
    let mut reason = Vec::new();
    poll("its reason is written", || {
        reason = served.admin("/api/v1/deliveries?state=dead").body;
        memchr::memmem::find(&reason, b"\"reason\":\"unreadable\"").is_some()
    });
}

/// That `serve` refuses these bytes as a database.
#[track_caller]
fn is_refused(file: &Path, store: &Path, bytes: &[u8], what: &str) {
    let database = store.join(DATABASE);
    fs::write(&database, bytes).unwrap();
    let before = files(store);
    let Some((status, said)) = serve(file) else { panic!("{what}: it serves") };
    assert_eq!(status, Some(1), "{what}: {said}");
    for words in [database.to_str().unwrap(), "hooklatch store check", "hooklatch store recover"] {
        assert!(said.contains(words), "{what}: {said}");
    }
    let after = files(store);
    // SQLite may make an empty log, but nothing else.
    assert!(after.get(DATABASE) == before.get(DATABASE), "{what}");
    assert!(after.iter().all(|(name, bytes)| before.get(name) == Some(bytes) || bytes.is_empty()), "{what}");
}
