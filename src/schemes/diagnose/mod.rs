//! Why a delivery does not verify: tries the usual mistakes until the signature is right.
//!
//! A request that came has in it what its sender signed with, so a guess can be proven: if the signature is right once
//! the newline at the body's end is taken off, the newline is the cause. What is tried, the simplest first:
//!
//! 1. the delivery as it is at another time, then with its signature written in another way or in another place;
//! 2. the route's secrets with quotes or white space around them, or taken in another way; other hash functions;
//! 3. other contents: the body alone, without the time; another public URL;
//! 4. the body as it may have been before something on the way changed it;
//! 5. the secrets of other routes, and other routes altogether;
//! 6. two of these at once.
//!
//! Work is bounded by an [`Effort`]. Words never hold a secret, an expected digest or a piece of a body; they are for
//! operators, and a sender must not see them all the same.

mod bodies;
mod forms;
mod found;
mod hints;
mod json;
mod keys;
mod token;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;

use super::challenge::Reserved;
use super::compile::Compiled;
use super::content::{self, Body, Filled, Given};
use super::spec::{Algorithm, Spec, Way};
use super::url::PublicUrl;
use super::{RequestHead, SchemeOptions, Secret, SignedRequest, VerifyError, signature, verifier};
use bodies::Change;
use forms::Variant;
use found::{Finds, Found};
use keys::Candidate;

/// A tolerance that no time is outside of.
const ANY_TIME: Duration = Duration::from_secs(1 << 52);

/// A route as far as signatures go.
#[derive(Clone, Copy, Debug)]
pub struct Suspect<'a> {
    /// Its name.
    pub route: &'a str,
    /// Its scheme.
    pub spec: &'a Spec,
    /// Its scheme's options.
    pub options: &'a SchemeOptions,
    /// Its secrets.
    pub secrets: &'a [Secret],
    /// What the secrets are called, in the same order.
    pub ids: &'a [String],
}

/// How much may be tried, in bytes that are hashed.
#[derive(Debug)]
pub struct Effort(Cell<u64>);

impl Effort {
    /// For someone who waits for the answer: some seconds.
    pub fn thorough() -> Self {
        Self(Cell::new(512 << 20))
    }

    /// Beside the traffic: some milliseconds.
    pub fn brief() -> Self {
        Self(Cell::new(4 << 20))
    }

    /// Nothing, if it is used up.
    fn spend(&self, bytes: usize) -> Option<()> {
        // What a digest costs however little is hashed.
        let left = self.0.get().checked_sub(bytes as u64 + 256);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }
}

/// What is wrong with a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether it is known that the signature is right but for the causes. Otherwise they are what can be seen.
    pub proven: bool,
    /// What is wrong, a sentence each; nothing, if the delivery verifies.
    pub causes: Vec<String>,
    /// When it was signed, if that is too far from the clock: in seconds since 1970-01-01T00:00:00Z.
    pub signed_at: Option<u64>,
}

/// Finds out why `route` does not take a delivery; `now` is the time since 1970-01-01T00:00:00Z.
pub fn diagnose(
    route: Suspect<'_>,
    others: &[Suspect<'_>],
    request: &SignedRequest<'_>,
    now: Duration,
    effort: &Effort,
) -> Diagnosis {
    let Err(error) = judge(&route, request, now, None) else { return Diagnosis::default() };
    let whole = Bytes::from(request.body.concat());
    let frames = [whole.clone()];
    let request = SignedRequest { body: &frames, ..*request };
    let body = Body::new(&frames);
    let lines: Vec<Line<'_>> =
        route.spec.ways.iter().filter_map(|way| Line::new(way, route, others, &request, &body)).collect();
    let (mut causes, mut signed_at) = (Vec::new(), None);
    for skew in lines.iter().filter_map(|line| line.skew(request.head, &body, now)) {
        if !causes.contains(&skew.words) {
            causes.push(skew.words);
            signed_at = signed_at.or(skew.signed_at);
        }
    }
    let proven = match judge(&route, &request, now, Some(ANY_TIME)) {
        Ok(()) => true,
        Err(timeless) => {
            let search = Search { lines: &lines, route, others, request, whole: &whole, effort };
            match search.run(timeless) {
                Some(found) => {
                    causes.extend(found);
                    true
                }
                None => {
                    causes.extend(hints::all(&lines, &request, &body, timeless));
                    false
                }
            }
        }
    };
    if causes.is_empty() {
        causes.push(error.to_string());
    }
    Diagnosis { proven, causes, signed_at }
}

/// The gateway's own verdict, with another tolerance if one is given.
fn judge(
    route: &Suspect<'_>,
    request: &SignedRequest<'_>,
    now: Duration,
    tolerance: Option<Duration>,
) -> Result<(), VerifyError> {
    let options = SchemeOptions { tolerance: tolerance.or(route.options.tolerance), ..route.options.clone() };
    // Cannot fail for a route that has been loaded.
    let verifier = route.spec.compile(&options, route.secrets).map_err(|_| VerifyError::SignatureMismatch)?;
    let claim = verifier.inspect(request.head, now)?;
    verifier.verify(&claim, request, now).map(|_| ())
}

/// One way to sign, with all that can be tried in it.
struct Line<'a> {
    way: &'a Way,
    compiled: Compiled,
    finds: Finds,
    /// The signed time as it was sent.
    time: Option<Vec<u8>>,
    own_forms: Vec<Variant>,
    odd_forms: Vec<Variant>,
    own_keys: Vec<Candidate>,
    odd_keys: Vec<Candidate>,
    foreign_keys: Vec<Candidate>,
}

