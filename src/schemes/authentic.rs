//! What a signature proved.

/// Proof that a delivery was signed, and how. [`Verifier::event_id`](super::Verifier::event_id) and its neighbours say what
/// follows from it; nothing is computed before they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentic {
    /// Which secret the delivery was signed with: its position among those that the verifier was built with.
    pub secret: usize,
    /// The position of the way to sign that accepted it.
    pub(super) way: usize,
    /// What of that way accepted it.
    pub(super) by: By,
}

/// What accepted a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A token that is the secret itself.
    Secret,
    /// The JSON web token at this position in the signature header.
    Token(usize),
    /// The form at this position.
    Form(usize),
}

/// The authentic part of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authenticated {
    /// All of the body.
    Body,
    /// Nothing of the body: a token proves who sent it, and some signatures cover what the scheme's `covers` says.
    Nothing,
    /// This document, which the signature covers in place of the body. Unless `match_payload` is off, the body equals it.
    Payload(Vec<u8>),
}

/// The provider's own id of an event, as a delivery gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The id: the bytes of a header, the text of a JSON string or number, a decoded field. Not empty.
    pub value: Vec<u8>,
    /// Whether the signature covers it. Otherwise anyone who sends a captured delivery again can choose it.
    pub is_signed: bool,
}
