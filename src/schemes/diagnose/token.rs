//! JSON web tokens: the key that signed them, and their claims about the request.

use bytes::Bytes;

use super::effort::Effort;
use super::line::Line;
use super::{bodies, hints, words};
use crate::schemes::codec::Digest;
use crate::schemes::content::{Body, Given};
use crate::schemes::jwt::Token;
use crate::schemes::request::SignedRequest;
use crate::schemes::spec::{Algorithm, ClaimRule, ClaimValue, Jwt};

/// The error in a token, its times aside, if it can be found.
pub(super) fn explain(
    line: &Line<'_>,
    request: &SignedRequest<'_>,
    whole: &Bytes,
    public_url: Option<&str>,
    effort: &Effort,
) -> Option<Vec<String>> {
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
    let body = Body::new(request.body);
    let claimed = line.compiled.reader.read(request.head, Some(&body));
    if !claimed.is_ok_and(|claimed| line.finds.is_among(found, &claimed.candidates)) {
        causes.extend(words::place(found, line.way, &line.compiled, request.head));
    }
    let wrong = |body: &Body<'_>| {
        let given = Given { head: request.head, body, timestamp: None };
        token.wrong_claim(jwt, given, &line.compiled.urls).cloned()
    };
    if let Some(rule) = wrong(&body) {
        let changed = bodies::originals(whole).find(|(_, original)| {
            let frames = [Bytes::copy_from_slice(original)];
            effort.spend(original.len()).is_some() && wrong(&Body::new(&frames)).is_none()
        });
        causes.push(match changed {
            Some((change, _)) => format!("the body was changed on the way: {change}"),
            None => claim(&rule, public_url),
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
        ClaimValue::Id => format!("the claim {name} of the token is missing or empty"),
        ClaimValue::BodyDigest(_) => format!("the claim {name} of the token is not the digest of this body"),
        ClaimValue::Url | ClaimValue::UrlDigest(_) => {
            format!("the claim {name} of the token is about another URL than {}", public_url.unwrap_or_default())
        }
    }
}
