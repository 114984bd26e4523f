//! The configuration's text as a tree that keeps everything: map entries are a list, so that a repeated key is seen, and no
//! value is converted.
//!
//! Refuses: 1. a text that is not YAML, or more than one document; 2. more than 128 levels of nesting; 3. aliases that expand
//! a small file too far; 4. scalars that do not fit their `!!` tag. Other tags (`!x`) are kept as [`Node::Tagged`], which the
//! reader refuses at its path. No error text quotes the file, because a quote could be a secret.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess};

/// The most nodes and bytes of text that a file may expand to. A file has at most 1 MiB, so only aliases reach this limit.
const MAX_EXPANDED: usize = 4 << 20;

/// The most open brackets in a text. The parser's time grows with their square before its own limit on nesting applies, so
/// they are counted first, also in quotes and comments.
const MAX_OPEN: usize = 1000;

/// One value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`.
    Null,
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(u64),
    /// Any other number.
    Number,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, repeated keys included.
    Map(Vec<(Node, Node)>),
    /// A value with a tag that has no meaning for the gateway.
    Tagged,
}

impl Node {
    /// The kind of value, for error texts.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Number => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Tagged => "a tagged value",
        }
    }
}

/// Parses one YAML document; an empty text is [`Node::Null`].
pub(super) fn parse(text: &str) -> Result<Node, String> {
    if open_brackets(text) > MAX_OPEN {
        return Err("nested too deeply".to_owned());
    }
    // First the syntax only: the texts of these errors are constants of the parser.
    serde_yaml::from_str::<IgnoredAny>(text).map_err(|error| located(&error, syntax_text(&error, text)))?;
    // From here on the parser's errors can quote the file, so they get texts of our own.
    let budget = Cell::new(MAX_EXPANDED);
    let node = Seed(&budget).deserialize(serde_yaml::Deserializer::from_str(text));
    node.map_err(|error| located(&error, content_text(&error, &budget).to_owned()))
}

/// The most brackets that are open at once.
fn open_brackets(text: &str) -> usize {
    let mut open = 0usize;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn located(error: &serde_yaml::Error, text: String) -> String {
    match error.location() {
        Some(at) => format!("line {} column {}: {text}", at.line(), at.column()),
        None => text,
    }
}

fn syntax_text(error: &serde_yaml::Error, file: &str) -> String {
    let text = error.to_string();
    if is_toml(file) {
        return "this is TOML, and the file must be YAML: `routes:`, and below it `- name: civo`".to_owned();
    }
    if text.contains("more than one document") {
        return "the file holds more than one YAML document".to_owned();
    }
    // "did not find expected key at line 3 column 5, while parsing …": the place stands at the front already.
    let (problem, rest) = text.split_once(" at ").unwrap_or((&text, ""));
    let context = rest.split_once(", ").map(|(_, context)| format!(", {context}")).unwrap_or_default();
    // The parser has more than one word for it.
    let line = error.location().and_then(|at| file.lines().nth(at.line().checked_sub(1)?)).unwrap_or_default();
    let mut blanks = line.chars().take_while(|c| [' ', '\t'].contains(c));
    let advice = if blanks.any(|c| c == '\t') { "; indent by spaces, never by tabs" } else { "" };
    format!("not valid YAML: {problem}{context}{advice}")
}

/// Whether the first line that is no comment is one of TOML and none of YAML: `[server]`, `[[routes]]` or `key = "value"`.
fn is_toml(file: &str) -> bool {
    let mut lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return false };
    let is_key = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let table = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    let table = table.map(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(line));
    table.is_some_and(is_key) || line.split_once('=').is_some_and(|(key, _)| is_key(key.trim()))
}

fn content_text(error: &serde_yaml::Error, budget: &Cell<usize>) -> &'static str {
    let text = error.to_string();
    if budget.get() == 0 || text.contains("repetition limit exceeded") {
        "aliases expand to more than the gateway reads"
    } else if text.contains("recursion limit exceeded") {
        "nested too deeply"
    } else {
        "a value does not fit its YAML tag"
    }
}

/// Reads one node and subtracts its weight from the budget.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a Cell<usize>);

