//! What a route keeps of a body, and what stays of a queued delivery once its handler has taken it.

use std::sync::Arc;

use bytes::Bytes;
use smol_str::SmolStr;
use uuid::Uuid;

use super::redact::Secrets;
use crate::config::Record;
use crate::http1::payload::Payload;
use crate::routing::copies::DeliveryCopy;
use crate::routing::table::RouteShared;
use crate::schemes::Redacted;
use crate::store::{KeptBody, Settled, StoredDetails};
use crate::upstream::message::Message;

/// What is kept of a body where bodies are, up to `most` bytes; `redacted` is the body without secrets.
pub fn body(redacted: Redacted<Bytes>, payload: &Payload, most: u64) -> KeptBody {
    let is_short = payload.len() <= most;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match redacted {
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

/// Keeps a copy of a delivery without secrets for the listeners of its route, if it has any, and if its record is not
/// going to have all of it.
pub fn copy(
    route: &RouteShared,
    (id, origin): (Uuid, &Origin),
    redacted: &Redacted<Bytes>,
    payload: &Payload,
    head: impl FnOnce() -> Bytes,
) {
    let is_recorded = route.config.record == Record::Full && payload.len() <= route.config.record_body;
    if is_recorded || !route.limits.copies().are_wanted() {
        return;
    }
    let body = match redacted {
        Redacted::Unchanged => payload.whole(),
        Redacted::Replaced(body) => body.clone(),
        Redacted::Gone => return,
    };
    let Origin { scheme, event_type, details } = origin.clone();
    let details = details.into_bytes();
    route.limits.copies().keep(DeliveryCopy { id, scheme, event_type, details, head: head(), body });
}

/// What was stored of a delivery when it came, beside head and body.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The scheme of its route at that time.
    pub scheme: Arc<str>,
    /// The provider's name for the kind of event, if it is known.
    pub event_type: Option<SmolStr>,
    /// Its details.
    pub details: StoredDetails,
}

/// What stays of a queued delivery once it is delivered, by the `record` of its route: of `none` nothing, of `metadata` no
/// head and no body, of `full` both, without secrets. `encode` makes the bytes that the store keeps of a message.
///
/// Those who listen to the route find a [`copy`] for a while even so.
///
/// The route may have another scheme than when the delivery came: [`Secrets`] says what goes then.
pub fn after_delivery(
    route: &RouteShared,
    origin: &Origin,
    message: &Message,
    encode: impl Fn(&Message) -> Bytes,
) -> Settled {
    // Only another program can have written what cannot be read.
    let details = origin.details.decode().unwrap_or_default();
    let secrets = Secrets::of(Some(route), &origin.scheme, &details);
    let without = secrets.message(message);
    let payload = secrets.body(&message.payload);
    let secret = without.is_some() || payload != Redacted::Unchanged || !details.redacted.is_empty();
    copy(route, (message.id, origin), &payload, &message.payload, || encode(without.as_ref().unwrap_or(message)));
    let (head, body) = match route.config.record {
        Record::Full => (without.as_ref().map(encode), body(payload, &message.payload, route.config.record_body)),
        Record::None | Record::Metadata => (Some(Bytes::new()), KeptBody::Nothing),
    };
    Settled { is_kept: route.config.record != Record::None, head, body, secret }
}
