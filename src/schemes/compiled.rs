//! A way to sign with what a route fills in: made by [`compile`](super::compile), used by the verifier.

use std::time::Duration;

use super::challenge::Reserved;
use super::key::Key;
use super::signature::Reader;
use super::spec::{Algorithm, Form, Place, Timestamp};
use super::url::Base;

/// The spellings of the public URL under which a request can be signed; empty if the URL is not signed.
pub(super) type Urls = Vec<Base>;

/// A way to sign, with a route's keys.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) reader: Reader,
    pub(super) algorithm: Algorithm,
    /// The keys, each with the position of its secret, in the order of the secrets. Never empty.
    pub(super) keys: Vec<(usize, Key)>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) tolerance: Duration,
    /// The forms that the options allow, in the scheme's order. Empty for tokens.
    pub(super) forms: Vec<CompiledForm>,
    /// The URLs that the claims of a token can name.
    pub(super) urls: Urls,
    pub(super) in_body: bool,
    /// Where the provider's own id of the event stands, if it gives one.
    pub(super) event_id: Option<Place>,
    /// Whether the signature covers the event's id, whichever of the forms it is made in. `false` without an event id.
    pub(super) signs_event_id: bool,
    /// The contents that no delivery may have, because an answer to a challenge can sign them.
    pub(super) reserved: Option<Reserved>,
}

/// A form with what the route fills in.
#[derive(Clone, Debug)]
pub(super) struct CompiledForm {
    pub(super) form: Form,
    pub(super) urls: Urls,
    /// Whether the signed time is a part of the content.
    pub(super) has_time: bool,
    /// Whether the body cannot change under a valid signature.
    pub(super) covers_body: bool,
    /// Whether the signature covers the event's id. `false` without an event id.
    pub(super) signs_event_id: bool,
}