impl Seed<'_> {
    fn spend<T, E: de::Error>(self, weight: usize, value: T) -> Result<T, E> {
        let left = self.0.get().saturating_sub(weight.saturating_add(1));
        self.0.set(left);
        if left == 0 { Err(E::custom("too large")) } else { Ok(value) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.spend(0, Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.spend(0, Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.spend(0, Node::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.spend(0, Node::Integer(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
        self.spend(0, Node::Number)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        self.spend(0, Node::Number)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        self.spend(0, Node::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
        self.spend(0, Node::Number)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.spend(value.len(), ())?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        self.spend(0, Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(self)? {
            map.push((key, entries.next_value_seed(self)?));
        }
        self.spend(0, Node::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_, content) = tagged.variant::<IgnoredAny>()?;
        content.newtype_variant_seed(self)?;
        Ok(Node::Tagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).expect_err("must not parse")
    }

    #[test]
    fn keeps_entries_in_order_with_repetitions() {
        let text = |text: &str| Node::Text(text.to_owned());
        let map =
            Node::Map(vec![(text("b"), Node::Integer(1)), (text("a"), Node::Null), (text("b"), Node::Bool(true))]);
        assert_eq!(parse("b: 1\na:\nb: true"), Ok(map));
    }

    #[test]
    fn an_empty_text_is_null() {
        assert_eq!(parse(""), Ok(Node::Null));
        assert_eq!(parse("# nothing\n"), Ok(Node::Null));
    }

    #[test]
    fn a_syntax_error_has_its_line_and_column() {
        let error = error("server:\n  listen: [\n  }\n");
        assert!(error.starts_with("line 3 column 3: not valid YAML: "), "{error}");
    }

    #[test]
    fn a_tab_is_to_be_spaces() {
        for text in ["server:\n\tlisten: 1\n", "server:\n  listen: 1\n \tthreads: 1\n", "a:\n  - b: 1\n\tc: 1\n"] {
            let error = error(text);
            assert!(error.ends_with("; indent by spaces, never by tabs"), "{error}");
        }
    }

    #[test]
    fn toml_is_called_by_its_name() {
        for text in ["# mine\n[server]\nlisten = \"a\"\n", "[[routes]]\nname = \"a\"\n", "a = [\nb: {"] {
            assert!(
                error(text)
                    .ends_with("this is TOML, and the file must be YAML: `routes:`, and below it `- name: civo`")
            );
        }
        assert!(!error("[a, b]\nc").contains("TOML"));
    }

    #[test]
    fn a_second_document_is_refused() {
        assert_eq!(error("a: 1\n---\nb: 1\n"), "the file holds more than one YAML document");
    }

    #[test]
    fn an_unknown_alias_is_not_quoted() {
        let error = error("a: *hunter2");
        assert!(error.contains("line 1 column 4") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_value_that_does_not_fit_its_tag_is_not_quoted() {
        assert_eq!(error("a: !!int hunter2"), "line 1 column 4: a value does not fit its YAML tag");
    }

    #[test]
    fn a_tag_of_its_own_is_kept_for_the_reader_to_refuse() {
        let map = Node::Map(vec![(Node::Text("a".to_owned()), Node::Tagged)]);
        assert_eq!(parse("a: !hunter2 [b, {c: d}]"), Ok(map));
    }

    #[test]
    fn deep_nesting_is_an_error_at_its_place() {
        assert!(parse(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_ok());
        let error = |depth| error(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert_eq!(error(129), "line 1 column 129: nested too deeply");
        assert_eq!(error(1000), "line 1 column 129: nested too deeply");
        assert_eq!(error(1001), "nested too deeply");
    }

    #[test]
    fn an_alias_that_contains_itself_is_an_error() {
        assert!(error("a: &a [*a]").ends_with("nested too deeply"));
    }

    #[test]
    fn alias_bombs_are_errors() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{alias}]\n");
        }
        assert_eq!(error(&text).split(": ").last(), Some("aliases expand to more than the gateway reads"));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a, ".repeat(1000));
        assert_eq!(error(&long).split(": ").last(), Some("aliases expand to more than the gateway reads"));
    }
}
