//! A way to sign with what a route fills in: what [`compile`](super::compile) makes and the verifier works with.

use std::time::Duration;

use super::challenge::Reserved;
use super::key::Key;
use super::signature::Reader;
use super::spec::{Algorithm, Form, Place, Timestamp};
use super::url::Base;

/// The spellings of the public URL that one request can be signed for: none, where the URL plays no part.
pub(super) type Urls = Vec<Base>;

/// A way to sign, with a route's keys.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) reader: Reader,
    pub(super) algorithm: Algorithm,
    /// With the position of their secret, in that order. Never empty.
    pub(super) keys: Vec<(usize, Key)>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) tolerance: Duration,
    /// The forms that the options allow, in the scheme's order. Empty for tokens.
    pub(super) forms: Vec<CompiledForm>,
    /// For the claims of a token.
    pub(super) urls: Urls,
    pub(super) in_body: bool,
    /// Where the provider's own id of the event stands, if it gives one.
    pub(super) event_id: Option<Place>,
    /// Whether the signature covers the event's id, whichever of the forms it is made in. `false` without an event id.
    pub(super) signs_event_id: bool,
    /// What no delivery may consist of, as a challenge can get a signature over it.
    pub(super) reserved: Option<Reserved>,
}

/// A form with what the route fills in.
#[derive(Clone, Debug)]
pub(super) struct CompiledForm {
    pub(super) form: Form,
    pub(super) urls: Urls,
    /// Whether the signed time is a part of the content.
    pub(super) has_time: bool,
    /// Whether the signature ties the body to it.
    pub(super) covers_body: bool,
    /// Whether the signature covers the event's id. `false` without an event id.
    pub(super) signs_event_id: bool,
}
