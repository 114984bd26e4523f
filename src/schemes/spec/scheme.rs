//! A scheme: the words of one file.

use std::time::Duration;

use serde::Deserialize;

use super::algorithm::{Algorithm, SecretStep};
use super::challenge::Challenge;
use super::content::{Form, Timestamp};
use super::facts::{Checked, Confidence, Fact, Sample, SecretFrom, Vector};
use super::signature::Signature;
use super::way::{Override, Way};
use super::words::OneOrMany;

/// One provider's scheme: how it signs its deliveries, and further facts for people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name that configurations use: lower case letters, digits, `_` and `-`.
    #[serde(default)]
    pub name: String,
    /// The provider's own name.
    #[serde(default)]
    pub title: String,
    /// Addresses of the pages that state the facts.
    #[serde(default)]
    pub documentation: Vec<String>,
    /// The source of the facts, if it is not one of those pages.
    #[serde(default)]
    pub source: Option<String>,
    /// How reliable the facts about signatures are.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// When the scheme was last compared with its source, and with what.
    #[serde(default)]
    pub checked: Option<Checked>,
    /// Why no delivery of this provider can be verified. A scheme with this has no words about signatures.
    #[serde(default)]
    pub unsupported: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<Signature>,
    #[serde(default)]
    pub(super) algorithm: Option<Algorithm>,
    #[serde(default)]
    pub(super) secret: Option<OneOrMany<SecretStep>>,
    #[serde(default)]
    pub(super) timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) forms: Option<Vec<Form>>,
    #[serde(default, rename = "ways")]
    pub(super) overrides: Vec<Override>,
    /// What the signature covers, if that is not the body.
    #[serde(default)]
    pub covers: Option<String>,
    /// Values that a route sets in addition to its secrets.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// The provider's endpoint challenges and their answers.
    #[serde(default)]
    pub challenge: OneOrMany<Challenge>,
    /// How long the provider waits for the response, in seconds, if it says so.
    #[serde(default)]
    pub deadline_seconds: Option<u32>,
    /// Which response counts as success.
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
    /// Who makes the secret.
    #[serde(default)]
    pub secret_from: SecretFrom,
    /// Where at the provider a user enters the URL and the secret.
    #[serde(default)]
    pub setup: Option<String>,
    /// Notes for users of this provider, each one or two sentences long.
    #[serde(default)]
    pub notes: Vec<String>,
    /// A delivery as the provider sends it, without the signature.
    #[serde(default)]
    pub sample: Sample,
    /// Deliveries with a known verdict.
    #[serde(default)]
    pub vectors: Vec<Vector>,
    /// The ways to sign, made from the words about signatures.
    #[serde(skip)]
    pub(in crate::schemes) ways: Vec<Way>,
}

/// A value that a route sets in addition to its secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its key in gateway.yaml, within `scheme`.
    pub name: String,
    /// What it is, and where to find it.
    pub description: String,
    /// Whether it is a secret, from a variable or a file. Only the conditions of challenges use such parameters. Default
    /// false.
    #[serde(default)]
    pub secret: bool,
    /// Whether a route can leave it out; then the claim that must be it is not checked. Only claims use such parameters.
    /// Default false.
    #[serde(default)]
    pub optional: bool,
}

impl Spec {
    /// How long the provider waits for the response, if it says so.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The values of the option `signed_content`; empty if this scheme has no such option.
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

    /// Whether the provider sends challenges, so that the scheme has the option `challenge`.
    pub fn has_challenge(&self) -> bool {
        !self.challenge.is_empty()
    }
}

impl Parameter {
    /// Whether this is the secret parameter of this name.
    pub(in crate::schemes) fn is_secret(&self, name: &str) -> bool {
        self.secret && self.name == name
    }
}
