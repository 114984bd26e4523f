//! JSON web tokens: who signed them, and what they say of the request.

use std::time::Duration;

use bytes::Bytes;

use super::{Line, Search, Skew, bodies, hints, words};
use crate::schemes::RequestHead;
use crate::schemes::codec::Digest;
use crate::schemes::content::{Body, Given};
use crate::schemes::jwt::Token;
use crate::schemes::spec::{Algorithm, ClaimRule, ClaimValue, Jwt};

/// What is wrong with a token, apart from its times, if that can be told.
pub(super) fn explain(search: &Search<'_>, line: &Line<'_>) -> Option<Vec<String>> {
    let Algorithm::Jwt(jwt) = &line.compiled.algorithm else { return None };
    let keys = || line.own_keys.iter().chain(&line.odd_keys).chain(&line.foreign_keys);
    let signed = keys().find_map(|key| {
        let is_signed =
            |text: &Digest| Token::open(jwt, text.as_bytes()).is_ok_and(|token| token.is_signed_with(&key.key));
        let (found, text) = line.finds.first(is_signed)?;
        Some((key, found, text))
    });
    let Some((key, found, text)) = signed else { return other_algorithm(line, jwt) };
    let token = Token::open(jwt, text.as_bytes()).ok()?;
    let mut causes = words::key(&key.origin, line.way);
    let body = Body::new(search.request.body);
    let claimed = line.compiled.reader.read(search.request.head, Some(&body));
    if !claimed.is_ok_and(|claimed| line.finds.is_among(found, &claimed.candidates)) {
        causes.extend(words::place(found, line.way, &line.compiled, search.request.head));
    }
    let wrong = |body: &Body<'_>| {
        let given = Given { head: search.request.head, body, timestamp: None };
        token.wrong_claim(jwt, given, &line.compiled.urls).cloned()
    };
    if let Some(rule) = wrong(&body) {
        let changed = bodies::originals(search.whole).find(|(_, original)| {
            let frames = [Bytes::copy_from_slice(original)];
            search.effort.spend(original.len()).is_some() && wrong(&Body::new(&frames)).is_none()
        });
        causes.push(match changed {
            Some((change, _)) => format!("the body was changed on the way: {change}"),
            None => claim(&rule, search.route.options.public_url.as_deref()),
        });
    }
    (!causes.is_empty()).then_some(causes)
}

fn other_algorithm(line: &Line<'_>, jwt: &Jwt) -> Option<Vec<String>> {
    let known = |name: &String| jwt.algorithms.iter().any(|algorithm| algorithm.name() == name);
    let (_, token) = line.finds.first(|text| hints::token_algorithm(text.as_bytes()).is_some())?;
    let found = hints::token_algorithm(token.as_bytes()).filter(|name| !known(name))?;
    let expected: Vec<&str> = jwt.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    Some(vec![format!("the token is made with {found}, and the scheme takes {}", expected.join(" or "))])
}

fn claim(rule: &ClaimRule, public_url: Option<&str>) -> String {
    let name = &rule.name;
    match &rule.is {
        ClaimValue::Text(text) => format!("the claim {name} of the token is not {text:?}"),
        ClaimValue::Parameter(parameter) => format!("the claim {name} of the token is not the route's {parameter}"),
        ClaimValue::BodyDigest(_) => format!("the claim {name} of the token is not the digest of this body"),
        ClaimValue::Url | ClaimValue::UrlDigest(_) => {
            format!("the claim {name} of the token is about another URL than {}", public_url.unwrap_or_default())
        }
    }
}

/// What is wrong with a token's times.
pub(super) fn skew(line: &Line<'_>, jwt: &Jwt, head: RequestHead<'_>, body: &Body<'_>, now: Duration) -> Option<Skew> {
    let claimed = line.compiled.reader.read(head, Some(body)).ok()?;
    let token = claimed.candidates.iter().find_map(|token| Token::open(jwt, token.as_bytes()).ok())?;
    token.check_times(jwt, now, line.compiled.tolerance).err()?;
    let milliseconds = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let wrong = |name: &&str, at: i64| if *name == "exp" { at < milliseconds } else { at > milliseconds };
    let times = [("exp", "it expired"), ("nbf", "it is valid only from"), ("iat", "it was made")];
    let found = times.iter().find_map(|(name, what)| Some((what, token.time(name).filter(|at| wrong(name, *at))?)));
    let found = found.or_else(|| Some((&"it was made", token.time("iat")?)));
    match found {
        Some((what, at)) => Some(hints::skew(what, at, now, line.compiled.tolerance)),
        None => Some(Skew { words: "the token lacks a time that it must have".to_owned(), signed_at: None }),
    }
}
