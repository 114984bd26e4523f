//! What follows from a right signature: the event's id, a digest of the signed content, and what of the body is authentic.
//!
//! All of it is computed when it is asked for, from the request that was verified. With another request the answers mean
//! nothing.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use super::authentic::{Authentic, Authenticated, By, EventId};
use super::compiled::{Compiled, CompiledForm};
use super::content::{self, Body, Filled, Given, joined};
use super::fields::{self, Found};
use super::header::sole;
use super::jwt::Token;
use super::payload::{self, Kind};
use super::request::{RequestHead, SignedRequest};
use super::spec::{Algorithm, Location, Part, Place, Pointer, TimeLocation, Timestamp};
use super::verifier::Verifier;

impl Verifier {
    /// Whether the signature covers the event's id in every delivery that this verifier accepts. `false` if the scheme
    /// names no event id.
    pub fn signs_event_id(&self) -> bool {
        self.ways.iter().all(|way| way.signs_event_id)
    }

    /// Whether the scheme says where the event's id stands, signed or not.
    pub fn names_event_id(&self) -> bool {
        self.ways.iter().all(|way| way.event_id.is_some())
    }

    /// The largest difference between a signed time and the clock; `None` if the scheme signs no time.
    pub fn tolerance(&self) -> Option<Duration> {
        let timed = |way: &&Compiled| way.timestamp.is_some() || matches!(way.algorithm, Algorithm::Jwt(_));
        self.ways.iter().filter(timed).map(|way| way.tolerance).max()
    }

    /// Whether the scheme takes something from this header: the signature, its time, a part of what is signed, or the
    /// event's id.
    pub fn reads_header(&self, name: &HeaderName) -> bool {
        let is_signed = |part: &Part| matches!(part, Part::Header(header) if header == name);
        let is_time = |timestamp: &Timestamp| matches!(&timestamp.at, TimeLocation::Header(header) if header == name);
        self.signature_headers().contains(name)
            || self.ways.iter().any(|way| {
                way.timestamp.as_ref().is_some_and(is_time)
                    || matches!(&way.event_id, Some(Place::Header(header)) if header == name)
                    || way.forms.iter().any(|form| Part::any(&form.form.content, &is_signed))
            })
    }

    /// Whether every delivery that this verifier accepts has a [content digest](Self::content_digest): whether it is more
    /// than a token that proves who sends.
    pub fn signs_content(&self) -> bool {
        !self.ways.iter().any(|way| matches!(way.algorithm, Algorithm::Token))
    }

    /// The event's id in a delivery that was verified. `None` if the scheme names no place for it, or if the place is
    /// empty, `null`, of another kind, or there twice.
    ///
    /// Where a payload is signed in place of the body, the id is that of the payload.
    pub fn event_id(&self, authentic: &Authentic, request: &SignedRequest<'_>) -> Option<EventId> {
        let way = self.ways.get(authentic.way)?;
        let place = way.event_id.as_ref()?;
        let body = Body::new(request.body);
        let is_signed = match authentic.by {
            By::Form(form) => way.forms.get(form)?.signs_event_id,
            By::Secret | By::Token(_) => way.signs_event_id,
        };
        let value = match (place, authentic.by) {
            (Place::Claim(name), By::Token(token)) => {
                with_token(way, token, request.head, &body, |token| token.claim(name))?
            }
            (Place::Json(_), _) => match self.authenticated(authentic, request) {
                Authenticated::Payload(document) => place.once(request.head, &document),
                Authenticated::Body | Authenticated::Nothing => place.once(request.head, body.bytes()),
            },
            _ => place.once(request.head, body.bytes()),
        }?;
        (!value.is_empty()).then_some(EventId { value, is_signed })
    }

    /// The SHA-256 of what the signature of a verified delivery covers, its time left out: a provider that signs a delivery
    /// again at another time gives the same digest. `None` for a token that covers nothing.
    ///
    /// Each part of the content is preceded by its length, so that two contents never run together to the same bytes. Of a
    /// JSON web token it is the claims but `exp`, `nbf` and `iat`.
    pub fn content_digest(&self, authentic: &Authentic, request: &SignedRequest<'_>) -> Option<[u8; 32]> {
        let way = self.ways.get(authentic.way)?;
        match authentic.by {
            By::Secret => None,
            By::Token(token) => {
                let body = Body::new(request.body);
                with_token(way, token, request.head, &body, |token| Sha256::digest(token.claims_but_times()).into())
            }
            By::Form(form) => Timeless::of(way, request).digest(way.forms.get(form)?),
        }
    }

    /// What of the body the signature of a verified delivery covers.
    pub fn authenticated(&self, authentic: &Authentic, request: &SignedRequest<'_>) -> Authenticated {
        let body = Body::new(request.body);
        let Some(way) = self.ways.get(authentic.way) else { return Authenticated::Nothing };
        match (authentic.by, &way.algorithm) {
            (By::Token(token), Algorithm::Jwt(jwt)) => match way.reader.at() {
                Location::Body => {
                    let payload = |token: &Token<'_>| Authenticated::Payload(token.payload());
                    with_token(way, token, request.head, &body, payload).unwrap_or(Authenticated::Nothing)
                }
                _ if jwt.ties_body() => Authenticated::Body,
                _ => Authenticated::Nothing,
            },
            (By::Form(form), _) => match way.forms.get(form) {
                Some(form) if form.covers_body => of_form(form, request.head, &body),
                _ => Authenticated::Nothing,
            },
            (By::Secret | By::Token(_), _) => Authenticated::Nothing,
        }
    }
}