/// A signed time that is not what it should be.
struct Skew {
    words: String,
    signed_at: Option<u64>,
}

impl<'a> Line<'a> {
    /// Nothing, if no secret of the route is for this way.
    fn new(
        way: &'a Way,
        route: Suspect<'_>,
        others: &[Suspect<'_>],
        request: &SignedRequest<'_>,
        body: &Body<'_>,
    ) -> Option<Self> {
        let url = route.options.public_url.as_deref().and_then(|url| PublicUrl::parse(url).ok());
        let compiled = way.compile(route.options, route.secrets, url.as_ref())?;
        let compiled = Compiled { reserved: Reserved::of(route.spec), ..compiled };
        let finds = Finds::new(way, &compiled, request.head, body);
        let outside = |at| signature::time(at, request.head, body.bytes()).ok().map(Cow::into_owned);
        let inside = || finds.time.as_ref().map(|time| time.to_vec());
        let time = way.timestamp.as_ref().and_then(|timestamp| inside().or_else(|| outside(&timestamp.at)));
        let mut odd_keys = keys::odd(way, &route);
        odd_keys.extend(keys::other_hashes(way, &route));
        Some(Self {
            own_forms: forms::own(&compiled),
            odd_forms: forms::odd(way, &compiled, &route, request),
            own_keys: keys::own(way, &route),
            odd_keys,
            foreign_keys: keys::foreign(way, others),
            way,
            compiled,
            finds,
            time,
        })
    }
}

/// What made a signature right.
struct Match<'a> {
    line: &'a Line<'a>,
    form: &'a Variant,
    key: &'a Candidate,
    found: &'a Found,
    change: Option<Change>,
}

struct Search<'a> {
    lines: &'a [Line<'a>],
    route: Suspect<'a>,
    others: &'a [Suspect<'a>],
    request: SignedRequest<'a>,
    whole: &'a Bytes,
    effort: &'a Effort,
}

/// Which forms and keys to try together.
type Choice = for<'l, 'a> fn(&'l Line<'a>) -> (&'l [Variant], &'l [Candidate]);

impl<'a> Search<'a> {
    /// The causes, if some make the signature right.
    fn run(&self, error: VerifyError) -> Option<Vec<String>> {
        if let Some(causes) = self.lines.iter().find_map(|line| token::explain(self, line)) {
            return Some(causes);
        }
        const AS_IT_IS: [Choice; 4] = [
            |line| (&line.own_forms, &line.own_keys),
            |line| (&line.own_forms, &line.odd_keys),
            |line| (&line.odd_forms, &line.own_keys),
            |line| (&line.own_forms, &line.foreign_keys),
        ];
        const CHANGED: [Choice; 4] = [
            |line| (&line.own_forms, &line.own_keys),
            |line| (&line.own_forms, &line.foreign_keys),
            |line| (&line.own_forms, &line.odd_keys),
            |line| (&line.odd_forms, &line.own_keys),
        ];
        let unchanged = |choice| self.lines.iter().find_map(|line| self.attempt(line, choice, None, self.whole));
        if let Some(matched) = AS_IT_IS.into_iter().find_map(unchanged) {
            return Some(self.causes(&matched, error));
        }
        let first = CHANGED.first().and_then(|choice| self.changed(*choice));
        if let Some(matched) = first {
            return Some(self.causes(&matched, error));
        }
        if let Some(causes) = self.other_route() {
            return Some(causes);
        }
        let both: [Choice; 2] =
            [|line| (&line.odd_forms, &line.odd_keys), |line| (&line.odd_forms, &line.foreign_keys)];
        let matched = both.into_iter().find_map(unchanged);
        let matched = matched.or_else(|| CHANGED.into_iter().skip(1).find_map(|choice| self.changed(choice)));
        matched.map(|matched| self.causes(&matched, error))
    }

