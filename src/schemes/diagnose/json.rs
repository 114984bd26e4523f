//! JSON written as other programs write it: what a body may have been before something on the way parsed it and wrote it
//! anew.
//!
//! Numbers keep their text and keys their order (unless they are sorted): what was lost on the way cannot be guessed.

use std::fmt;

use serde::de::IgnoredAny;

/// How deep a text may be nested to be written anew.
const MAX_DEPTH: usize = 64;

/// Where white space stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As it came.
    Kept,
    /// Nowhere: JavaScript, Go, PHP, Ruby.
    Minified,
    /// After `,` and `:`: Python.
    Spaced,
    /// Every value on a line of its own, with this before it for each level.
    Indented(&'static str),
    /// The same by two spaces, in lines that end in CRLF: .NET on Windows.
    CrLf,
}

impl Layout {
    /// What ends a line, and what stands before a value for each level; `None` if all is in one line.
    fn lines(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Kept | Self::Minified | Self::Spaced => None,
            Self::Indented(by) => Some(("\n", by)),
            Self::CrLf => Some(("\r\n", "  ")),
        }
    }
}

/// How characters of strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As they came.
    Kept,
    /// Only what must be escaped is: JavaScript.
    Fewest,
    /// And what is not ASCII: Python.
    Ascii,
    /// And slashes, but not what is not ASCII.
    Slashes,
    /// And slashes: PHP.
    AsciiAndSlashes,
    /// And `<`, `>` and `&`: Go.
    Html,
}

/// A way to write JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) layout: Layout,
    pub(super) escapes: Escapes,
    /// Whether keys are sorted, at every level.
    pub(super) sorted: bool,
    /// Whether there is a newline at the end.
    pub(super) newline: bool,
}

impl Style {
    /// All styles, those with fewer peculiarities first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        use Escapes::{Ascii, AsciiAndSlashes, Fewest, Html, Slashes};
        use Layout::{CrLf, Indented, Minified, Spaced};
        let layouts = [Layout::Kept, Minified, Spaced, Indented("  "), Indented("    "), Indented("\t"), CrLf];
        let escapes = [Escapes::Kept, Fewest, Ascii, AsciiAndSlashes, Slashes, Html];
        let sorted = [false, true].into_iter().flat_map(|newline| [false, true].map(|sorted| (newline, sorted)));
        let styles = sorted.flat_map(move |(newline, sorted)| {
            escapes.into_iter().flat_map(move |escapes| {
                layouts.into_iter().map(move |layout| Self { layout, escapes, sorted, newline })
            })
        });
        styles.filter(|style| !(style.sorted && style.layout == Layout::Kept))
    }
}

/// A JSON text that can be written in any style.
pub(super) struct Json<'a> {
    text: &'a str,
    root: Node<'a>,
}

enum Node<'a> {
    /// A number, a literal or a string, as it stands there.
    Scalar(&'a str),
    Array(Vec<Node<'a>>),
    /// Keys as they stand there.
    Object(Vec<(&'a str, Node<'a>)>),
}

impl<'a> Json<'a> {
    /// Nothing, if this is no JSON, or is nested too deeply.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim_matches([' ', '\t', '\n', '\r']);
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let root = Reader { rest: text }.value(MAX_DEPTH)?;
        Some(Self { text, root })
    }

    pub(super) fn write(&self, style: Style) -> Vec<u8> {
        let mut out = String::with_capacity(self.text.len() + 16);
        match style.layout {
            Layout::Kept => kept(self.text, style.escapes, &mut out),
            _ => self.root.write(style, 0, &mut out),
        }
        if style.newline {
            out.push('\n');
        }
        out.into_bytes()
    }

    /// Whether it is an object with several keys, all in alphabetical order.
    pub(super) fn is_sorted(&self) -> bool {
        matches!(&self.root, Node::Object(members) if members.len() > 2 && members.is_sorted_by_key(|(key, _)| *key))
    }
}

