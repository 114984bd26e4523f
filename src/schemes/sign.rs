//! Signing: the changes that make a request a valid delivery.
//!
//! The code that verifies also fills in, checks and signs the content, so a request that is signed here verifies under the
//! same options. The signed time is that of the clock. Signed headers that the request lacks are taken from the scheme's
//! sample.
//!
//! Schemes with public keys cannot be used for signing: only the provider has the private key.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::accept::{Refusal, accept, is_form, meets};
use super::compiled::{Compiled, CompiledForm};
use super::content::{self, Body, Content, Filled, Given};
use super::hash::hash;
use super::key::Key;
use super::request::RequestHead;
use super::spec::{
    Algorithm, ListOfNames, ListedHeaders, Location, MultipartField, Part, Pointer, Requirement, TimeLocation, Token,
};
use super::verifier::Verifier;
use super::{codec, fields, jwt, multipart, signature, time};

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// Its head.
    pub head: RequestHead<'a>,
    /// Its body.
    pub body: &'a [u8],
}

/// The changes that make a request a valid delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Headers to set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The query to send instead, if the signature or the time stands there.
    pub query: Option<String>,
    /// The body to send instead, if the signature or the time stands there.
    pub body: Option<Vec<u8>>,
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The verifier has no secret at this position.
    #[error("there is no secret at this position")]
    NoSuchSecret,
    /// The secret is a public key.
    #[error("only the provider can sign: it has the private key that belongs to this public one")]
    NeedsPrivateKey,
    /// No allowed form of signed content accepts this body: the name of each form, and the reason.
    #[error("no signature would make this body a valid delivery: {0}")]
    Unsignable(String),
    /// The scheme has the signature or the time in the body, and this body cannot hold it.
    #[error("the body cannot hold the signature or the signed time")]
    Unwritable,
}

/// A request while it is being signed.
struct Draft {
    headers: HeaderMap,
    query: Option<String>,
    body: Vec<u8>,
    signed: Signed,
}