    /// The first original of the body that was signed.
    fn changed(&self, choice: Choice) -> Option<Match<'a>> {
        let lines: Vec<&Line<'_>> = self.lines.iter().filter(|line| line.covers_body()).collect();
        if lines.is_empty() {
            return None;
        }
        for (change, original) in bodies::originals(self.whole) {
            let original = Bytes::from(original);
            for line in &lines {
                if let Some(matched) = self.attempt(line, choice, Some(change), &original) {
                    return Some(matched);
                }
            }
            self.effort.spend(original.len())?;
        }
        None
    }

    /// The first of these forms over this body that one of these keys has signed.
    fn attempt(&self, line: &'a Line<'a>, choice: Choice, change: Option<Change>, body: &Bytes) -> Option<Match<'a>> {
        let (forms, keys) = choice(line);
        let frames = [body.clone()];
        let body = Body::new(&frames);
        let given = Given { head: self.request.head, body: &body, timestamp: line.time.as_deref() };
        for form in forms {
            let urls = form.urls.iter().map(Some).chain(form.urls.is_empty().then_some(None));
            for url in urls {
                let contents = match content::fill(&form.parts, given, url) {
                    Filled::Unfit => continue,
                    Filled::Once(content) => vec![content],
                    Filled::Repeated(contents) => contents,
                };
                for content in &contents {
                    for key in keys {
                        self.effort.spend(body.bytes().len())?;
                        if let Some((found, _)) = line.finds.signed(&key.key, content) {
                            return Some(Match { line, form, key, found, change });
                        }
                    }
                }
            }
        }
        None
    }

    /// What is wrong, given what would be right.
    fn causes(&self, matched: &Match<'_>, error: VerifyError) -> Vec<String> {
        let Match { line, form, key, found, change } = matched;
        let mut causes = words::key(&key.origin, line.way);
        causes.extend(form.difference.clone());
        causes.extend(change.map(|change| format!("the body was changed on the way: {change}")));
        let body = Body::new(self.request.body);
        let claimed = line.compiled.reader.read(self.request.head, Some(&body));
        if !claimed.is_ok_and(|claimed| line.finds.is_among(found, &claimed.candidates)) {
            causes.extend(words::place(found, line.way, &line.compiled, self.request.head));
        }
        if causes.is_empty() {
            causes.extend(self.refusal(line, form));
        }
        if causes.is_empty() {
            let expected = words::format(&line.way.signature, super::key::signature_len(&line.way.algorithm));
            causes.push(format!("{error}: expected is {expected}"));
        }
        causes
    }

    /// Why a form does not take a request that is signed right.
    fn refusal(&self, line: &Line<'_>, variant: &Variant) -> Option<String> {
        let form = variant.form.as_ref()?;
        let body = Body::new(self.request.body);
        let given = Given { head: self.request.head, body: &body, timestamp: line.time.as_deref() };
        let refused = verifier::meets(form, given).and_then(|()| {
            match content::fill(&form.content, given, variant.urls.first()) {
                Filled::Unfit => Err(verifier::Refusal::Absent),
                Filled::Repeated(_) => Err(verifier::Refusal::Repeated),
                Filled::Once(content) if line.compiled.reserved.is_some_and(|reserved| reserved.covers(&content)) => {
                    Err(verifier::Refusal::Reserved)
                }
                Filled::Once(content) => {
                    let equal = self.route.options.match_payload.unwrap_or(true);
                    verifier::accept(form, &content, &body, equal).map(|_| ())
                }
            }
        });
        match refused {
            Ok(()) => None,
            Err(verifier::Refusal::Differs) => Some(hints::difference(form, given)),
            Err(refusal) => Some(format!("the signature is right, but {refusal}")),
        }
    }

    /// Whether another route would take it.
    fn other_route(&self) -> Option<Vec<String>> {
        let other = self.others.iter().find(|other| {
            self.effort.spend(self.whole.len()).is_some()
                && judge(other, &self.request, Duration::from_secs(0), Some(ANY_TIME)).is_ok()
        })?;
        let (route, scheme) = (other.route, &other.spec.name);
        Some(vec![format!(
            "the delivery is signed for the route \"{route}\", in the scheme {scheme}: it was sent to the wrong address"
        )])
    }
}

impl Line<'_> {
    /// Whether a change of the body can be why the signature is wrong.
    fn covers_body(&self) -> bool {
        !matches!(self.way.algorithm, Algorithm::Token)
    }

    /// What is wrong with the signed time.
    fn skew(&self, head: RequestHead<'_>, body: &Body<'_>, now: Duration) -> Option<Skew> {
        if let Algorithm::Jwt(jwt) = &self.compiled.algorithm {
            return token::skew(self, jwt, head, body, now);
        }
        let timestamp = self.way.timestamp.as_ref()?;
        let Some(time) = self.time.as_deref() else {
            return Some(Skew { words: "the signed time is missing, or is there twice".to_owned(), signed_at: None });
        };
        let expected = words::time_format(timestamp.format);
        let Some(signed) = super::time::parse(timestamp.format, time) else {
            return Some(Skew { words: format!("the signed time is not written as {expected}"), signed_at: None });
        };
        self.compiled.check_time(time, now).err()?;
        hints::other_unit(signed, now, expected)
            .or_else(|| Some(hints::skew("it was signed", signed, now, self.compiled.tolerance)))
    }
}
