//! Signatures in requests: from their text to candidate digests, and back.
//!
//! Values are handled as bytes throughout: a header may carry any byte but control characters (RFC 9110 section 5.5),
//! and no byte may cause a panic or a lossy conversion.
//!
//! [`Reader::read`] refuses, in this order:
//!
//! 1. a signature or a signed time that is absent, empty or white space
//!    ([`VerifyError::MissingSignature`]);
//! 2. a repeated signature or time, if only one is allowed, because receivers differ in which one they use
//!    ([`VerifyError::AmbiguousSignature`]);
//! 3. a value that does not follow the scheme's grammar, a digest in another encoding or of another length than the
//!    algorithm's, a list without the accepted key or with too many entries of it, and two different times
//!    ([`VerifyError::MalformedSignature`]).
//!
//! Entries with other keys than the accepted ones are ignored: accepting any entry that verifies would let a sender choose
//! the weakest.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::codec::{self, Digest};
use super::content::Body;
use super::error::VerifyError;
use super::fields::{self, Found};
use super::header::split;
use super::multipart;
use super::payload::{self, Kind};
use super::request::RequestHead;
use super::spec::{Encoding, Grammar, Location, OneOrMany, Signature, TimeLocation};

use VerifyError::{AmbiguousSignature, MalformedSignature, MissingSignature};

/// The digests that a sender claims. A fixed buffer holds the usual one or two.
pub(super) type Candidates = SmallVec<[Digest; 2]>;

/// A signed time as it was sent.
pub(super) type TimeText = SmallVec<[u8; 32]>;

/// The most lines of a header that may be repeated.
const MOST_LINES: usize = 8;

/// The digests and the time that a signature claims.
#[derive(Clone)]
pub(super) struct Claimed {
    /// Never empty.
    pub(super) candidates: Candidates,
    /// The signed time, if it is part of the signature's value.
    pub(super) time: Option<TimeText>,
}

/// Reads and writes the signatures of one way to sign.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    signature: Signature,
    /// The headers that it may stand in.
    names: Vec<HeaderName>,
    /// The length of a digest in bytes, if the algorithm fixes it.
    len: Option<usize>,
    /// Where in the signature the time stands.
    time: Option<TimeLocation>,
}

