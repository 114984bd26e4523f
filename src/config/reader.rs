//! Reads a [`Node`] tree key by key, knows the YAML path of each value and collects every error.
//!
//! A [`Section`] gives the value of each key that a reader asks for; [`Section::finish`] reports all other keys as unknown,
//! so every accepted key is read. A reader returns `None` for a wrong value after it has reported the error; the caller
//! continues with the next key.
//!
//! Refuses, in addition to the errors of each reader: 1. unknown keys; 2. repeated keys, at any level, also below unknown
//! keys; 3. keys that are not text; 4. tagged values.
//! Below a key that [could hold a secret](could_hold_secret), no unknown key and no value is quoted.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use super::error::ConfigError;
use super::near::nearest;
use super::raw::Node;

/// The most bytes of a value that an error quotes.
const LONGEST_SHOWN: usize = 40;
/// Keys beside those of secrets whose values are not quoted: a URL can have a password in it.
const QUIET: [&str; 5] = ["url", "upstream", "headers", "key", "schemes"];
/// About the key of a merge.
const MERGE: &str = "merge keys are not read: write the keys out; an alias (*name) can stand for a whole value";

/// All errors and warnings found so far.
#[derive(Debug, Default)]
pub(super) struct Errors {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigError>>,
}

/// A value with its YAML path.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
    errors: &'a Errors,
}

/// A map whose keys are asked for by name.
#[derive(Debug)]
pub(super) struct Section<'a> {
    entries: &'a [(Node, Node)],
    path: String,
    errors: &'a Errors,
    known: Vec<Cow<'static, str>>,
}

impl Errors {
    pub(super) fn push(&self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.borrow_mut().push(ConfigError::new(path, message));
    }

    /// The errors, and the warnings.
    pub(super) fn into_parts(self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

impl<'a> Field<'a> {
    /// The whole file. Reports what is wrong with any map or tag, at any level.
    pub(super) fn root(node: &'a Node, errors: &'a Errors) -> Self {
        check_structure(node, "", errors);
        Self { node, path: String::new(), errors }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// Reports an error at a key below this value.
    pub(super) fn error_below(&self, key: &str, message: impl Into<String>) {
        self.errors.push(join(&self.path, key), message);
    }

    /// Reports an error at a path below this value: `forms[0].content`.
    pub(super) fn error_at(&self, path: &str, message: impl Into<String>) {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        self.errors.push(format!("{}{dot}{path}", self.path), message);
    }

    /// Each key of the map with its value.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Field<'a>)>> {
        let Node::Map(entries) = self.node else { return self.wrong_kind("a map") };
        let field = |(name, node): &'a (Node, Node)| match name {
            Node::Text(key) => Some((key.as_str(), Field { node, path: join(&self.path, key), errors: self.errors })),
            _ => None, // reported with the structure
        };
        Some(entries.iter().filter_map(field).collect())
    }

    /// Adds a warning about this value, which is valid but unwise.
    pub(super) fn warn(&self, message: impl Into<String>) {
        let warning = ConfigError::new(self.path.as_str(), message);
        self.errors.warnings.borrow_mut().push(warning);
    }

    /// Reports an error at this value.
    pub(super) fn error(&self, message: impl Into<String>) {
        let error = ConfigError { found: self.shown_value(), ..ConfigError::new(self.path.as_str(), message) };
        self.errors.errors.borrow_mut().push(error);
    }

    /// The value as an error quotes it: a short one, at a key that does not hold a secret.
    fn shown_value(&self) -> Option<String> {
        let value = match self.node {
            Node::Text(text) => text.clone(),
            Node::Integer(number) => number.to_string(),
            Node::Bool(value) => value.to_string(),
            Node::Null | Node::Number | Node::List(_) | Node::Map(_) | Node::Tagged => return None,
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || " ._-/:*,+%[]".contains(letter);
        let path = self.path.to_ascii_lowercase();
        let is_open = !could_hold_secret(&path) && !QUIET.iter().any(|word| path.contains(word));
        (is_open && value.len() <= LONGEST_SHOWN && value.chars().all(plain) && !looks_secret(&value)).then_some(value)
    }

    /// The value as a map.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        match self.node {
            Node::Map(entries) => Some(self.with_entries(entries)),
            _ => self.wrong_kind("a map"),
        }
    }

