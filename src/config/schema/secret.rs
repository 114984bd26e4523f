//! The schema of a secret: where it is.

use serde_json::{Value, json};

use super::kinds::{file, flag, map, put, text};

/// Where a secret is: `env` or `file`, without the keys `id` and `optional` of a route's secrets.
pub(super) fn source(about: &str) -> Value {
    with_one_source(map(about, &[], [("env", env()), ("file", secret_file())]))
}

pub(super) fn secret() -> Value {
    with_one_source(map(
        "Where the secret is. A secret is never written into this file.",
        &[],
        [
            ("env", env()),
            ("file", secret_file()),
            (
                "id",
                text(
                    "A label for metrics and Hooklatch-Secret-Id. Default: the position, \"0\", \"1\"…",
                    "^[A-Za-z0-9._-]{1,64}$",
                ),
            ),
            ("optional", flag("Whether it may be absent.", false)),
        ],
    ))
}

fn with_one_source(mut secret: Value) -> Value {
    put(&mut secret, "oneOf", json!([{ "required": ["env"] }, { "required": ["file"] }]));
    secret
}

fn env() -> Value {
    text("The environment variable that holds the secret.", "^[A-Za-z0-9_.-]{1,128}$")
}

fn secret_file() -> Value {
    file("The file that holds the secret, relative to this file's folder; one trailing \\n or \\r\\n is dropped.")
}