impl Verifier {
    /// The changes that sign this request with the secret at this position, in the first form that would be accepted; `now` is the time since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, secret: usize, request: &Unsigned<'_>, now: Duration) -> Result<Signed, SignError> {
        if secret >= self.secrets {
            return Err(SignError::NoSuchSecret);
        }
        let mut verdict = SignError::NeedsPrivateKey;
        for way in &self.ways {
            let Some((_, key)) = way.keys.iter().find(|(position, _)| *position == secret) else { continue };
            match self.sign_in(way, key, request, now) {
                Err(SignError::NeedsPrivateKey) => {}
                Err(error) => verdict = error,
                signed => return signed,
            }
        }
        Err(verdict)
    }

    /// The headers that make this body, POSTed to `/`, a valid delivery, for schemes that sign nothing else.
    ///
    /// # Errors
    /// [`SignError`]; also if the scheme has the signature or the time outside of headers.
    pub fn sign_body(
        &self,
        secret: usize,
        body: &[u8],
        now: Duration,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let headers = HeaderMap::new();
        let head = RequestHead { method: &Method::POST, path: "/", query: None, headers: &headers };
        match self.sign(secret, &Unsigned { head, body }, now)? {
            Signed { headers, query: None, body: None } => Ok(headers),
            _ => Err(SignError::Unwritable),
        }
    }

    fn sign_in(&self, way: &Compiled, key: &Key, request: &Unsigned<'_>, now: Duration) -> Result<Signed, SignError> {
        let RequestHead { method, path, query, headers } = request.head;
        let mut draft = Draft {
            headers: headers.clone(),
            query: query.map(ToOwned::to_owned),
            body: request.body.to_vec(),
            signed: Signed::default(),
        };
        let written = way.timestamp.as_ref().map(|timestamp| time::write(timestamp.format, now)).unwrap_or_default();
        if let Some(timestamp) = &way.timestamp {
            draft.set_time(&timestamp.at, &written, |text| way.check_time(text, now).is_ok())?;
        }
        for name in way.forms.iter().flat_map(|form| signed_headers(&form.form.content)) {
            draft.set_from(&name, &self.sample);
        }
        let lists = draft.set_lists(way, &self.sample)?;
        for form in &way.forms {
            for requirement in &form.form.requires {
                match requirement {
                    Requirement::Header { name, value } if !draft.headers.contains_key(name) => {
                        draft.set(name, HeaderValue::from_str(value).map_err(|_| SignError::Unwritable)?);
                    }
                    Requirement::Form => draft.set_from(&CONTENT_TYPE, &self.sample),
                    Requirement::QueryDigest { name, hash: function, encoding }
                        if !is_form(&draft.headers) && !draft.body.is_empty() =>
                    {
                        let digest = codec::encode(*encoding, hash(*function, [&*draft.body]).as_bytes());
                        draft.set_query(name, &digest)?;
                    }
                    _ => {}
                }
            }
        }
        // The field must exist while the form is checked; it is not signed.
        match way.reader.at() {
            Location::Form(name) => draft.set_form(name, b"-"),
            Location::Multipart(field) => draft.set_multipart(field, b"-")?,
            _ => {}
        }
        let frames = [Bytes::copy_from_slice(&draft.body)];
        let body = Body::new(&frames);
        let head = RequestHead { method, path, query: draft.query.as_deref(), headers: &draft.headers };
        let given = Given { head, body: &body, timestamp: way.timestamp.as_ref().map(|_| written.as_bytes()) };
        let value = match &way.algorithm {
            Algorithm::Token => {
                key.sign(&Content::new()).map(|token| way.reader.write(token.as_bytes(), &written, &lists))
            }
            Algorithm::Jwt(rules) => {
                let token = jwt::write(rules, key, given, &way.urls, now);
                token.map(|token| way.reader.write(&token, &written, &lists))
            }
            _ => {
                let digest = self.first_form(way, key, given)?;
                digest.map(|digest| way.reader.write(&digest, &written, &lists))
            }
        };
        let value = value.ok_or(SignError::NeedsPrivateKey)?;
        draft.set_signature(way, &value)?;
        Ok(draft.signed)
    }

    /// The signature of the first form that would be accepted.
    fn first_form(&self, way: &Compiled, key: &Key, given: Given<'_>) -> Result<Option<Vec<u8>>, SignError> {
        let mut refusals = Vec::new();
        for form in &way.forms {
            match self.signable(way, form, given) {
                Ok(content) => return Ok(key.sign(&content).map(|digest| digest.as_bytes().to_vec())),
                Err(refusal) => refusals.push(format!("{}: {refusal}", form.form.name)),
            }
        }
        Err(SignError::Unsignable(refusals.join("; ")))
    }

    /// The content of a form, if its signature would be accepted.
    fn signable<'a>(&self, way: &Compiled, form: &'a CompiledForm, given: Given<'a>) -> Result<Content<'a>, Refusal> {
        meets(&form.form, given)?;
        match content::fill(&form.form.content, given, form.urls.first()) {
            Filled::Unfit => Err(Refusal::Absent),
            Filled::Repeated(_) => Err(Refusal::Repeated),
            Filled::Once(content) if way.reserved.is_some_and(|reserved| reserved.covers(&content)) => {
                Err(Refusal::Reserved)
            }
            Filled::Once(content) => accept(&form.form, &content, given.body, self.match_payload).map(|_| content),
        }
    }
}

impl Draft {
    /// Sets the time at the scheme's place. A time in the body or the query stays if it is `fresh`.
    fn set_time(&mut self, at: &TimeLocation, text: &str, fresh: impl Fn(&[u8]) -> bool) -> Result<(), SignError> {
        let head =
            RequestHead { method: &Method::POST, path: "/", query: self.query.as_deref(), headers: &self.headers };
        if !matches!(at, TimeLocation::Header(_))
            && signature::time(at, head, &self.body).is_ok_and(|found| fresh(&found))
        {
            return Ok(());
        }
        match at {
            TimeLocation::Header(name) => {
                let value = HeaderValue::from_str(text).map_err(|_| SignError::Unwritable)?;
                self.set(name, value);
            }
            TimeLocation::Query(name) => self.set_query(name, text.as_bytes())?,
            TimeLocation::Form(name) => self.set_form(name, text.as_bytes()),
            TimeLocation::Multipart(field) => self.set_multipart(field, text.as_bytes())?,
            TimeLocation::Json(pointer) => self.set_json(pointer, text.as_bytes())?,
            TimeLocation::Field(_) | TimeLocation::Position(_) => {}
        }
        Ok(())
    }

