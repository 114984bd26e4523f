//! Signed content: the result of a form's template for a request.
//!
//! A template is filled from the request as received, so that signing and verifying agree. If it names a JSON key or a field
//! that is repeated, parsers can read either value; both contents are returned as [`Filled::Repeated`], and no caller may
//! accept one of them.

use std::borrow::Cow;
use std::cell::OnceCell;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use smallvec::SmallVec;

use super::codec;
use super::fields::{self, Found};
use super::gzip;
use super::hash::hash;
use super::header::{self, sole};
use super::multipart;
use super::payload::{self, Kind};
use super::request::RequestHead;
use super::spec::{DigestOf, Encoding, ListOfNames, ListedHeaders, Part, Pointer, SortedForm};
use super::url::Base;

/// The signed content: pieces in order, with nothing between them.
pub(super) type Content<'a> = SmallVec<[Piece<'a>; 6]>;

/// A piece of the signed content.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    Bytes(Cow<'a, [u8]>),
    /// The place where the key itself is hashed.
    Secret,
}

impl<'a> Piece<'a> {
    /// The bytes of the piece; `secret` for [`Piece::Secret`].
    pub(super) fn or_secret<'b>(&'b self, secret: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Secret => secret,
        }
    }
}

impl<'a> From<&'a [u8]> for Piece<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

/// The content as one slice, borrowed if it is a single piece.
pub(super) fn joined<'a>(content: &'a Content<'_>) -> Cow<'a, [u8]> {
    match content.as_slice() {
        [Piece::Bytes(whole)] => Cow::Borrowed(whole),
        pieces => Cow::Owned(pieces.iter().flat_map(|piece| piece.or_secret(&[])).copied().collect()),
    }
}

/// The result of filling a template.
pub(super) enum Filled<'a> {
    /// The request lacks a part of the content.
    Unfit,
    /// The content.
    Once(Content<'a>),
    /// A key or field of the content is repeated: the contents that parsers could read.
    Repeated(Vec<Content<'a>>),
}

/// The request that a template is filled from.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) head: RequestHead<'a>,
    pub(super) body: &'a Body<'a>,
    /// The signed time as it was sent.
    pub(super) timestamp: Option<&'a [u8]>,
}

/// Fills a form's template. `url` is the spelling of the public URL to use, if the template has the URL as a part.
pub(super) fn fill<'a>(parts: &'a [Part], given: Given<'a>, url: Option<&Base>) -> Filled<'a> {
    let mut filling = Filling { given, url, take: Occurrence::First, repeated: false };
    let mut first = Content::new();
    let fits = filling.all(parts, &mut first).is_some();
    if filling.repeated {
        filling.take = Occurrence::Last;
        let mut last = Content::new();
        let last_fits = filling.all(parts, &mut last).is_some();
        return Filled::Repeated(
            [(fits, first), (last_fits, last)]
                .into_iter()
                .filter(|(fits, _)| *fits)
                .map(|(_, content)| content)
                .collect(),
        );
    }
    if fits { Filled::Once(first) } else { Filled::Unfit }
}

/// Which of several values of a key to take.
#[derive(Clone, Copy)]
enum Occurrence {
    First,
    Last,
}

struct Filling<'a, 'u> {
    given: Given<'a>,
    url: Option<&'u Base>,
    take: Occurrence,
    repeated: bool,
}

impl<'a> Filling<'a, '_> {
    /// `None` if the request lacks a part.
    fn all(&mut self, parts: &'a [Part], content: &mut Content<'a>) -> Option<()> {
        parts.iter().try_for_each(|part| self.one(part, content))
    }

    fn one(&mut self, part: &'a Part, content: &mut Content<'a>) -> Option<()> {
        let RequestHead { method, path, query, headers } = self.given.head;
        let bytes: Cow<'a, [u8]> = match part {
            Part::Body => {
                content.extend(self.given.body.frames.iter().map(|frame| Piece::from(&**frame)));
                return Some(());
            }
            Part::UncompressedUpTo(most) => self.given.body.uncompressed(headers, *most)?.into(),
            Part::Secret => {
                content.push(Piece::Secret);
                return Some(());
            }
            Part::Optional(parts) => {
                let before = content.len();
                if self.all(parts, content).is_none() {
                    content.truncate(before);
                }
                return Some(());
            }
            Part::Timestamp => self.given.timestamp?.into(),
            Part::Text(text) => text.as_bytes().into(),
            // Filled in when the route was loaded.
            Part::Parameter(_) | Part::UncompressedBody => return None,
            Part::Header(name) => sole(headers, name)?.into(),
            Part::Field(field) => header::field(field, headers)?.into(),
            Part::ListedHeaders(listed) => listed_headers(listed, headers)?.into(),
            Part::Method => method.as_str().as_bytes().into(),
            Part::Url => self.url?.with_query(path, query).into_bytes().into(),
            Part::UrlUnescaped(letters) => {
                unescape(self.url?.with_query(path, query).as_bytes(), letters.as_bytes()).into()
            }
            Part::UrlWithoutQuery => self.url?.without_query(path).into_bytes().into(),
            Part::Path => path.as_bytes().into(),
            Part::PathAndQuery => match query {
                Some(query) => [path, "?", query].concat().into_bytes().into(),
                None => path.as_bytes().into(),
            },
            Part::SortedQuery => sorted_query(query.unwrap_or_default()).into_bytes().into(),
            Part::EscapedQuery(plus) => escaped_query(query.unwrap_or_default(), plus).into(),
            Part::Query(name) => self.chosen(fields::find(query?.as_bytes(), name))?,
            Part::QueryLower(name) => self.chosen(fields::find(query?.as_bytes(), name))?.to_ascii_lowercase().into(),
            Part::Form(name) => self.chosen(fields::find(self.given.body.bytes(), name))?,
            Part::Multipart(field) => self.chosen(multipart::find(headers, self.given.body.bytes(), field))?,
            Part::SortedForm(order) => sorted_form(*order, self.given.body.bytes()).into(),
            Part::Json(pointer) => self.json(pointer, Kind::Text)?,
            Part::JsonValue(pointer) => self.json(pointer, Kind::Scalar)?,
            Part::JsonOrEmpty(pointer) => self.json_or_empty(pointer)?,
            Part::Digest(digest) => self.given.body.digest(digest).into(),
        };
        content.push(Piece::Bytes(bytes));
        Some(())
    }

    fn json(&mut self, pointer: &Pointer, kind: Kind) -> Option<Cow<'a, [u8]>> {
        self.chosen(payload::find(self.given.body.bytes(), pointer, kind))
    }

    fn json_or_empty(&mut self, pointer: &Pointer) -> Option<Cow<'a, [u8]>> {
        match payload::find(self.given.body.bytes(), pointer, Kind::ScalarOrEmpty) {
            Found::Nothing => Some(Cow::Borrowed(&[])),
            found => self.chosen(found),
        }
    }

    fn chosen(&mut self, found: Found<'a>) -> Option<Cow<'a, [u8]>> {
        match (found, self.take) {
            (Found::Nothing, _) => None,
            (Found::Once(value), _) => value,
            (Found::Repeated { first: value, .. }, Occurrence::First)
            | (Found::Repeated { last: value, .. }, Occurrence::Last) => {
                self.repeated = true;
                value
            }
        }
    }
}

