//! Endpoint challenges: a request by which a provider checks that the owner of an endpoint wants deliveries, and the answer.
//!
//! The scheme says where a challenge is: in the head of an unsigned request ([`Asking::Head`]), in the small body of an
//! unsigned request ([`Asking::Body`]), or in a request that has been verified ([`Asking::Signed`]).
//!
//! Anyone can send a challenge without a signature, so an answer reveals only what the request contained:
//!
//! 1. The echoed text is short and made of harmless characters. It is sent as `text/plain` with `nosniff`, as a JSON string,
//!    or as a header's value. A repeated place is not a challenge.
//! 2. If the answer holds a MAC of the text, the sender of a challenge chooses what is signed: a text of `token` characters,
//!    at most 256 bytes long. All such texts are therefore [`Reserved`]: the verifier refuses a delivery whose content is
//!    one of them, whatever its signature, also on a route that answers no challenges. So an answer can never be replayed
//!    as the signature of a delivery.
//! 3. Secrets of the challenge itself are compared in constant time. A request with a wrong one is not a challenge.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};

use super::accept::is_form;
use super::codec;
use super::codec::Digest;
use super::content::{Body, Content, Piece};
use super::fields::{self, Found};
use super::header::sole;
use super::key::Key;
use super::options::SchemeOptions;
use super::payload::{self, Kind};
use super::request::{RequestHead, SignedRequest};
use super::secret::Secret;
use super::spec::{Algorithm, AnswerPart, Challenge, Expected, LONGEST_SIGNED, Letters, Place, Spec};

/// The longest body that is searched for a challenge, in bytes: four times the largest of any provider.
pub const LONGEST_BODY: usize = 4096;

/// The challenges that a route answers.
#[derive(Clone, Debug)]
pub struct Challenges {
    all: Vec<Compiled>,
    /// The keys for MACs in answers, each with the position of its secret, in the order of the route's secrets.
    keys: Vec<(usize, Key)>,
}

/// A challenge found in a request: proof that the request is one of the route's challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which challenge it is.
    challenge: usize,
    /// The text to echo, which consists of permitted characters.
    echo: String,
}

/// The answer to a challenge; its status is 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, which may be empty.
    pub body: Bytes,
}

/// Where a challenge is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// In the head of a request; the body does not matter.
    Head,
    /// In the head and body of a request that may have no signature.
    Body,
    /// In a request that has been verified.
    Signed,
}

/// A challenge with a route's secrets.
#[derive(Clone, Debug)]
struct Compiled {
    asking: Asking,
    method: Method,
    when: Vec<(Place, Expectation)>,
    echo: Option<Echo>,
    headers: Vec<(HeaderName, Vec<AnswerPart>)>,
    body: AnswerBody,
}

#[derive(Clone, Debug)]
enum Expectation {
    Text(Vec<u8>),
    /// Any of these, as keys of tokens, which compare in constant time.
    Secret(Vec<Key>),
    /// One of many.
    Any(Reserved),
}

#[derive(Clone, Debug)]
struct Echo {
    at: Place,
    text: Reserved,
}

#[derive(Clone, Debug)]
enum AnswerBody {
    Empty,
    Text(Vec<AnswerPart>),
    Json(Vec<(String, Vec<AnswerPart>)>),
}

/// A set of texts: all texts of certain characters, up to a length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    letters: Letters,
    at_most: usize,
}

impl Reserved {
    /// The texts that an answer to one of the scheme's challenges can sign. Another route or the handler can be the one that
    /// answers.
    pub(super) fn of(spec: &Spec) -> Option<Self> {
        let signed = spec.challenge.iter().filter(|challenge| challenge.signs_back());
        // All of them are of the same letters: `Spec::parse` sees to it.
        let at_most = signed.filter_map(|challenge| Some(challenge.echo.as_ref()?.at_most)).max()?;
        Some(Self { letters: Letters::Token, at_most })
    }

    fn has(self, text: &[u8]) -> bool {
        (1..=self.at_most).contains(&text.len()) && text.iter().all(|byte| self.letters.contain(*byte))
    }

    /// Whether the content of a delivery is one of these texts.
    pub(super) fn covers(self, content: &Content<'_>) -> bool {
        let pieces = || content.iter().map(|piece| piece.or_secret(&[]));
        let length = pieces().map(<[u8]>::len).fold(0, usize::saturating_add);
        let all = || pieces().flatten().all(|byte| self.letters.contain(*byte));
        (1..=self.at_most).contains(&length) && all()
    }
}

