//! A body as people read it: indented, as it came, or in hexadecimal.
//!
//! Indenting works on the text: every token stays as it is, with the order of keys, repeated keys and numbers of any length.

use serde::de::IgnoredAny;

use crate::text;

/// Lines that are shown at first.
const MOST_LINES: usize = 2_000;
/// Bytes that are shown at first.
const FIRST_BYTES: usize = 1 << 20;
/// Bytes that are shown of all lines: a body can have many more.
const MOST_BYTES: usize = 8 << 20;
/// Bytes of a line that are shown.
const MOST_OF_LINE: usize = 64 << 10;
/// Levels that are indented; deeper ones stand below each other.
const MOST_LEVELS: usize = 40;
/// Bytes of a line in hexadecimal.
const OF_LINE: usize = 16;

/// How a body is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// JSON with a line for each value; other text as it came.
    #[default]
    Pretty,
    /// As it came.
    Raw,
    /// In hexadecimal.
    Hex,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pretty, Self::Raw, Self::Hex];

    /// Its name in the address.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Raw => "raw",
            Self::Hex => "hex",
        }
    }

    /// Its name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pretty => "Pretty",
            Self::Raw => "Raw",
            Self::Hex => "Hex",
        }
    }
}

/// The lines of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The lines, with escapes for what cannot be seen.
    pub lines: Vec<String>,
    /// How many more there are.
    pub left: usize,
    /// Why it is not shown as asked for; empty if it is.
    pub note: String,
}

/// A body in a view; with `all` as much as can be shown, else its first lines.
pub fn content(body: &[u8], view: View, all: bool) -> Content {
    let (most, room) = if all { (usize::MAX, MOST_BYTES) } else { (MOST_LINES, FIRST_BYTES) };
    let mut lines = Lines { most, room, ..Lines::default() };
    match view {
        View::Hex => return hex(body, most.min(room / OF_LINE)),
        View::Raw => raw(body, &mut lines),
        View::Pretty => match json(body) {
            Ok(text) => indent(text, &mut lines),
            Err(why) => {
                lines.content.note = why;
                raw(body, &mut lines);
            }
        },
    }
    lines.content
}

/// Collects lines, and counts those for which there is no room.
#[derive(Default)]
struct Lines {
    content: Content,
    most: usize,
    /// Bytes that may still come.
    room: usize,
    line: Vec<u8>,
    /// Bytes of the line that are left out.
    cut: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        let room = MOST_OF_LINE.min(self.room).saturating_sub(self.line.len());
        let (kept, cut) = bytes.split_at(bytes.len().min(room));
        self.line.extend_from_slice(kept);
        self.cut += cut.len();
    }

    fn end_line(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        if self.content.lines.len() < self.most && self.room > 0 {
            self.room = self.room.saturating_sub(self.line.len() + 1);
            let mut line = text::of_bytes(&self.line);
            if cut > 0 {
                line.push_str(&format!(" … {cut} bytes more"));
            }
            self.content.lines.push(line);
        } else {
            self.content.left += 1;
        }
        self.line.clear();
    }
}

fn raw(body: &[u8], lines: &mut Lines) {
    if body.is_empty() {
        return;
    }
    for line in body.split(|byte| *byte == b'\n') {
        lines.push(line);
        lines.end_line();
    }
}

/// The text of a body in JSON; or why it is none.
fn json(body: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("not UTF-8: byte {}", error.valid_up_to()))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let at = if error.is_eof() { text.len() } else { before + error.column().saturating_sub(1) };
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Err(format!("not JSON: byte {}: {what}", at.min(text.len())))
        }
    }
}

/// The same tokens with a line for each value. The text must be JSON.
fn indent(text: &str, out: &mut Lines) {
    let mut level = 0_usize;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '"' => string(rest),
            '{' | '[' | '}' | ']' | ',' | ':' => first.len_utf8(),
            _ if first.is_ascii_whitespace() => first.len_utf8(),
            _ => rest.find(is_end).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at_checked(token.max(1)).unwrap_or((rest, ""));
        rest = after;
        match first {
            '{' | '[' => {
                out.push(token.as_bytes());
                let inner = rest.trim_start();
                let end = if first == '{' { "}" } else { "]" };
                if let Some(after) = inner.strip_prefix(end) {
                    out.push(end.as_bytes());
                    rest = after;
                } else {
                    level += 1;
                    new_line(out, level);
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                new_line(out, level);
                out.push(token.as_bytes());
            }
            ',' => {
                out.push(b",");
                new_line(out, level);
            }
            ':' => out.push(b": "),
            _ if first.is_ascii_whitespace() => {}
            _ => out.push(token.as_bytes()),
        }
    }
    out.end_line();
}

