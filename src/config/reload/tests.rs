use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use tempfile::TempDir;

use super::*;

const YAML: &str = "routes:\n  - name: r\n    path: /r\n    scheme: civo\n    upstream: http://127.0.0.1:1/\n    \
                    secrets: [{file: key}, {file: old, optional: true}]\n";

/// A folder with a valid configuration, and what its load remembers.
fn loaded() -> (TempDir, Watched) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "secret").unwrap();
    fs::write(folder.path().join("gateway.yaml"), YAML).unwrap();
    let watched = watched(folder.path());
    (folder, watched)
}

fn watched(folder: &Path) -> Watched {
    let (config, watched) = load_watched(&folder.join("gateway.yaml"));
    config.unwrap();
    assert!(!watched.has_changed());
    watched
}

#[test]
fn other_content_is_a_change_and_the_same_content_written_again_is_none() {
    let (folder, watched) = loaded();
    for (file, same) in [("gateway.yaml", YAML), ("key", "secret")] {
        let file = folder.path().join(file);
        fs::write(&file, same).unwrap();
        assert!(!watched.has_changed());
        fs::write(&file, format!("{same} ")).unwrap();
        assert!(watched.has_changed());
        fs::write(&file, same).unwrap();
        assert!(!watched.has_changed());
    }
}

#[test]
fn a_file_that_is_replaced_by_rename_has_changed() {
    let (folder, watched) = loaded();
    fs::write(folder.path().join("new"), "another").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("key")).unwrap();
    assert!(watched.has_changed());
}

#[test]
fn the_symlink_swap_of_a_kubernetes_mount_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, secret) in [("..2026_01", "one"), ("..2026_02", "two")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("key"), secret).unwrap();
        fs::write(at(version).join("gateway.yaml"), YAML).unwrap();
    }
    symlink("..2026_01", at("..data")).unwrap();
    symlink("..data/key", at("key")).unwrap();
    symlink("..data/gateway.yaml", at("gateway.yaml")).unwrap();
    let watched = watched(folder.path());

    symlink("..2026_02", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert!(watched.has_changed());
}

#[test]
fn a_file_that_comes_or_goes_is_a_change_also_an_optional_one() {
    let (folder, watched) = loaded();
    let old = folder.path().join("old");
    fs::write(&old, "previous").unwrap();
    assert!(watched.has_changed());
    fs::remove_file(&old).unwrap();
    assert!(!watched.has_changed());
    fs::remove_file(folder.path().join("gateway.yaml")).unwrap();
    assert!(watched.has_changed());
}

#[test]
fn what_failed_to_load_is_tried_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    let (missing, watched) = load_watched(&path);
    assert!(missing.is_err() && !watched.has_changed());
    fs::write(&path, YAML).unwrap();
    assert!(watched.has_changed());

    let (without_key, watched) = load_watched(&path);
    assert!(without_key.is_err() && !watched.has_changed());
    fs::write(folder.path().join("key"), "secret").unwrap();
    assert!(watched.has_changed());
}

#[test]
fn a_request_loads_even_if_nothing_changed_and_the_end_of_requests_ends_the_watch() {
    let (_folder, watched) = loaded();
    let (requests, requested) = sync_channel(1);
    let (publish, published) = sync_channel(1);
    let watching = std::thread::spawn(move || watch(watched, &requested, |progress| publish.send(progress).is_ok()));
    for _ in 0..2 {
        requests.send(()).unwrap();
        let is_loaded = |progress| matches!(progress, Progress::Loaded(loaded) if loaded.is_ok());
        assert!(published.iter().find_map(|progress| is_loaded(progress).then_some(())).is_some());
    }
    drop(published);
    drop(requests);
    watching.join().unwrap();
}

#[test]
fn what_is_no_regular_file_is_an_error_and_is_not_waited_for() {
    let (folder, watched) = loaded();
    for file in ["key", "gateway.yaml"] {
        let file = folder.path().join(file);
        fs::remove_file(&file).unwrap();
        // A FIFO without a writer: to open it would wait for one.
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR).unwrap();
        assert!(watched.has_changed());
        let (failed, _) = load_watched(&folder.path().join("gateway.yaml"));
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
    }
}

#[test]
fn a_mark_tells_contents_apart_and_shows_nothing() {
    assert_eq!(Mark::of(b"canary"), Mark::of(b"canary"));
    assert_ne!(Mark::of(b"canary"), Mark::of(b"canarz"));
    assert_eq!(format!("{:?}", Mark::of(b"canary")), "Mark(redacted)");
}