impl Challenges {
    /// The scheme's challenges; `None` if it has none that the options allow. `keys` are those of its first way.
    pub(super) fn new(spec: &Spec, options: &SchemeOptions, keys: &[(usize, Key)]) -> Option<Self> {
        let answered = spec.challenge.iter().filter(|challenge| options.answer(challenge));
        let all: Vec<_> = answered.map(|challenge| Compiled::new(challenge, options, keys)).collect();
        (!all.is_empty()).then(|| Self { all, keys: keys.to_vec() })
    }

    /// The challenge in the head of a request, if the head alone is one.
    pub fn in_head(&self, head: RequestHead<'_>) -> Option<Asked> {
        self.find(head, None, |asking| asking == Asking::Head)
    }

    /// Whether an unsigned request can have a challenge in its body; `length` is the body's length, if the head states it.
    /// No longer body than [`LONGEST_BODY`] has to be read.
    pub fn may_be_in_body(&self, head: RequestHead<'_>, length: Option<u64>) -> bool {
        let short = length.is_none_or(|length| (1..=LONGEST_BODY as u64).contains(&length));
        short && self.all.iter().any(|challenge| challenge.asking == Asking::Body && challenge.fits(head, None))
    }

    /// The challenge in a request that may have no signature.
    pub fn unsigned(&self, request: &SignedRequest<'_>) -> Option<Asked> {
        self.find_in(request, |asking| asking == Asking::Body)
    }

    /// The challenge in a request that has been verified.
    pub fn verified(&self, request: &SignedRequest<'_>) -> Option<Asked> {
        self.find_in(request, |asking| asking != Asking::Head)
    }

    /// The answer. A MAC in it is made with the secret at this position, or with the first if `secret` is `None`.
    pub fn reply(&self, asked: &Asked, secret: Option<usize>) -> Reply {
        let mut reply = Reply::default();
        let Some(challenge) = self.all.get(asked.challenge) else { return reply };
        let key = self.keys.iter().find(|(position, _)| secret.is_none_or(|secret| secret == *position));
        let write = |parts: &[AnswerPart]| -> String {
            parts.iter().map(|part| write(part, &asked.echo, key.map(|(_, key)| key))).collect()
        };
        let lines = challenge.headers.iter().filter_map(|(name, parts)| {
            let value = HeaderValue::from_str(&write(parts)).ok()?;
            Some((name.clone(), value))
        });
        reply.headers.extend(lines);
        reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let kind = match &challenge.body {
            AnswerBody::Empty => return reply,
            AnswerBody::Text(parts) => {
                reply.body = write(parts).into();
                "text/plain"
            }
            AnswerBody::Json(members) => {
                let members = members.iter().map(|(name, parts)| (name.clone(), Value::from(write(parts))));
                reply.body = Value::from(members.collect::<Map<_, _>>()).to_string().into();
                "application/json"
            }
        };
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        reply.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        reply
    }

    fn find_in(&self, request: &SignedRequest<'_>, such: impl Fn(Asking) -> bool) -> Option<Asked> {
        let length = request.body.iter().map(Bytes::len).fold(0, usize::saturating_add);
        if length > LONGEST_BODY {
            return None;
        }
        self.find(request.head, Some(&Body::new(request.body)), such)
    }

    fn find(&self, head: RequestHead<'_>, body: Option<&Body<'_>>, such: impl Fn(Asking) -> bool) -> Option<Asked> {
        self.all.iter().enumerate().find_map(|(position, challenge)| {
            let echo = if such(challenge.asking) { challenge.echo(head, body)? } else { return None };
            Some(Asked { challenge: position, echo })
        })
    }
}

