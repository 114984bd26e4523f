//! Looks for values in a JSON body by a pointer, without building the body.
//!
//! Keys are compared with their escapes resolved. A repeated key on the pointer's way makes the
//! result repeated, because parsers differ in which value they use.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::schemes::fields::Found;
use crate::schemes::spec::{Pointer, Token};

/// What values are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::schemes) enum Kind {
    /// Strings that are not empty.
    Text,
    /// The same, and numbers, `true` and `false` by their text.
    Scalar,
    /// The same; `null` and the empty string as an empty text.
    ScalarOrEmpty,
    /// Any value, as the body writes it.
    Raw,
}

impl Kind {
    /// What stands for a value that is not there, `null` or an empty string.
    fn empty<'a>(self) -> Value<'a> {
        (self == Self::ScalarOrEmpty).then_some(Cow::Borrowed(&[][..]))
    }
}

/// A value of the right kind as text.
pub(in crate::schemes) type Value<'a> = Option<Cow<'a, [u8]>>;

/// What was found on the way.
#[derive(Default)]
struct Collected<'a> {
    values: SmallVec<[Value<'a>; 2]>,
    repeated: bool,
}

/// Looks for one value. A `*` in the pointer stands for the only element of an array.
pub(in crate::schemes) fn find<'a>(body: &'a [u8], pointer: &Pointer, kind: Kind) -> Found<'a> {
    let Some(mut found) = collect(body, pointer, kind) else { return Found::Nothing };
    match (found.repeated, found.values.len()) {
        (true, _) => {
            let last = found.values.pop().flatten();
            Found::Repeated { first: found.values.into_iter().next().flatten(), last }
        }
        (false, 0) => Found::Nothing,
        (false, 1) => Found::Once(found.values.pop().flatten()),
        (false, _) => Found::Once(None),
    }
}

/// Looks for the values under all elements of the arrays that a `*` stands for. Nothing, if one of them has none.
pub(in crate::schemes) fn find_every<'a>(body: &'a [u8], pointer: &Pointer) -> Option<Vec<Cow<'a, [u8]>>> {
    let found = collect(body, pointer, Kind::Text)?;
    if found.repeated { None } else { found.values.into_iter().collect() }
}

/// Every value that a parser could find at a pointer, as the body writes it, in order. `None` if the body is no JSON.
pub(in crate::schemes) fn find_raw<'a>(body: &'a [u8], pointer: &Pointer) -> Option<Vec<&'a [u8]>> {
    let found = collect(body, pointer, Kind::Raw)?;
    let borrowed = |value: Value<'a>| match value {
        Some(Cow::Borrowed(value)) => Some(value),
        Some(Cow::Owned(_)) | None => None,
    };
    Some(found.values.into_iter().filter_map(borrowed).collect())
}

fn collect<'a>(body: &'a [u8], pointer: &Pointer, kind: Kind) -> Option<Collected<'a>> {
    // serde_json does not look into the strings that it skips: the UTF-8 must be right before.
    let text = std::str::from_utf8(body).ok()?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut found = Collected::default();
    Walk { path: pointer.tokens(), kind, found: &mut found }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(found)
}

/// Follows the rest of a pointer into one value.
struct Walk<'p, 'f, 'de> {
    path: &'p [Token],
    kind: Kind,
    found: &'f mut Collected<'de>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.path.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        let value = scalar(raw.get(), self.kind).map_err(D::Error::custom)?;
        self.found.values.push(value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((token, path)) = self.path.split_first() else { return Ok(()) };
        let wanted = match token {
            Token::Key(key) => Some(key.as_str()),
            Token::Every => None,
        };
        let mut seen = false;
        while let Some(is_key) = map.next_key_seed(IsKey(wanted))? {
            if is_key {
                self.found.repeated |= seen;
                seen = true;
                let before = self.found.values.len();
                map.next_value_seed(Walk { path, kind: self.kind, found: self.found })?;
                if self.found.values.len() == before {
                    self.found.values.push(self.kind.empty());
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((token, path)) = self.path.split_first() else { return Ok(()) };
        let wanted = match token {
            Token::Key(key) => key.parse::<usize>().ok(),
            Token::Every => None,
        };
        for position in 0.. {
            let before = self.found.values.len();
            let more = if *token == Token::Every || wanted == Some(position) {
                let more = list.next_element_seed(Walk { path, kind: self.kind, found: self.found })?.is_some();
                if more && self.found.values.len() == before {
                    self.found.values.push(self.kind.empty());
                }
                more
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Whether a key is the one looked for.
struct IsKey<'k>(Option<&'k str>);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

/// A JSON value as text, if it is of this kind. The usual string is borrowed.
pub(super) fn scalar(json: &str, kind: Kind) -> Result<Value<'_>, serde_json::Error> {
    Ok(match json.as_bytes() {
        text if kind == Kind::Raw => Some(Cow::Borrowed(text)),
        [b'"', b'"'] => kind.empty(),
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
        [b'"', ..] => Some(Cow::Owned(serde_json::from_str::<String>(json)?.into_bytes())),
        [b'n', ..] => kind.empty(),
        [b'{' | b'[', ..] => None,
        _ if kind == Kind::Text => None,
        text => Some(Cow::Borrowed(text)),
    })
}
