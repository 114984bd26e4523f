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
use super::request::SignedRequest;
pub use effort::Effort;
use line::Line;
use search::{ANY_TIME, Search};
pub use suspect::Suspect;

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
    let Err(error) = route.judge(request, now, None) else { return Diagnosis::default() };
    let whole = Bytes::from(request.body.concat());
    let frames = [whole.clone()];
    let request = SignedRequest { body: &frames, ..*request };
    let body = Body::new(&frames);
    let lines: Vec<Line<'_>> =
        route.spec.ways.iter().filter_map(|way| Line::new(way, route, others, &request, &body)).collect();
    let (mut causes, mut signed_at) = (Vec::new(), None);
    for skew in lines.iter().filter_map(|line| skew::skew(line, request.head, &body, now)) {
        if !causes.contains(&skew.words) {
            causes.push(skew.words);
            signed_at = signed_at.or(skew.signed_at);
        }
    }
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