    fn set_signature(&mut self, way: &Compiled, value: &[u8]) -> Result<(), SignError> {
        match way.reader.at() {
            Location::Query(name) => self.set_query(name, value)?,
            Location::Form(name) => self.set_form(name, value),
            Location::Multipart(field) => self.set_multipart(field, value)?,
            Location::Json(pointer) => self.set_json(pointer, value)?,
            Location::Body => self.signed.body = Some(value.to_vec()),
            Location::Header(_) | Location::Headers(_) | Location::HeaderLines(_) | Location::HeaderSeries { .. } => {
                let name = way.reader.names().first().ok_or(SignError::Unwritable)?;
                let value = HeaderValue::from_bytes(value).map_err(|_| SignError::Unwritable)?;
                self.set(name, value);
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.headers.insert(name.clone(), value.clone());
        self.signed.headers.push((name.clone(), value));
    }

    /// Sets a header that the request lacks to the value of the sample.
    fn set_from(&mut self, name: &HeaderName, sample: &HeaderMap) {
        if let (false, Some(value)) = (self.headers.contains_key(name), sample.get(name)) {
            self.set(name, value.clone());
        }
    }

    /// Chooses the headers that the signature's list names: those that must be in it, or else those of the sample. Returns the
    /// fields of the list, and puts them into the draft, which needs them while the form is checked.
    fn set_lists<'a>(&mut self, way: &'a Compiled, sample: &HeaderMap) -> Result<Vec<(&'a str, String)>, SignError> {
        let mut lists: Vec<(&str, String)> = Vec::new();
        for part in way.forms.iter().flat_map(|form| &form.form.content) {
            let Part::ListedHeaders(ListedHeaders { list: ListOfNames::Field(field), split, require, .. }) = part
            else {
                continue;
            };
            if lists.iter().any(|(key, _)| *key == field.key) {
                continue;
            }
            let own: Vec<HeaderName> = sample.keys().cloned().collect();
            let names = if require.is_empty() { &own } else { require };
            names.iter().for_each(|name| self.set_from(name, sample));
            let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
            let value = names.join(split);
            if let Some(at) = field.headers.first() {
                let list = HeaderValue::from_str(&format!("{}{}{value}", field.key, field.assign));
                self.headers.insert(at.clone(), list.map_err(|_| SignError::Unwritable)?);
            }
            lists.push((field.key.as_str(), value));
        }
        Ok(lists)
    }

    fn set_query(&mut self, name: &str, value: &[u8]) -> Result<(), SignError> {
        let query = fields::without(self.query.take().unwrap_or_default().as_bytes(), name);
        let query = String::from_utf8(fields::with(&query, name, value)).map_err(|_| SignError::Unwritable)?;
        self.query = Some(query.clone());
        self.signed.query = Some(query);
        Ok(())
    }

    fn set_form(&mut self, name: &str, value: &[u8]) {
        self.body = fields::with(&fields::without(&self.body, name), name, value);
        self.signed.body = Some(self.body.clone());
    }

    fn set_multipart(&mut self, field: &MultipartField, value: &[u8]) -> Result<(), SignError> {
        let body = multipart::with(&self.headers, &self.body, &field.name, |old| match &field.json {
            None => Some(value.to_vec()),
            Some(pointer) => with_json(old?, pointer, value),
        });
        self.body = body.ok_or(SignError::Unwritable)?;
        self.signed.body = Some(self.body.clone());
        Ok(())
    }

    fn set_json(&mut self, pointer: &Pointer, value: &[u8]) -> Result<(), SignError> {
        self.body = with_json(&self.body, pointer, value).ok_or(SignError::Unwritable)?;
        self.signed.body = Some(self.body.clone());
        Ok(())
    }
}

/// A JSON text with this value at a pointer.
fn with_json(text: &[u8], pointer: &Pointer, value: &[u8]) -> Option<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(text).ok()?;
    put(&mut json, pointer.tokens(), std::str::from_utf8(value).ok()?)?;
    Some(json.to_string().into_bytes())
}

/// Sets the text at the end of a path; as a number, if the old value was a number.
fn put(json: &mut Value, path: &[Token], text: &str) -> Option<()> {
    let Some((token, rest)) = path.split_first() else {
        *json = match json {
            Value::Number(_) => text.parse::<u64>().ok()?.into(),
            _ => text.into(),
        };
        return Some(());
    };
    match (json, token) {
        (Value::Object(entries), Token::Key(key)) => {
            let entry = entries.entry(key.as_str()).or_insert(Value::Null);
            if rest.is_empty() || !entry.is_null() { put(entry, rest, text) } else { None }
        }
        (Value::Array(items), Token::Key(key)) => put(items.get_mut(key.parse::<usize>().ok()?)?, rest, text),
        (Value::Array(items), Token::Every) => items.iter_mut().try_for_each(|item| put(item, rest, text)),
        _ => None,
    }
}

/// The headers that are part of the content.
fn signed_headers(parts: &[Part]) -> Vec<HeaderName> {
    let names = |part: &Part| match part {
        Part::Header(name) => vec![name.clone()],
        Part::ListedHeaders(ListedHeaders { list: ListOfNames::Header(list), require, .. }) => {
            [std::slice::from_ref(list), require].concat()
        }
        Part::Optional(parts) => signed_headers(parts),
        _ => Vec::new(),
    };
    parts.iter().flat_map(names).collect()
}
