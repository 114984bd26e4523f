//! The words about endpoint challenges: requests by which a provider checks an endpoint, and the expected answers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::facts::{MethodName, Place};
use super::signature::Encoding;
use super::words::OneOrMany;

/// The longest text that is ever given back, in bytes.
pub(super) const LONGEST: usize = 1024;
/// The longest text that is ever signed back, in bytes.
pub(in crate::schemes) const LONGEST_SIGNED: usize = 256;

/// One question of a provider's, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The method of the request. Default `POST`.
    #[serde(default)]
    pub method: MethodName,
    /// Whether it is signed like a delivery; it is then answered only if it verifies. Default true.
    #[serde(default = "yes")]
    pub signed: bool,
    /// The conditions that distinguish it from a delivery.
    #[serde(default)]
    pub when: OneOrMany<Condition>,
    /// The text that the answer is made from.
    #[serde(default)]
    pub echo: Option<Echo>,
    /// The answer, with status 200.
    pub answer: Answer,
}

/// Something that must be in the request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where.
    pub at: Place,
    /// What.
    pub is: Expected,
}

/// The expected value at a place.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// `{ text: subscribe }`: this text.
    Text(String),
    /// `{ parameter: verify_token }`: a secret parameter of the route, compared in constant time.
    Parameter(String),
    /// `secret`: one of the route's secrets, compared in constant time; only with the algorithm `token`.
    Secret,
    /// `{ letters: digits }`: any text of these letters, of at most 256 bytes.
    Letters(Letters),
}

/// A text of the request that the answer repeats.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Where it stands in the request.
    pub at: Place,
    /// The characters that it may consist of. Default `token`.
    #[serde(default)]
    pub letters: Letters,
    /// How long it may be, in bytes. Default 256.
    #[serde(default = "longest_signed")]
    pub at_most: usize,
}

/// The characters of an echoed text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letters {
    /// `token`: ASCII letters and digits, and `-._~+/=`. Nothing of this kind is a JSON text but a number, `true`,
    /// `false` and `null`, and nothing is a form of more than one field.
    #[default]
    Token,
    /// `digits`: ASCII digits.
    Digits,
    /// `line`: printable ASCII with spaces, except characters with a meaning in HTML, quotes and backslashes.
    Line,
}

/// The expected answer: headers, and a text, a JSON object or no body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, OneOrMany<AnswerPart>>,
    /// The body, as `text/plain`.
    #[serde(default)]
    pub text: Option<OneOrMany<AnswerPart>>,
    /// The members of the body, as `application/json`.
    #[serde(default)]
    pub json: Option<BTreeMap<String, OneOrMany<AnswerPart>>>,
}

/// A part of a text in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerPart {
    /// `echo`: the text of the request.
    Echo,
    /// `{ text: "sha256=" }`: this text.
    Text(String),
    /// `{ mac: hex }`: the MAC of the echoed text, by the scheme's own algorithm and secret, in this encoding.
    Mac(Encoding),
}

impl Challenge {
    /// Whether part of it stands in the body.
    pub fn is_in_body(&self) -> bool {
        self.places().any(Place::is_in_body)
    }

    /// Whether the answer holds a MAC of the echoed text.
    pub fn signs_back(&self) -> bool {
        self.answer.parts().any(|part| matches!(part, AnswerPart::Mac(_)))
    }

    /// The secret parameters in its conditions.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.when.iter().filter_map(|condition| match &condition.is {
            Expected::Parameter(name) => Some(name.as_str()),
            Expected::Text(_) | Expected::Secret | Expected::Letters(_) => None,
        })
    }

    /// The places of its conditions, then that of the echoed text.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.when.iter().map(|condition| &condition.at).chain(self.echo.as_ref().map(|echo| &echo.at))
    }
}

impl Answer {
    pub(super) fn parts(&self) -> impl Iterator<Item = &AnswerPart> {
        let members = self.headers.values().chain(self.json.iter().flat_map(BTreeMap::values)).chain(&self.text);
        members.flat_map(|parts| &parts.0)
    }
}

impl Letters {
    /// Whether the byte may be part of the text.
    pub fn contain(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte),
            Self::Digits => byte.is_ascii_digit(),
            Self::Line => matches!(byte, b' '..=b'~') && !b"<>&\"'`\\".contains(&byte),
        }
    }
}

impl Place {
    fn is_in_body(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }
}

fn longest_signed() -> usize {
    LONGEST_SIGNED
}

fn yes() -> bool {
    true
}
