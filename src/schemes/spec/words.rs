//! The building blocks of words: lists that may be one value, header names, JSON pointers, and the reading of YAML.

use std::fmt;
use std::marker::PhantomData;

use http::HeaderName;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::faults::{SpecError, fault};

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a OneOrMany<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value or a list of values")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(text.into_deserializer())?]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A JSON pointer (RFC 6901): `/KEY/KEY`, with `~0` for `~` and `~1` for `/`. A number is a key of an object or a place
/// in an array; `*` is the only element of an array.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(Vec<Token>);

/// A field of a `multipart/form-data` body, or a value of the JSON in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "MultipartWords")]
pub struct MultipartField {
    /// The field's name.
    pub name: String,
    /// Where in the field's text, which is JSON, the value stands. `None`: the text is the value.
    pub json: Option<Pointer>,
}

/// A field as written in the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum MultipartWords {
    Name(String),
    Json { field: String, json: Pointer },
}

impl From<MultipartWords> for MultipartField {
    fn from(words: MultipartWords) -> Self {
        match words {
            MultipartWords::Name(name) => Self { name, json: None },
            MultipartWords::Json { field, json } => Self { name: field, json: Some(json) },
        }
    }
}

/// As people read it.
impl fmt::Display for MultipartField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.json {
            None => formatter.write_str(&self.name),
            Some(pointer) => write!(formatter, "{}: {pointer}", self.name),
        }
    }
}

/// A step of a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A key, or an index where there is an array.
    Key(String),
    /// `*`.
    Every,
}

impl Pointer {
    /// The steps, from the root. Never empty.
    pub fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// The key, if the pointer names one at the root.
    pub fn root_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Token::Key(key)] => Some(key),
            _ => None,
        }
    }

    /// Whether `other` names the same value or one within it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(pointer: String) -> Result<Self, Self::Error> {
        let path = pointer.strip_prefix('/').ok_or("a JSON pointer begins with /")?;
        // RFC 6901: a tilde stands for nothing but itself and a slash, and is followed by 0 or 1.
        if pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err("in a JSON pointer ~ is written ~0, and / in a name ~1");
        }
        let token = |text: &str| match text {
            "*" => Token::Every,
            key => Token::Key(key.replace("~1", "/").replace("~0", "~")),
        };
        Ok(Self(path.split('/').map(token).collect()))
    }
}

/// As it is written.
impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| match token {
            Token::Key(key) => write!(formatter, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Token::Every => formatter.write_str("/*"),
        })
    }
}

pub(super) fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(D::Error::custom)
}

pub(super) fn header_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.into_iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
}

/// Reads YAML as a tree. A key that is there twice is refused.
pub(super) fn read_yaml(yaml: &str) -> Result<Value, SpecError> {
    let strict: Strict = serde_yaml::from_str(yaml).map_err(|error| fault("", &error.to_string()))?;
    Ok(strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, a number, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key} is repeated")));
            }
            entries.insert(key, value);
        }
        Ok(entries.into())
    }
}
