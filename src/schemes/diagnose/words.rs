//! Findings in words: no secret, no expected digest, nothing of a body.

use std::time::Duration;

use super::found::{At, Found};
use super::keys::Origin;
use crate::schemes::compiled::Compiled;
use crate::schemes::request::RequestHead;
use crate::schemes::spec::{Algorithm, Encoding, Grammar, Hash, Location, SecretStep, Signature, TimeFormat, Way};

/// How a key differs from the ones that the route has.
pub(super) fn key(origin: &Origin, way: &Way) -> Vec<String> {
    let mut out = Vec::new();
    let id = &origin.id;
    if let Some(route) = &origin.route {
        out.push(format!("wrong secret: the signature was made with the secret \"{id}\" of the route \"{route}\""));
    }
    if let Some(around) = origin.around {
        out.push(format!("the signature was made with the secret \"{id}\", but for what is around it: {around}"));
    }
    if let Some(taken) = origin.taken {
        let expected = steps(&way.secret);
        out.push(format!(
            "the signature was made with the secret \"{id}\" taken {taken}, and the scheme takes it {expected}"
        ));
    }
    if let Some(hash) = origin.hash {
        let expected = algorithm(&way.algorithm);
        let found = match way.algorithm {
            Algorithm::Hmac(_) => format!("HMAC-{}", hash.name()),
            _ => hash.name().to_owned(),
        };
        out.push(format!(
            "wrong algorithm: the signature is made with {found}, and the scheme's algorithm is {expected}"
        ));
    }
    out
}

fn algorithm(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Hmac(hash) => format!("HMAC-{}", Hash::from(*hash).name()),
        Algorithm::Hash(hash) => Hash::name(*hash).to_owned(),
        _ => "another".to_owned(),
    }
}

fn steps(steps: &[SecretStep]) -> String {
    let words: Vec<String> = steps
        .iter()
        .map(|step| match step {
            SecretStep::Utf8 | SecretStep::Refuse(_) | SecretStep::UserPassword => "as text".to_owned(),
            SecretStep::Base64 => "decoded from base64".to_owned(),
            SecretStep::Hex => "decoded from hexadecimal".to_owned(),
            SecretStep::Strip(prefix) | SecretStep::Require(prefix) => format!("without {prefix}"),
            SecretStep::After(mark) => format!("from behind {mark}"),
            SecretStep::Hash(hash) => format!("as its {}", hash.name()),
            SecretStep::Nfkd => "as text in normalisation form KD".to_owned(),
            SecretStep::PublicKey => "as a public key".to_owned(),
        })
        .collect();
    words.join(", ")
}

/// How a right signature differs from where and how the scheme has it.
pub(super) fn place(found: &Found, way: &Way, compiled: &Compiled, head: RequestHead<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let expected = location(&way.signature.at);
    match &found.at {
        At::Place => {}
        At::Header(name) if compiled.reader.names().contains(name) => {
            let count = head.headers.get_all(name).iter().count();
            if count > 1 && !matches!(way.signature.at, Location::HeaderLines(_)) {
                out.push(format!(
                    "the header {name} is there {count} times, and receivers differ in which one they take"
                ));
            }
        }
        At::Header(name) => {
            out.push(format!("wrong header: the signature stands in {name}, and is expected in {expected}"));
        }
        At::Query(name) => {
            out.push(format!("the signature stands in the query as {name}, and is expected in {expected}"));
        }
    }
    if !way.signature.encoding.contains(&found.encoding) {
        let expected: Vec<_> = way.signature.encoding.iter().map(|encoding| encoding_name(*encoding)).collect();
        let found = encoding_name(found.encoding);
        out.push(format!("the signature is written in {found}, and the scheme writes it in {}", expected.join(" or ")));
    }
    let (before, alternatives) = (found.before.as_str(), befores(&way.signature.grammar));
    if found.at != At::Place && !alternatives.iter().any(|expected| expected.eq_ignore_ascii_case(before)) {
        out.push(match (before, alternatives.first().map_or("", String::as_str)) {
            ("", expected) => format!("{expected} is missing before the signature"),
            (before, "") => format!("{before} stands before the signature, which does not belong there"),
            (before, expected) => format!("{before} stands before the signature, and the scheme has {expected} there"),
        });
    }
    out
}

