//! Compares `docs/configuration.md` with the loader: keys, defaults, and keys that need a restart.

use std::collections::BTreeSet;
use std::path::Path;

use hooklatch::admin;
use hooklatch::config;
use serde_json::{Value, json};

use super::markdown::{Document, spans};
use super::{MadeUp, read};

/// A key that no section has, and that resembles none.
const UNKNOWN: &str = "qqqqqqqqqqqq";

/// The rows of the reference, each with the path of its key and all cells.
fn rows() -> Vec<(String, Vec<String>)> {
    let rows = Document::read("docs/configuration.md").tables("Key").concat();
    rows.into_iter().map(|row| (spans(&row[0]).concat(), row)).collect()
}

/// The keys that the loader lists as known in its errors about an unknown key.
fn known() -> BTreeSet<String> {
    let everywhere = json!({
        "server": { "tls": { UNKNOWN: 1 }, UNKNOWN: 1 },
        "admin": { "token": { UNKNOWN: 1 }, UNKNOWN: 1 },
        "telemetry": { "otlp": { "tls": { UNKNOWN: 1 }, UNKNOWN: 1 }, UNKNOWN: 1 },
        "store": { "keep": { UNKNOWN: 1 }, "postgres": { "url": { UNKNOWN: 1 }, UNKNOWN: 1 }, UNKNOWN: 1 },
        "routes": [{
            "delivery": "queue",
            "response": { UNKNOWN: 1 },
            "retry": { UNKNOWN: 1 },
            "circuit": { UNKNOWN: 1 },
            "dedupe": { "key": { UNKNOWN: 1 }, UNKNOWN: 1 },
            "sign": { "secrets": [{ UNKNOWN: 1 }], UNKNOWN: 1 },
            "scheme": { "name": "icr", UNKNOWN: 1 },
            "secrets": [{ UNKNOWN: 1 }],
            "upstream": { "tls": { UNKNOWN: 1 }, UNKNOWN: 1 },
            "rate_limit": { UNKNOWN: 1 },
            UNKNOWN: 1,
        }],
        UNKNOWN: 1,
    });
    let errors = config::parse(&everywhere.to_string(), Path::new(""), &MadeUp).unwrap_err();
    let sections = errors.iter().filter_map(|error| {
        let (_, keys) = error.message.split_once("known here: ")?;
        let path = error.path.replace("[0]", "[]");
        Some((path.trim_end_matches(UNKNOWN).trim_end_matches('.').to_owned(), keys.split(", ")))
    });
    let keys = sections.flat_map(|(section, keys)| {
        let dot = if section.is_empty() { "" } else { "." };
        keys.map(|key| format!("{section}{dot}{key}")).collect::<Vec<_>>()
    });
    keys.collect()
}

#[test]
fn the_reference_has_every_key_that_the_loader_knows_and_no_other() {
    let documented: Vec<String> = rows().into_iter().map(|(key, _)| key).collect();
    let known = known();
    assert!(known.len() >= 90, "{known:?}");
    assert_eq!(documented.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(documented.len(), known.len());
}

#[test]
fn the_annotated_file_has_every_key() {
    let file = read("gateway.yaml");
    for key in known() {
        let name = key.rsplit('.').next().unwrap();
        assert!(file.contains(&format!("{name}:")), "{key}");
    }
}

#[test]
fn the_defaults_are_those_of_the_loader() {
    let least = json!({
        "telemetry": { "otlp": { "endpoint": "http://h/v1/traces" } },
        "store": { "path": "/s" },
        "routes": [{
            "name": "r", "path": "/r", "scheme": "icr", "secrets": [{ "env": "S" }], "upstream": { "url": "http://h/" },
        }],
    });
    // For the keys that a queue has, and for those that have other defaults with a queue.
    let queue = json!({
        "store": { "path": "/s" },
        "routes": [{
            "name": "r", "path": "/r", "scheme": "circleci", "secrets": [{ "env": "S" }], "upstream": "http://h/",
            "delivery": "queue",
        }],
    });
    let of_queue = ["response", "retry", "max_concurrent", "circuit", "paused", "dedupe."];
    let summary = |config: &Value| {
        let config = config::parse(&config.to_string(), Path::new(""), &MadeUp);
        admin::summary(&config.unwrap_or_else(|errors| panic!("{errors:?}")))
    };
    let mut compared = 0;
    for (key, row) in rows() {
        // A scheme's options are shown as they are set.
        if !row[2].starts_with('`') || key.starts_with("routes[].scheme.") {
            continue;
        }
        let default: Value = serde_yaml::from_str(&spans(&row[2])[0]).unwrap();
        let name = key.trim_start_matches("routes[].");
        let base = if of_queue.iter().any(|of| name.starts_with(of)) { &queue } else { &least };
        let mut config = base.clone();
        let place = key.split('.').fold(&mut config, |value, name| match name.strip_suffix("[]") {
            Some(list) => &mut value[list][0],
            None => &mut value[name],
        });
        assert!(place.is_null(), "{key} is required");
        *place = default;
        assert_eq!(summary(&config), summary(base), "{key}");
        compared += 1;
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn the_keys_that_take_a_restart_are_those_that_a_reload_refuses() {
    let least = r#"routes: [{ name: r, path: /r, scheme: icr, secrets: [{ env: S }], upstream: "http://h/" }]"#;
    let config = config::parse(least, Path::new(""), &MadeUp).unwrap();
    let refused: BTreeSet<String> = config::View::of(&config).keys_at_start_only().into_iter().collect();
    assert!(!refused.is_empty());
    let documented = rows().into_iter().filter(|(_, row)| row[3].contains("*Takes a restart*")).map(|(key, _)| key);
    assert_eq!(documented.collect::<BTreeSet<_>>(), refused);
}