impl Place {
    /// The value that stands here exactly once in a request with this body.
    fn once(&self, head: RequestHead<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let found = match self {
            Self::Header(name) => return sole(head.headers, name).map(<[u8]>::to_vec),
            Self::Json(pointer) => payload::find(body, pointer, Kind::Scalar),
            Self::Form(name) => fields::find(body, name),
            Self::Query(name) => fields::find(head.query?.as_bytes(), name),
            Self::Claim(_) => return None,
        };
        match found {
            Found::Once(value) => value.map(Cow::into_owned),
            Found::Nothing | Found::Repeated { .. } => None,
        }
    }
}

fn of_form(form: &CompiledForm, head: RequestHead<'_>, body: &Body<'_>) -> Authenticated {
    let Some(document) = &form.form.payload else { return Authenticated::Body };
    let given = Given { head, body, timestamp: None };
    let Filled::Once(content) = content::fill(&form.form.content, given, None) else { return Authenticated::Nothing };
    payload::open(document.encoding, &joined(&content)).map_or(Authenticated::Nothing, Authenticated::Payload)
}

/// What `of` says of the token at this position of a request.
fn with_token<T>(
    way: &Compiled,
    position: usize,
    head: RequestHead<'_>,
    body: &Body<'_>,
    of: impl FnOnce(&Token<'_>) -> T,
) -> Option<T> {
    let Algorithm::Jwt(jwt) = &way.algorithm else { return None };
    let claimed = way.reader.read(head, Some(body)).ok()?;
    Some(of(&Token::open(jwt, claimed.candidates.get(position)?.as_bytes()).ok()?))
}

/// A request whose signed time is taken out: a header is empty, a field is gone, a JSON value is `0` or `"0"`.
struct Timeless<'a> {
    method: &'a Method,
    path: &'a str,
    query: Option<Cow<'a, str>>,
    headers: Cow<'a, HeaderMap>,
    body: Cow<'a, [Bytes]>,
}

impl<'a> Timeless<'a> {
    fn of(way: &Compiled, request: &SignedRequest<'a>) -> Self {
        let RequestHead { method, path, query, headers } = request.head;
        let mut query = query.map(Cow::Borrowed);
        let mut headers = Cow::Borrowed(headers);
        let mut body = Cow::Borrowed(request.body);
        let whole = Body::new(request.body);
        match way.timestamp.as_ref().map(|timestamp| &timestamp.at) {
            Some(TimeLocation::Header(name)) => {
                headers.to_mut().insert(name, HeaderValue::from_static(""));
            }
            Some(TimeLocation::Query(name)) => {
                let rest =
                    query.as_ref().and_then(|query| String::from_utf8(fields::without(query.as_bytes(), name)).ok());
                query = rest.map(Cow::Owned).or(query);
            }
            Some(TimeLocation::Form(name)) => body = Cow::Owned(vec![fields::without(whole.bytes(), name).into()]),
            // With its time, so that a delivery that is signed anew is another one.
            Some(TimeLocation::Multipart(_)) => {}
            Some(TimeLocation::Json(pointer)) => {
                if let Some(rest) = with_zero(whole.bytes(), pointer) {
                    body = Cow::Owned(vec![rest.into()]);
                }
            }
            // In the signature's own value, which is no part of the content.
            Some(TimeLocation::Field(_) | TimeLocation::Position(_)) | None => {}
        }
        Self { method, path, query, headers, body }
    }

    fn digest(&self, form: &CompiledForm) -> Option<[u8; 32]> {
        let Self { method, path, query, headers, body } = self;
        let head = RequestHead { method, path, query: query.as_deref(), headers };
        let body = Body::new(body);
        let given = Given { head, body: &body, timestamp: Some(&[]) };
        let mut digest = Sha256::new();
        for part in &form.form.content {
            let filled = content::fill(std::slice::from_ref(part), given, form.urls.first());
            let Filled::Once(content) = filled else { return None };
            let pieces = || content.iter().map(|piece| piece.or_secret(&[]));
            let length: usize = pieces().map(<[u8]>::len).sum();
            digest.update((length as u64).to_be_bytes());
            pieces().for_each(|piece| digest.update(piece));
        }
        Some(digest.finalize().into())
    }
}

/// A JSON body with a zero in the place of one value, if that stands there once and without escapes.
fn with_zero(body: &[u8], pointer: &Pointer) -> Option<Vec<u8>> {
    let Found::Once(Some(Cow::Borrowed(value))) = payload::find(body, pointer, Kind::Scalar) else { return None };
    let start = (value.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let (before, rest) = body.split_at_checked(start)?;
    Some([before, b"0", rest.get(value.len()..)?].concat())
}

#[cfg(test)]
mod tests;
