//! JSON web tokens (RFC 7519) in compact form: structure, times, and the claims about the request.
//!
//! A token must name one of the scheme's algorithms; `none` is never one of them. A token is malformed if it is not three
//! parts of strict base64url, if its header or claims are not JSON objects, if it names another algorithm or a critical
//! extension (RFC 7515 section 4.1.11), or if it lacks a required time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::codec::{self, Digest};
use super::content::{Content, Given};
use super::error::VerifyError;
use super::hash::hash;
use super::key::Key;
use super::spec::{ClaimRule, ClaimValue, DigestOf, Encoding, Hash, Jwt, JwtAlgorithm, OneOrMany, TimeClaim};
use super::time;
use super::url::Base;

/// How long a token that the gateway signs is valid.
const LIFE: Duration = Duration::from_secs(60);

/// The part of an id that differs by body.
const ID: DigestOf = DigestOf { hash: Hash::Md5, encoding: OneOrMany(Vec::new()) };

/// A parsed token. Nothing in it is authentic yet.
pub(super) struct Token<'a> {
    algorithm: JwtAlgorithm,
    signed: &'a [u8],
    signature: Digest,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Parses a token.
    pub(super) fn open(rules: &Jwt, token: &'a [u8]) -> Result<Self, VerifyError> {
        Self::parts(rules, token).ok_or(VerifyError::MalformedSignature)
    }

    fn parts(rules: &Jwt, token: &'a [u8]) -> Option<Self> {
        let last = token.iter().rposition(|byte| *byte == b'.')?;
        let (signed, signature) = (token.get(..last)?, token.get(last + 1..)?);
        let dot = signed.iter().position(|byte| *byte == b'.')?;
        let header = object(signed.get(..dot)?)?;
        let name = header.get("alg")?.as_str()?;
        let algorithm = rules.algorithms.iter().copied().find(|algorithm| algorithm.name() == name)?;
        if header.contains_key("crit") {
            return None;
        }
        let claims = object(signed.get(dot + 1..)?)?;
        Some(Self { algorithm, signed, signature: codec::decode(&[Encoding::Base64url], None, signature)?, claims })
    }

    /// Whether a key made the signature.
    pub(super) fn is_signed_with(&self, key: &Key) -> bool {
        let Key::Jwt(keys) = key else { return false };
        let content: Content<'_> = [self.signed.into()].into_iter().collect();
        let mut keys = keys.iter().filter(|(algorithm, _)| *algorithm == self.algorithm);
        keys.any(|(_, key)| key.accepts(std::slice::from_ref(&self.signature), &content))
    }

    /// Compares the token's times with the clock.
    pub(super) fn check_times(&self, rules: &Jwt, now: Duration, tolerance: Duration) -> Result<(), VerifyError> {
        for (claim, name) in [(TimeClaim::Exp, "exp"), (TimeClaim::Nbf, "nbf"), (TimeClaim::Iat, "iat")] {
            let Some(value) = self.claims.get(name) else {
                if rules.times.contains(&claim) {
                    return Err(VerifyError::MalformedSignature);
                }
                continue;
            };
            let at = milliseconds(value).ok_or(VerifyError::MalformedSignature)?;
            let stale = claim == TimeClaim::Exp || (claim == TimeClaim::Iat && rules.iat_expires);
            match time::check(at, now, tolerance, claim != TimeClaim::Exp) {
                Err(VerifyError::StaleTimestamp) if !stale => {}
                verdict => verdict?,
            }
        }
        Ok(())
    }

    /// Whether the claims about the request are those that the scheme requires.
    pub(super) fn check_claims(&self, rules: &Jwt, given: Given<'_>, urls: &[Base]) -> Result<(), VerifyError> {
        rules.claims.iter().try_for_each(|rule| self.check_claim(rule, given, urls))
    }

    /// The first rule that the claims break.
    pub(super) fn wrong_claim<'r>(&self, rules: &'r Jwt, given: Given<'_>, urls: &[Base]) -> Option<&'r ClaimRule> {
        rules.claims.iter().find(|rule| self.check_claim(rule, given, urls).is_err())
    }

    /// One of its times, in milliseconds since 1970-01-01T00:00:00Z.
    pub(super) fn time(&self, name: &str) -> Option<i64> {
        milliseconds(self.claims.get(name)?)
    }

    /// The claims, as JSON.
    pub(super) fn payload(&self) -> Vec<u8> {
        Value::Object(self.claims.clone()).to_string().into_bytes()
    }

    /// The claims without `exp`, `nbf` and `iat`, sorted by name, as JSON.
    pub(super) fn claims_but_times(&self) -> Vec<u8> {
        let is_time = |name: &str| ["exp", "nbf", "iat"].contains(&name);
        let claims: BTreeMap<_, _> = self.claims.iter().filter(|(name, _)| !is_time(name)).collect();
        serde_json::json!(claims).to_string().into_bytes()
    }

    /// A claim that is a string or a number, as text.
    pub(super) fn claim(&self, name: &str) -> Option<Vec<u8>> {
        match self.claims.get(name)? {
            Value::String(text) => Some(text.clone().into_bytes()),
            Value::Number(number) => Some(number.to_string().into_bytes()),
            _ => None,
        }
    }

    fn check_claim(&self, rule: &ClaimRule, given: Given<'_>, urls: &[Base]) -> Result<(), VerifyError> {
        let about_body = matches!(rule.is, ClaimValue::BodyDigest(_));
        let wrong = if about_body { VerifyError::PayloadMismatch } else { VerifyError::SignatureMismatch };
        let right = match self.claims.get(&rule.name) {
            None => rule.only_with_body && given.body.is_empty(),
            Some(_) if rule.only_with_body && given.body.is_empty() => false,
            Some(Value::String(found)) => is(&rule.is, found, given, urls),
            Some(_) => false,
        };
        right.then_some(()).ok_or(wrong)
    }
}

