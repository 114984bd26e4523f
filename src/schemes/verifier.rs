//! Verifies deliveries in two steps, so that the body of a request without a signature is not read.
//!
//! If a scheme has several ways to sign, a delivery must verify in one of them. The reason for a refusal is that of the way
//! that came furthest.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::accept::{Refusal, accept, meets};
use super::authentic::{Authentic, By};
use super::challenge::Challenges;
use super::compiled::{Compiled, CompiledForm};
use super::content::{self, Body, Content, Filled, Given};
use super::error::VerifyError;
use super::jwt::Token;
use super::request::{RequestHead, SignedRequest};
use super::signature::{self, Claimed, TimeText};
use super::spec::{Algorithm, Jwt, Location, Part, TimeLocation};
use super::time;

/// The signature of a request as read from its head, for each way to sign that it can belong to.
#[derive(Clone)]
pub struct Claim {
    ways: Vec<WayClaim>,
}

#[derive(Clone)]
struct WayClaim {
    /// The position of the way.
    way: usize,
    /// The claimed digests; `None` if the signature is in the body.
    claimed: Option<Claimed>,
    /// The signed time, if it has been checked already.
    time: Option<TimeText>,
    /// The position of the secret, if the head alone shows it.
    secret: Option<usize>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claimed = self.ways.iter().filter_map(|way| way.claimed.as_ref());
        let candidates: usize = claimed.map(|claimed| claimed.candidates.len()).sum();
        formatter.debug_struct("Claim").field("candidates", &candidates).finish()
    }
}

/// A scheme with a route's options and secrets: verifies its deliveries, and signs them.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The ways to sign that one of the secrets belongs to. Never empty.
    pub(super) ways: Vec<Compiled>,
    /// The number of secrets.
    pub(super) secrets: usize,
    pub(super) match_payload: bool,
    pub(super) challenges: Option<Challenges>,
    /// The sample's headers, for signing a request that lacks a signed header. Empty if the scheme signs no header.
    pub(super) sample: HeaderMap,
}

impl Verifier {
    /// Checks the head; `now` is the time since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Any [`VerifyError`] except [`VerifyError::PayloadMismatch`].
    pub fn inspect(&self, head: RequestHead<'_>, now: Duration) -> Result<Claim, VerifyError> {
        let mut ways = Vec::with_capacity(self.ways.len());
        let mut verdict = None;
        for (position, way) in self.ways.iter().enumerate() {
            match way.inspect(position, head, now) {
                Ok(claim) => ways.push(claim),
                Err(error) => verdict = further(verdict, error),
            }
        }
        match verdict {
            Some(error) if ways.is_empty() => Err(error),
            _ => Ok(Claim { ways }),
        }
    }

    /// Checks the claim against the whole request.
    ///
    /// # Errors
    /// [`VerifyError::SignatureMismatch`], [`VerifyError::PayloadMismatch`]; any other error if the
    /// signature or the time is in the body.
    pub fn verify(&self, claim: &Claim, request: &SignedRequest<'_>, now: Duration) -> Result<Authentic, VerifyError> {
        let body = Body::new(request.body);
        let mut verdict = None;
        for claim in &claim.ways {
            let Some(way) = self.ways.get(claim.way) else { continue };
            match way.verify(claim, request.head, &body, now, self.match_payload) {
                Ok(authentic) => return Ok(authentic),
                Err(error) => verdict = further(verdict, error),
            }
        }
        Err(verdict.unwrap_or(VerifyError::SignatureMismatch))
    }

    /// The challenges to answer, if the scheme has any and the options do not turn them off.
    pub fn challenges(&self) -> Option<&Challenges> {
        self.challenges.as_ref()
    }

    /// The same verifier, which answers no challenges.
    #[must_use]
    pub fn without_challenges(self) -> Self {
        Self { challenges: None, ..self }
    }

