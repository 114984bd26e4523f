//! The scheme language: how one provider signs its deliveries, as data.
//!
//! A scheme is one YAML file. Unknown keys are refused, so that a misspelt word cannot weaken a check.
//!
//! ```
//! let spec = hooklatch::schemes::Spec::parse(r#"
//! name: example                                # how gateway.yaml calls it
//! title: Example Inc.                          # how people call it
//! documentation: ["https://example.com/docs"]  # where the provider describes what follows
//! confidence: documented                       # documented | sdk | second_hand
//! signature:
//!   at: { header: x-example-signature }        # where the signature stands
//!   grammar: { prefix: { text: "sha256=", required: true } }
//!   encoding: hex                              # of the digest, once the grammar is taken off
//! algorithm: { hmac: sha256 }
//! secret: utf8                                 # how the configured secret becomes the key
//! forms:                                       # what is signed; the first form is the one to sign with
//!   - name: body
//!     content: [body]                          # parts, fed to the algorithm in this order
//! deadline_seconds: 10                         # the facts from here to notes are optional
//! event_id: { where: { json: /id }, signed: true }
//! sample:
//!   headers: { content-type: application/json }
//!   body: '{"id":"1"}'
//! vectors:                                     # at least one; the documentation's own first
//!   - source: https://example.com/docs
//!     secret: key
//!     headers: { x-example-signature: sha256=00 }
//!     body: The quick brown fox jumps over the lazy dog
//!     accept: false
//!     reason: malformed_signature
//! "#).unwrap();
//! assert_eq!(spec.name, "example");
//! ```
//!
//! [`Spec::parse`] refuses, beside what is not of this shape:
//!
//! 1. a scheme without a form, a form without a name or without content, two forms of one name;
//! 2. a form whose content leaves out the body and has no payload to compare the body with: nothing would tie the
//!    body to the signature;
//! 3. a payload in a form whose content is not one JSON key;
//! 4. an empty set of vectors, or a vector that does not say what must come out of it.
//!
//! A new provider needs a new file. Where the language lacks a word, it gains a variant in one of the enums here, and
//! the code that matches on it fails to compile until it understands the word.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::VerifyError;

/// One provider's scheme: the facts that verify and sign its deliveries, and those that people want to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name that configurations use: lower case letters, digits, `_` and `-`.
    pub name: String,
    /// The provider's own name.
    pub title: String,
    /// Addresses of the pages that the facts were taken from.
    pub documentation: Vec<String>,
    /// How well the signature facts are founded.
    pub confidence: Confidence,
    /// Where the signature stands and how it is written.
    pub signature: Signature,
    /// What turns key and content into the signature.
    pub algorithm: Algorithm,
    /// How the configured secret becomes the key.
    pub secret: SecretEncoding,
    /// What the signature covers. A provider with several forms gives its users the option `signed_content`.
    pub forms: Vec<Form>,
    /// How long the provider waits for the response, in seconds, if it says so.
    #[serde(default)]
    pub deadline_seconds: Option<u32>,
    /// What response counts as success.
    #[serde(default)]
    pub success: Option<String>,
    /// When, and how often, the provider sends a failed delivery again.
    #[serde(default)]
    pub retries: Option<String>,
    /// Where the provider's own id of the event stands: the same on a retry.
    #[serde(default)]
    pub event_id: Option<Fact>,
    /// Where the kind of the event stands.
    #[serde(default)]
    pub event_type: Option<Fact>,
    /// The largest body that the provider sends, in bytes, if it is more than the usual default allows.
    #[serde(default)]
    pub max_body_bytes: Option<u64>,
    /// The status for a refused delivery, where the provider demands a certain one.
    #[serde(default)]
    pub reject_status: Option<u16>,
    /// What a user of this provider should know, a sentence or two each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// A delivery as the provider would send it, but for the signature.
    pub sample: Sample,
    /// Deliveries with a known verdict.
    pub vectors: Vec<Vector>,
}

/// How well the signature facts of a scheme are founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The provider's documentation says so.
    Documented,
    /// The provider's own library, server or sample code does so.
    Sdk,
    /// Several receivers agree; no word of the provider's was found.
    SecondHand,
}

