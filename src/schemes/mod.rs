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
//! What this does not protect against: a captured delivery that is sent again as it was. Headers that the signature
//! does not cover, and with `match_payload: false` body fields that it does not cover, are whatever the sender chose.

mod catalogue;
mod challenge;
mod codec;
mod compile;
mod content;
pub mod diagnose;
mod event;
mod fields;
mod jwt;
mod key;
mod payload;
mod public_key;
mod secret;
mod sign;
mod signature;
pub mod spec;
mod time;
mod url;
mod verifier;
mod weak;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde::Deserialize;
use zeroize::Zeroizing;

pub use catalogue::{find, names, source, vectors};
pub use challenge::{Asked, Challenges, Reply};
pub use sign::{SignError, Signed, Unsigned};
use spec::Challenge;
pub use spec::{Spec, SpecError};
pub use verifier::{Claim, Verifier};
pub use weak::Weakness;

/// A secret as configured. It is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret's bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

/// A route's choices within its scheme. What is not given takes the safe default.
#[derive(Clone, Debug, Default)]
pub struct SchemeOptions {
    /// Which form of signed content to accept: `auto`, the default, for any, or the name of one.
    pub signed_content: Option<String>,
    /// Whether the body must equal its signed payload. The default is that it must.
    pub match_payload: Option<bool>,
    /// Where the provider believes that it sends its deliveries, for schemes that sign this.
    pub public_url: Option<String>,
    /// How far a signed time may be from the gateway's clock. The default is the scheme's own.
    pub tolerance: Option<Duration>,
    /// The texts that a scheme asks for beside.
    pub parameters: BTreeMap<String, String>,
    /// The secrets that a scheme's challenges ask for beside.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the scheme's challenges are answered. The default is that they are, as far as the secrets that they are
    /// told by are there; `true` demands those.
    pub challenge: Option<bool>,
}

impl SchemeOptions {
    /// Whether this challenge of the scheme is answered: the route has what it is told by, and does not turn it off.
    pub fn answer(&self, challenge: &Challenge) -> bool {
        self.challenge != Some(false) && challenge.parameters().all(|name| self.secrets.contains_key(name))
    }
}

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, raw.
    pub path: &'a str,
    /// The query without `?`, raw.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// The head of a request.
    pub fn of(parts: &'a Parts) -> Self {
        Self { method: &parts.method, path: parts.uri.path(), query: parts.uri.query(), headers: &parts.headers }
    }
}

/// What a signature is checked against.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The request's head.
    pub head: RequestHead<'a>,
    /// The whole body, in order, in the pieces that it came in. Where they are cut has no influence on the verdict.
    pub body: &'a [Bytes],
}

/// Why a delivery is not let in. The texts are for the sender: they tell nothing that a forger could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum VerifyError {
    /// The signature header is absent, or there is nothing in it but white space.
    #[error("the signature header is missing or empty")]
    MissingSignature,
    /// The signature header is there more than once.
    #[error("the signature header is there more than once")]
    AmbiguousSignature,
    /// The signature header is not in the scheme's format.
    #[error("the signature header is not in the expected format")]
    MalformedSignature,
    /// The signature is well formed, but no secret gives it.
    #[error("the signature does not match")]
    SignatureMismatch,
    /// The signature is right, but the body holds something else than the payload that was signed.
    #[error("the body differs from what was signed")]
    PayloadMismatch,
    /// The signed time is longer ago than the tolerance.
    #[error("the signed time is too long ago")]
    StaleTimestamp,
    /// The signed time is further ahead than the tolerance.
    #[error("the signed time is in the future")]
    FutureTimestamp,
}

impl VerifyError {
    /// Its name in metrics, logs, responses and vectors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::AmbiguousSignature => "ambiguous_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::SignatureMismatch => "signature_mismatch",
            Self::PayloadMismatch => "payload_mismatch",
            Self::StaleTimestamp => "stale_timestamp",
            Self::FutureTimestamp => "future_timestamp",
        }
    }
}

/// The time since 1970-01-01T00:00:00Z that a text says: RFC 3339, or seconds in digits.
pub fn parse_time(text: &str) -> Option<Duration> {
    let formats = [spec::TimeFormat::UnixSeconds, spec::TimeFormat::Rfc3339];
    let milliseconds = formats.iter().find_map(|format| time::parse(*format, text.as_bytes()))?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

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

/// A fault in what an operator configured. No request can cause one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The scheme has no such option.
    #[error("the scheme {scheme} has no option {option}")]
    UnknownOption {
        /// The scheme's name.
        scheme: String,
        /// The option's key.
        option: String,
    },
    /// The option cannot have this value.
    #[error("{value:?} is not a value of {option}: use {allowed}")]
    BadValue {
        /// The option's key.
        option: &'static str,
        /// The value given.
        value: String,
        /// The values that it may have.
        allowed: String,
    },
    /// There is no secret to verify with.
    #[error("there is no secret")]
    NoSecret,
    /// A secret has nothing in it. With an empty key, everyone can sign.
    #[error("the secret is empty")]
    EmptySecret,
    /// A secret is not in the scheme's encoding.
    #[error("the secret is not {expected}")]
    UndecodableSecret {
        /// What it should be.
        expected: String,
    },
    /// The scheme signs the public URL, which the route does not give.
    #[error("is missing: {scheme} signs the URL that it sends to, so the route must say it")]
    NoPublicUrl {
        /// The scheme's name.
        scheme: String,
    },
    /// The public URL is none.
    #[error("{why}")]
    BadPublicUrl {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The scheme needs a parameter that the route does not give.
    #[error("is missing: {scheme} needs {description}")]
    NoParameter {
        /// The scheme's name.
        scheme: String,
        /// What the parameter is.
        description: String,
    },
    /// Deliveries of this provider cannot be verified.
    #[error("{scheme} cannot be verified: {reason}")]
    Unsupported {
        /// The scheme's name.
        scheme: String,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
