//! Signed payloads: a document within the body that alone is signed, and its equality with the fields beside it.
//!
//! Some providers put a signed copy of the body into one of its own keys and sign that copy only. Handlers read the
//! fields beside it, so a captured delivery could be sent again with other fields and its signature would still be
//! right. [`open`] therefore decodes the copy and [`equal::equal_but_for`] compares the two.
//!
//! What is refused:
//!
//! 1. a body that is not exactly one JSON object in UTF-8 (RFC 8259: no byte order mark, nothing behind it);
//! 2. a signed key that is missing, or whose value is empty or no string;
//! 3. a signed key that is there twice, however it is written: parsers differ in which one they take;
//! 4. a payload that is not strict base64 of a JSON object. A signature over such a text was made for something else,
//!    say over a whole body, and must not pass here;
//! 5. a body that differs from its payload, see [`equal`].
//!
//! Nothing is built from the body: it is scanned once for the signed key, and compared only under a right signature.

pub(super) mod equal;

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::spec::PayloadEncoding;

/// A value of the signed key: its text, or nothing if it is empty or no string.
type Value<'a> = Option<Cow<'a, str>>;

/// What a body holds under a root key.
pub(super) enum Found<'a> {
    /// No such key, or the body is not a JSON object.
    Nothing,
    /// The key, once.
    Once(Value<'a>),
    /// The key, more than once: the values that parsers would take.
    Repeated { first: Value<'a>, last: Value<'a> },
}

/// Looks for a root key. Keys are compared with their escapes resolved.
pub(super) fn find<'a>(body: &'a [u8], key: &str) -> Found<'a> {
    // serde_json does not look into the strings that it skips: the UTF-8 must be right before.
    let Ok(text) = std::str::from_utf8(body) else { return Found::Nothing };
    let mut json = serde_json::Deserializer::from_str(text);
    match json.deserialize_map(Root { key }).and_then(|found| json.end().map(|()| found)) {
        Ok(found) => found,
        Err(_) => Found::Nothing,
    }
}

/// Whether the bytes are one JSON object.
pub(super) fn is_json_object(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let begins = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    begins && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The payload of a signed text, if that holds a JSON object.
pub(super) fn open(encoding: PayloadEncoding, signed: &[u8]) -> Option<Vec<u8>> {
    let payload = match encoding {
        PayloadEncoding::Base64 => STANDARD.decode(signed).ok()?,
    };
    is_json_object(&payload).then_some(payload)
}

/// Collects what stands under one key of an object.
struct Root<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Found<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::Nothing;
        while let Some(is_key) = map.next_key_seed(IsKey(self.key))? {
            if !is_key {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(NonEmptyString)?;
            found = match found {
                Found::Nothing => Found::Once(value),
                Found::Once(first) | Found::Repeated { first, .. } => Found::Repeated { first, last: value },
            };
        }
        Ok(found)
    }
}

/// Whether a key is the one looked for.
struct IsKey<'k>(&'k str);

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
        Ok(key == self.0)
    }
}

/// The text of a value, or nothing if it is empty or no string.
struct NonEmptyString;

impl<'de> DeserializeSeed<'de> for NonEmptyString {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NonEmptyString {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((!text.is_empty()).then(|| Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
