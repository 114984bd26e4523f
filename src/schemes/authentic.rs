//! What a signature proved.

/// What a signature proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentic {
    /// Which secret the delivery was signed with: its position among those that the [`Verifier`] was built with.
    pub secret: usize,
    /// What of the delivery is authentic.
    pub content: Authenticated,
}

/// The authentic part of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authenticated {
    /// All of the body.
    Body,
    /// Nothing of the body: a token proves who sent it, and some signatures cover what the scheme's `covers` says.
    Nothing,
    /// This payload, decoded. Unless `match_payload` is off, the body says the same.
    Payload(Vec<u8>),
}
