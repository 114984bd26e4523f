//! The scheme language: how one provider signs its deliveries, as data. `docs/schemes.md` explains every word with an
//! example.
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
//!   grammar: { prefix: { text: "sha256=" } }
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
//! "#).unwrap();
//! assert_eq!(spec.name, "example");
//! ```
//!
//! [`Spec::parse`] refuses what is not of this shape, and what makes no sense: see [`sense`].
//!
//! A new provider needs a new file. Where the language lacks a word, it gains a variant in one of the enums here, and
//! the code that matches on it fails to compile until it understands the word.

mod algorithm;
mod challenge;
mod content;
mod describe;
mod facts;
mod resolve;
mod sense;
mod signature;
mod words;

use std::time::Duration;

use serde::Deserialize;

pub use algorithm::{Algorithm, ClaimRule, ClaimValue, DigestOf, Hash, Jwt, JwtAlgorithm, SecretStep, TimeClaim};
pub use challenge::{Answer, AnswerPart, Challenge, Condition, Echo, Expected, Letters};
pub use content::{
    Form, ListedHeaders, Part, Payload, PayloadEncoding, PayloadEquals, Requirement, SortedForm, TimeFormat,
    TimeLocation, Timestamp,
};
pub use facts::{Confidence, Fact, Headers, Place, Sample, Vector};
pub use signature::{Encoding, Grammar, Location, Signature};
pub use words::{OneOrMany, Pointer, Token};

pub(super) use resolve::Way;
use words::{header_name, header_names};

/// One provider's scheme: the facts that verify and sign its deliveries, and those that people want to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name that configurations use: lower case letters, digits, `_` and `-`.
    #[serde(default)]
    pub name: String,
    /// The provider's own name.
    #[serde(default)]
    pub title: String,
    /// Addresses of the pages that the facts were taken from.
    #[serde(default)]
    pub documentation: Vec<String>,
    /// Where the facts come from, if not from those pages.
    #[serde(default)]
    pub source: Option<String>,
    /// How well the signature facts are founded.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// Why no delivery of this provider can be verified. A scheme with this has no words about signatures.
    #[serde(default)]
    pub unsupported: Option<String>,
    #[serde(default)]
    signature: Option<Signature>,
    #[serde(default)]
    algorithm: Option<Algorithm>,
    #[serde(default)]
    secret: Option<OneOrMany<SecretStep>>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    forms: Option<Vec<Form>>,
    #[serde(default, rename = "ways")]
    overrides: Vec<resolve::Override>,
    /// What the signature covers, where that is not the body.
    #[serde(default)]
    pub covers: Option<String>,
    /// Texts that a route gives beside its secrets.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// What the provider asks an endpoint beside its deliveries, and the answers.
    #[serde(default)]
    pub challenge: OneOrMany<Challenge>,
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
    #[serde(default)]
    pub sample: Sample,
    /// Deliveries with a known verdict.
    #[serde(default)]
    pub vectors: Vec<Vector>,
    /// What the words about signatures come to.
    #[serde(skip)]
    pub(super) ways: Vec<Way>,
}

/// A text that a route gives beside its secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its key in gateway.yaml, within `scheme`.
    pub name: String,
    /// What it is, and where to find it.
    pub description: String,
    /// Whether it is a secret, which comes from a variable or a file. Only challenges are told by such. Default false.
    #[serde(default)]
    pub secret: bool,
}

/// A scheme that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct SpecError(pub Vec<SpecFault>);

/// One thing that is wrong with a scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SpecFault {
    /// Where in the scheme: `forms[0].content`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Spec {
    /// Reads a scheme file.
    ///
    /// # Errors
    /// Every fault that was found. See the [module's documentation](self).
    pub fn parse(yaml: &str) -> Result<Self, SpecError> {
        let spec = Self::from_value(words::read_yaml(yaml)?)?;
        let faults = sense::catalogue_faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }

    /// Takes a scheme that stands in another document, under `name`. It needs no title, documentation or sample.
    ///
    /// # Errors
    /// As for [`Spec::parse`].
    pub fn custom(name: &str, scheme: serde_json::Value) -> Result<Self, SpecError> {
        let mut spec = Self::from_value(scheme)?;
        if !spec.name.is_empty() && spec.name != name {
            return Err(fault("name", "differs from the key that the scheme stands under"));
        }
        name.clone_into(&mut spec.name);
        if spec.title.is_empty() {
            name.clone_into(&mut spec.title);
        }
        let faults = sense::name_faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }

    fn from_value(scheme: serde_json::Value) -> Result<Self, SpecError> {
        let mut spec: Self = serde_path_to_error::deserialize(scheme)
            .map_err(|error| fault(&error.path().to_string(), &error.inner().to_string()))?;
        spec.ways = spec.resolve()?;
        let faults = sense::faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }

    /// How long the provider waits for the response, if it says so.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// What the option `signed_content` may be; nothing if this scheme has no such option.
    pub fn signed_content_values(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for form in self.ways.iter().flat_map(|way| &way.forms) {
            if !names.contains(&form.name.as_str()) {
                names.push(&form.name);
            }
        }
        if names.len() < 2 { Vec::new() } else { std::iter::once("auto").chain(names).collect() }
    }

    /// Whether this scheme has the option `match_payload`.
    pub fn has_payload(&self) -> bool {
        self.ways.iter().flat_map(|way| &way.forms).any(|form| form.payload.is_some())
    }

    /// Whether this scheme needs the option `public_url`.
    pub fn needs_public_url(&self) -> bool {
        self.ways.iter().any(Way::needs_public_url)
    }

    /// Whether the signature covers a time, so that a tolerance has a meaning.
    pub fn has_timestamp(&self) -> bool {
        self.ways.iter().any(|way| way.timestamp.is_some() || matches!(way.algorithm, Algorithm::Jwt(_)))
    }
}

fn fault(path: &str, message: &str) -> SpecError {
    SpecError(vec![SpecFault { path: path.to_owned(), message: message.to_owned() }])
}

fn lines(faults: &[SpecFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