    /// As [`Field::section`], but a key without a value is an empty map: all of its lines may be commented out.
    pub(super) fn section_or_nothing(&self) -> Option<Section<'a>> {
        if *self.node == Node::Null { Some(self.with_entries(&[])) } else { self.section() }
    }

    /// The value as a list that is not empty.
    pub(super) fn list(&self) -> Option<Vec<Field<'a>>> {
        match self.node {
            Node::List(items) if items.is_empty() => {
                self.error("needs at least one entry");
                None
            }
            Node::List(items) => {
                let field =
                    |(index, node)| Field { node, path: format!("{}[{index}]", self.path), errors: self.errors };
                Some(items.iter().enumerate().map(field).collect())
            }
            _ => self.wrong_kind("a list"),
        }
    }

    /// A list of texts that `parse` takes, none twice.
    pub(super) fn distinct<T, E>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>>
    where
        T: PartialEq + fmt::Display,
        E: ToString,
    {
        let mut values: Vec<T> = Vec::new();
        let read = self.list()?.into_iter().map(|item| {
            let value = item.parsed(&parse)?;
            if values.contains(&value) {
                item.error(format!("{value} is repeated"));
                return None;
            }
            values.push(value);
            Some(())
        });
        all(read)?;
        Some(values)
    }

    /// The same, but the list may be empty.
    pub(super) fn distinct_if_any<T, E>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>>
    where
        T: PartialEq + fmt::Display,
        E: ToString,
    {
        let is_empty = matches!(self.node, Node::List(items) if items.is_empty());
        if is_empty { Some(Vec::new()) } else { self.distinct(parse) }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match self.node {
            Node::Text(text) => Some(text),
            Node::Bool(_) | Node::Integer(_) | Node::Number => self.wrong_kind("text (put it in quotes)"),
            _ => self.wrong_kind("text"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.node {
            Node::Bool(value) => Some(*value),
            _ => self.wrong_kind("true or false"),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(&self, least: u64, most: u64) -> Option<u64> {
        match self.node {
            Node::Integer(value) if (least..=most).contains(value) => Some(*value),
            Node::Integer(_) | Node::Number => {
                self.error(format!("must be a whole number from {least} to {most}"));
                None
            }
            _ => self.wrong_kind("a whole number"),
        }
    }

    /// Text that `parse` takes; its error is reported here.
    pub(super) fn parsed<T, E: ToString>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.checked(parse(self.text()?))
    }

    /// As [`Field::parsed`], but a bare number is parsed too, because the parser has a better error text for it.
    pub(super) fn parsed_or_number<T, E: ToString>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match self.node {
            Node::Integer(number) => self.checked(parse(&number.to_string())),
            _ => self.parsed(parse),
        }
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!("must be one of: {}", words.join(", ")));
        }
        found
    }

    /// Reports an error, if there is one.
    pub(super) fn checked<T, E: ToString>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.error(error.to_string())).ok()
    }

    /// Reports that the value is not `wanted`.
    pub(super) fn wrong_kind<T>(&self, wanted: &str) -> Option<T> {
        match self.node {
            Node::Null => self.error(format!("has no value: expected {wanted}")),
            Node::Tagged => {} // reported with the structure
            other => self.error(format!("expected {wanted}, found {}", other.kind())),
        }
        None
    }

    fn with_entries(&self, entries: &'a [(Node, Node)]) -> Section<'a> {
        Section { entries, path: self.path.clone(), errors: self.errors, known: Vec::new() }
    }
}

impl<'a> Section<'a> {
    /// The value of a key, if the file has it. From then on the key counts as known.
    pub(super) fn get(&mut self, key: impl Into<Cow<'static, str>>) -> Option<Field<'a>> {
        let key = key.into();
        let entry = self.entries.iter().find(|(name, _)| is_text(name, &key));
        let path = join(&self.path, &key);
        self.known.push(key);
        let (_, node) = entry?;
        Some(Field { node, path, errors: self.errors })
    }

    /// A key that may be left out; `None` only if its value is wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(field) => read(&field),
            None => Some(default),
        }
    }

    /// A required key.
    pub(super) fn required<T>(&mut self, key: &'static str, read: impl FnOnce(&Field<'a>) -> Option<T>) -> Option<T> {
        match self.get(key) {
            Some(field) => read(&field),
            None => {
                self.errors.push(join(&self.path, key), "is missing");
                None
            }
        }
    }

    /// Reports the unknown keys; `explain` can give a better text for some of them. Returns whether all keys were known.
    pub(super) fn finish(self, explain: impl Fn(&str) -> Option<String>) -> bool {
        let mut seen = HashSet::new();
        let known: Vec<&str> = self.known.iter().map(|key| &**key).collect();
        for (name, _) in self.entries {
            let Node::Text(key) = name else { continue };
            if known.contains(&key.as_str()) || !seen.insert(key) {
                continue;
            }
            if key == "<<" {
                self.errors.push(join(&self.path, key), MERGE);
            } else if let Some(message) = explain(key) {
                self.errors.push(join(&self.path, key), message);
            } else if let Some(near) = nearest(key, &known) {
                self.errors.push(join(&self.path, key), format!("unknown key; did you mean \"{near}\"?"));
            } else {
                let (path, hidden) = shown(&self.path, key);
                let known = known.join(", ");
                self.errors.push(path, format!("unknown key{hidden}; known here: {known}"));
            }
        }
        seen.is_empty()
    }
}

