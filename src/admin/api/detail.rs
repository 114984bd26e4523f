//! All that is shown of one delivery.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::recorded::{self, RecordedRequest};
use super::summary::Summary;
use crate::queue::attempt::rfc3339;
use crate::record::shown::is_as_it_came;
use crate::store::details::Details;
use crate::store::{Attempt, Shown, State, Stored};

/// A delivery as the store has it.
#[derive(Debug)]
pub struct Found {
    /// The delivery, with head and details.
    pub stored: Stored,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its details.
    pub details: Details,
    /// Its body, if one is kept that may be shown.
    pub body: Option<Bytes>,
}

impl Found {
    /// Whether what is kept of the body is only its first part. With a secret replaced, a whole one can be shorter too.
    pub fn is_body_cut(&self) -> bool {
        let Some(body) = &self.body else { return false };
        let is_shorter = (body.len() as u64) < self.stored.delivery.request_bytes;
        let may_be_cut = self.details.body_cut || !self.details.had_secret_in_body();
        is_shorter && may_be_cut && !is_as_it_came(self.stored.shown)
    }

    /// Whether the response of an attempt went through to the sender: nothing of its body was kept then.
    pub fn went_through(&self, attempt: &Attempt) -> bool {
        // Of a queued delivery, the time of the handler is not known when it comes.
        !attempt.replay && self.details.upstream_us.is_some()
    }
}

/// The JSON of a delivery: its summary, with the attempts as a list, and more.
pub fn detail(found: &Found, request: Option<&RecordedRequest>) -> Value {
    let Found { stored, attempts, details, body } = found;
    let mut detail = json!(Summary::from(stored));
    let micros = |micros: Option<u64>| micros.map(|micros| micros as f64 / 1000.0);
    let is_erased = stored.shown == Shown::Settled(State::Erased);
    let verified = (!is_erased).then_some(details.verified);
    let fields = [
        ("target", json!(request.map(|request| &request.target))),
        ("version", json!(request.map(|request| &request.version))),
        ("host", json!(details.host)),
        ("tls", json!(details.tls)),
        ("client", json!(Some(stored.delivery.peer.as_str()).filter(|client| !client.is_empty()))),
        ("trace_id", json!(details.trace_id)),
        ("request_headers", json!(request.map(headers))),
        ("redacted", json!(details.redacted)),
        ("body", body_of(stored.delivery.request_bytes, body.as_ref())),
        ("body_cut", json!(found.is_body_cut())),
        ("verification", json!({ "verified": verified, "secret_id": details.secret_id })),
        (
            "timing",
            json!({
                "body_ms": micros(details.body_done_us),
                "verification_ms": micros(details.verification_us),
                "upstream_ms": micros(details.upstream_us),
            }),
        ),
        ("attempts", attempts.iter().map(|one| attempt(one, found.went_through(one))).collect()),
    ];
    if let Some(detail) = detail.as_object_mut() {
        detail.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    }
    detail
}

fn headers(request: &RecordedRequest) -> Vec<[String; 2]> {
    request.fields.iter().map(|field| [field.name.clone(), recorded::text(&field.value)]).collect()
}

/// The length as it came and as it is kept, and the bytes: as text if they are UTF-8, in base64 otherwise.
fn body_of(bytes: u64, body: Option<&Bytes>) -> Value {
    let mut value = Map::new();
    value.insert("bytes".to_owned(), bytes.into());
    value.insert("kept".to_owned(), body.map_or(0, Bytes::len).into());
    match body {
        Some(body) => value.extend([text_or_base64(body)]),
        None => drop(value.insert("text".to_owned(), Value::Null)),
    }
    Value::Object(value)
}

fn text_or_base64(bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("text".to_owned(), text.into()),
        Err(_) => ("base64".to_owned(), STANDARD.encode(bytes).into()),
    }
}

fn attempt(attempt: &Attempt, went_through: bool) -> Value {
    let body = (!went_through).then(|| Map::from_iter([text_or_base64(&attempt.response_body)]));
    json!({
        "number": attempt.number,
        "at": rfc3339(attempt.at),
        "result": &*attempt.result,
        "status": attempt.status,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "replay": attempt.replay,
        "gateway": attempt.gateway.as_deref(),
        "response_headers": pairs(&attempt.response_head),
        "response_body": body,
    })
}

/// The field lines of a head as HTTP/1.1 writes them.
pub fn pairs(head: &[u8]) -> Vec<[String; 2]> {
    fields(head).map(|(name, value)| [recorded::text(name), recorded::text(value)]).collect()
}

/// The same as bytes.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_or_base64() {
        let body = |bytes: &'static [u8]| body_of(9, Some(&Bytes::from_static(bytes)));
        assert_eq!(body(b"a\0"), json!({ "bytes": 9, "kept": 2, "text": "a\0" }));
        assert_eq!(body(b""), json!({ "bytes": 9, "kept": 0, "text": "" }));
        assert_eq!(body(b"\xff"), json!({ "bytes": 9, "kept": 1, "base64": "/w==" }));
        assert_eq!(body_of(9, None), json!({ "bytes": 9, "kept": 0, "text": null }));
    }

    #[test]
    fn a_response_head_is_pairs() {
        assert_eq!(pairs(b"a: b: c\r\nX:\r\n"), [["a", "b: c"], ["X", ""]]);
        assert!(pairs(b"").is_empty());
    }
}