impl Compiled {
    fn new(challenge: &Challenge, options: &SchemeOptions, keys: &[(usize, Key)]) -> Self {
        let asking = match (challenge.signed, challenge.is_in_body()) {
            (true, _) => Asking::Signed,
            (false, true) => Asking::Body,
            (false, false) => Asking::Head,
        };
        let expectation = |expected: &Expected| match expected {
            Expected::Text(text) => Expectation::Text(text.as_bytes().to_vec()),
            Expected::Parameter(name) => {
                let secret = options.secrets.get(name).map(Secret::expose).unwrap_or_default();
                Expectation::Secret(vec![Key::new(&Algorithm::Token, secret)])
            }
            Expected::Secret => Expectation::Secret(keys.iter().map(|(_, key)| key.clone()).collect()),
            Expected::Letters(letters) => Expectation::Any(Reserved { letters: *letters, at_most: LONGEST_SIGNED }),
        };
        let answer = &challenge.answer;
        let headers = answer.headers.iter().filter_map(|(name, parts)| Some((name.parse().ok()?, parts.0.clone())));
        let body = match (&answer.text, &answer.json) {
            (Some(text), _) => AnswerBody::Text(text.0.clone()),
            (None, Some(json)) => {
                AnswerBody::Json(json.iter().map(|(name, parts)| (name.clone(), parts.0.clone())).collect())
            }
            (None, None) => AnswerBody::Empty,
        };
        Self {
            asking,
            method: challenge.method.0.clone(),
            when: challenge.when.iter().map(|when| (when.at.clone(), expectation(&when.is))).collect(),
            echo: challenge.echo.as_ref().map(|echo| Echo {
                at: echo.at.clone(),
                text: Reserved { letters: echo.letters, at_most: echo.at_most },
            }),
            headers: headers.collect(),
            body,
        }
    }

    /// Whether the request meets the conditions of this challenge that can be checked without the missing body.
    fn fits(&self, head: RequestHead<'_>, body: Option<&Body<'_>>) -> bool {
        self.method == *head.method
            && self.when.iter().all(|(place, expected)| match (place, body) {
                (Place::Json(_), None) => true,
                (Place::Form(_), None) => is_form(head.headers),
                _ => expected.is_met(place, head, body),
            })
    }

    /// The text to echo if the request is this challenge; empty if the challenge echoes nothing.
    fn echo(&self, head: RequestHead<'_>, body: Option<&Body<'_>>) -> Option<String> {
        if !self.fits(head, body) {
            return None;
        }
        let Some(echo) = &self.echo else { return Some(String::new()) };
        let text = value(&echo.at, head, body).filter(|text| echo.text.has(text))?;
        String::from_utf8(text.into_owned()).ok()
    }
}

impl Expectation {
    fn is_met(&self, place: &Place, head: RequestHead<'_>, body: Option<&Body<'_>>) -> bool {
        // Most deliveries do not contain the text, so they are not parsed.
        if let (Place::Json(_), Self::Text(text), Some(body)) = (place, self, body)
            && memchr::memmem::find(body.bytes(), text).is_none()
        {
            return false;
        }
        let Some(found) = value(place, head, body) else { return false };
        match self {
            Self::Text(text) => *found == **text,
            Self::Any(texts) => texts.has(&found),
            Self::Secret(keys) => {
                let found = [Digest::from_slice(&found)];
                keys.iter().any(|key| key.accepts(&found, &Content::new()))
            }
        }
    }
}

/// The value at a place, if the request has exactly one.
fn value<'a>(place: &Place, head: RequestHead<'a>, body: Option<&'a Body<'_>>) -> Option<Cow<'a, [u8]>> {
    let once = |found| match found {
        Found::Once(value) => value,
        Found::Nothing | Found::Repeated { .. } => None,
    };
    match place {
        Place::Header(name) => sole(head.headers, name).map(Cow::Borrowed),
        Place::Query(name) => once(fields::find(head.query?.as_bytes(), name)),
        Place::Json(pointer) => once(payload::find(body?.bytes(), pointer, Kind::Text)),
        // Any text reads as a form: a JSON body with `&name=1&` in a string is none.
        Place::Form(name) if is_form(head.headers) => once(fields::find(body?.bytes(), name)),
        Place::Form(_) => None,
        Place::Claim(_) => None,
    }
}

fn write<'a>(part: &'a AnswerPart, echo: &'a str, key: Option<&Key>) -> Cow<'a, str> {
    match part {
        AnswerPart::Echo => echo.into(),
        AnswerPart::Text(text) => text.into(),
        AnswerPart::Mac(encoding) => {
            let content = Content::from_iter([Piece::from(echo.as_bytes())]);
            let mac = key.and_then(|key| key.sign(&content));
            let mac = mac.map(|mac| codec::encode(*encoding, mac.as_bytes())).unwrap_or_default();
            String::from_utf8_lossy(&mac).into_owned().into()
        }
    }
}

#[cfg(test)]
mod tests;
