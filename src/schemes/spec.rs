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
//! [`Spec::parse`] refuses a file of another shape, and one that makes no sense: see [`sense`].
//!
//! A new provider needs a new file. Where the language lacks a word, it gains a variant in one of the enums here, and
//! the code that matches on it fails to compile until it understands the word.

mod algorithm;
mod challenge;
mod content;
mod describe;
mod facts;
mod faults;
mod parse;
mod resolve;
mod scheme;
mod sense;
mod signature;
mod way;
mod words;

pub use algorithm::{
    Algorithm, ClaimRule, ClaimValue, DigestOf, Hash, HmacHash, Jwt, JwtAlgorithm, RsaHash, SecretStep, TimeClaim,
};
pub(super) use challenge::LONGEST_SIGNED;
pub use challenge::{Answer, AnswerPart, Challenge, Condition, Echo, Expected, Letters};
pub use content::{
    Form, ListOfNames, ListedHeaders, Part, Payload, PayloadEncoding, PayloadEquals, Requirement, SortedForm,
    TimeFormat, TimeLocation, Timestamp,
};
pub use facts::{Checked, Confidence, Fact, Headers, Place, Sample, SecretFrom, Vector};
pub use faults::{SpecError, SpecFault};
pub use scheme::{Parameter, Spec};
pub use signature::{Encoding, Grammar, ListField, Location, Signature};
pub use words::{MultipartField, OneOrMany, Pointer, Token};

pub(super) use way::Way;

#[cfg(test)]
mod tests;