/// A cursor in a text that is JSON.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Node<'a>> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            '{' => {
                let mut members = Vec::new();
                while self.next_item('}')? {
                    let key = self.scalar()?;
                    self.eat(':')?;
                    members.push((key, self.value(depth)?));
                }
                Some(Node::Object(members))
            }
            '[' => {
                let mut items = Vec::new();
                while self.next_item(']')? {
                    items.push(self.value(depth)?);
                }
                Some(Node::Array(items))
            }
            _ => self.scalar().map(Node::Scalar),
        }
    }

    /// Moves past what opens an array or object or parts two of its items; whether another one follows.
    fn next_item(&mut self, close: char) -> Option<bool> {
        match self.peek()? {
            '{' | '[' | ',' => {
                self.rest = self.rest.get(1..)?;
                if self.peek()? != close {
                    return Some(true);
                }
                self.eat(close)?;
                Some(false)
            }
            found => {
                self.eat(close)?;
                (found == close).then_some(false)
            }
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.chars().next()
    }

    fn eat(&mut self, expected: char) -> Option<()> {
        self.peek()?;
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    fn scalar(&mut self) -> Option<&'a str> {
        let len = match self.peek()? {
            '"' => string_len(self.rest)?,
            _ => self.rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(self.rest.len()),
        };
        let (scalar, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(scalar)
    }
}

/// The length of the string token at the start.
fn string_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

impl Node<'_> {
    fn write(&self, style: Style, level: usize, out: &mut String) {
        match self {
            Self::Scalar(text) => scalar(text, style.escapes, out),
            Self::Array(items) => {
                list(items, ['[', ']'], style, level, out, |item, out| item.write(style, level + 1, out));
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if style.sorted {
                    members.sort_by_cached_key(|(key, _)| unescaped(key));
                }
                list(&members, ['{', '}'], style, level, out, |(key, value), out| {
                    scalar(key, style.escapes, out);
                    out.push_str(if style.layout == Layout::Minified { ":" } else { ": " });
                    value.write(style, level + 1, out);
                });
            }
        }
    }
}

fn list<T>(items: &[T], ends: [char; 2], style: Style, level: usize, out: &mut String, one: impl Fn(&T, &mut String)) {
    let [open, close] = ends;
    out.push(open);
    let line = |level: usize, out: &mut String| {
        if let Some((end, by)) = style.layout.lines() {
            out.push_str(end);
            (0..level).for_each(|_| out.push_str(by));
        }
    };
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push_str(if style.layout == Layout::Spaced { ", " } else { "," });
        }
        line(level + 1, out);
        one(item, out);
    }
    if !items.is_empty() {
        line(level, out);
    }
    out.push(close);
}

/// The text with its strings' escapes alone written anew.
fn kept(text: &str, escapes: Escapes, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, from) = rest.split_at(at);
        let (string, after) = from.split_at(string_len(from).unwrap_or(from.len()));
        out.push_str(before);
        scalar(string, escapes, out);
        rest = after;
    }
    out.push_str(rest);
}

fn scalar(text: &str, escapes: Escapes, out: &mut String) {
    match (escapes, unescaped(text)) {
        (Escapes::Kept, _) | (_, None) => out.push_str(text),
        (escapes, Some(characters)) => {
            out.push('"');
            characters.chars().for_each(|character| escaped(character, escapes, out));
            out.push('"');
        }
    }
}

/// The characters of a string token; nothing, if it is none, or has an escape that stands for no character.
fn unescaped(token: &str) -> Option<String> {
    if token.starts_with('"') { serde_json::from_str(token).ok() } else { None }
}

fn escaped(character: char, escapes: Escapes, out: &mut String) {
    use Escapes::{Ascii, AsciiAndSlashes, Html, Slashes};
    let short = match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        '/' if matches!(escapes, Slashes | AsciiAndSlashes) => Some("\\/"),
        _ => None,
    };
    let by_number = match escapes {
        Ascii | AsciiAndSlashes => !character.is_ascii(),
        Html => matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
        _ => false,
    };
    match short {
        Some(short) => out.push_str(short),
        None if by_number || character < ' ' => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        None => out.push(character),
    }
}

