//! `hooklatch show ID`: everything about one delivery.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::support::api::{Api, GatewayArgs, encoded};
use super::{Failure, written};
use crate::text::{self, plain};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("form").args(["http", "curl", "body", "json"])))]
pub(super) struct Args {
    /// The id of the delivery
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print the request as it came, as explain --request reads it
    #[arg(long)]
    http: bool,
    /// Print a curl command that sends it
    #[arg(long)]
    curl: bool,
    /// Print the body: its bytes, unless the output is a terminal
    #[arg(long)]
    body: bool,
    /// Print the JSON of the API
    #[arg(long)]
    json: bool,
}

/// What is printed first, and the keys that it has in the API.
const ROWS: [(&str, &[&str]); 11] = [
    ("id", &["id"]),
    ("received", &["received_at"]),
    ("route", &["route", "scheme"]),
    ("state", &["state", "reason"]),
    ("status", &["status"]),
    ("event", &["event_type", "event_id"]),
    ("request id", &["request_id"]),
    ("peer", &["peer"]),
    ("request", &["method", "path"]),
    ("took (ms)", &["duration_ms"]),
    ("next attempt", &["next_attempt_at"]),
];

/// What the API says of an attempt, in the order in which it is printed.
const ATTEMPT: [&str; 6] = ["number", "at", "result", "status", "duration_ms", "error"];

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let path = format!("/api/v1/deliveries/{}", encoded(&args.id));
    let form = [(args.http, "/http"), (args.curl, "/curl"), (args.body, "/body")];
    if let Some((_, form)) = form.into_iter().find(|(wanted, _)| *wanted) {
        let bytes = api.get_bytes(&format!("{path}{form}"))?;
        warn_of_cut(&api.get(&path)?);
        return print_bytes(&bytes);
    }
    let delivery = api.get(&path)?;
    if args.json {
        outln!("{}", text::json(&delivery));
    } else {
        out!("{}", described(&delivery));
    }
    Ok(())
}

/// Says on stderr that only a part of the body is kept, which its bytes do not show.
fn warn_of_cut(delivery: &Value) {
    if delivery.get("body_cut").and_then(Value::as_bool) == Some(true) {
        let of_body = |key: &str| delivery.get("body").and_then(|body| body.get(key)?.as_u64()).unwrap_or_default();
        let (kept, bytes) = (of_body("kept"), of_body("bytes"));
        errln!("hooklatch: the body is cut (record_body): {kept} of its {bytes} bytes are kept");
    }
}

/// Prints a sender's bytes: as they are into a file or a pipe, escaped on a terminal.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        outln!("{}", text::of_bytes(bytes).trim_end_matches('\n'));
        return Ok(());
    }
    written(io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()))
}

fn described(delivery: &Value) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    for (name, keys) in ROWS {
        let values: Vec<String> = keys.iter().filter_map(|key| shown(delivery.get(key)?)).collect();
        if !values.is_empty() {
            line(format!("{name:<14}{}", values.join(" ")));
        }
    }
    for (name, key) in [("verification", "verification"), ("timing", "timing")] {
        let facts = delivery.get(key).and_then(Value::as_object).into_iter().flatten();
        let facts: Vec<String> =
            facts.filter_map(|(key, value)| Some(format!("{} {}", plain(key), shown(value)?))).collect();
        if !facts.is_empty() {
            line(format!("{name:<14}{}", facts.join(", ")));
        }
    }
    if let Some(headers) = list(delivery, "request_headers") {
        line("\nheaders".to_owned());
        for header in headers {
            let part = |at: usize| header.get(at).and_then(shown).unwrap_or_default();
            line(format!("  {}: {}", part(0), part(1)));
        }
    }
    if let Some(body) = delivery.get("body").filter(|body| body.is_object()) {
        let number = |key: &str| body.get(key).and_then(Value::as_u64).unwrap_or_default();
        line(format!("\nbody ({} bytes, {} kept)", number("bytes"), number("kept")));
        let of_base64 =
            |text: &str| BASE64_STANDARD.decode(text).map_or_else(|_| plain(text), |bytes| text::of_bytes(&bytes));
        let content = body.get("text").and_then(Value::as_str).map(text::lines);
        let content = content.or_else(|| body.get("base64").and_then(Value::as_str).map(of_base64));
        content.unwrap_or_default().lines().for_each(|content| line(format!("  {content}")));
    }
    if let Some(attempts) = list(delivery, "attempts") {
        line("\nattempts".to_owned());
        for attempt in attempts {
            let facts: Vec<String> =
                ATTEMPT.iter().map(|key| attempt.get(key).and_then(shown).unwrap_or_else(|| "-".to_owned())).collect();
            let replay = attempt.get("replay").and_then(Value::as_bool).unwrap_or_default();
            let mut row = String::new();
            let _infallible = write!(row, "  {}{}", facts.join("  "), if replay { "  (replay)" } else { "" });
            line(row);
        }
    }
    text
}

/// The items of a list that is there and has any.
fn list<'a>(delivery: &'a Value, key: &str) -> Option<&'a Vec<Value>> {
    delivery.get(key).and_then(Value::as_array).filter(|items| !items.is_empty())
}

/// A value in one line; `None` for null and for an empty text.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(plain(text)).filter(|text| !text.is_empty()),
        other => Some(text::json(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_described_without_control_characters() {
        let text = described(&serde_json::json!({
            "id": "0190", "received_at": "2026-01-31T12:00:00.000Z", "route": "stripe", "scheme": "stripe",
            "state": "refused", "reason": "signature_mismatch", "status": 401, "event_type": null, "event_id": "e\u{202e}1",
            "request_id": "r", "peer": "192.0.2.1", "method": "POST", "path": "/\u{1b}[2J", "next_attempt_at": null,
            "duration_ms": 3, "verification": {"verified": false, "secret_id": null},
            "request_headers": [["x-a", "b\u{7}"], ["signature", null]],
            "body": {"bytes": 9, "kept": 4, "text": "a\tb\n\u{9b}"},
            "attempts": [{"number": 1, "at": "t", "result": "5xx", "status": 500, "error": null, "duration_ms": 7, "replay": true}],
        }));
        assert_eq!(
            text,
            "id            0190\n\
             received      2026-01-31T12:00:00.000Z\n\
             route         stripe stripe\n\
             state         refused signature_mismatch\n\
             status        401\n\
             event         e\\u{202e}1\n\
             request id    r\n\
             peer          192.0.2.1\n\
             request       POST /\\u{1b}[2J\n\
             took (ms)     3\n\
             verification  verified false\n\
             \nheaders\n  x-a: b\\u{7}\n  signature:\n\
             \nbody (9 bytes, 4 kept)\n  a\tb\n  \\u{9b}\n\
             \nattempts\n  1  t  5xx  500  7  -  (replay)\n"
        );
        assert_eq!(
            described(&serde_json::json!({"body": {"bytes": 2, "kept": 2, "base64": "/wA="}})),
            "\nbody (2 bytes, 2 kept)\n  \\xff\\u{0}\n"
        );
    }
}
