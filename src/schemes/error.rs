//! Errors: of deliveries, and of what an operator configured.

use serde::Deserialize;

/// Why a delivery is refused. The texts are for the operator, who reads them in the log and from `explain`; a sender sees
/// only the name and the title of the refusal. No text tells what the right signature would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum VerifyError {
    /// The signature header is absent, empty or white space.
    #[error("the signature header is missing or empty")]
    MissingSignature,
    /// The signature header is repeated.
    #[error("the signature header is repeated")]
    AmbiguousSignature,
    /// The signature header is not in the scheme's format.
    #[error("the signature header is not in the expected format")]
    MalformedSignature,
    /// The signature is well formed, but none of the secrets made it.
    #[error("the signature does not match")]
    SignatureMismatch,
    /// The signature is valid, but the body differs from the signed payload.
    #[error("the body differs from what was signed")]
    PayloadMismatch,
    /// The signed time is further in the past than the tolerance.
    #[error("the signed time is too long ago")]
    StaleTimestamp,
    /// The signed time is further in the future than the tolerance.
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
    /// A secret is empty. Anyone can sign with an empty key.
    #[error("the secret is empty")]
    EmptySecret,
    /// A secret is not in the scheme's encoding.
    #[error("the secret is not {expected}")]
    UndecodableSecret {
        /// What it should be.
        expected: String,
    },
    /// The scheme signs the public URL, which the route does not give.
    #[error("is missing: {scheme} signs the URL that it sends to, so the route must state it")]
    NoPublicUrl {
        /// The scheme's name.
        scheme: String,
    },
    /// The public URL is invalid.
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
