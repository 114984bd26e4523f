//! Recognises deliveries that were there before, and answers them as if they were accepted again.
//!
//! Only what has verified is looked up. In proxy mode the first delivery *reserves* its key: a 2xx from the handler commits
//! it, anything else releases it. A twin that comes meanwhile is refused as `duplicate_in_flight`. In queue mode the key is
//! committed together with the delivery, by the next stage.
//!
//! A delivery without a key, because its id is missing or `null`, is never a duplicate. Without a signature that covers the
//! id, the key is the id together with a digest of the signed content: a captured delivery under another id is then new, and
//! a foreign id cannot be used up.
//!
//! A proxy route outlives its store: what cannot be looked up there is forwarded.
//!
//! Does not protect a handler whose own work is not idempotent from a repetition after a crash.

use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tower::Service;

use super::accepted::duplicate;
use super::stage::{Boxed, Next};
use super::verify::Verified;
use crate::clock::Clock;
use crate::config::{Dedupe, Delivery};
use crate::delivery::response::{Completed, StageResult};
use crate::observe::log_limit::LogLimit;
use crate::queue::lane::Queue;
use crate::reject::{Refusal, Reject};
use crate::schemes::spec::Place;
use crate::schemes::{RequestHead, SignedRequest};
use crate::store::{DedupeKey, Millis, Reserved, millis};

/// What the stage needs of its thread.
#[derive(Clone)]
pub struct DedupeContext {
    /// For the time until which a key counts.
    pub clock: Clock,
    /// Where keys are kept.
    pub queue: Arc<Queue>,
    /// Bounds the lines about keys that could not be kept.
    pub log_limit: Rc<LogLimit>,
}

impl DedupeContext {
    /// The time by the wall clock, by which the store counts how long a key is kept, also over a restart.
    fn now(&self) -> Millis {
        millis(self.clock.unix())
    }
}

/// A delivery that has verified, and the key by which its twins are recognised.
pub struct Deduped {
    /// The delivery.
    pub verified: Verified,
    /// Its key in queue mode; in proxy mode this stage keeps it.
    pub key: Option<DedupeKey>,
}

/// The stage: passes on the first of several equal deliveries.
pub fn dedupe<S>(next: Rc<Next<DedupeContext, S>>, verified: Verified) -> Boxed<Completed, Refusal>
where
    S: Service<Deduped, Response = Completed, Error = Refusal, Future = Boxed<Completed, Refusal>> + Clone + 'static,
{
    let found = verified.route().config.dedupe.as_ref().and_then(|dedupe| key(&verified, dedupe));
    let Some((key, dedupe)) = found.zip(verified.route().config.dedupe.as_ref()) else {
        return next.run(Deduped { verified, key: None });
    };
    let until = next.context.now().saturating_add(millis(dedupe.window));
    match &verified.route().config.delivery {
        Delivery::Queue(_) => next.run(Deduped { verified, key: Some(DedupeKey { key, until }) }),
        Delivery::Proxy => Box::pin(reserved(next, verified, DedupeKey { key, until })),
    }
}

async fn reserved<S>(next: Rc<Next<DedupeContext, S>>, verified: Verified, key: DedupeKey) -> StageResult
where
    S: Service<Deduped, Response = Completed, Error = Refusal> + Clone,
{
    let DedupeContext { clock, queue, log_limit } = &next.context;
    let reservation = match queue.store.reserve(key.key, next.context.now()).await {
        Ok(Reserved::First(reservation)) => reservation,
        Ok(Reserved::Duplicate(_)) => return Ok(duplicate(verified.route())),
        Ok(Reserved::InFlight) => return Err(Reject::DuplicateInFlight.into()),
        // The handler would miss a delivery, rather than get a repetition; those in flight here are known.
        Err((error, reservation)) => {
            if let Some(suppressed) = log_limit.admit(clock.now()) {
                tracing::warn!(%error, suppressed, "cannot look up a delivery: it is forwarded, also if it is a repetition");
            }
            reservation
        }
    };
    let id = verified.info().delivery_id;
    let completed = next.run(Deduped { verified, key: None }).await?;
    if completed.response.status().is_success()
        && let Err(error) = queue.store.commit_key(reservation, id, key.until)
        && let Some(suppressed) = log_limit.admit(clock.now())
    {
        tracing::warn!(%error, suppressed, "cannot remember a delivery: its repetition will not be recognised");
    }
    Ok(completed)
}

/// The key of a delivery, if it has one: half of a SHA-256 over the route, the scheme and what tells deliveries apart.
fn key(verified: &Verified, dedupe: &Dedupe) -> Option<[u8; 16]> {
    use crate::config::DedupeKey as Key;
    let (route, info) = (&verified.route().config, verified.info());
    let request = SignedRequest { head: RequestHead::of(&info.head), body: verified.payload().frames() };
    let authentic = verified.authentic()?;
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(route.name.as_bytes());
    part(route.scheme.name.as_bytes());
    match &dedupe.key {
        Key::Auto => {
            let id = route.verifier.event_id(authentic, &request)?;
            part(b"id");
            part(&id.value);
            if !id.is_signed {
                part(&route.verifier.content_digest(authentic, &request)?);
            }
        }
        Key::Content => {
            part(b"content");
            part(&route.verifier.content_digest(authentic, &request)?);
        }
        Key::Header(name) => {
            part(b"header");
            part(info.head.headers.get(name).filter(|value| !value.is_empty())?.as_bytes());
        }
        Key::Json(pointer) => {
            part(b"json");
            let place = Place::Json(pointer.clone());
            part(&place.in_query_or_body(None, verified.payload().frames()).filter(|value| !value.is_empty())?);
        }
    }
    digest.finalize().first_chunk().copied()
}
