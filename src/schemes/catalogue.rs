//! The built-in schemes: one file a provider in `catalogue/`, named like the scheme, compiled in and parsed when first
//! asked for.

use std::sync::OnceLock;

use super::Spec;

/// A scheme file.
struct Entry {
    name: &'static str,
    yaml: &'static str,
    spec: OnceLock<Spec>,
}

impl Entry {
    const fn new(name: &'static str, yaml: &'static str) -> Self {
        Self { name, yaml, spec: OnceLock::new() }
    }
}

/// By name.
static ENTRIES: [Entry; 3] = [
    Entry::new("circleci", include_str!("catalogue/circleci.yaml")),
    Entry::new("civo", include_str!("catalogue/civo.yaml")),
    Entry::new("icr", include_str!("catalogue/icr.yaml")),
];

/// The built-in scheme of this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    let entry = ENTRIES.iter().find(|entry| entry.name == name)?;
    Some(entry.spec.get_or_init(|| Spec::parse(entry.yaml).expect("a test parses every file of the catalogue")))
}

/// The names of the built-in schemes, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// The file of the built-in scheme of this name: all facts, in the scheme language.
pub fn source(name: &str) -> Option<&'static str> {
    ENTRIES.iter().find(|entry| entry.name == name).map(|entry| entry.yaml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_is_named_like_its_scheme() {
        for entry in &ENTRIES {
            let spec = Spec::parse(entry.yaml).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            assert_eq!(spec.name, entry.name);
        }
    }

    #[test]
    fn schemes_are_found_by_name_and_listed_in_order() {
        assert!(names().is_sorted());
        assert!(names().all(|name| find(name).is_some_and(|spec| spec.name == name)));
        assert!(find("nobody").is_none());
    }
}