/// One entry of a signature's value.
enum Entry<'a> {
    Signature(&'a [u8]),
    Time(&'a [u8]),
    Other,
}

impl Reader {
    pub(super) fn new(signature: &Signature, len: Option<usize>, time: Option<&TimeLocation>) -> Self {
        let names = match &signature.at {
            Location::Header(name) | Location::HeaderLines(name) => vec![name.clone()],
            Location::Headers(names) => names.clone(),
            Location::HeaderSeries { prefix, count } => {
                (1..=*count).filter_map(|number| format!("{prefix}{number}").parse().ok()).collect()
            }
            Location::Query(_) | Location::Form(_) | Location::Multipart(_) | Location::Json(_) | Location::Body => {
                Vec::new()
            }
        };
        let inside = |at: &&TimeLocation| matches!(at, TimeLocation::Field(_) | TimeLocation::Position(_));
        Self { signature: signature.clone(), names, len, time: time.filter(inside).cloned() }
    }

    /// The headers that carry a signature.
    pub(super) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    pub(super) fn at(&self) -> &Location {
        &self.signature.at
    }

    /// The claims of the signature. The body is read only if the signature is in it.
    pub(super) fn read(&self, head: RequestHead<'_>, body: Option<&Body<'_>>) -> Result<Claimed, VerifyError> {
        let mut claimed = Claimed { candidates: Candidates::new(), time: None };
        let bytes = || body.map(Body::bytes).unwrap_or_default();
        match &self.signature.at {
            Location::Header(name) => self.parse(sole(head.headers, name)?, &mut claimed)?,
            Location::HeaderLines(name) => {
                let lines = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                let is_alone = match &self.signature.grammar {
                    Grammar::Bare => self.has_no_comma(),
                    Grammar::Prefix { text, .. } => self.has_no_comma() && !text.iter().any(|text| text.contains(',')),
                    // Split further on.
                    Grammar::List { .. } | Grammar::Positional { .. } => false,
                };
                let separator = if is_alone { "," } else { "" };
                let values = lines.flat_map(|line| split(line, separator));
                self.parse_any(values.take(MOST_LINES + 1), MOST_LINES, &mut claimed)?;
            }
            Location::Headers(_) => {
                let mut values: SmallVec<[&[u8]; 4]> = SmallVec::new();
                for name in &self.names {
                    match sole(head.headers, name) {
                        Ok(value) => values.push(value),
                        Err(MissingSignature) => {}
                        Err(error) => return Err(error),
                    }
                }
                self.parse_any(values.into_iter(), self.names.len(), &mut claimed)?;
            }
            Location::HeaderSeries { count, .. } => {
                let mut values: SmallVec<[&[u8]; 4]> = SmallVec::new();
                for name in self.names.iter().take_while(|name| head.headers.contains_key(*name)) {
                    values.push(sole(head.headers, name)?);
                }
                self.parse_any(values.into_iter(), *count, &mut claimed)?;
            }
            Location::Query(name) => {
                let value = once(fields::find(head.query.unwrap_or_default().as_bytes(), name))?;
                self.parse(&value, &mut claimed)?;
            }
            Location::Form(name) => self.parse(&once(fields::find(bytes(), name))?, &mut claimed)?,
            Location::Multipart(field) => {
                self.parse(&once(multipart::find(head.headers, bytes(), field))?, &mut claimed)?;
            }
            Location::Json(pointer) => {
                let values = payload::find_every(bytes(), pointer).ok_or(MissingSignature)?;
                let first = values.first().ok_or(MissingSignature)?;
                if values.iter().any(|value| value != first) {
                    return Err(AmbiguousSignature);
                }
                self.parse(first, &mut claimed)?;
            }
            Location::Body => self.parse(bytes(), &mut claimed)?,
        }
        if self.time.is_some() && claimed.time.is_none() {
            return Err(MalformedSignature);
        }
        Ok(claimed)
    }

    /// Whether no digest has a comma, as it stands between header lines that were joined on the way (RFC 9110 section 5.3).
    fn has_no_comma(&self) -> bool {
        !self.signature.encoding.contains(&Encoding::Text)
    }

    /// Parses several values. Empty values are ignored, and malformed values too if another one is well formed.
    fn parse_any<'v>(
        &self,
        values: impl Iterator<Item = &'v [u8]>,
        at_most: usize,
        claimed: &mut Claimed,
    ) -> Result<(), VerifyError> {
        let mut verdict = Err(MissingSignature);
        for (position, value) in values.enumerate() {
            if position == at_most {
                return Err(AmbiguousSignature);
            }
            match self.parse(value, claimed) {
                Ok(()) => verdict = Ok(()),
                Err(MissingSignature) => {}
                Err(error) => verdict = verdict.or(Err(error)),
            }
        }
        verdict
    }

    /// Adds the claims of one value.
    fn parse(&self, value: &[u8], claimed: &mut Claimed) -> Result<(), VerifyError> {
        let value = value.trim_ascii();
        if value.is_empty() {
            return Err(MissingSignature);
        }
        let decode = |text| codec::decode(&self.signature.encoding, self.len, text).ok_or(MalformedSignature);
        match &self.signature.grammar {
            Grammar::Bare => claimed.candidates.push(decode(value)?),
            Grammar::Prefix { text, required, ignore_case } => {
                let digest = text.iter().find_map(|text| strip(value, text.as_bytes(), *ignore_case));
                match digest {
                    Some(digest) => claimed.candidates.push(decode(digest)?),
                    None if *required => return Err(MalformedSignature),
                    None => claimed.candidates.push(decode(value)?),
                }
            }
            Grammar::List { separator, assign, key, at_most, strict, .. } => {
                let joined = self.has_no_comma() && !separator.contains(',');
                let entries = split(value, separator).flat_map(|entry| Joined { rest: Some(entry), assign, joined });
                let entries = entries.map(|entry| self.keyed(entry, assign, key));
                self.parse_entries(entries, *at_most, *strict, claimed)?;
            }
            Grammar::Positional { separator, signature, at_most } => {
                let entries = split(value, separator).enumerate().map(|(position, entry)| match &self.time {
                    Some(TimeLocation::Position(at)) if *at == position => Entry::Time(entry),
                    _ if position >= *signature => Entry::Signature(entry),
                    _ => Entry::Other,
                });
                self.parse_entries(entries, *at_most, true, claimed)?;
            }
        }
        Ok(())
    }

    fn parse_entries<'v>(
        &self,
        entries: impl Iterator<Item = Entry<'v>>,
        at_most: usize,
        strict: bool,
        claimed: &mut Claimed,
    ) -> Result<(), VerifyError> {
        let before = claimed.candidates.len();
        let mut seen = 0;
        for entry in entries {
            match entry {
                Entry::Other => {}
                Entry::Time(time) => match &claimed.time {
                    Some(other) if **other != *time => return Err(MalformedSignature),
                    Some(_) => {}
                    None => claimed.time = Some(TimeText::from_slice(time)),
                },
                Entry::Signature(text) => {
                    seen += 1;
                    match codec::decode(&self.signature.encoding, self.len, text) {
                        _ if seen > at_most => return Err(MalformedSignature),
                        Some(digest) => claimed.candidates.push(digest),
                        None if strict => return Err(MalformedSignature),
                        None => {}
                    }
                }
            }
        }
        if claimed.candidates.len() == before { Err(MalformedSignature) } else { Ok(()) }
    }

    fn keyed<'v>(&self, entry: &'v [u8], assign: &str, accepted: &OneOrMany<String>) -> Entry<'v> {
        let assign = assign.as_bytes();
        let Some(at) = entry.windows(assign.len().max(1)).position(|window| window == assign) else {
            return Entry::Other;
        };
        let (key, value) = entry.split_at_checked(at).unwrap_or((entry, &[]));
        let value = value.get(assign.len()..).unwrap_or_default();
        match &self.time {
            Some(TimeLocation::Field(name)) if key == name.as_bytes() => Entry::Time(value),
            _ if accepted.iter().any(|accepted| accepted == "*" || key == accepted.as_bytes()) => {
                Entry::Signature(value)
            }
            _ => Entry::Other,
        }
    }

    /// The value that claims a digest made at this time. A list has these fields beside it.
    pub(super) fn write(&self, digest: &[u8], time: &str, fields: &[(&str, String)]) -> Vec<u8> {
        let encoding = self.signature.encoding.first().copied().unwrap_or(Encoding::Hex);
        let digest = codec::encode(encoding, digest);
        let first = |text: &OneOrMany<String>| text.first().cloned().unwrap_or_default();
        let with = |prefix: String| [prefix.as_bytes(), &digest].concat();
        match &self.signature.grammar {
            Grammar::Bare => digest,
            Grammar::Prefix { text, .. } => with(first(text)),
            Grammar::List { separator, assign, key, spaced, .. } => {
                let separator = separator.chars().next().unwrap_or(',');
                let separator = if *spaced { format!("{separator} ") } else { separator.to_string() };
                let time = match &self.time {
                    Some(TimeLocation::Field(name)) => format!("{name}{assign}{time}{separator}"),
                    _ => String::new(),
                };
                let fields: String =
                    fields.iter().map(|(key, value)| format!("{key}{assign}{value}{separator}")).collect();
                let key = first(key);
                with(format!("{time}{fields}{}{assign}", if key == "*" { "key" } else { &key }))
            }
            Grammar::Positional { separator, signature, .. } => {
                let separator = separator.chars().next().unwrap_or(',');
                let fields = (0..*signature).map(|position| match &self.time {
                    Some(TimeLocation::Position(at)) if *at == position => format!("{time}{separator}"),
                    _ => format!("-{separator}"),
                });
                with(fields.collect())
            }
        }
    }
}