/// A token with the claims that the scheme requires for this request.
pub(super) fn write(rules: &Jwt, key: &Key, given: Given<'_>, urls: &[Base], now: Duration) -> Option<Vec<u8>> {
    let Key::Jwt(keys) = key else { return None };
    let (algorithm, key) = keys.first()?;
    let mut claims = Map::new();
    for (name, at) in [("iat", now), ("nbf", now), ("exp", now + LIFE)] {
        claims.insert(name.to_owned(), at.as_secs().into());
    }
    for rule in &rules.claims {
        if rule.only_with_body && given.body.is_empty() {
            continue;
        }
        let url = urls.first().map(|base| base.with_query(given.head.path, given.head.query));
        let value = match &rule.is {
            ClaimValue::Text(text) => text.clone(),
            ClaimValue::BodyDigest(digest) => String::from_utf8(given.body.digest(digest)).ok()?,
            ClaimValue::Url => url?,
            ClaimValue::UrlDigest(digest) => digests(digest, url?.as_bytes()).next()?,
            ClaimValue::Id => String::from_utf8(given.body.digest(&ID)).ok()? + &now.as_nanos().to_string(),
            ClaimValue::Parameter(_) => return None,
        };
        claims.insert(rule.name.clone(), value.into());
    }
    let header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" }).to_string();
    let base64 = |text: &[u8]| codec::encode(Encoding::Base64url, text);
    let signed = [base64(header.as_bytes()), base64(Value::Object(claims).to_string().as_bytes())].join(&b'.');
    let content: Content<'_> = [signed.as_slice().into()].into_iter().collect();
    let signature = key.sign(&content)?;
    Some([signed.clone(), base64(signature.as_bytes())].join(&b'.'))
}

fn is(value: &ClaimValue, found: &str, given: Given<'_>, urls: &[Base]) -> bool {
    let mut spellings = urls.iter().map(|base| base.with_query(given.head.path, given.head.query));
    match value {
        ClaimValue::Text(text) => found == text,
        ClaimValue::Id => !found.is_empty(),
        // Filled in when the route was loaded.
        ClaimValue::Parameter(_) => false,
        ClaimValue::BodyDigest(digest) => digest.encoding.iter().any(|encoding| {
            let digest = DigestOf { hash: digest.hash, encoding: OneOrMany(vec![*encoding]) };
            same(*encoding, found, &given.body.digest(&digest))
        }),
        ClaimValue::UrlDigest(digest) => spellings.any(|url| digests(digest, url.as_bytes()).any(|text| text == found)),
        ClaimValue::Url => spellings.any(|url| url == found),
    }
}

/// Whether two texts of one encoding are equal.
fn same(encoding: Encoding, found: &str, expected: &[u8]) -> bool {
    match encoding {
        Encoding::Hex => found.as_bytes().eq_ignore_ascii_case(expected),
        _ => found.as_bytes() == expected,
    }
}

fn digests<'a>(digest: &'a DigestOf, bytes: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let written = move |encoding: &Encoding| codec::encode(*encoding, hash(digest.hash, [bytes]).as_bytes());
    digest.encoding.iter().filter_map(move |encoding| String::from_utf8(written(encoding)).ok())
}

fn object(part: &[u8]) -> Option<Map<String, Value>> {
    let json = codec::decode(&[Encoding::Base64url], None, part)?;
    serde_json::from_slice(json.as_bytes()).ok()
}

/// A `NumericDate` (RFC 7519 section 2), which may have a fraction.
fn milliseconds(value: &Value) -> Option<i64> {
    match value.as_i64() {
        Some(seconds) => seconds.checked_mul(1000),
        None => value.as_f64().filter(|seconds| seconds.abs() < 1e15).map(|seconds| (seconds * 1000.0) as i64),
    }
}