fn new_line(out: &mut Lines, level: usize) {
    out.end_line();
    for _ in 0..level.min(MOST_LEVELS) {
        out.push(b"  ");
    }
}

/// The length of the string at the beginning of a text, with its quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_end(char: char) -> bool {
    matches!(char, '{' | '[' | '}' | ']' | ',' | ':' | '"') || char.is_ascii_whitespace()
}

/// Lines of an offset, sixteen bytes in hexadecimal, and the same as ASCII.
fn hex(body: &[u8], most: usize) -> Content {
    let all = body.chunks(OF_LINE);
    let left = all.len().saturating_sub(most);
    let line = |(at, bytes): (usize, &[u8])| {
        let mut line = format!("{:08x} ", at * OF_LINE);
        for at in 0..OF_LINE {
            if at % 8 == 0 {
                line.push(' ');
            }
            match bytes.get(at) {
                Some(byte) => line.push_str(&format!("{byte:02x} ")),
                None => line.push_str("   "),
            }
        }
        line.push_str(" |");
        line.extend(bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
        line.push('|');
        line
    };
    Content { lines: all.enumerate().take(most).map(line).collect(), left, note: String::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pretty_lines(body: &str) -> Vec<String> {
        let content = content(body.as_bytes(), View::Pretty, true);
        assert_eq!((content.note.as_str(), content.left), ("", 0), "{body}");
        content.lines
    }

    #[test]
    fn json_keeps_every_token_and_the_order_of_keys() {
        let body =
            r#"{"b":1e400,"a":[12345678901234567890,-0.0,"é\u00e9\"{,}"],"b":{} ,"c":[ ],"d":[null,{"x":true}]}"#;
        let lines = [
            "{",
            "  \"b\": 1e400,",
            "  \"a\": [",
            "    12345678901234567890,",
            "    -0.0,",
            r#"    "é\u00e9\"{,}""#,
            "  ],",
            "  \"b\": {},",
            "  \"c\": [],",
            "  \"d\": [",
            "    null,",
            "    {",
            "      \"x\": true",
            "    }",
            "  ]",
            "}",
        ];
        assert_eq!(pretty_lines(body), lines);
        assert_eq!(pretty_lines(" \"a b\" "), ["\"a b\""]);
        assert_eq!(pretty_lines("12"), ["12"]);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_came_with_the_place_of_the_mistake() {
        for (body, note) in [
            (&b"{\"a\":1,}"[..], "not JSON: byte 7: key must be a string"),
            (b"{\"a\":\n 1 x}", "not JSON: byte 9: expected `,` or `}`"),
            (b"{\"a\":", "not JSON: byte 5: EOF while parsing a value"),
            (b"", "not JSON: byte 0: EOF while parsing a value"),
            (b"a=b&c=d", "not JSON: byte 0: expected value"),
            (b"{}\xff", "not UTF-8: byte 2"),
        ] {
            let shown = content(body, View::Pretty, false);
            assert_eq!(shown.note, note);
            assert_eq!(shown.lines, content(body, View::Raw, false).lines);
        }
        assert_eq!(content(b"a\r\n\xff\0\t", View::Raw, false).lines, ["a\\r", "\\xff\\u{0}\t"]);
    }

    #[test]
    fn what_cannot_be_seen_is_spelled() {
        assert_eq!(pretty_lines("{\"\u{202e}a\":\"\u{200b}\"}"), ["{", "  \"\\u{202e}a\": \"\\u{200b}\"", "}"]);
    }

    #[test]
    fn a_long_body_is_cut_and_says_how_much_is_left() {
        let body = format!("[{}]", ["1"; 3_000].join(","));
        let first = content(body.as_bytes(), View::Pretty, false);
        assert_eq!((first.lines.len(), first.left), (MOST_LINES, 1_002));
        let all = content(body.as_bytes(), View::Pretty, true);
        assert_eq!((all.lines.len(), all.left), (3_002, 0));
        let hex = content(&[0; 16 * 2_001], View::Hex, false);
        assert_eq!((hex.lines.len(), hex.left), (MOST_LINES, 1));
        assert_eq!(content(&b"\n".repeat(2_000), View::Raw, false).left, 1);
    }

    #[test]
    fn deep_nesting_grows_neither_the_stack_nor_every_line() {
        let body = "[".repeat(100_000) + &"]".repeat(100_000);
        let content = content(body.as_bytes(), View::Pretty, true);
        assert!(content.lines.iter().all(|line| line.len() <= 2 * MOST_LEVELS + 2));
    }

    #[test]
    fn hexadecimal_has_every_byte_at_its_offset() {
        let body: Vec<u8> = (0..=255).collect();
        let shown = content(&body, View::Hex, false);
        assert_eq!(shown.lines.len(), 16);
        assert_eq!(shown.lines[2], "00000020  20 21 22 23 24 25 26 27  28 29 2a 2b 2c 2d 2e 2f  | !\"#$%&'()*+,-./|");
        let last = content(b"ab", View::Hex, false);
        assert_eq!(last.lines, [format!("00000000  61 62 {}|ab|", " ".repeat(3 * 14 + 2))]);
    }

    /// Values with keys that repeat and numbers of any form, as text with white space anywhere.
    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
            any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        let space = "[ \n\t\r]{0,2}";
        scalar.prop_recursive(4, 40, 4, move |inner| {
            let items = prop::collection::vec((space, inner.clone()), 0..4);
            let members = prop::collection::vec((space, "[ab\\\\]?", inner), 0..4);
            prop_oneof![
                items.prop_map(|items| {
                    let items: Vec<String> =
                        items.iter().map(|(space, item)| format!("{space}{item}{space}")).collect();
                    format!("[{}]", items.join(","))
                }),
                members.prop_map(|members| {
                    let member = |(space, key, value): &(String, String, String)| {
                        let key = serde_json::Value::from(key.as_str());
                        format!("{space}{key}{space}:{space}{value}")
                    };
                    let members: Vec<String> = members.iter().map(member).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    /// The tokens of a JSON text: it without the white space outside of strings.
    fn tokens(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let length = if first == '"' { string(rest) } else { first.len_utf8() };
            let (token, after) = rest.split_at(length);
            if !first.is_ascii_whitespace() {
                out.push_str(token);
            }
            rest = after;
        }
        out
    }

    #[test]
    fn what_is_shown_of_a_body_is_bounded_and_the_rest_is_counted() {
        // Forty levels make eighty bytes of two.
        let deep = format!("{}1{}{}", "[".repeat(40), ",1".repeat(1 << 20), "]".repeat(40));
        let long = vec![0xff; 4 << 20];
        for all in [false, true] {
            for view in View::ALL {
                for body in [deep.as_bytes(), &long] {
                    let shown = content(body, view, all);
                    let size: usize = shown.lines.iter().map(String::len).sum();
                    assert!(size <= 5 * if all { MOST_BYTES } else { FIRST_BYTES }, "{view:?} {all}: {size}");
                }
            }
            let shown = content(deep.as_bytes(), View::Pretty, all);
            assert_eq!(shown.lines.len() + shown.left, (1 << 20) + 1 + 80);
        }
        let line = content(&long, View::Raw, true).lines.remove(0);
        assert!(line.ends_with(&format!(" … {} bytes more", (4 << 20) - MOST_OF_LINE)), "{}", &line[line.len() - 40..]);
    }

    proptest! {
        #[test]
        fn indenting_changes_nothing_but_white_space(text in json()) {
            let indented = pretty_lines(&text).join("\n");
            prop_assert_eq!(tokens(&indented), text::plain(&tokens(&text)));
            if !text.chars().any(text::misleads) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&indented).is_ok());
            }
        }

        #[test]
        fn any_bytes_can_be_shown(body in prop::collection::vec(any::<u8>(), 0..200), all in any::<bool>()) {
            for view in View::ALL {
                for line in content(&body, view, all).lines {
                    prop_assert!(!line.chars().any(|char| char != '\t' && text::misleads(char)), "{}", line);
                }
            }
        }
    }
}
