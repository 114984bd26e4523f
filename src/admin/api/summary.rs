//! What a list shows of a delivery. Every key is always there, `null` where nothing applies, but for `gateway`.

use serde_json::{Map, Value, json};

use crate::queue::attempt::rfc3339;
use crate::store::Stored;

/// The summary of a delivery.
pub fn summary(stored: &Stored) -> Map<String, Value> {
    let delivery = &stored.delivery;
    let some = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    let fields = [
        ("id", json!(delivery.id.to_string())),
        ("received_at", json!(rfc3339(delivery.received_at))),
        ("route", json!(&*delivery.route)),
        ("scheme", json!(some(&delivery.scheme))),
        ("state", json!(stored.shown.name())),
        ("reason", json!(delivery.reason.as_deref())),
        ("status", json!(delivery.status)),
        ("event_type", json!(delivery.event_type.as_deref())),
        ("event_id", json!(delivery.event_id.as_deref())),
        ("request_id", json!(delivery.request_id.as_deref())),
        ("peer", json!(some(&delivery.peer))),
        ("method", json!(some(&delivery.method))),
        ("path", json!(some(&delivery.path))),
        ("request_bytes", json!(delivery.request_bytes)),
        ("attempts", json!(stored.attempts)),
        ("next_attempt_at", json!(stored.next_attempt_at.map(rfc3339))),
        ("duration_ms", json!(delivery.duration_ms)),
    ];
    // Only gateways that share a store are told apart.
    let gateway = stored.gateway.as_deref().map(|name| ("gateway", json!(name)));
    fields.into_iter().chain(gateway).map(|(key, value)| (key.to_owned(), value)).collect()
}
