//! Signed times that are missing, in another unit, or too far from the clock.

use std::time::Duration;

use super::line::Line;
use super::words;
use crate::schemes::content::Body;
use crate::schemes::jwt::Token;
use crate::schemes::request::RequestHead;
use crate::schemes::spec::{Algorithm, Jwt};
use crate::schemes::time;

/// A day, in milliseconds: more than any clock is off.
const DAY: i64 = 86_400_000;

/// A wrong signed time.
pub(super) struct Skew {
    pub(super) words: String,
    pub(super) signed_at: Option<u64>,
}

/// The error in the signed time of a delivery.
pub(super) fn skew(line: &Line<'_>, head: RequestHead<'_>, body: &Body<'_>, now: Duration) -> Option<Skew> {
    if let Algorithm::Jwt(jwt) = &line.compiled.algorithm {
        return of_token(line, jwt, head, body, now);
    }
    let timestamp = line.way.timestamp.as_ref()?;
    let Some(text) = line.time.as_deref() else {
        return Some(Skew { words: "the signed time is missing or repeated".to_owned(), signed_at: None });
    };
    let expected = words::time_format(timestamp.format);
    let Some(signed) = time::parse(timestamp.format, text) else {
        return Some(Skew { words: format!("the signed time is not written as {expected}"), signed_at: None });
    };
    line.compiled.check_time(text, now).err()?;
    other_unit(signed, now, expected).or_else(|| Some(too_far("it was signed", signed, now, line.compiled.tolerance)))
}

/// The error in the times of a token.
fn of_token(line: &Line<'_>, jwt: &Jwt, head: RequestHead<'_>, body: &Body<'_>, now: Duration) -> Option<Skew> {
    let claimed = line.compiled.reader.read(head, Some(body)).ok()?;
    let token = claimed.candidates.iter().find_map(|token| Token::open(jwt, token.as_bytes()).ok())?;
    token.check_times(jwt, now, line.compiled.tolerance).err()?;
    let milliseconds = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let wrong = |name: &&str, at: i64| if *name == "exp" { at < milliseconds } else { at > milliseconds };
    let times = [("exp", "it expired"), ("nbf", "it is valid only from"), ("iat", "it was made")];
    let found = times.iter().find_map(|(name, what)| Some((what, token.time(name).filter(|at| wrong(name, *at))?)));
    let found = found.or_else(|| Some((&"it was made", token.time("iat")?)));
    match found {
        Some((what, at)) => Some(too_far(what, at, now, line.compiled.tolerance)),
        None => Some(Skew { words: "the token lacks a time that it must have".to_owned(), signed_at: None }),
    }
}

/// That the time may be in another unit.
fn other_unit(signed: i64, now: Duration, expected: &str) -> Option<Skew> {
    let now = i64::try_from(now.as_millis()).ok()?;
    let near = |milliseconds: i64| (now - milliseconds).abs() < DAY;
    let found = if near(signed / 1000) {
        "milliseconds"
    } else if near(signed.checked_mul(1000)?) {
        "seconds"
    } else {
        return None;
    };
    Some(Skew { words: format!("the signed time is in {found}, and the scheme has {expected}"), signed_at: None })
}

/// That a time is too far from the clock, and how far.
fn too_far(what: &str, signed: i64, now: Duration, tolerance: Duration) -> Skew {
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let off = Duration::from_millis(now.abs_diff(signed));
    let side = if signed < now { "before" } else { "after" };
    let (off, tolerance) = (words::duration(off), words::duration(tolerance));
    let words = format!(
        "{what} {off} {side} the time that it is judged at, and the tolerance is {tolerance}: an old delivery, or a wrong clock"
    );
    Skew { words, signed_at: u64::try_from(signed / 1000).ok() }
}