/// What may stand before a digest.
fn befores(grammar: &Grammar) -> Vec<String> {
    match grammar {
        Grammar::Bare | Grammar::Positional { .. } => vec![String::new()],
        Grammar::Prefix { text, required, .. } => text.iter().cloned().chain((!required).then(String::new)).collect(),
        Grammar::List { assign, key, .. } => key.iter().map(|key| format!("{key}{assign}")).collect(),
    }
}

/// What the scheme expects, for signatures that are nothing like it.
pub(super) fn format(signature: &Signature, len: Option<usize>) -> String {
    let encodings: Vec<String> = signature.encoding.iter().map(|encoding| encoding_in_words(*encoding, len)).collect();
    let digest = encodings.join(" or ");
    let value = match &signature.grammar {
        Grammar::Bare => digest,
        Grammar::Prefix { text, .. } => {
            let text: Vec<&str> = text.iter().map(String::as_str).collect();
            format!("{} and {digest}", text.join(" or "))
        }
        Grammar::List { assign, key, .. } => {
            let keys: Vec<String> = key.iter().map(|key| format!("{key}{assign}")).collect();
            format!("a list with {} and {digest}", keys.join(" or "))
        }
        Grammar::Positional { signature, .. } => format!("a list with, from place {} on, {digest}", signature + 1),
    };
    format!("{}: {value}", location(&signature.at))
}

pub(super) fn location(at: &Location) -> String {
    match at {
        Location::Header(name) | Location::HeaderLines(name) => format!("the header {name}"),
        Location::Headers(names) => {
            let names: Vec<&str> = names.iter().map(http::HeaderName::as_str).collect();
            format!("one of the headers {}", names.join(", "))
        }
        Location::HeaderSeries { prefix, .. } => format!("the headers {prefix}1, {prefix}2 …"),
        Location::Query(name) => format!("the query parameter {name}"),
        Location::Form(name) => format!("the form field {name}"),
        Location::Multipart(field) => format!("the field {field} of multipart/form-data"),
        Location::Json(pointer) => format!("{pointer} of the JSON body"),
        Location::Body => "the body itself".to_owned(),
    }
}

fn encoding_in_words(encoding: Encoding, len: Option<usize>) -> String {
    match (encoding, len) {
        (Encoding::Text, _) => "the secret itself".to_owned(),
        (Encoding::Hex, Some(len)) => format!("{} hexadecimal digits", 2 * len),
        (encoding, Some(len)) => format!("{len} bytes in {}", encoding_name(encoding)),
        (encoding, None) => encoding_name(encoding).to_owned(),
    }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "hexadecimal",
        Encoding::Base64 => "base64",
        Encoding::Base64Unpadded => "base64 without padding",
        Encoding::Base64url => "base64url without padding",
        Encoding::Base64urlPadded => "base64url",
        Encoding::Text => "plain text",
    }
}

pub(super) fn time_format(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::UnixSeconds => "seconds since 1970, in digits",
        TimeFormat::UnixMilliseconds => "milliseconds since 1970, in digits",
        TimeFormat::Unix => "seconds or milliseconds since 1970, in digits",
        TimeFormat::Rfc3339 => "RFC 3339, as in 2026-01-31T12:00:00Z",
        TimeFormat::HttpDate => "an HTTP date, as in Sun, 06 Nov 1994 08:49:37 GMT",
    }
}

/// A length of time in its two largest units: `2 h 5 min`.
pub(super) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [("d", seconds / 86400), ("h", seconds / 3600 % 24), ("min", seconds / 60 % 60), ("s", seconds % 60)];
    let parts = units.iter().skip_while(|(_, count)| *count == 0).take(2).filter(|(_, count)| *count > 0);
    let parts: Vec<String> = parts.map(|(unit, count)| format!("{count} {unit}")).collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}
