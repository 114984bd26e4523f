//! Checks the sense of a scheme's challenges.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};

use crate::schemes::spec::algorithm::Algorithm;
use crate::schemes::spec::challenge::{Answer, AnswerPart, Challenge, Expected, LONGEST, LONGEST_SIGNED, Letters};
use crate::schemes::spec::facts::Place;
use crate::schemes::spec::faults::Faults;
use crate::schemes::spec::scheme::Spec;
use crate::schemes::spec::signature::Encoding;

/// Adds the faults of a scheme's challenges:
///
/// 1. challenges where nothing can be verified;
/// 2. one that nothing tells from a delivery, or by a method that no provider uses for it;
/// 3. parts of the body, or a signature, in a request with another method than POST;
/// 4. places that are none of a request's; bounds that are none;
/// 5. answers that are made from nothing, that `HEAD` cannot have, or that frame the response;
/// 6. a MAC where the scheme has none, or of anything but a short token.
pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let impossible = spec.unsupported.is_some() && spec.has_challenge();
    faults.when(impossible, "challenge", "a scheme that cannot be verified has no words about challenges");
    for (position, challenge) in spec.challenge.iter().enumerate() {
        let path = |key: &str| format!("challenge[{position}].{key}");
        let method = &challenge.method.0;
        let post = *method == Method::POST;
        let known = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST].contains(method);
        faults.when(!known, path("method"), "GET, HEAD, OPTIONS or POST");
        faults.when(challenge.signed && !post, path("signed"), "only a POST request is signed: write `signed: false`");
        faults.when(challenge.is_in_body() && !post, path("method"), "only a POST request has a body");
        let bare = challenge.places().next().is_none() && *method != Method::HEAD;
        faults.when(bare, path("when"), "nothing distinguishes the challenge from a delivery");
        let claim = challenge.places().any(|place| matches!(place, Place::Claim(_)));
        faults.when(claim, path("when"), "a claim is no place of a challenge");
        let undeclared = challenge.parameters().any(|name| !spec.parameters.iter().any(|own| own.is_secret(name)));
        faults.when(undeclared, path("when"), "a parameter that `parameters` does not declare as secret");
        let secret = challenge.when.iter().any(|condition| matches!(condition.is, Expected::Secret));
        let token = matches!(spec.ways.as_slice(), [way] if matches!(way.algorithm, Algorithm::Token));
        faults.when(secret && !token, path("when"), "only a token, in one way, is itself the secret");
        if let Some(echo) = &challenge.echo {
            faults.when(!(1..=LONGEST).contains(&echo.at_most), path("echo.at_most"), "from 1 to 1024");
        }
        check_answer(challenge, &path, faults);
        if challenge.signs_back() {
            check_mac(spec, challenge, &path, faults);
        }
    }
}

fn check_answer(challenge: &Challenge, path: &impl Fn(&str) -> String, faults: &mut Faults) {
    let Answer { headers, text, json } = &challenge.answer;
    faults.when(text.is_some() && json.is_some(), path("answer"), "either text or json");
    let silent = challenge.method.0 == Method::HEAD && (text.is_some() || json.is_some());
    faults.when(silent, path("answer"), "the answer to HEAD has no body");
    let made = challenge.answer.parts().any(|part| !matches!(part, AnswerPart::Text(_)));
    faults.when(made && challenge.echo.is_none(), path("echo"), "is missing, and the answer is made from it");
    for (name, parts) in headers {
        let reserved = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
        let usable = name.parse::<HeaderName>().is_ok_and(|name| !reserved.contains(&name));
        let writable =
            |part: &AnswerPart| !matches!(part, AnswerPart::Text(text) if HeaderValue::from_str(text).is_err());
        let wrong = !usable || !parts.iter().all(writable);
        faults.when(wrong, path("answer.headers"), "not a header that an answer can have");
    }
}

fn check_mac(spec: &Spec, challenge: &Challenge, path: &impl Fn(&str) -> String, faults: &mut Faults) {
    let keyed = matches!(spec.ways.as_slice(), [way] if matches!(way.algorithm, Algorithm::Hmac(_)));
    faults.when(!keyed, path("answer"), "only a scheme with hmac, in one way, has a mac");
    let raw = challenge.answer.parts().any(|part| *part == AnswerPart::Mac(Encoding::Text));
    faults.when(raw, path("answer"), "a mac is written in hex or base64");
    let loose =
        challenge.echo.as_ref().is_some_and(|echo| echo.letters != Letters::Token || echo.at_most > LONGEST_SIGNED);
    faults.when(loose, path("echo"), "what is signed back is a token of at most 256 bytes");
}