/// Evaluates every item; then all values, or `None` if one is missing.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// Reports repeated keys, keys that are not text and tags, in the whole tree.
fn check_structure(node: &Node, path: &str, errors: &Errors) {
    match node {
        Node::Map(entries) => {
            let mut seen = HashSet::new();
            let mut reported = HashSet::new();
            for (name, value) in entries {
                let Node::Text(key) = name else {
                    let found = if *name == Node::Tagged { "a tagged value" } else { name.kind() };
                    errors.push(path, format!("a key must be text, found {found}"));
                    continue;
                };
                let (at, hidden) = shown(path, key);
                if !seen.insert(key) && reported.insert(key) {
                    errors.push(at.as_str(), format!("the key is repeated{hidden}"));
                }
                check_structure(value, &at, errors);
            }
        }
        Node::List(items) => {
            for (index, item) in items.iter().enumerate() {
                check_structure(item, &format!("{path}[{index}]"), errors);
            }
        }
        Node::Tagged => errors.push(path, "YAML tags are not supported; if this is text, put it in quotes"),
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Number | Node::Text(_) => {}
    }
}

/// The path to report for a key that may be unknown, and an addition to the message if the path leaves the key out.
fn shown(path: &str, key: &str) -> (String, &'static str) {
    const OF_SECRETS: [&str; 4] = ["env", "file", "id", "optional"];
    if could_hold_secret(path) && !OF_SECRETS.contains(&key) {
        (path.to_owned(), " (not shown, it could be a secret)")
    } else {
        (join(path, key), "")
    }
}

/// Whether a key on this path has a name that is used for secrets.
pub(super) fn could_hold_secret(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["secret", "token", "password"].iter().any(|word| path.contains(word))
}

/// Whether a text looks like a secret that was put into the wrong place: it begins as those of providers do, or is one long word
/// of letters and digits.
pub(super) fn looks_secret(text: &str) -> bool {
    const BEGINNINGS: [&str; 12] =
        ["whsec_", "sk_", "rk_", "pk_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "AKIA", "eyJ", "v1,"];
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=-".contains(&byte));
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        || (text.len() >= 20 && is_word && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic))
}

/// `path.key`, or `path["odd key"]` with escapes where the key is not plain.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.is_empty() || key.len() > 64 || !key.chars().all(plain) {
        let cut: String = key.chars().take(64).collect();
        format!("{path}[{cut:?}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn is_text(node: &Node, text: &str) -> bool {
    matches!(node, Node::Text(name) if name == text)
}

#[cfg(test)]
mod tests {
    use super::super::raw::parse;
    use super::*;

    fn errors(text: &str, read: impl FnOnce(&Field<'_>)) -> Vec<String> {
        let node = parse(text).expect("the test's YAML is valid");
        let errors = Errors::default();
        read(&Field::root(&node, &errors));
        errors.into_parts().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_near_key_is_suggested_and_a_far_one_gets_the_list() {
        let errors = errors("lisen: 1\nfoo: 2", |root| {
            let mut section = root.section().expect("a map");
            section.get("listen");
            section.get("threads");
            section.finish(|_| None);
        });
        assert_eq!(
            errors,
            ["lisen: unknown key; did you mean \"listen\"?", "foo: unknown key; known here: listen, threads"]
        );
    }

    #[test]
    fn an_odd_key_is_escaped_and_cut() {
        let errors = errors(&format!("\"a\\x1b[31m\": 1\n{}: 2", "x".repeat(100)), |root| {
            root.section().expect("a map").finish(|_| None);
        });
        assert_eq!(errors[0], "[\"a\\u{1b}[31m\"]: unknown key; known here: ");
        assert_eq!(errors[1], format!("[\"{}\"]: unknown key; known here: ", "x".repeat(64)));
    }

    #[test]
    fn repeated_keys_are_seen_at_any_level() {
        let errors = errors("a: {b: [{c: 1, c: 2, c: 3}]}\na: 1", |_| ());
        assert_eq!(errors, ["a.b[0].c: the key is repeated", "a: the key is repeated"]);
    }

    #[test]
    fn keys_that_are_not_text_are_refused() {
        let errors = errors("a: {1: x, true: y, ~: z, [b]: c, !t d: e}", |_| ());
        let found = ["a number", "true or false", "nothing", "a list", "a tagged value"];
        assert_eq!(errors, found.map(|kind| format!("a: a key must be text, found {kind}")));
    }
}
