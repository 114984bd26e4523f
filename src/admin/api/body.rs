//! Bodies of the API: one JSON object, whose fields are all known.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::admin::problem::Problem;

/// The fields of a body that have not been asked for yet, and the names of those that were.
#[derive(Debug)]
pub struct Fields {
    rest: Map<String, Value>,
    known: Vec<&'static str>,
}

/// Reads a body.
///
/// # Errors
/// 400, unless it is a JSON object without a field that is there twice.
pub fn object(bytes: &[u8]) -> Result<Fields, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Once(fields)) => Ok(Fields::new(fields)),
        Err(error) => Err(Problem::bad_body(format!("the body must be a JSON object: {error}"))),
    }
}

/// An object that has each of its fields once: of two, a person and a program could take a different one.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Once;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Once, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("the field {name:?} is there twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Once(fields))
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

impl Fields {
    /// All fields of an object.
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { rest: fields, known: Vec::new() }
    }

    /// A field with text.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::bad_body(format!("{name} must be text"))),
        }
    }

    /// A field with a whole number.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn whole(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let wrong = || Problem::bad_body(format!("{name} must be a whole number from {least} to {most}"));
        number.ok_or_else(wrong).map(Some)
    }

    /// A field that is true or false.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Problem::bad_body(format!("{name} must be true or false"))),
        }
    }

    /// Checks that no other field is there.
    ///
    /// # Errors
    /// 400, which names one.
    pub fn finish(self) -> Result<(), Problem> {
        let Some(name) = self.rest.keys().next() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(Problem::bad_body(format!("unknown field {name:?}; known here: {known}")))
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.rest.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_kind_and_every_field_is_known() {
        let mut fields = object(br#"{"q": "a", "max": 3, "dry": true, "x": 1}"#).unwrap();
        assert_eq!(fields.text("q").unwrap().as_deref(), Some("a"));
        assert_eq!(fields.whole("max", 1, 3).unwrap(), Some(3));
        assert_eq!(fields.flag("dry").unwrap(), Some(true));
        assert_eq!(fields.text("absent").unwrap(), None);
        assert_eq!(fields.finish().unwrap_err().detail, "unknown field \"x\"; known here: q, max, dry, absent");
    }

    #[test]
    fn other_values_are_refused() {
        let fields = || object(br#"{"a": 4, "b": "x", "c": 1.5, "d": null, "e": -1}"#).unwrap();
        assert!(fields().text("a").is_err() && fields().flag("b").is_err());
        for name in ["b", "c", "d", "e"] {
            assert!(fields().whole(name, 0, 9).is_err(), "{name}");
        }
        assert!(fields().whole("a", 1, 3).is_err());
        for bytes in [&b"[]"[..], b"", b"{", b"\xff", b"1", br#"{"a":1,"a":1}"#, br#"{"a":1,"\u0061":2}"#] {
            assert_eq!(object(bytes).unwrap_err().reason, "bad_body");
        }
    }
}
