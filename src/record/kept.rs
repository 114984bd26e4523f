//! What a route keeps of a body, and what stays of a queued delivery once its handler has taken it.

use bytes::Bytes;

use super::redact;
use crate::config::Record;
use crate::http1::payload::Payload;
use crate::routing::table::RouteShared;
use crate::schemes::Redacted;
use crate::store::{KeptBody, Settled};
use crate::upstream::message::Message;

/// What is kept of a body where bodies are: without secrets, up to `most` bytes.
pub fn body(route: &RouteShared, payload: &Payload, most: u64) -> KeptBody {
    let is_short = payload.len() <= most;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match redact::body(&route.credentials, payload) {
        Redacted::Gone => KeptBody::Nothing,
        Redacted::Replaced(body) => KeptBody::Only(body.slice(..most.min(body.len()))),
        Redacted::Unchanged if is_short => KeptBody::AsItIs,
        Redacted::Unchanged => KeptBody::Only(first(payload, most)),
    }
}

/// A copy of the first bytes of a body: it does not hold the buffers of the connection.
pub fn first(payload: &Payload, most: usize) -> Bytes {
    let most = usize::try_from(payload.len()).unwrap_or(most).min(most);
    let mut copy = Vec::with_capacity(most);
    for frame in payload.frames() {
        let room = most - copy.len();
        copy.extend_from_slice(frame.get(..room.min(frame.len())).unwrap_or_default());
    }
    copy.into()
}

/// What stays of a queued delivery once it is delivered, by the `record` of its route: of `none` nothing, of `metadata` no
/// head and no body, of `full` both, without secrets. `encode` makes the bytes that the store keeps of a message.
pub fn after_delivery(route: &RouteShared, message: &Message, encode: impl FnOnce(&Message) -> Bytes) -> Settled {
    let redacted = redact::message(&route.credentials, message);
    let secret = redacted.is_some() || redact::body(&route.credentials, &message.payload) != Redacted::Unchanged;
    let (head, body) = match route.config.record {
        Record::Full => (redacted.as_ref().map(encode), body(route, &message.payload, route.config.record_body)),
        Record::None | Record::Metadata => (Some(Bytes::new()), KeptBody::Nothing),
    };
    Settled { is_kept: route.config.record != Record::None, head, body, secret }
}
