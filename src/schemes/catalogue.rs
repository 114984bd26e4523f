//! The built-in schemes: one file for each provider in `catalogue/`, named like the scheme, compiled in and parsed at first
//! use. The build lists the files, so a new provider needs only a new file.

use std::sync::{Arc, OnceLock};

use super::spec::Spec;

/// A scheme file.
struct Entry {
    name: &'static str,
    yaml: &'static str,
    /// The deliveries with a known verdict, as JSON.
    vectors: &'static str,
    spec: OnceLock<Arc<Spec>>,
}

impl Entry {
    const fn new(name: &'static str, yaml: &'static str, vectors: &'static str) -> Self {
        Self { name, yaml, vectors, spec: OnceLock::new() }
    }
}

// By name.
include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

fn entry(name: &str) -> Option<&'static Entry> {
    let position = ENTRIES.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
    ENTRIES.get(position)
}

/// The built-in scheme of this name.
pub fn find(name: &str) -> Option<&'static Arc<Spec>> {
    let entry = entry(name)?;
    let parse = || Arc::new(Spec::parse(entry.yaml).expect("a test parses every file of the catalogue"));
    Some(entry.spec.get_or_init(parse))
}

/// The names of the built-in schemes, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// The file of the built-in scheme of this name: all facts, in the scheme language.
pub fn source(name: &str) -> Option<&'static str> {
    entry(name).map(|entry| entry.yaml)
}

/// The deliveries with a known verdict for the built-in scheme of this name: a JSON array, which may be empty.
pub fn vectors(name: &str) -> Option<&'static str> {
    entry(name).map(|entry| entry.vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_is_named_like_its_scheme() {
        let mut wrong = Vec::new();
        for entry in &ENTRIES {
            match Spec::parse(entry.yaml) {
                Ok(spec) if spec.name == entry.name => {}
                Ok(spec) => wrong.push(format!("{}: is called {}", entry.name, spec.name)),
                Err(error) => wrong.push(format!("{}: {error}", entry.name)),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn schemes_are_found_by_name_and_listed_in_order() {
        assert!(names().is_sorted());
        assert!(names().all(|name| find(name).is_some_and(|spec| spec.name == name)));
        assert!(find("nobody").is_none());
    }
}
