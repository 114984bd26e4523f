//! Why a delivery does not verify: tries the usual mistakes until the signature is right.
//!
//! A request contains the signature of its sender, so a guess can be proven: if the signature is valid without the newline
//! at the body's end, the newline is the cause. The attempts, the simplest first:
//!
//! 1. the delivery as it is at another time, then with its signature written in another way or in another place;
//! 2. the route's secrets with quotes or white space around them, or taken in another way; other hash functions;
//! 3. other contents: the body alone, without the time; another public URL;
//! 4. the body as it could have been before an intermediary changed it;
//! 5. the secrets of other routes, and other routes altogether;
//! 6. two of these at once.
//!
//! An [`Effort`] bounds the work. The texts never hold a secret, an expected digest or a piece of a body. They are for
//! operators and must not be sent to a sender.

mod bodies;
mod effort;
mod forms;
mod found;
mod hints;
mod json;
mod keys;
mod line;
mod search;
mod skew;
mod suspect;
mod token;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use super::content::Body;
use super::request::{RequestHead, SignedRequest};
use super::spec::{Timestamp, Way};
pub use effort::Effort;
use line::Line;
use search::{ANY_TIME, Search};
pub use suspect::Suspect;

/// Why a delivery does not verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether the signature is proven to be valid without the causes. Otherwise the causes are hints.
    pub proven: bool,
    /// The causes, one sentence each; empty if the delivery verifies.
    pub causes: Vec<String>,
    /// When it was signed, if that is too far from the clock: in seconds since 1970-01-01T00:00:00Z.
    pub signed_at: Option<u64>,
}

/// Why `route` does not take a delivery of which only the head is known; `now` is the time since 1970-01-01T00:00:00Z. Nothing
/// is said of what depends on the body. Without causes, nothing in the head is wrong.
pub fn diagnose_head(route: Suspect<'_>, head: RequestHead<'_>, now: Duration) -> Diagnosis {
    let Err(error) = route.inspect(head, now, None) else { return Diagnosis::default() };
    let (request, body) = (SignedRequest { head, body: &[] }, Body::new(&[]));
    let is_in_body = |way: &&Way| way.is_in_body() || way.timestamp.as_ref().is_some_and(Timestamp::is_in_body);
    let ways = route.spec.ways.iter().filter(|way| !is_in_body(way));
    let lines: Vec<Line<'_>> = ways.filter_map(|way| Line::new(way, route, &[], &request, &body)).collect();
    let (mut causes, signed_at) = skews(&lines, head, &body, now);
    if let Err(timeless) = route.inspect(head, now, Some(ANY_TIME)) {
        causes.extend(hints::of_head(&lines, &request, timeless));
    }
    if causes.is_empty() {
        causes.push(error.to_string());
    }
    Diagnosis { proven: false, causes, signed_at }
}

/// The errors in the signed times, and when it was signed, if one is too far from the clock.
fn skews(lines: &[Line<'_>], head: RequestHead<'_>, body: &Body<'_>, now: Duration) -> (Vec<String>, Option<u64>) {
    let (mut causes, mut signed_at) = (Vec::new(), None);
    for skew in lines.iter().filter_map(|line| skew::skew(line, head, body, now)) {
        if !causes.contains(&skew.words) {
            causes.push(skew.words);
            signed_at = signed_at.or(skew.signed_at);
        }
    }
    (causes, signed_at)
}

/// Finds out why `route` does not take a delivery; `now` is the time since 1970-01-01T00:00:00Z.
pub fn diagnose(
    route: Suspect<'_>,
    others: &[Suspect<'_>],
    request: &SignedRequest<'_>,
    now: Duration,
    effort: &Effort,
) -> Diagnosis {
    let Err(error) = route.judge(request, now, None) else { return Diagnosis::default() };
    let whole = Bytes::from(request.body.concat());
    let frames = [whole.clone()];
    let request = SignedRequest { body: &frames, ..*request };
    let body = Body::new(&frames);
    let lines: Vec<Line<'_>> =
        route.spec.ways.iter().filter_map(|way| Line::new(way, route, others, &request, &body)).collect();
    let (mut causes, signed_at) = skews(&lines, request.head, &body, now);
    let proven = match route.judge(&request, now, Some(ANY_TIME)) {
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