/// What was signed, as against what came.
impl fmt::Display for Style {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut traits = Vec::new();
        match self.layout {
            Layout::Kept => {}
            Layout::Minified => traits.push("without white space (as JSON.stringify writes it)"),
            Layout::Spaced => traits.push("with a space after \",\" and \":\" (as Python's json.dumps writes it)"),
            Layout::Indented("  ") => traits.push("indented by two spaces"),
            Layout::Indented("\t") => traits.push("indented by tabs"),
            Layout::Indented(_) => traits.push("indented by four spaces"),
            Layout::CrLf => {
                traits.push("indented by two spaces, in lines that end in CRLF (as .NET on Windows writes it)");
            }
        }
        match self.escapes {
            Escapes::Kept => {}
            Escapes::Fewest => traits.push("with no more escapes than needed"),
            Escapes::Ascii => traits.push("with all but ASCII escaped (\\u00e9)"),
            Escapes::Slashes => traits.push("with slashes escaped (\\/)"),
            Escapes::AsciiAndSlashes => {
                traits.push("with slashes and all but ASCII escaped (as PHP's json_encode does)");
            }
            Escapes::Html => traits.push("with <, > and & escaped (as Go's encoding/json does)"),
        }
        if self.sorted {
            traits.push("with its keys sorted");
        }
        if self.newline {
            traits.push("with a newline at its end");
        }
        write!(formatter, "JSON {}", traits.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Escapes::{Ascii, AsciiAndSlashes, Fewest, Html, Slashes};
    use Layout::{Indented, Minified, Spaced};

    fn write(text: &str, layout: Layout, escapes: Escapes, sorted: bool) -> String {
        let json = Json::read(text.as_bytes()).unwrap();
        String::from_utf8(json.write(Style { layout, escapes, sorted, newline: false })).unwrap()
    }

    const TEXT: &str = " { \"b\" : [ 1.0 , {} , [] , -2e5 ] ,\n\t\"a\\u0062\" : \"\\u00e9/\\/<\\\"\\n\" } ";

    #[test]
    fn every_layout_is_that_of_the_programs_that_write_it() {
        assert_eq!(write(TEXT, Minified, Escapes::Kept, false), r#"{"b":[1.0,{},[],-2e5],"a\u0062":"\u00e9/\/<\"\n"}"#);
        assert_eq!(
            write(TEXT, Spaced, Escapes::Kept, false),
            r#"{"b": [1.0, {}, [], -2e5], "a\u0062": "\u00e9/\/<\"\n"}"#
        );
        assert_eq!(
            write(TEXT, Indented("  "), Escapes::Kept, true),
            "{\n  \"a\\u0062\": \"\\u00e9/\\/<\\\"\\n\",\n  \"b\": [\n    1.0,\n    {},\n    [],\n    -2e5\n  ]\n}"
        );
        assert_eq!(write("{\"a\":[1]}", Layout::CrLf, Escapes::Kept, false), "{\r\n  \"a\": [\r\n    1\r\n  ]\r\n}");
        assert_eq!(write(TEXT, Layout::Kept, Escapes::Kept, false), TEXT.trim());
    }

    #[test]
    fn every_way_to_escape_is_that_of_the_programs_that_do_it() {
        let string = |escapes| write(r#""\u00e9/<\u2028\u001f""#, Minified, escapes, false);
        assert_eq!(string(Fewest), "\"é/<\u{2028}\\u001f\"");
        assert_eq!(string(Ascii), r#""\u00e9/<\u2028\u001f""#);
        assert_eq!(string(Slashes), "\"é\\/<\u{2028}\\u001f\"");
        assert_eq!(string(AsciiAndSlashes), r#""\u00e9\/<\u2028\u001f""#);
        assert_eq!(string(Html), "\"é/\\u003c\\u2028\\u001f\"");
        assert_eq!(write(r#"["😀"]"#, Layout::Kept, Ascii, false), r#"["\ud83d\ude00"]"#);
        assert_eq!(write(r#"["\ud83d"]"#, Minified, Fewest, false), r#"["\ud83d"]"#, "no character: kept");
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_not_written_anew() {
        for text in ["", "{", "a=b", "{\"a\":1}x", "\u{feff}{}"] {
            assert!(Json::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Json::read("[".repeat(100_000).as_bytes()).is_none());
        assert!(Json::read(["[".repeat(65), "]".repeat(65)].concat().as_bytes()).is_none());
        assert!(Json::read(["[".repeat(63), "]".repeat(63)].concat().as_bytes()).is_some());
    }

    #[test]
    fn no_style_is_listed_twice_and_the_first_changes_nothing() {
        let styles: Vec<Style> = Style::all().collect();
        let first = styles[0];
        assert_eq!(
            (first.layout, first.escapes, first.sorted, first.newline),
            (Layout::Kept, Escapes::Kept, false, false)
        );
        for (position, style) in styles.iter().enumerate() {
            assert!(!styles[..position].contains(style), "{style}");
        }
        assert!(styles.len() < 170, "{}", styles.len());
    }
}
