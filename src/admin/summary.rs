//! The JSON of `/config`.

use serde_json::Value;

use crate::config::{Config, View};

/// The version that runs, and every key of `config` with its value. Of secrets it has only the ids.
pub fn summary(config: &Config) -> Value {
    let mut summary = View::of(config).to_json();
    summary.insert("version".to_owned(), crate::VERSION.into());
    summary.insert("revision".to_owned(), crate::REVISION.into());
    Value::Object(summary)
}
