//! The text of events.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::told::Told;

/// How long a client waits before it connects again, in milliseconds.
const RECONNECT: u32 = 2_000;

/// The beginning of a stream.
pub fn opening() -> Bytes {
    format!("retry: {RECONNECT}\n\n").into()
}

/// Nothing, for proxies.
pub fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// New deliveries; `id` is that of the newest one that was sent.
pub fn delivery(deliveries: &[Arc<Told>], id: Uuid) -> Bytes {
    format!("event: delivery\nid: {id}\ndata: {}\n\n", data(deliveries)).into()
}

/// Deliveries that have changed.
pub fn update(deliveries: &[Arc<Told>]) -> Bytes {
    format!("event: update\ndata: {}\n\n", data(deliveries)).into()
}

/// Deliveries and changes that are left out.
pub fn gap(count: u64) -> Bytes {
    format!("event: gap\ndata: {}\n\n", json!({ "count": count })).into()
}

/// One summary, or several in a list. The JSON has no line breaks.
fn data(deliveries: &[Arc<Told>]) -> String {
    match deliveries {
        [one] => one.json().to_owned(),
        several => {
            let summaries: Vec<&str> = several.iter().map(|told| told.json()).collect();
            format!("{{\"deliveries\":[{}]}}", summaries.join(","))
        }
    }
}