    /// The headers that carry a signature. They belong in no log.
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = Vec::new();
        for name in self.ways.iter().flat_map(|way| way.reader.names()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The parameters of the query that carry a signature.
    pub fn signature_parameters(&self) -> Vec<&str> {
        let parameters = self.ways.iter().filter_map(|way| match way.reader.at() {
            Location::Query(name) => Some(name.as_str()),
            _ => None,
        });
        parameters.collect()
    }

    /// The errors that [`Verifier::inspect`] and [`Verifier::verify`] can give under these options.
    pub fn possible_errors(&self) -> Vec<VerifyError> {
        let mut errors = vec![
            VerifyError::MissingSignature,
            VerifyError::AmbiguousSignature,
            VerifyError::MalformedSignature,
            VerifyError::SignatureMismatch,
        ];
        if self.ways.iter().any(Compiled::compares_payloads) {
            errors.push(VerifyError::PayloadMismatch);
        }
        let is_jwt = |way: &Compiled| matches!(way.algorithm, Algorithm::Jwt(_));
        if self.ways.iter().any(|way| way.timestamp.is_some() || is_jwt(way)) {
            errors.push(VerifyError::StaleTimestamp);
        }
        if self.ways.iter().any(|way| way.timestamp.as_ref().is_some_and(|timestamp| timestamp.future) || is_jwt(way)) {
            errors.push(VerifyError::FutureTimestamp);
        }
        errors
    }
}

/// Of two errors, the one to report: that of the way or form which came further. The rank is not the order of the checks
/// in one respect: *ambiguous* outranks *malformed*, although [`signature`] checks it first.
fn further(one: Option<VerifyError>, other: VerifyError) -> Option<VerifyError> {
    let rank = |error: VerifyError| match error {
        VerifyError::MissingSignature => 0,
        VerifyError::MalformedSignature => 1,
        VerifyError::AmbiguousSignature => 2,
        VerifyError::SignatureMismatch => 3,
        VerifyError::FutureTimestamp => 4,
        VerifyError::StaleTimestamp => 5,
        VerifyError::PayloadMismatch => 6,
    };
    Some(one.filter(|one| rank(*one) >= rank(other)).unwrap_or(other))
}

impl Compiled {
    fn inspect(&self, way: usize, head: RequestHead<'_>, now: Duration) -> Result<WayClaim, VerifyError> {
        let mut claim = WayClaim { way, claimed: None, time: None, secret: None };
        if !self.in_body {
            claim.claimed = Some(self.reader.read(head, None)?);
        }
        if let Some(timestamp) = &self.timestamp {
            let time = match (&timestamp.at, &mut claim.claimed) {
                (TimeLocation::Header(_) | TimeLocation::Query(_), _) => {
                    Some(TimeText::from_slice(&signature::time(&timestamp.at, head, &[])?))
                }
                (_, Some(claimed)) => claimed.time.take(),
                (_, None) => None,
            };
            if let Some(time) = &time {
                self.check_time(time, now)?;
            }
            claim.time = time;
        }
        if let Some(claimed) = &claim.claimed {
            match &self.algorithm {
                Algorithm::Token => claim.secret = Some(self.secret_for(claimed, &Content::new()).ok_or(MISMATCH)?),
                Algorithm::Jwt(jwt) => {
                    claim.secret = Some(self.token(jwt, claimed, now)?.secret);
                }
                _ => {}
            }
        }
        Ok(claim)
    }

    fn verify(
        &self,
        claim: &WayClaim,
        head: RequestHead<'_>,
        body: &Body<'_>,
        now: Duration,
        match_payload: bool,
    ) -> Result<Authentic, VerifyError> {
        let read;
        let claimed = match &claim.claimed {
            Some(claimed) => claimed,
            None => {
                read = self.reader.read(head, Some(body))?;
                &read
            }
        };
        match &self.algorithm {
            Algorithm::Token => {
                let secret = claim.secret.or_else(|| self.secret_for(claimed, &Content::new())).ok_or(MISMATCH)?;
                return Ok(Authentic { secret, way: claim.way, by: By::Secret });
            }
            Algorithm::Jwt(jwt) => {
                let Opened { secret, position, token } = self.token(jwt, claimed, now)?;
                token.check_claims(jwt, Given { head, body, timestamp: None }, &self.urls)?;
                return Ok(Authentic { secret, way: claim.way, by: By::Token(position) });
            }
            _ => {}
        }
        // A time in the body that is not part of the content is read only after the signature has verified.
        let late = match (&self.timestamp, &claim.time, &claimed.time) {
            (Some(timestamp), None, None) if self.forms.iter().any(|form| form.has_time) => {
                Some(TimeText::from_slice(&signature::time(&timestamp.at, head, body.bytes())?))
            }
            _ => None,
        };
        let timestamp = claim.time.as_ref().or(claimed.time.as_ref()).or(late.as_ref());
        let given = Given { head, body, timestamp: timestamp.map(|time| &**time) };
        let mut verdict = None;
        for (position, form) in self.forms.iter().enumerate() {
            match self.verify_form(form, claimed, given, match_payload) {
                Ok(secret) => {
                    self.check_late(claim, given, now)?;
                    return Ok(Authentic { secret, way: claim.way, by: By::Form(position) });
                }
                Err(error) => verdict = further(verdict, error),
            }
        }
        Err(verdict.unwrap_or(MISMATCH))
    }