/// Where the signature stands and how it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Where the signature stands.
    pub at: Location,
    /// How the value found there is built.
    pub grammar: Grammar,
    /// How a digest is written within the value.
    pub encoding: Encoding,
}

/// Where a signature stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// `{ header: NAME }`: in one header, which must be there exactly once.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
}

/// How a signature value is built from digests. White space at both ends of the value is no part of it (RFC 9110
/// section 5.5).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Grammar {
    /// `bare`: the digest and nothing else.
    Bare,
    /// `{ prefix: { text: "sha256=", required: true } }`: a fixed text, then the digest. The case of the text counts.
    Prefix {
        /// What stands before the digest.
        text: String,
        /// Whether a digest without the text is malformed.
        required: bool,
    },
    /// `{ versions: { accept: v1, at_most: 8 } }`: a comma-separated list of `version=digest`, white space around an
    /// entry aside. Entries of other versions are not looked at.
    Versions {
        /// The one version that counts.
        accept: String,
        /// How many entries of that version one value may have.
        at_most: usize,
    },
}

/// How the bytes of a digest are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Base16 (RFC 4648 section 8), in either case when read, in lower case when written.
    Hex,
}

/// What turns key and content into a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// `{ hmac: HASH }`: HMAC (RFC 2104), all of its output.
    Hmac(Hash),
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// SHA-1 (FIPS 180-4). Broken for collisions, which HMAC does not rest on.
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
}

/// How the configured secret becomes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    /// The secret is UTF-8 text, and its bytes are the key.
    Utf8,
}

/// One form of what a signature covers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The name that the option `signed_content` uses.
    pub name: String,
    /// What is fed to the algorithm, in order, with nothing between.
    pub content: Vec<Part>,
    /// What the body must be for this form to apply. It keeps apart two forms whose contents could be mistaken for
    /// one another.
    #[serde(default)]
    pub requires: Option<Requirement>,
    /// The signed content is itself a document, which stands in the body beside fields that are not signed.
    #[serde(default)]
    pub payload: Option<Payload>,
}

/// A part of the signed content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `body`: the bytes of the body as they came.
    Body,
    /// `{ json: /KEY }`: the value of a key at the root of the JSON body, which must be a string that is not empty,
    /// with its escapes resolved (RFC 8259 section 7).
    Json(RootKey),
}

/// What a body must be for a form to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// One JSON text in UTF-8 (RFC 8259), whose value is an object.
    JsonObject,
}

/// A document inside the signed content.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// How the document is written in the signed content. What does not decode to a JSON object is always refused.
    pub encoding: PayloadEncoding,
    /// What the document is compared with, unless the option `match_payload` turns that off.
    pub equals: PayloadEquals,
}

/// How a payload is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadEncoding {
    /// Base64 (RFC 4648 section 4), with its padding, without stray bits or line breaks.
    Base64,
}

/// What a payload must equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadEquals {
    /// The JSON body without the root key that holds the payload.
    BodyWithoutKey,
}

/// A JSON pointer (RFC 6901) to a key at the root: `/KEY`, with `~0` for `~` and `~1` for `/`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RootKey(String);

impl RootKey {
    /// The key, with the pointer's escapes resolved.
    pub fn key(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RootKey {
    type Error = &'static str;

    fn try_from(pointer: String) -> Result<Self, Self::Error> {
        let key = pointer.strip_prefix('/').ok_or("a JSON pointer begins with /")?;
        if key.contains('/') {
            return Err("only a JSON pointer to a key at the root is understood");
        }
        Ok(Self(key.replace("~1", "/").replace("~0", "~")))
    }
}

/// Where a fact about the event stands, and whether it can be believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Where it stands.
    #[serde(rename = "where")]
    pub place: Place,
    /// Whether the signature covers it. What it does not cover, a sender of a replayed delivery can choose.
    pub signed: bool,
}

/// A place in a delivery.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// `{ header: NAME }`.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ json: /KEY }`.
    Json(RootKey),
}

/// A delivery as the provider would send it, but for the signature.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The headers that the provider sends, without the signature's.
    pub headers: Headers,
    /// The body.
    pub body: String,
}

