//! Tries one mistake after the other until the signature is right.

use std::time::Duration;

use bytes::Bytes;

use super::bodies::{self, Change};
use super::effort::Effort;
use super::forms::Variant;
use super::found::Found;
use super::keys::Candidate;
use super::line::Line;
use super::suspect::Suspect;
use super::{hints, token, words};
use crate::schemes::accept::{Refusal, accept, meets};
use crate::schemes::content::{self, Body, Filled, Given};
use crate::schemes::error::VerifyError;
use crate::schemes::key::signature_len;
use crate::schemes::request::SignedRequest;

/// A tolerance that no time is outside of.
pub(super) const ANY_TIME: Duration = Duration::from_secs(1 << 52);

/// The combination under which a signature is valid.
struct Match<'a> {
    line: &'a Line<'a>,
    form: &'a Variant,
    key: &'a Candidate,
    found: &'a Found,
    change: Option<Change>,
}

/// The mistakes that are tried, one after the other.
pub(super) struct Search<'a> {
    pub(super) lines: &'a [Line<'a>],
    pub(super) route: Suspect<'a>,
    pub(super) others: &'a [Suspect<'a>],
    pub(super) request: SignedRequest<'a>,
    pub(super) whole: &'a Bytes,
    pub(super) effort: &'a Effort,
}

/// Which forms and keys to try together.
type Choice = for<'l, 'a> fn(&'l Line<'a>) -> (&'l [Variant], &'l [Candidate]);

impl<'a> Search<'a> {
    /// The causes that explain the signature, if any do.
    pub(super) fn run(&self, error: VerifyError) -> Option<Vec<String>> {
        if let Some(causes) = self.lines.iter().find_map(|line| self.of_token(line)) {
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

    fn of_token(&self, line: &Line<'_>) -> Option<Vec<String>> {
        let public_url = self.route.options.public_url.as_deref();
        token::explain(line, &self.request, self.whole, public_url, self.effort)
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

    /// The differences between this combination and the scheme.
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
            let expected = words::format(&line.way.signature, signature_len(&line.way.algorithm));
            causes.push(format!("{error}; expected: {expected}"));
        }
        causes
    }

    /// Why a form does not take a request that is signed right.
    fn refusal(&self, line: &Line<'_>, variant: &Variant) -> Option<String> {
        let form = variant.form.as_ref()?;
        let body = Body::new(self.request.body);
        let given = Given { head: self.request.head, body: &body, timestamp: line.time.as_deref() };
        let refused =
            meets(form, given).and_then(|()| match content::fill(&form.content, given, variant.urls.first()) {
                Filled::Unfit => Err(Refusal::Absent),
                Filled::Repeated(_) => Err(Refusal::Repeated),
                Filled::Once(content) if line.compiled.reserved.is_some_and(|reserved| reserved.covers(&content)) => {
                    Err(Refusal::Reserved)
                }
                Filled::Once(content) => {
                    let equal = self.route.options.match_payload.unwrap_or(true);
                    accept(form, &content, &body, equal)
                }
            });
        match refused {
            Ok(()) => None,
            Err(Refusal::Differs) => Some(hints::difference(form, given)),
            Err(refusal) => Some(format!("the signature is right, but {refusal}")),
        }
    }

    /// Whether another route would take it.
    fn other_route(&self) -> Option<Vec<String>> {
        let other = self.others.iter().find(|other| {
            self.effort.spend(self.whole.len()).is_some()
                && other.judge(&self.request, Duration::ZERO, Some(ANY_TIME)).is_ok()
        })?;
        let (route, scheme) = (other.route, &other.spec.name);
        Some(vec![format!(
            "the delivery is signed for the route \"{route}\", in the scheme {scheme}: it was sent to the wrong address"
        )])
    }
}
