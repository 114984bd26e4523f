//! Looks for the first value at a pointer in a body, as far as it has to: what a log or a record tells of a delivery, which has
//! to cost little. The rest of the body need not be JSON, so no decision may depend on this.

use memchr::memchr2;
use serde::de::IgnoredAny;

use super::find::{Kind, Value, scalar};
use crate::schemes::spec::{Pointer, Token};

/// The first value at a pointer: a string, a number, `true` or `false`. Of a repeated key the first one counts, and of an array
/// that a `*` stands for the first element.
pub(in crate::schemes) fn find_first<'a>(body: &'a [u8], pointer: &Pointer) -> Value<'a> {
    let mut rest = Rest(body);
    for token in pointer.tokens() {
        rest.enter(token)?;
    }
    let value = std::str::from_utf8(rest.value()?).ok()?;
    let is_json = value.starts_with('"') || serde_json::from_str::<IgnoredAny>(value).is_ok();
    scalar(value, Kind::Scalar).ok().filter(|_| is_json).flatten()
}

/// What is left of a body.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Goes on to the value of a key, or to an element of an array.
    fn enter(&mut self, token: &Token) -> Option<()> {
        match (self.next()?, token) {
            (b'{', Token::Key(wanted)) => {
                while !is_key(self.value()?, wanted)? {
                    self.expect(b':')?;
                    self.value()?;
                    self.expect(b',')?;
                }
                self.expect(b':')
            }
            (b'[', token) => {
                let before = match token {
                    Token::Key(index) => index.parse().ok()?,
                    Token::Every => 0,
                };
                for _ in 0..before {
                    self.value()?;
                    self.expect(b',')?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// Takes the next value, as the body writes it.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.0 = self.0.trim_ascii_start();
        let length = match self.0.first()? {
            b'"' => string(self.0)?,
            b'{' | b'[' => nested(self.0)?,
            _ => {
                let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
                self.0.iter().position(is_end).unwrap_or(self.0.len())
            }
        };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (!value.is_empty()).then_some(value)
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.trim_ascii_start().split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

/// Whether a key, as the body writes it, is this one; `None` if it is no string.
fn is_key(written: &[u8], wanted: &str) -> Option<bool> {
    let [b'"', key @ .., b'"'] = written else { return None };
    let is_escaped =
        || key.contains(&b'\\') && serde_json::from_slice::<String>(written).is_ok_and(|key| key == wanted);
    Some(key == wanted.as_bytes() || is_escaped())
}

/// The length of the string with which a text begins.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The length of the map or array with which a text begins.
fn nested(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += text.get(at..)?.iter().position(|byte| b"\"{}[]".contains(byte))?;
        match text.get(at)? {
            b'"' => {
                at += string(text.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::super::find::find;
    use super::*;
    use crate::schemes::fields::Found;

    fn first(body: &[u8], pointer: &str) -> Option<String> {
        let found = find_first(body, &Pointer::try_from(pointer.to_owned()).unwrap());
        found.map(|value| String::from_utf8(value.into_owned()).unwrap())
    }

    #[test]
    fn the_first_value_counts_and_what_follows_it_does_not() {
        let body = br#" { "a" : [ {"b":"]}"}, -1.50e3 ] , "c\u0064" : true, "a":"later", "e":"#;
        for (pointer, value) in [("/a/0/b", "]}"), ("/a/*/b", "]}"), ("/a/1", "-1.50e3"), ("/cd", "true")] {
            assert_eq!(first(body, pointer).as_deref(), Some(value), "{pointer}");
        }
        assert_eq!(first(br#"{"x":{"a":1},"a":"\u00e9\"\\"}"#, "/a").as_deref(), Some("\u{e9}\"\\"));
        for pointer in ["/a", "/a/2", "/a/b", "/cd/x", "/e", "/f"] {
            assert_eq!(first(body, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_json_has_no_value() {
        for body in [
            r#"{"a":x}"#,
            r#"{"a" 1}"#,
            r#"{"a":"#,
            r#"{"a":"x"#,
            r#"{"a":}"#,
            r#"{a:1}"#,
            "[1]",
            "",
            "{",
            "\u{feff}{\"a\":1}",
        ] {
            assert_eq!(first(body.as_bytes(), "/a"), None, "{body}");
        }
        assert_eq!(first(b"{\"a\":\"\xff\"}", "/a"), None);
    }

    fn json() -> impl Strategy<Value = Json> {
        let key = || prop::sample::select(vec!["a", "b", "0", "\"", "\\", "\u{e9}\n"]);
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "[a\"\\\\{}\\[\\],:\u{e9}\n]{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let pairs = prop::collection::vec((key(), inner.clone()), 0..5);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Json::from),
                pairs.prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn in_json_it_is_what_a_parser_finds(json in json(), pointer in "(/[ab01\"\u{e9}\n]){1,4}", pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            let pointer = Pointer::try_from(pointer).unwrap();
            let found = match find(text.as_bytes(), &pointer, Kind::Scalar) {
                Found::Nothing => None,
                Found::Once(value) | Found::Repeated { first: value, .. } => value,
            };
            prop_assert_eq!(find_first(text.as_bytes(), &pointer), found);
        }

        #[test]
        fn no_bytes_make_it_panic(body in "[\\[\\]{}\":,\\\\a0 \u{e9}]{0,40}", pointer in "(/[a0*]){1,3}") {
            let _ = first(body.as_bytes(), &pointer);
        }
    }
}
