//! What a list shows of a delivery.

use std::borrow::Cow;

use serde::Serialize;

use crate::queue::attempt::rfc3339;
use crate::store::{Stored, received_at};

/// The summary of a delivery. Every key is always there, `null` where nothing applies, but for `gateway`.
///
/// It is written for each delivery that a stream shows, so it borrows what it can.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    id: String,
    received_at: String,
    route: &'a str,
    scheme: Option<&'a str>,
    state: &'static str,
    reason: Option<&'a str>,
    status: Option<u16>,
    event_type: Option<&'a str>,
    event_id: Option<&'a str>,
    request_id: Option<Cow<'a, str>>,
    peer: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    request_bytes: u64,
    attempts: u32,
    next_attempt_at: Option<String>,
    duration_ms: Option<u32>,
    /// Only gateways that share a store are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
}

impl<'a> From<&'a Stored> for Summary<'a> {
    fn from(stored: &'a Stored) -> Self {
        let delivery = &stored.delivery;
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Self {
            id: delivery.id.to_string(),
            received_at: rfc3339(received_at(delivery.id)),
            route: &delivery.route,
            scheme: some(&delivery.scheme),
            state: stored.shown.name(),
            reason: delivery.reason.as_deref(),
            status: delivery.status,
            event_type: delivery.event_type.as_deref(),
            event_id: delivery.event_id.as_deref(),
            request_id: delivery.request_id(),
            peer: some(&delivery.peer),
            method: some(&delivery.method),
            path: some(&delivery.path),
            request_bytes: delivery.request_bytes,
            attempts: stored.attempts,
            next_attempt_at: stored.next_attempt_at.map(rfc3339),
            duration_ms: delivery.duration_ms,
            gateway: stored.gateway.as_deref(),
        }
    }
}