    /// Compares a time with the clock that has not been compared before.
    fn check_late(&self, claim: &WayClaim, given: Given<'_>, now: Duration) -> Result<(), VerifyError> {
        match (&self.timestamp, &claim.time, given.timestamp) {
            (None, _, _) | (_, Some(_), _) => Ok(()),
            (Some(_), None, Some(time)) => self.check_time(time, now),
            (Some(timestamp), None, None) => {
                self.check_time(&signature::time(&timestamp.at, given.head, given.body.bytes())?, now)
            }
        }
    }

    pub(super) fn check_time(&self, text: &[u8], now: Duration) -> Result<(), VerifyError> {
        let Some(timestamp) = &self.timestamp else { return Ok(()) };
        let signed = time::parse(timestamp.format, text).ok_or(VerifyError::MalformedSignature)?;
        time::check(signed, now, self.tolerance, timestamp.future)
    }

    /// The position of the secret that signed this form of the request.
    fn verify_form(
        &self,
        form: &CompiledForm,
        claimed: &Claimed,
        given: Given<'_>,
        match_payload: bool,
    ) -> Result<usize, VerifyError> {
        meets(&form.form, given).map_err(Refusal::reason)?;
        let spellings = form.urls.iter().map(Some).chain(form.urls.is_empty().then_some(None));
        let mut verdict = MISMATCH;
        for url in spellings {
            match content::fill(&form.form.content, given, url) {
                Filled::Unfit => return Err(Refusal::Absent.reason()),
                Filled::Once(content) => {
                    let Some(secret) = self.secret_for(claimed, &content) else { continue };
                    if self.reserved.is_some_and(|reserved| reserved.covers(&content)) {
                        return Err(Refusal::Reserved.reason());
                    }
                    // The expensive checks come last, after the signature has verified.
                    accept(&form.form, &content, given.body, match_payload).map_err(Refusal::reason)?;
                    return Ok(secret);
                }
                // A parser can read either value, so the body is not certainly what was signed.
                Filled::Repeated(contents) => {
                    if contents.iter().any(|content| self.secret_for(claimed, content).is_some()) {
                        verdict = Refusal::Repeated.reason();
                    }
                }
            }
        }
        Err(verdict)
    }

    fn secret_for(&self, claimed: &Claimed, content: &Content<'_>) -> Option<usize> {
        let mut keys = self.keys.iter();
        keys.find(|(_, key)| key.accepts(&claimed.candidates, content)).map(|(secret, _)| *secret)
    }

    /// The first token that a secret signed and whose times are valid.
    fn token<'c>(&self, jwt: &Jwt, claimed: &'c Claimed, now: Duration) -> Result<Opened<'c>, VerifyError> {
        let mut verdict = None;
        for (position, candidate) in claimed.candidates.iter().enumerate() {
            let opened = Token::open(jwt, candidate.as_bytes()).and_then(|token| {
                let mut keys = self.keys.iter();
                let (secret, _) = keys.find(|(_, key)| token.is_signed_with(key)).ok_or(MISMATCH)?;
                token.check_times(jwt, now, self.tolerance)?;
                Ok(Opened { secret: *secret, position, token })
            });
            match opened {
                Ok(token) => return Ok(token),
                Err(error) => verdict = further(verdict, error),
            }
        }
        Err(verdict.unwrap_or(MISMATCH))
    }

    /// Whether a delivery with a valid signature can have a body that differs from what was signed.
    fn compares_payloads(&self) -> bool {
        let looked_up = |part: &Part| {
            matches!(
                part,
                Part::Json(_)
                    | Part::JsonValue(_)
                    | Part::JsonOrEmpty(_)
                    | Part::Form(_)
                    | Part::Multipart(_)
                    | Part::Query(_)
                    | Part::QueryLower(_)
            )
        };
        // Also with `match_payload: false`, because a payload that does not decode is refused.
        self.forms.iter().any(|form| form.form.payload.is_some() || Part::any(&form.form.content, &looked_up))
            || matches!(&self.algorithm, Algorithm::Jwt(jwt) if jwt.ties_body())
    }
}

/// A token that a secret signed.
struct Opened<'c> {
    /// The position of the secret.
    secret: usize,
    /// The position of the token in the signature header.
    position: usize,
    token: Token<'c>,
}

const MISMATCH: VerifyError = VerifyError::SignatureMismatch;