/// A body in pieces, which are joined only when a parser needs the whole.
pub(super) struct Body<'a> {
    frames: &'a [Bytes],
    joined: OnceCell<Vec<u8>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(frames: &'a [Bytes]) -> Self {
        Self { frames, joined: OnceCell::new() }
    }

    /// The body as one slice, borrowed if it arrived in one piece.
    pub(super) fn bytes(&self) -> &[u8] {
        match self.frames {
            [] => &[],
            [whole] => whole,
            frames => self.joined.get_or_init(|| frames.concat()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.iter().all(Bytes::is_empty)
    }

    /// The body without its gzip, if the head says that it has one, in at most so many bytes.
    pub(super) fn uncompressed(&self, headers: &HeaderMap, at_most: usize) -> Option<Vec<u8>> {
        gzip::is_said(headers).then(|| gzip::content(self.bytes(), at_most))?
    }

    /// The body's digest, written in the first of the encodings.
    pub(super) fn digest(&self, digest: &DigestOf) -> Vec<u8> {
        let encoding = digest.encoding.first().copied().unwrap_or(Encoding::Hex);
        codec::encode(encoding, hash(digest.hash, self.frames.iter().map(|frame| &**frame)).as_bytes())
    }
}

/// The most headers that a request may list.
const MOST_LISTED: usize = 64;

fn listed_headers(listed: &ListedHeaders, headers: &HeaderMap) -> Option<Vec<u8>> {
    let list = match &listed.list {
        ListOfNames::Header(name) => sole(headers, name)?,
        ListOfNames::Field(field) => header::field(field, headers)?,
    };
    let list = std::str::from_utf8(list).ok()?;
    let names: Vec<HeaderName> = list
        .split(listed.split.as_str())
        .take(MOST_LISTED + 1)
        .map(|name| name.trim().parse().ok())
        .collect::<Option<_>>()?;
    let enough = listed.require.iter().all(|name| names.contains(name));
    if !enough || names.len() > MOST_LISTED {
        return None;
    }
    let mut out = Vec::new();
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(listed.join.as_bytes());
        }
        if let Some(pair) = &listed.pair {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(pair.as_bytes());
        }
        out.extend_from_slice(sole(headers, name)?);
    }
    Some(out)
}

fn sorted_query(query: &str) -> String {
    let mut fields: Vec<&str> = query.split('&').filter(|field| !field.is_empty()).collect();
    fields.sort_unstable();
    fields.join("&")
}

fn escaped_query(query: &str, plus: &[String]) -> Vec<u8> {
    // A `+` that is to stand for itself is escaped before the parameters are decoded.
    let fields = query.split('&').map(|field| match field.split_once('=') {
        Some((name, _)) if plus.iter().any(|plus| plus == name) => Cow::Owned(field.replace('+', "%2B")),
        _ => Cow::Borrowed(field),
    });
    let query = fields.collect::<Vec<_>>().join("&");
    let mut fields: Vec<_> = fields::pairs(query.as_bytes()).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut out = Vec::with_capacity(query.len());
    for (name, value) in &fields {
        if !out.is_empty() {
            out.push(b'&');
        }
        fields::escape(name, &mut out);
        out.push(b'=');
        fields::escape(value, &mut out);
    }
    out
}

fn sorted_form(order: SortedForm, form: &[u8]) -> Vec<u8> {
    let mut fields: Vec<_> = fields::pairs(form).collect();
    match order {
        SortedForm::Unique => {
            fields.sort_unstable();
            fields.dedup();
        }
        SortedForm::All => fields.sort_unstable(),
        SortedForm::Stable => fields.sort_by(|(a, _), (b, _)| a.cmp(b)),
    }
    fields.iter().flat_map(|(name, value)| [name, value]).flat_map(|bytes| bytes.iter().copied()).collect()
}

/// A URL with the percent-escapes of these letters decoded.
fn unescape(url: &[u8], letters: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(url.len());
    let mut rest = url;
    while let Some((byte, behind)) = rest.split_first() {
        match fields::escaped(behind) {
            Some((letter, behind)) if *byte == b'%' && letters.contains(&letter) => {
                out.push(letter);
                rest = behind;
            }
            _ => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    out
}
