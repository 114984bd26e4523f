//! The inputs that the fuzzers start from, and those that they found something with, as ordinary tests: what must hold
//! for any input is checked here without nightly and libFuzzer. See `fuzz/README.md`.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Runs `check` on every file of a corpus.
fn run(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let input = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{} breaks it", file.display());
    }
}

#[test]
fn any_configuration_loads_or_is_refused_with_reasons_and_shows_no_secret() {
    run("configuration", targets::configuration::check);
}

#[test]
fn any_signature_header_that_nobody_signed_is_refused() {
    run("signatures", targets::signatures::check);
}

#[test]
fn any_connection_reaches_the_upstream_only_as_promised() {
    run("requests", targets::requests::check);
}
