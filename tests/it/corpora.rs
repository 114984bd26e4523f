//! The fuzzers' corpora as ordinary tests: the inputs that they start from, and those that once broke something. See
//! `fuzz/README.md`.

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

#[test]
fn any_request_head_is_the_same_in_whatever_pieces_it_arrives() {
    run("head_splits", targets::head_splits::check);
}

#[test]
fn any_chunked_body_is_what_a_reference_makes_of_it() {
    run("chunked", targets::chunked::check);
}

#[test]
fn any_form_in_parts_that_nobody_signed_is_refused() {
    run("multipart", targets::multipart::check);
}

#[test]
fn any_response_is_the_same_in_whatever_pieces_it_arrives_and_by_hyper() {
    run("response_head", targets::response_head::check);
}

#[test]
fn any_request_that_is_accepted_is_read_alike_by_hyper() {
    run("differential", targets::differential::check);
}

/// Otherwise Cargo would not build the fuzzers with `--locked`.
#[test]
fn the_fuzzers_lock_file_has_all_that_the_gateway_depends_on() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (manifest, lock) = (read("Cargo.toml"), read("fuzz/Cargo.lock"));
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    let (_, locked) = lock.split_once("\nname = \"hooklatch\"\n").unwrap();
    let (locked, _) = locked.split_once(']').unwrap();
    let names = dependencies
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("optional = true"))
        .filter_map(|line| {
            let (name, rest) = line.split_once(" = ")?;
            let renamed = rest.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            Some(renamed.unwrap_or(name))
        });
    let mut count = 0;
    for name in names {
        // With its version, where there is more than one.
        assert!([format!("\"{name}\""), format!("\"{name} ")].iter().any(|name| locked.contains(name)), "{name}");
        count += 1;
    }
    assert!(count >= 20, "{count}");
}
