//! A store that cannot be opened, or is full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::http;
use crate::support::process::{BINARY, GatewayProcess, Process, Stream, poll};
use crate::support::queued::Queued;
use crate::support::rig::is_problem;
use crate::support::sender::Delivery;
use crate::support::served::{self, Served};

/// A configuration with a store, and the folder that it stands in.
fn configured() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "a-secret-of-the-test").unwrap();
    let yaml = "server: { listen: 127.0.0.1:0, threads: 1 }\n\
                admin: { listen: 127.0.0.1:0 }\n\
                store: { path: store, min_free: 0MiB }\n\
                routes:\n  - { name: hook, path: /hook, scheme: circleci, secrets: [{ file: secret }], \
                upstream: \"http://127.0.0.1:9/\", delivery: queue }\n";
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, yaml).unwrap();
    (folder, file)
}

/// Serves a configuration that cannot be served: the exit status, and what it says.
fn fails(file: &Path) -> (Option<i32>, String) {
    let mut process = Process::start("the gateway", Command::new(BINARY).arg("serve").arg("-c").arg(file), "");
    let status = process.wait();
    (status.code(), process.printed(Stream::Stderr).join("\n"))
}

/// The database of a gateway that has run, after `change`.
fn changed(folder: &TempDir, file: &Path, change: &str) -> PathBuf {
    assert_eq!(GatewayProcess::start(file).process.terminate().code(), Some(0));
    let database = folder.path().join("store/hooklatch.db");
    Connection::open(&database).unwrap().execute_batch(change).unwrap();
    database
}

#[test]
fn the_folder_is_made_and_only_its_owner_may_read_it() {
    let (folder, file) = configured();
    let mut gateway = GatewayProcess::start(&file);
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("store"), 0o700);
    let files: Vec<_> = fs::read_dir(folder.path().join("store")).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.iter().any(|file| file.file_name() == "hooklatch.db"), "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert_eq!(gateway.process.terminate().code(), Some(0));
}

#[test]
fn a_second_process_on_the_same_folder_ends_with_1_and_names_the_first() {
    let (_folder, file) = configured();
    let mut first = GatewayProcess::start(&file);
    let (status, said) = fails(&file);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("in use by process {}", first.process.id())), "{said}");
    first.process.signal("KILL");
    assert_eq!(first.process.wait().code(), None);
    // A lock does not outlive its process.
    assert_eq!(GatewayProcess::start(&file).process.terminate().code(), Some(0));
}

#[test]
fn a_database_of_a_newer_version_ends_with_78_and_is_left_as_it_is() {
    let (folder, file) = configured();
    let database = changed(&folder, &file, "PRAGMA user_version = 999");
    let before = fs::read(&database).unwrap();
    let (status, said) = fails(&file);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("has schema 999") && said.contains("newer version of hooklatch"), "{said}");
    assert!(fs::read(&database).unwrap() == before);
}

#[test]
fn a_database_of_another_application_ends_with_78_and_is_left_as_it_is() {
    let (folder, file) = configured();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let database = store.join("hooklatch.db");
    let other = "PRAGMA application_id = 7; CREATE TABLE mine (n INTEGER); INSERT INTO mine VALUES (1)";
    Connection::open(&database).unwrap().execute_batch(other).unwrap();
    let before = fs::read(&database).unwrap();
    let (status, said) = fails(&file);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("another application"), "{said}");
    assert!(fs::read(&database).unwrap() == before);
}

#[test]
fn a_file_that_is_no_database_ends_with_1_says_what_to_do_and_is_left_as_it_is() {
    let (folder, file) = configured();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let database = store.join("hooklatch.db");
    let garbage = "garbage ".repeat(10_000);
    fs::write(&database, &garbage).unwrap();
    let (status, said) = fails(&file);
    assert_eq!(status, Some(1), "{said}");
    let named = database.to_str().unwrap();
    assert!(said.contains(named) && said.contains("store check") && said.contains("store recover"), "{said}");
    assert!(fs::read(&database).unwrap() == garbage.as_bytes());
}

#[test]
fn a_folder_that_cannot_be_made_ends_with_1_and_is_named() {
    let (folder, file) = configured();
    fs::write(folder.path().join("store"), "a file").unwrap();
    let (status, said) = fails(&file);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(folder.path().join("store").to_str().unwrap()), "{said}");
}

