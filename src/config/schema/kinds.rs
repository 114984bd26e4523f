//! The kinds of values that gateway.yaml has, as parts of a schema. The `about` of each is the text that editors show.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::units::{SIZE_UNITS, TIME_UNITS, display_duration, display_size};

/// A map with these keys and no others.
pub(super) fn map<const N: usize>(about: &str, required: &[&str], keys: [(&str, Value); N]) -> Value {
    let properties: Map<String, Value> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut map = json!({
        "description": about,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        put(&mut map, "required", json!(required));
    }
    map
}

/// A map, or a key without a value, which a file has when all lines of the map are commented out.
pub(super) fn or_nothing(mut map: Value) -> Value {
    put(&mut map, "type", json!(["object", "null"]));
    map
}

/// A list that is not empty.
pub(super) fn list(about: &str, items: Value) -> Value {
    json!({ "description": about, "type": "array", "minItems": 1, "items": items })
}

/// One of several shapes.
pub(super) fn any_of<const N: usize>(about: &str, shapes: [Value; N], default: Option<Value>) -> Value {
    let mut any = json!({ "description": about, "anyOf": shapes.to_vec() });
    if let Some(default) = default {
        set_default(&mut any, default);
    }
    any
}

pub(super) fn text(about: &str, pattern: &str) -> Value {
    json!({ "description": about, "type": "string", "pattern": pattern })
}

/// The path of a file.
pub(super) fn file(about: &str) -> Value {
    json!({ "description": about, "type": "string", "minLength": 1 })
}

pub(super) fn flag(about: &str, default: bool) -> Value {
    json!({ "description": about, "type": "boolean", "default": default })
}

/// A whole number from 1.
pub(super) fn whole(about: &str, most: u64, default: Option<u64>) -> Value {
    let mut whole = json!({ "description": about, "type": "integer", "minimum": 1, "maximum": most });
    if let Some(default) = default {
        set_default(&mut whole, json!(default));
    }
    whole
}

/// A whole number from 0.
pub(super) fn whole_or_zero(about: &str, most: u64, default: u64) -> Value {
    json!({ "description": about, "type": "integer", "minimum": 0, "maximum": most, "default": default })
}

/// A percentage, 0 to 100.
pub(super) fn share(about: &str) -> Value {
    text(about, "^0*(100(\\.0+)?|[0-9]{1,2}(\\.[0-9]+)?)%$")
}

/// One of a few words.
pub(super) fn word(about: &str, words: &[&str], default: &str) -> Value {
    json!({ "description": about, "enum": words, "default": default })
}

/// A duration that is not zero.
pub(super) fn duration(about: &str, default: Option<Duration>) -> Value {
    let mut duration = text(about, &with_unit("0*[1-9][0-9]*", &TIME_UNITS));
    if let Some(default) = default {
        set_default(&mut duration, json!(display_duration(default)));
    }
    duration
}

pub(super) fn duration_or_zero(about: &str, default: Duration) -> Value {
    let mut duration = text(about, &with_unit("[0-9]+", &TIME_UNITS));
    set_default(&mut duration, json!(display_duration(default)));
    duration
}

/// A size that is not zero.
pub(super) fn size(about: &str, default: Option<u64>) -> Value {
    let mut size = text(about, &with_unit("0*[1-9][0-9]*", &SIZE_UNITS));
    if let Some(default) = default {
        set_default(&mut size, json!(display_size(default)));
    }
    size
}

pub(super) fn size_or_zero(about: &str, default: u64) -> Value {
    let mut size = text(about, &with_unit("[0-9]+", &SIZE_UNITS));
    set_default(&mut size, json!(display_size(default)));
    size
}

/// Sets the default of a key that is left out.
pub(super) fn set_default(schema: &mut Value, default: Value) {
    put(schema, "default", default);
}

/// Adds a keyword to a part of a schema, which is a map.
pub(super) fn put(schema: &mut Value, keyword: &str, value: Value) {
    if let Value::Object(schema) = schema {
        schema.insert(keyword.to_owned(), value);
    }
}

fn with_unit(number: &str, units: &[(&str, u64)]) -> String {
    let units: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    format!("^{number}({})$", units.join("|"))
}
