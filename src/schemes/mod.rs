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
mod content;
mod mac;
mod payload;
mod sign;
mod signature;
pub mod spec;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use zeroize::Zeroizing;

pub use catalogue::{find, names, source};
pub use sign::SignError;
pub use spec::{Spec, SpecError};

use content::{Body, Content, Filled};
use mac::Key;
use spec::{Algorithm, Form, Part, Payload, PayloadEquals, Requirement, SecretEncoding, Signature};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemeOptions {
    /// Which form of signed content to accept: `auto`, the default, for any, or the name of one.
    pub signed_content: Option<String>,
    /// Whether the body must equal its signed payload. The default is that it must.
    pub match_payload: Option<bool>,
}

/// What a signature is checked against.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
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
}

/// What a signature header claims: the digests one of which must come out.
#[derive(Clone)]
pub struct Claim {
    candidates: signature::Candidates,
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Claim").field("candidates", &self.candidates.len()).finish()
    }
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
        option: &'static str,
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
        expected: &'static str,
    },
}

impl Spec {
    /// Whether these options fit this scheme.
    ///
    /// # Errors
    /// Every fault, each with the key of its option.
    pub fn check_options(&self, options: &SchemeOptions) -> Result<(), Vec<(&'static str, SchemeError)>> {
        let mut faults = Vec::new();
        let unknown = |option| (option, SchemeError::UnknownOption { scheme: self.name.clone(), option });
        let allowed = self.signed_content_values();
        match options.signed_content.as_deref() {
            None => {}
            Some(_) if allowed.is_empty() => faults.push(unknown("signed_content")),
            Some(value) if allowed.contains(&value) => {}
            Some(value) => {
                let (option, value, allowed) = ("signed_content", value.to_owned(), allowed.join(", "));
                faults.push((option, SchemeError::BadValue { option, value, allowed }));
            }
        }
        if options.match_payload.is_some() && !self.has_payload() {
            faults.push(unknown("match_payload"));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether this can be a secret of this scheme.
    ///
    /// # Errors
    /// [`SchemeError::EmptySecret`] and [`SchemeError::UndecodableSecret`].
    pub fn check_secret(&self, secret: &Secret) -> Result<(), SchemeError> {
        self.key(secret).map(|_| ())
    }

    /// Builds what verifies and signs, once for a route.
    ///
    /// # Errors
    /// The first fault of [`Spec::check_options`] and [`Spec::check_secret`], or [`SchemeError::NoSecret`].
    pub fn compile(&self, options: &SchemeOptions, secrets: &[Secret]) -> Result<Verifier, SchemeError> {
        if let Some((_, fault)) = self.check_options(options).err().and_then(|faults| faults.into_iter().next()) {
            return Err(fault);
        }
        if secrets.is_empty() {
            return Err(SchemeError::NoSecret);
        }
        let pinned = options.signed_content.as_deref().filter(|value| *value != "auto");
        let forms = self.forms.iter().filter(|form| pinned.is_none_or(|name| form.name == name));
        Ok(Verifier {
            signature: self.signature.clone(),
            algorithm: self.algorithm,
            keys: secrets.iter().map(|secret| self.key(secret)).collect::<Result<_, _>>()?,
            forms: forms.cloned().collect(),
            match_payload: options.match_payload.unwrap_or(true),
        })
    }

    fn key(&self, secret: &Secret) -> Result<Key, SchemeError> {
        if secret.is_empty() {
            return Err(SchemeError::EmptySecret);
        }
        match self.secret {
            SecretEncoding::Utf8 if std::str::from_utf8(secret.expose()).is_err() => {
                Err(SchemeError::UndecodableSecret { expected: "UTF-8 text" })
            }
            SecretEncoding::Utf8 => Ok(Key::new(self.algorithm, secret.expose())),
        }
    }
}

/// A scheme with a route's options and secrets: verifies its deliveries, and signs them.
#[derive(Debug)]
pub struct Verifier {
    signature: Signature,
    algorithm: Algorithm,
    /// One a secret, in their order. Never empty.
    keys: Vec<Key>,
    /// The forms that the options allow, in the scheme's order. Never empty.
    forms: Vec<Form>,
    match_payload: bool,
}

impl Verifier {
    /// Checks what needs no body.
    ///
    /// # Errors
    /// [`VerifyError::MissingSignature`], [`VerifyError::AmbiguousSignature`], [`VerifyError::MalformedSignature`].
    pub fn inspect(&self, headers: &HeaderMap) -> Result<Claim, VerifyError> {
        let candidates = signature::parse(&self.signature, mac::digest_len(self.algorithm), headers)?;
        Ok(Claim { candidates })
    }

    /// Checks the claim against the whole request, and says what it proves.
    ///
    /// # Errors
    /// [`VerifyError::SignatureMismatch`], [`VerifyError::PayloadMismatch`].
    pub fn verify(&self, claim: &Claim, request: &SignedRequest<'_>) -> Result<Authentic, VerifyError> {
        let body = Body::new(request.body);
        let mut verdict = VerifyError::SignatureMismatch;
        for form in &self.forms {
            match self.verify_form(form, claim, &body) {
                Ok(authentic) => return Ok(authentic),
                Err(VerifyError::PayloadMismatch) => verdict = VerifyError::PayloadMismatch,
                Err(_) => {}
            }
        }
        Err(verdict)
    }

    /// The headers that carry a signature. They belong in no log.
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        signature::headers(&self.signature)
    }

    /// The errors that [`Verifier::inspect`] and [`Verifier::verify`] can give under these options.
    pub fn possible_errors(&self) -> Vec<VerifyError> {
        let mut errors = vec![
            VerifyError::MissingSignature,
            VerifyError::AmbiguousSignature,
            VerifyError::MalformedSignature,
            VerifyError::SignatureMismatch,
        ];
        // Also with `match_payload: false`: a payload that does not decode is refused all the same.
        if self.forms.iter().any(|form| form.payload.is_some()) {
            errors.push(VerifyError::PayloadMismatch);
        }
        errors
    }

    fn verify_form(&self, form: &Form, claim: &Claim, body: &Body<'_>) -> Result<Authentic, VerifyError> {
        match content::fill(form, body) {
            Filled::Unfit => Err(Refusal::Absent.reason()),
            Filled::Once(content) => {
                let secret = self.secret_for(claim, &content).ok_or(VerifyError::SignatureMismatch)?;
                // Only now what costs more than a digest does: under a right signature.
                let content = self.accept(form, &content, body).map_err(Refusal::reason)?;
                Ok(Authentic { secret, content })
            }
            // Whichever of the two a parser takes, the body is not what was signed.
            Filled::Repeated(contents) => {
                let signed = contents.iter().any(|content| self.secret_for(claim, content).is_some());
                Err(if signed { Refusal::Repeated.reason() } else { VerifyError::SignatureMismatch })
            }
        }
    }

    fn secret_for(&self, claim: &Claim, content: &Content<'_>) -> Option<usize> {
        self.keys.iter().position(|key| key.accepts(&claim.candidates, content))
    }

    /// What a right signature over this content proves, if the body is such that it proves anything.
    fn accept(&self, form: &Form, content: &Content<'_>, body: &Body<'_>) -> Result<Authenticated, Refusal> {
        match form.requires {
            Some(Requirement::JsonObject) if !payload::is_json_object(body.bytes()) => {
                return Err(Refusal::NoJsonObject);
            }
            Some(Requirement::JsonObject) | None => {}
        }
        let (encoding, equals, pointer, signed) = match (form.payload, form.content.as_slice(), content.as_slice()) {
            (None, _, _) => return Ok(Authenticated::Body),
            (Some(Payload { encoding, equals }), [Part::Json(pointer)], [signed]) => {
                (encoding, equals, pointer, signed)
            }
            // No scheme file is like this: `Spec::parse` sees to it.
            (Some(_), _, _) => return Err(Refusal::NoPayload),
        };
        let payload = payload::open(encoding, signed).ok_or(Refusal::NoPayload)?;
        if self.match_payload {
            let PayloadEquals::BodyWithoutKey = equals;
            let equal = payload::equal::equal_but_for(body.bytes(), pointer.key(), &payload);
            equal.then_some(()).ok_or(Refusal::Differs)?;
        }
        Ok(Authenticated::Payload(payload))
    }
}

/// Why a form does not take a body, although its signature is right or could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// The signed key is missing, or the body is no JSON object that could hold it.
    #[error("the body has no key with the text to sign")]
    Absent,
    /// The signed key is there more than once.
    #[error("the body has the key with the text to sign twice")]
    Repeated,
    /// The body is not a JSON object, which the form requires.
    #[error("the body is not a JSON object")]
    NoJsonObject,
    /// The signed text does not decode to a JSON object.
    #[error("the text to sign does not decode to a JSON object")]
    NoPayload,
    /// The payload differs from the body.
    #[error("the payload in the text to sign differs from the body")]
    Differs,
}

impl Refusal {
    /// What the sender is told, if the signature is right.
    fn reason(self) -> VerifyError {
        match self {
            // A form does not exist for a body that lacks what it needs.
            Self::Absent | Self::NoJsonObject => VerifyError::SignatureMismatch,
            Self::Repeated | Self::NoPayload | Self::Differs => VerifyError::PayloadMismatch,
        }
    }
}

#[cfg(test)]
mod tests;
