//! Endpoint challenges: what a provider asks an endpoint to make sure that its owner wants deliveries, and the answer.
//!
//! A challenge is looked for in three places, as its words say: in the head of an unsigned request ([`Asking::Head`]), in
//! the small body of an unsigned one ([`Asking::Body`]), and in what has been verified ([`Asking::Signed`]).
//!
//! Who asks without a signature may be anybody, so an answer gives away nothing but what was asked:
//!
//! 1. What comes back is short and made of harmless letters; it is `text/plain` that no browser may take for anything
//!    else, a JSON string, or a header's value. A place that is there twice asks nothing.
//! 2. Where the answer holds a MAC of the text, whoever asks gets signatures over texts of his choice: of `token` letters
//!    and 256 bytes at most. [`Reserved`] are therefore all contents of deliveries that are such a text: the verifier
//!    takes none of them, whatever the signature, also on a route that answers no challenges. So nothing that was ever
//!    signed back can pass for a delivery.
//! 3. Secrets of the challenge itself are compared in constant time, and a wrong one is no challenge at all.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};

use super::codec;
use super::codec::Digest;
use super::content::{self, Body, Content, Piece};
use super::fields::{self, Found};
use super::key::Key;
use super::options::SchemeOptions;
use super::payload::{self, Kind};
use super::request::{RequestHead, SignedRequest};
use super::secret::Secret;
use super::spec::{Algorithm, AnswerPart, Challenge, Expected, Letters, Place, Spec};

/// The longest body that is looked at for a challenge, in bytes: the largest that a provider sends is a quarter of it.
const LONGEST_BODY: usize = 4096;

/// The challenges that a route answers.
#[derive(Clone, Debug)]
pub struct Challenges {
    all: Vec<Compiled>,
    /// What texts are signed back with: by the position of their secret, the route's first one first.
    keys: Vec<(usize, Key)>,
}

/// What a request asks: proof that it is one of a route's challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which challenge it is.
    challenge: usize,
    /// The text to be echoed: none but permitted letters.
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

/// Where a challenge is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// In the head of a request, whose body does not matter.
    Head,
    /// In a request that may have no signature, body included.
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

/// A set of texts: those of certain letters, from one to so many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    letters: Letters,
    at_most: usize,
}

impl Reserved {
    /// The texts that the scheme's challenges are answered with a MAC of, whoever answers them: it may be another route
    /// or the handler.
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
    /// The scheme's challenges; nothing, if it has none that the options allow. `keys` are those of its first way.
    pub(super) fn new(spec: &Spec, options: &SchemeOptions, keys: &[(usize, Key)]) -> Option<Self> {
        let answered = spec.challenge.iter().filter(|challenge| options.answer(challenge));
        let all: Vec<_> = answered.map(|challenge| Compiled::new(challenge, options, keys)).collect();
        (!all.is_empty()).then(|| Self { all, keys: keys.to_vec() })
    }

    /// What the head of a request asks, if that is a challenge by itself.
    pub fn in_head(&self, head: RequestHead<'_>) -> Option<Asked> {
        self.find(head, None, |asking| asking == Asking::Head)
    }

    /// Whether a request without a signature may ask in its body, of which `length` is known from the head.
    pub fn may_be_in_body(&self, head: RequestHead<'_>, length: Option<u64>) -> bool {
        let short = length.is_some_and(|length| (1..=LONGEST_BODY as u64).contains(&length));
        short && self.all.iter().any(|challenge| challenge.asking == Asking::Body && challenge.fits(head, None))
    }

    /// What a request asks that may have no signature.
    pub fn unsigned(&self, request: &SignedRequest<'_>) -> Option<Asked> {
        self.find_in(request, |asking| asking == Asking::Body)
    }

    /// What a request asks that has been verified.
    pub fn verified(&self, request: &SignedRequest<'_>) -> Option<Asked> {
        self.find_in(request, |asking| asking != Asking::Head)
    }

    /// The answer. Where it has a MAC, this is made with the secret at this position; without one, with the first.
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

    /// Whether the request has what tells this challenge, as far as that can be seen.
    fn fits(&self, head: RequestHead<'_>, body: Option<&Body<'_>>) -> bool {
        self.method == *head.method
            && self.when.iter().all(|(place, expected)| match (place, body) {
                (Place::Json(_) | Place::Form(_), None) => true,
                _ => expected.is_met(place, head, body),
            })
    }

    /// The text to be echoed, if the request is this challenge; empty, where nothing is.
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
        // Most deliveries do not have the text anywhere: they are not parsed for it.
        if let (Place::Json(_), Self::Text(text), Some(body)) = (place, self, body)
            && memchr::memmem::find(body.bytes(), text).is_none()
        {
            return false;
        }
        let Some(found) = value(place, head, body) else { return false };
        match self {
            Self::Text(text) => *found == **text,
            Self::Secret(keys) => {
                let found = [Digest::from_slice(&found)];
                keys.iter().any(|key| key.accepts(&found, &Content::new()))
            }
        }
    }
}

/// What stands at a place, if it stands there once.
fn value<'a>(place: &Place, head: RequestHead<'a>, body: Option<&'a Body<'_>>) -> Option<Cow<'a, [u8]>> {
    let once = |found| match found {
        Found::Once(value) => value,
        Found::Nothing | Found::Repeated { .. } => None,
    };
    match place {
        Place::Header(name) => content::sole(head.headers, name).map(Cow::Borrowed),
        Place::Query(name) => once(fields::find(head.query?.as_bytes(), name)),
        Place::Json(pointer) => once(payload::find(body?.bytes(), pointer, Kind::Text)),
        Place::Form(name) => once(fields::find(body?.bytes(), name)),
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