/// The signed time of a request, if it is not part of the signature's value. The body is read only if the time is in it.
pub(super) fn time<'a>(at: &TimeLocation, head: RequestHead<'a>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, VerifyError> {
    match at {
        TimeLocation::Header(name) => sole(head.headers, name).map(Cow::Borrowed),
        TimeLocation::Query(name) => once(fields::find(head.query.unwrap_or_default().as_bytes(), name)),
        TimeLocation::Form(name) => once(fields::find(body, name)),
        TimeLocation::Multipart(field) => once(multipart::find(head.headers, body, field)),
        TimeLocation::Json(pointer) => once(payload::find(body, pointer, Kind::Scalar)),
        TimeLocation::Field(_) | TimeLocation::Position(_) => Err(MissingSignature),
    }
}

fn once(found: Found<'_>) -> Result<Cow<'_, [u8]>, VerifyError> {
    match found {
        Found::Nothing => Err(MissingSignature),
        Found::Once(Some(value)) => Ok(value),
        Found::Once(None) => Err(MalformedSignature),
        Found::Repeated { .. } => Err(AmbiguousSignature),
    }
}

fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], VerifyError> {
    // To compare the few names costs less than to hash one.
    let mut values = headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value);
    let value = values.next().ok_or(MissingSignature)?;
    if values.next().is_some() {
        return Err(AmbiguousSignature);
    }
    match value.as_bytes().trim_ascii() {
        [] => Err(MissingSignature),
        value => Ok(value),
    }
}

/// The entries of one entry: several, each with its key, if commas joined them.
struct Joined<'v, 'a> {
    rest: Option<&'v [u8]>,
    /// What stands between an entry's key and its value.
    assign: &'a str,
    /// Whether a comma can join entries.
    joined: bool,
}

impl<'v> Iterator for Joined<'v, '_> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        let entry = self.rest.take()?;
        if !self.joined {
            return Some(entry);
        }
        let key = memchr::memmem::find(entry, self.assign.as_bytes()).map_or(entry.len(), |at| at + self.assign.len());
        let comma = entry.get(key..).and_then(|value| memchr::memchr(b',', value));
        let Some((entry, rest)) = comma.and_then(|at| entry.split_at_checked(key + at)) else { return Some(entry) };
        self.rest = rest.get(1..).map(<[u8]>::trim_ascii).filter(|rest| !rest.is_empty());
        Some(entry.trim_ascii())
    }
}

fn strip<'v>(value: &'v [u8], prefix: &[u8], ignore_case: bool) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    let same = if ignore_case { start.eq_ignore_ascii_case(prefix) } else { start == prefix };
    same.then_some(rest)
}

#[cfg(test)]
mod tests;
