//! The schema of the keys of a route that are about its queue, duplicates, signing and records.

use serde_json::{Value, json};

use super::kinds::{
    any_of, duration, duration_or_zero, flag, list, map, put, set_default, share, size_or_zero, text, whole,
    whole_or_zero, word,
};
use super::secret::source;
use crate::config::delivery::{self as of, QueueResponse};
use crate::config::record::{DEFAULT_RECORD_BODY, RECORDS, Record};
use crate::config::units::{MAX_COUNT, display_duration};
use crate::config::{dedupe, retry as of_retry};

/// The characters of a header's name.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Each key with its schema.
pub(super) fn keys() -> [(&'static str, Value); 11] {
    let mode = "Whether each delivery is forwarded while the provider waits (proxy), or stored, answered and then sent \
                until the handler accepts it (queue, which needs store).";
    [
        ("delivery", word(mode, &of::MODES.map(|(word, _)| word), "proxy")),
        ("response", response()),
        ("retry", retry()),
        (
            "max_concurrent",
            whole(
                "With a queue: attempts in progress at once.",
                MAX_COUNT.into(),
                Some(of::DEFAULT_CONCURRENT.get().into()),
            ),
        ),
        ("max_rate", whole("With a queue: attempts a second, at most. Default: no limit.", MAX_COUNT.into(), None)),
        ("circuit", circuit()),
        ("paused", flag("With a queue: whether to make no attempts until this is false.", false)),
        ("dedupe", dedupe()),
        ("sign", sign()),
        (
            "record",
            word(
                "What is kept of a delivery to look at: nothing, its metadata, or its head and body too.",
                &RECORDS.map(|(word, _)| word),
                Record::default().as_str(),
            ),
        ),
        (
            "record_body",
            size_or_zero("With record: full, how much of a body is kept. Longer ones are cut.", DEFAULT_RECORD_BODY),
        ),
    ]
}

fn response() -> Value {
    let default = QueueResponse::default();
    let status = json!({
        "description": "200 to 299.",
        "type": "integer",
        "minimum": of::RESPONSE_STATUSES.start(),
        "maximum": of::RESPONSE_STATUSES.end(),
        "default": default.status.as_u16(),
    });
    let mut content_type = text("The header Content-Type.", "^[ -~]+$");
    set_default(&mut content_type, json!(of::DEFAULT_CONTENT_TYPE));
    map(
        "With a queue: the answer to the provider once the delivery is stored.",
        &[],
        [
            ("status", status),
            (
                "body",
                json!({ "description": "The body. Empty with status 204 or 205.", "type": "string", "default": "" }),
            ),
            ("content_type", content_type),
        ],
    )
}

fn retry() -> Value {
    let mut jitter = share("The share of each wait that is added or taken off at random.");
    set_default(&mut jitter, json!(format!("{}%", of_retry::DEFAULT_JITTER * 100.0)));
    let most = MAX_COUNT.into();
    let backoff = format!(
        "The wait after the first failed attempt. Each further wait is twice as long. Default: {}, or max_backoff if \
         that is less.",
        display_duration(of_retry::DEFAULT_MIN_BACKOFF)
    );
    let waits =
        "The waits after the first, second … failed attempt, instead of waits that double; the last one repeats.";
    let statuses = json!({
        "description": "Statuses of the handler that give a delivery up at once.",
        "type": "array",
        "items": {
            "description": "A status from 100 to 599, but not 200 to 299.",
            "type": "integer",
            "minimum": 100,
            "maximum": 599,
            "not": { "minimum": 200, "maximum": 299 },
        },
        "default": [of_retry::DEFAULT_GIVE_UP_ON.as_u16()],
    });
    map(
        "With a queue: when a failed attempt is repeated, and when a delivery is given up.",
        &[],
        [
            ("min_backoff", duration(&backoff, None)),
            (
                "max_backoff",
                duration(
                    "The longest wait, also if the handler's Retry-After asks for more.",
                    Some(of_retry::DEFAULT_MAX_BACKOFF),
                ),
            ),
            ("jitter", jitter),
            ("schedule", list(waits, duration("The wait before the next attempt.", None))),
            (
                "max_age",
                duration_or_zero(
                    "The age at which a delivery is given up, if min_attempts were made.",
                    of_retry::DEFAULT_MAX_AGE,
                ),
            ),
            (
                "min_attempts",
                whole_or_zero(
                    "Attempts that are made before age gives a delivery up.",
                    most,
                    of_retry::DEFAULT_MIN_ATTEMPTS.into(),
                ),
            ),
            (
                "max_attempts",
                whole_or_zero("Attempts after which a delivery is given up at any age; 0: no limit.", most, 0),
            ),
            ("give_up_on", statuses),
        ],
    )
}

fn circuit() -> Value {
    let of::Circuit { failures, max_wait } = of::DEFAULT_CIRCUIT;
    let settings = map(
        "After how many failures attempts stop, and how often the upstream is probed.",
        &[],
        [
            ("failures", whole("Failed attempts in a row.", MAX_COUNT.into(), Some(failures.get().into()))),
            ("max_wait", duration("The longest wait between two probes.", Some(max_wait))),
        ],
    );
    let about = "With a queue: when to stop attempts because the upstream is down; false: never.";
    let default = json!({ "failures": failures, "max_wait": display_duration(max_wait) });
    any_of(about, [off("Never."), settings], Some(default))
}

fn dedupe() -> Value {
    let words = json!({ "description": "The word.", "enum": dedupe::KEYS.map(|(word, _)| word) });
    let mut place = map(
        "A place in the request.",
        &[],
        [
            ("header", text("The header's name.", TOKEN)),
            ("json", text("A JSON pointer into the body, such as /event/id.", "^/([^~]|~[01])*$")),
        ],
    );
    put(&mut place, "oneOf", json!([{ "required": ["header"] }, { "required": ["json"] }]));
    let key = "What two deliveries have in common if one is a duplicate: auto (the provider's event id), content (what \
               the signature covers, less its time), a header, or a place in the JSON body.";
    let settings = map(
        "For how long a delivery is remembered, and by what.",
        &[],
        [
            (
                "window",
                duration(
                    "For how long: at least twice the tolerance where a time is signed.",
                    Some(dedupe::DEFAULT_WINDOW),
                ),
            ),
            ("key", any_of(key, [words, place], Some(json!("auto")))),
        ],
    );
    let about = "How duplicates are recognised; false: not at all. Default: false, or with a queue { window: 24h, key: \
                 auto } if the signature covers the provider's event id.";
    any_of(about, [off("Duplicates are not recognised."), settings], None)
}

fn sign() -> Value {
    let secret = source("A secret: base64, with or without whsec_ before it.");
    map(
        "Signs what is sent to the handler by Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature. \
         Default: none.",
        &["secrets"],
        [("secrets", list("One or more. Each gives a signature, so you can rotate a secret.", secret))],
    )
}

fn off(about: &str) -> Value {
    json!({ "description": about, "const": false })
}
