//! Words for endpoint challenges: what a provider asks an endpoint before it delivers to it, and what it wants to hear.

use std::collections::BTreeMap;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::facts::MethodName;
use super::sense::Faults;
use super::{Algorithm, Encoding, OneOrMany, Parameter, Place, Spec};

/// The longest text that is ever given back, in bytes.
const LONGEST: usize = 1024;
/// The longest text that is ever signed back, in bytes.
const LONGEST_SIGNED: usize = 256;

/// One question of a provider's, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The method that it comes by. Default `POST`.
    #[serde(default)]
    pub method: MethodName,
    /// Whether it is signed like a delivery; it is then answered only if it verifies. Default true.
    #[serde(default = "yes")]
    pub signed: bool,
    /// What tells it from a delivery.
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

/// What a place must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// `{ text: subscribe }`: this text.
    Text(String),
    /// `{ parameter: verify_token }`: a secret parameter of the route, compared in constant time.
    Parameter(String),
    /// `secret`: one of the route's secrets, compared in constant time; only with the algorithm `token`.
    Secret,
}

/// A text that comes back in the answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Where it stands in the request.
    pub at: Place,
    /// What it may be made of. Default `token`.
    #[serde(default)]
    pub letters: Letters,
    /// How long it may be, in bytes. Default 256.
    #[serde(default = "longest_signed")]
    pub at_most: usize,
}

/// What an echoed text may be made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letters {
    /// `token`: ASCII letters and digits, and `-._~+/=`. Nothing of this kind is a JSON text but a number, `true`,
    /// `false` and `null`, and nothing is a form of more than one field.
    #[default]
    Token,
    /// `line`: printable ASCII with spaces, but for what means something in HTML, quotes and backslashes.
    Line,
}

/// What the provider wants to hear: a text, a JSON object or neither, and headers.
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

    /// Whether the answer holds a MAC of what was asked.
    pub fn signs_back(&self) -> bool {
        self.answer.parts().any(|part| matches!(part, AnswerPart::Mac(_)))
    }

    /// The secret parameters that it is told by.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.when.iter().filter_map(|condition| match &condition.is {
            Expected::Parameter(name) => Some(name.as_str()),
            Expected::Text(_) | Expected::Secret => None,
        })
    }

    /// Where it stands, what it is told by first.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.when.iter().map(|condition| &condition.at).chain(self.echo.as_ref().map(|echo| &echo.at))
    }
}

impl Answer {
    fn parts(&self) -> impl Iterator<Item = &AnswerPart> {
        let members = self.headers.values().chain(self.json.iter().flat_map(BTreeMap::values)).chain(&self.text);
        members.flat_map(|parts| &parts.0)
    }
}

impl Letters {
    /// Whether the byte may be part of the text.
    pub fn contain(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte),
            Self::Line => matches!(byte, b' '..=b'~') && !b"<>&\"'`\\".contains(&byte),
        }
    }
}

impl Place {
    fn is_in_body(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }
}

impl Spec {
    /// Whether its provider sends challenges, so that there is the option `challenge`.
    pub fn has_challenge(&self) -> bool {
        !self.challenge.is_empty()
    }
}

/// Adds what is wrong with a scheme's challenges:
///
/// 1. challenges where nothing can be verified;
/// 2. one that nothing tells from a delivery, or by a method that no provider uses for it;
/// 3. parts of the body in what comes by another method than POST; a signature on such;
/// 4. places that are none of a request's; bounds that are none;
/// 5. answers that are made from nothing, that `HEAD` cannot have, or that frame the response;
/// 6. a MAC where the scheme has none, or of anything but a short token.
pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let impossible = spec.unsupported.is_some() && spec.has_challenge();
    faults.when(impossible, "challenge", "a scheme that cannot be verified has no words about challenges");
    for (position, challenge) in spec.challenge.iter().enumerate() {
        let path = |key: &str| format!("challenge[{position}].{key}");
        let method = &challenge.method.0;
        let post = *method == Method::POST;
        let known = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST].contains(method);
        faults.when(!known, path("method"), "GET, HEAD, OPTIONS or POST");
        faults.when(
            challenge.signed && !post,
            path("signed"),
            "only what comes by POST is signed: say `signed: false`",
        );
        faults.when(challenge.is_in_body() && !post, path("method"), "only what comes by POST has a body");
        let bare = challenge.places().next().is_none() && *method != Method::HEAD;
        faults.when(bare, path("when"), "nothing tells the challenge from a delivery");
        let claim = challenge.places().any(|place| matches!(place, Place::Claim(_)));
        faults.when(claim, path("when"), "a claim is no place of a challenge");
        let undeclared = challenge.parameters().any(|name| !spec.parameters.iter().any(|own| own.is_secret(name)));
        faults.when(undeclared, path("when"), "a parameter that `parameters` does not declare as secret");
        let secret = challenge.when.iter().any(|condition| matches!(condition.is, Expected::Secret));
        let token = matches!(spec.ways.as_slice(), [way] if matches!(way.algorithm, Algorithm::Token));
        faults.when(secret && !token, path("when"), "only a token, in one way, is itself the secret");
        if let Some(echo) = &challenge.echo {
            faults.when(!(1..=LONGEST).contains(&echo.at_most), path("echo.at_most"), "from 1 to 1024");
        }
        check_answer(challenge, &path, faults);
        if challenge.signs_back() {
            check_mac(spec, challenge, &path, faults);
        }
    }
}

fn check_answer(challenge: &Challenge, path: &impl Fn(&str) -> String, faults: &mut Faults) {
    let Answer { headers, text, json } = &challenge.answer;
    faults.when(text.is_some() && json.is_some(), path("answer"), "either text or json");
    let silent = challenge.method.0 == Method::HEAD && (text.is_some() || json.is_some());
    faults.when(silent, path("answer"), "the answer to HEAD has no body");
    let made = challenge.answer.parts().any(|part| !matches!(part, AnswerPart::Text(_)));
    faults.when(made && challenge.echo.is_none(), path("echo"), "is missing, and the answer is made from it");
    for (name, parts) in headers {
        let reserved = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
        let usable = name.parse::<HeaderName>().is_ok_and(|name| !reserved.contains(&name));
        let writable =
            |part: &AnswerPart| !matches!(part, AnswerPart::Text(text) if HeaderValue::from_str(text).is_err());
        let wrong = !usable || !parts.iter().all(writable);
        faults.when(wrong, path("answer.headers"), "not a header that an answer can have");
    }
}

fn check_mac(spec: &Spec, challenge: &Challenge, path: &impl Fn(&str) -> String, faults: &mut Faults) {
    let keyed = matches!(spec.ways.as_slice(), [way] if matches!(way.algorithm, Algorithm::Hmac(_)));
    faults.when(!keyed, path("answer"), "only a scheme with hmac, in one way, has a mac");
    let raw = challenge.answer.parts().any(|part| *part == AnswerPart::Mac(Encoding::Text));
    faults.when(raw, path("answer"), "a mac is written in hex or base64");
    let loose =
        challenge.echo.as_ref().is_some_and(|echo| echo.letters != Letters::Token || echo.at_most > LONGEST_SIGNED);
    faults.when(loose, path("echo"), "what is signed back is a token of at most 256 bytes");
}

impl Parameter {
    /// Whether this is the secret parameter of this name.
    pub(in crate::schemes) fn is_secret(&self, name: &str) -> bool {
        self.secret && self.name == name
    }
}

fn longest_signed() -> usize {
    LONGEST_SIGNED
}

fn yes() -> bool {
    true
}
