//! Signature schemes: whether a delivery was signed with one of a route's secrets, and how to sign one.
//!
//! The module is pure: no clock, no I/O, no logs. It knows no provider by name; what sets one provider apart stands in
//! its [scheme file](spec).
//!
//! A delivery is checked in two steps, so that what needs no body is refused before the body is read:
//!
//! 1. [`Verifier::inspect`] reads the signature header: [`VerifyError::MissingSignature`],
//!    [`VerifyError::AmbiguousSignature`], [`VerifyError::MalformedSignature`];
//! 2. [`Verifier::verify`] takes each form of signed content that the options allow, in the scheme's order, and looks
//!    for a secret that gives one of the claimed digests. None does: [`VerifyError::SignatureMismatch`]. One does, but
//!    the body is not what was signed: [`VerifyError::PayloadMismatch`].
//!
//! Two forms of one scheme can share a key, so that a signature seen for one could be shown for the other. A scheme
//! keeps them apart by what it demands of their contents: what one form takes is refused by the other (a form that
//! [requires](spec::Requirement) a JSON object, and a [payload](spec::Payload) that is base64).
//!
//! Not protected against: a captured delivery that is sent again unchanged. Headers that the signature
//! does not cover, and with `match_payload: false` body fields that it does not cover, are whatever the sender chose.

mod accept;
mod authentic;
mod catalogue;
mod challenge;
mod codec;
mod compile;
mod compiled;
mod content;
mod credentials;
pub mod diagnose;
mod dirt;
mod error;
mod event;
mod fields;
mod gzip;
mod hash;
mod header;
mod jwt;
mod key;
mod made;
mod multipart;
mod options;
mod payload;
mod proof;
mod public_key;
mod request;
mod secret;
mod sign;
mod signature;
pub mod spec;
mod time;
mod url;
mod verifier;
mod weak;

pub use authentic::{Authentic, Authenticated, EventId};
pub use catalogue::{find, names, source, vectors};
pub use challenge::{Asked, Challenges, LONGEST_BODY as LONGEST_CHALLENGE, Reply};
pub use credentials::{Credentials, REDACTED, Redacted};
pub use dirt::Dirt;
pub use error::{SchemeError, VerifyError};
pub use options::SchemeOptions;
pub use request::{RequestHead, SignedRequest};
pub use secret::Secret;
pub use sign::{SignError, Signed, Unsigned};
pub use spec::{Spec, SpecError};
pub use time::parse_time;
pub use verifier::{Claim, Verifier};
pub use weak::Weakness;

#[cfg(test)]
mod tests;