#[test]
fn a_full_store_refuses_deliveries_with_retry_after_and_goes_on_sending() {
    let mut queued =
        Queued::with_server("", "max_size: 4MiB", "circleci", "delivery: queue, dedupe: false, max_concurrent: 1");
    let body = vec![b'x'; 200 << 10];
    let delivery = Delivery::circleci(&body);
    queued.accepts(&delivery);
    let mut accepted = 1;
    let refused = loop {
        let response = queued.send(&delivery);
        if response.status != 200 {
            break response;
        }
        accepted += 1;
        assert!(accepted < 30, "the store has no bound");
    };
    is_problem(&refused, 503, "storage_full");
    assert_eq!(refused.all("retry-after"), ["60"]);
    assert_eq!(queued.metrics().get("hooklatch_store_max_bytes", &[]), f64::from(4 << 20));
    for _ in 0..accepted {
        assert!(queued.takes().body == body);
    }
    queued.wait_for_delivered(f64::from(accepted));
    // What was delivered leaves the files, and the store takes deliveries again by itself.
    queued.answer_always();
    poll("there is room again", || queued.send(&delivery).status == 200);
}

#[test]
fn a_reload_changes_the_bounds_of_the_store_and_how_long_it_keeps() {
    let configured = |store: &str| {
        let hook = served::route("hook", "[{ file: one }]", "delivery: queue, dedupe: false");
        format!("{hook}store: {{ path: store, {store} }}\n")
    };
    let mut served = Served::start(&configured("min_free: 0MiB, max_size: 1KiB"), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 503);
    served.configure(&configured("min_free: 0MiB, max_size: 1GiB"));
    served.reload();
    assert_eq!(served.deliver("/hook", "secret"), 200);
    assert_eq!(served.metric("hooklatch_store_max_bytes"), Some(f64::from(1 << 30)));
    let status = String::from_utf8(served.admin("/api/v1/status").body).unwrap();
    assert!(status.contains(&format!("\"max\":{}", 1 << 30)), "{status}");
    served.configure(&configured("min_free: 1000000GiB, max_size: 1GiB"));
    served.reload();
    assert_eq!(served.deliver("/hook", "secret"), 503);
    let delivered = || String::from_utf8(served.admin("/api/v1/deliveries?state=delivered").body).unwrap();
    poll("it is delivered", || delivered().contains("\"id\""));
    served.configure(&configured("min_free: 0MiB, keep: { delivered: 0s }"));
    served.gateway.process.signal("HUP");
    poll("it is not kept", || !delivered().contains("\"id\""));
}

#[test]
fn a_proxying_route_goes_on_while_the_store_is_full() {
    let mut queued = Queued::with_server("", "max_size: 1KiB", "circleci", "delivery: proxy");
    let mut sender = queued.sending(&Delivery::circleci("{}"));
    queued.takes();
    assert_eq!(sender.receive().status, 200);
}

#[test]
fn check_says_what_waits_in_a_store_and_makes_no_file() {
    let (folder, file) = configured();
    let store = folder.path().join("store");
    let check = || {
        let output = Command::new(BINARY).args(["check", "-c"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [said, warned] = check();
    assert!(said.ends_with(&format!("\nstore  {}  nothing stored yet\n", store.display())), "{said}");
    assert!(!store.exists() && warned.is_empty(), "{warned}");

    let mut gateway = GatewayProcess::start(&file);
    for number in 0..2 {
        let delivery = Delivery::circleci_with("a-secret-of-the-test", format!("{number}"));
        assert_eq!(http::send(gateway.server, &delivery.bytes()).status, 200);
    }
    let waiting = |[said, _]: &[String; 2]| said.contains(" of 10.0 GiB used, ") && said.contains(" free, 2 waiting\n");
    let running = check();
    assert!(waiting(&running) && running[1].is_empty(), "{running:?}");
    assert!(gateway.process.terminate().success());

    let files = || {
        let names = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    };
    let before = files();
    let stopped = check();
    assert!(waiting(&stopped) && stopped[1].is_empty(), "{stopped:?}");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("name: hook", "name: another")).unwrap();
    let [_, warned] = check();
    assert!(warned.contains("2 waiting deliveries of the route \"hook\" are held"), "{warned}");
    assert_eq!(files(), before);
}

#[test]
fn check_ends_as_serve_does_where_the_store_cannot_be_used() {
    let check = |file: &Path| {
        let output = Command::new(BINARY).args(["check", "-c"]).arg(file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let same = |file: &Path, status, words: &str| {
        for (found, said) in [check(file), fails(file)] {
            assert_eq!(found, Some(status), "{said}");
            assert!(said.contains(words), "{said}");
        }
    };
    for (change, words) in [("user_version = 999", "has schema 999"), ("application_id = 7", "another application")] {
        let (folder, file) = configured();
        changed(&folder, &file, &format!("PRAGMA {change}"));
        same(&file, 78, words);
    }
    let (folder, file) = configured();
    let store = folder.path().join("store");
    fs::write(&store, "a file").unwrap();
    same(&file, 1, store.to_str().unwrap());
    fs::remove_file(&store).unwrap();
    fs::create_dir(&store).unwrap();
    fs::write(store.join("hooklatch.db"), "garbage ".repeat(1_000)).unwrap();
    same(&file, 1, "store check");
}