/// A delivery with a known verdict.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Who says so: an address, or `derived` with what it was derived from.
    pub source: String,
    /// What the vector is about.
    #[serde(default)]
    pub note: Option<String>,
    /// The secret, a public test value.
    pub secret: String,
    /// The headers that matter.
    pub headers: Headers,
    /// The body.
    pub body: String,
    /// Whether the delivery is to be accepted.
    pub accept: bool,
    /// Why it is refused, if it is.
    #[serde(default)]
    pub reason: Option<VerifyError>,
}

/// Headers in the order of the file. A name may be there twice.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// The headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The headers as a request carries them.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            map.append(name, value.clone());
        }
        map
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Headers;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("header names with their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut lines = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    let name = name.parse::<HeaderName>().map_err(A::Error::custom)?;
                    lines.push((name, value.parse().map_err(A::Error::custom)?));
                }
                Ok(Headers(lines))
            }
        }
        deserializer.deserialize_map(Lines)
    }
}

/// A scheme file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not YAML, or not of the language's shape.
    #[error(transparent)]
    Shape(#[from] serde_yaml::Error),
    /// Of the right shape, but it makes no sense.
    #[error("{0}")]
    Sense(&'static str),
}

impl Spec {
    /// Reads a scheme file.
    ///
    /// # Errors
    /// See the [module's documentation](self).
    pub fn parse(yaml: &str) -> Result<Self, SpecError> {
        // Enum variants with a value are written as a map of one key, not as YAML tags.
        let document = serde_yaml::Deserializer::from_str(yaml);
        let spec: Self = serde_yaml::with::singleton_map_recursive::deserialize(document)?;
        spec.make_sense().map_err(SpecError::Sense)?;
        Ok(spec)
    }

    /// How long the provider waits for the response, if it says so.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// What the option `signed_content` may be; nothing if this scheme has no such option.
    pub fn signed_content_values(&self) -> Vec<&str> {
        if self.forms.len() < 2 {
            return Vec::new();
        }
        std::iter::once("auto").chain(self.forms.iter().map(|form| form.name.as_str())).collect()
    }

    /// Whether this scheme has the option `match_payload`.
    pub fn has_payload(&self) -> bool {
        self.forms.iter().any(|form| form.payload.is_some())
    }

    fn make_sense(&self) -> Result<(), &'static str> {
        let name_is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if self.name.is_empty() || !self.name.chars().all(name_is_plain) {
            return Err("name: lower case letters, digits, _ and - only");
        }
        if self.documentation.is_empty() {
            return Err("documentation: at least one address");
        }
        match &self.signature.grammar {
            Grammar::Bare => {}
            Grammar::Prefix { text, .. } => {
                if HeaderValue::from_str(text).is_err() || text.is_empty() {
                    return Err("signature.grammar.prefix.text: not a text that a header can carry");
                }
            }
            Grammar::Versions { accept, at_most } => {
                let writable = HeaderValue::from_str(accept).is_ok() && !accept.contains([',', '=', ' ', '\t']);
                if accept.is_empty() || *at_most == 0 || !writable {
                    return Err("signature.grammar.versions: a version that can be written, and at least one of it");
                }
            }
        }
        if self.forms.is_empty() {
            return Err("forms: at least one");
        }
        for (position, form) in self.forms.iter().enumerate() {
            if form.name.is_empty() || form.name == "auto" {
                return Err("forms: a form needs a name other than auto");
            }
            if self.forms.iter().skip(position + 1).any(|other| other.name == form.name) {
                return Err("forms: two forms have one name");
            }
            let has_body = form.content.iter().any(|part| matches!(part, Part::Body));
            match (&form.payload, form.content.as_slice()) {
                (Some(_), [Part::Json(_)]) => {}
                (Some(_), _) => return Err("forms: a payload is the value of one JSON key, the form's only content"),
                (None, _) if !has_body => return Err("forms: the content must cover the body or hold a payload"),
                (None, _) => {}
            }
        }
        if self.vectors.is_empty() {
            return Err("vectors: at least one");
        }
        if self.vectors.iter().any(|vector| vector.accept == vector.reason.is_some()) {
            return Err("vectors: a refused vector has a reason, an accepted one has none");
        }
        Ok(())
    }
}

fn header_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
