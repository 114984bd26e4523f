//! Checks the sense of a scheme. Refused:
//!
//! 1. a name that is not plain; options that clash or that nothing uses;
//! 2. a way without a form, a form without a name or without content, two forms of one name;
//! 3. content that leaves out the body, unless a payload, a token's claim or a requirement ties the body to the
//!    signature, or `covers` says what is covered instead;
//! 4. a timestamp that the signature does not cover;
//! 5. a signature in the body that is part of what it signs;
//! 6. a grammar, an encoding or a secret that does not fit the algorithm; broken algorithms where they are broken;
//! 7. a plain hash that does not end in the secret, unless the body must be JSON or empty: the content of such a hash
//!    can be lengthened without the secret, but not to anything that is JSON;
//! 8. challenges that make no sense: see [`challenges::check`];
//! 9. in a file of the catalogue: no title, no documentation, no word on how well it is founded, a status for refusals that
//!    ends deliveries for good, a vector that does not say what must come out of it.

mod challenges;

use http::{HeaderName, HeaderValue};

use super::algorithm::{Algorithm, ClaimValue, Hash, Jwt, SecretStep};
use super::challenge::Challenge;
use super::content::{Form, Part, Requirement, TimeLocation, Timestamp};
use super::faults::{Faults, SpecFault};
use super::scheme::Spec;
use super::signature::{Encoding, Grammar, ListField, Location, Signature};
use super::way::Way;
use crate::schemes::time::parse_time;

/// Keys of gateway.yaml that no parameter may have.
const RESERVED: [&str; 5] = ["name", "signed_content", "match_payload", "public_url", "challenge"];

/// The most signatures that one value may have.
const MOST: usize = 64;

/// Statuses after which some providers never send a delivery again, or remove the webhook.
const FINAL: [u16; 2] = [406, 410];

const NO_LIST: &str =
    "a field needs a plain key, which is not the signature's own, and a signature that is a list in a header";

/// The faults of a scheme, in the catalogue or in a configuration.
pub(super) fn faults(spec: &Spec) -> Vec<SpecFault> {
    let mut faults = Faults(Vec::new());
    check_parameters(spec, &mut faults);
    challenges::check(spec, &mut faults);
    for (position, way) in spec.ways.iter().enumerate() {
        let at = if spec.overrides.is_empty() { String::new() } else { format!("ways[{position}].") };
        check_grammar(&way.signature.grammar, &at, &mut faults);
        check_location(way, &at, &mut faults);
        check_algorithm(way, &at, &mut faults);
        check_timestamp(way, &at, &mut faults);
        check_forms(spec, way, &at, &mut faults);
    }
    faults.0
}

/// Whether this can be a field of the signature's list that is no signature.
fn is_other_field(field: &ListField, signature: &Signature) -> bool {
    let Grammar::List { separator, assign, key, .. } = &signature.grammar else { return false };
    let own = key.iter().any(|key| key == "*" || *key == field.key);
    let is_plain =
        !field.key.is_empty() && !field.key.contains(assign) && !field.key.contains(|c| separator.contains(c));
    is_plain && !own && field.of(signature).is_some()
}

/// The faults of a scheme's name.
pub(super) fn name_faults(spec: &Spec) -> Vec<SpecFault> {
    let mut faults = Faults(Vec::new());
    let wrong = spec.name.is_empty() || !spec.name.chars().all(is_plain);
    faults.when(wrong, "name", "lower case letters, digits, _ and - only");
    faults.0
}

/// The further faults of a file of the catalogue.
pub(super) fn catalogue_faults(spec: &Spec) -> Vec<SpecFault> {
    let mut faults = Faults(name_faults(spec));
    faults.when(spec.title.is_empty(), "title", "is missing");
    faults.when(spec.documentation.is_empty(), "documentation", "at least one address");
    faults.when(spec.confidence.is_none(), "confidence", "is missing");
    // A wrong secret is the operator's mistake, and is to cost no delivery for good.
    let is_final = spec.reject_status.is_some_and(|status| FINAL.contains(&status));
    faults.when(is_final, "reject_status", "providers take it as the end of the delivery, or of the webhook");
    let is_day = |text: &str| text.len() == 10 && parse_time(&format!("{text}T00:00:00Z")).is_some();
    let wrong = spec.checked.as_ref().is_some_and(|checked| !is_day(&checked.on) || checked.against.is_empty());
    faults.when(wrong, "checked", "a day, such as 2026-01-31, and what the scheme was compared with");
    for (position, vector) in spec.vectors.iter().enumerate() {
        let path = format!("vectors[{position}]");
        faults.when(vector.accept == vector.reason.is_some(), path, "refused with a reason, or accepted without");
    }
    faults.0
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' || letter == '-'
}

fn check_parameters(spec: &Spec, faults: &mut Faults) {
    let used = |name: &str| {
        spec.ways.iter().any(|way| {
            let in_claims = matches!(&way.algorithm, Algorithm::Jwt(jwt)
                if jwt.claims.iter().any(|rule| matches!(&rule.is, ClaimValue::Parameter(used) if used == name)));
            let is_used = |part: &Part| matches!(part, Part::Parameter(used) if used == name);
            in_claims || way.forms.iter().any(|form| Part::any(&form.content, &is_used))
        })
    };
    for (position, parameter) in spec.parameters.iter().enumerate() {
        let path = format!("parameters[{position}]");
        let name = parameter.name.as_str();
        let clash = spec.parameters.iter().take(position).any(|other| other.name == name);
        let bad = name.is_empty() || !name.chars().all(is_plain) || RESERVED.contains(&name) || clash;
        faults.when(
            bad,
            format!("{path}.name"),
            "lower case letters, digits, _ and - only, and no other option's name",
        );
        let asked = spec.challenge.iter().flat_map(Challenge::parameters).any(|asked| asked == name);
        let unused = if parameter.secret { !asked } else { !used(name) };
        let quiet = ["secret", "token", "password"].iter().any(|word| name.contains(word));
        let message = "a secret's name has secret, token or password in it, so that no error quotes what is below it";
        faults.when(parameter.secret && !quiet, format!("{path}.name"), message);
        faults.when(unused, path.clone(), "nothing uses it");
        let in_content = spec
            .ways
            .iter()
            .flat_map(|way| &way.forms)
            .any(|form| Part::any(&form.content, &|part| matches!(part, Part::Parameter(used) if used == name)));
        let wrong = parameter.optional && (parameter.secret || in_content);
        faults.when(wrong, format!("{path}.optional"), "only a parameter that claims alone use can be left out");
    }
}

fn check_grammar(grammar: &Grammar, at: &str, faults: &mut Faults) {
    let writable = |text: &str| !text.is_empty() && HeaderValue::from_str(text).is_ok();
    let path = |key: &str| format!("{at}signature.grammar.{key}");
    match grammar {
        Grammar::Bare => {}
        Grammar::Prefix { text, .. } => {
            let wrong = text.is_empty() || !text.iter().all(|text| writable(text));
            faults.when(wrong, path("prefix.text"), "not a text that a header can carry");
        }
        Grammar::List { separator, assign, key, at_most, .. } => {
            faults.when(!writable(separator), path("list.separator"), "not a text that a header can carry");
            let wrong = !writable(assign) || assign.contains(|letter| separator.contains(letter));
            faults.when(wrong, path("list.assign"), "a text that a header can carry and that no separator is in");
            let reserved = |letter: char| separator.contains(letter) || assign.contains(letter);
            let wrong = key.is_empty() || !key.iter().all(|key| writable(key) && !key.contains(reserved));
            faults.when(wrong, path("list.key"), "a key without the separator or what stands before the value");
            faults.when(!(1..=MOST).contains(at_most), path("list.at_most"), "from 1 to 64");
        }
        Grammar::Positional { separator, at_most, .. } => {
            faults.when(!writable(separator), path("positional.separator"), "not a text that a header can carry");
            faults.when(!(1..=MOST).contains(at_most), path("positional.at_most"), "from 1 to 64");
        }
    }
}

fn check_location(way: &Way, at: &str, faults: &mut Faults) {
    let path = |key: &str| format!("{at}signature.at{key}");
    match &way.signature.at {
        Location::Headers(names) => faults.when(names.is_empty(), path(".headers"), "at least one"),
        Location::HeaderSeries { prefix, count } => {
            let named = format!("{prefix}1").parse::<HeaderName>().is_ok();
            faults.when(
                !named || !(1..=100).contains(count),
                path(".header_series"),
                "no header's name, or not 1 to 100",
            );
        }
        Location::Multipart(_) => {
            // So that every place of a secret can be taken out of records.
            let is_token = matches!(way.algorithm, Algorithm::Token);
            faults.when(is_token, path(""), "a token cannot stand in multipart/form-data");
        }
        Location::Body => {
            let is_jwt = matches!(way.algorithm, Algorithm::Jwt(_));
            faults.when(!is_jwt, path(""), "the whole body can only be a jwt");
        }
        _ => {}
    }
}

fn check_algorithm(way: &Way, at: &str, faults: &mut Faults) {
    let path = |key: &str| format!("{at}{key}");
    let public = match &way.algorithm {
        Algorithm::Hash(hash) => {
            faults.when(*hash == Hash::Md5, path("algorithm.hash"), "not with md5, whose collisions forge");
            false
        }
        Algorithm::Ed25519 | Algorithm::EcdsaP256 | Algorithm::Rsa(_) => true,
        Algorithm::Hmac(_) | Algorithm::Token => false,
        Algorithm::Jwt(jwt) => check_jwt(jwt, at, faults),
    };
    let ends_public = matches!(way.secret.last(), Some(SecretStep::PublicKey));
    let has_public = way.secret.contains(&SecretStep::PublicKey);
    faults.when(way.secret.is_empty(), path("secret"), "at least one step");
    faults.when(public && !ends_public, path("secret"), "the last step must be public_key");
    faults.when(!public && has_public, path("secret"), "the algorithm takes no public key");

    let text = way.signature.encoding.contains(&Encoding::Text);
    let wrong = match &way.algorithm {
        Algorithm::Jwt(_) => *way.signature.encoding != [Encoding::Text],
        Algorithm::Token => false,
        _ => text,
    };
    faults.when(wrong || way.signature.encoding.is_empty(), path("signature.encoding"), "does not fit the algorithm");
}

/// Whether the keys are public ones.
fn check_jwt(jwt: &Jwt, at: &str, faults: &mut Faults) -> bool {
    let symmetric = jwt.algorithms.iter().filter(|algorithm| algorithm.is_symmetric()).count();
    let public = symmetric == 0;
    let mixed = !public && symmetric != jwt.algorithms.len();
    faults.when(jwt.algorithms.is_empty() || mixed, format!("{at}algorithm.jwt.algorithms"), "all of one kind of key");
    public
}

fn check_timestamp(way: &Way, at: &str, faults: &mut Faults) {
    let path = |key: &str| format!("{at}timestamp{key}");
    let uses = |form: &Form| Part::any(&form.content, &|part| matches!(part, Part::Timestamp));
    let Some(timestamp) = &way.timestamp else {
        faults.when(way.forms.iter().any(uses), path(""), "is missing, and the content has it as a part");
        return;
    };
    if matches!(way.algorithm, Algorithm::Token | Algorithm::Jwt(_)) {
        faults.when(true, path(""), "the algorithm has none, or has its own");
    }
    let wrong = match &timestamp.at {
        TimeLocation::Field(_) => !matches!(way.signature.grammar, Grammar::List { .. }),
        TimeLocation::Position(_) => !matches!(way.signature.grammar, Grammar::Positional { .. }),
        _ => false,
    };
    faults.when(wrong, path(".at"), "the grammar has no such thing");
    let covered = |form: &Form| uses(form) || covers_time(form, timestamp);
    faults.when(!way.forms.iter().all(covered), path(""), "the content must cover it");
}

/// Whether a form's content has the time in it other than as the part `timestamp`.
fn covers_time(form: &Form, timestamp: &Timestamp) -> bool {
    let body = |part: &Part| matches!(part, Part::Body | Part::UncompressedBody | Part::Digest(_));
    match &timestamp.at {
        TimeLocation::Json(_) | TimeLocation::Multipart(_) => form.content.iter().any(body),
        TimeLocation::Form(_) => form.content.iter().any(|part| body(part) || matches!(part, Part::SortedForm(_))),
        TimeLocation::Query(_) => form.content.iter().any(Part::has_query),
        TimeLocation::Header(name) => {
            form.content.iter().any(|part| matches!(part, Part::ListedHeaders(listed) if listed.require.contains(name)))
        }
        TimeLocation::Field(_) | TimeLocation::Position(_) => false,
    }
}

fn check_forms(spec: &Spec, way: &Way, at: &str, faults: &mut Faults) {
    let covered_otherwise = spec.covers.is_some();
    let uncovered = "nothing ties the body to the signature: say with `covers` what the signature covers instead";
    match &way.algorithm {
        Algorithm::Token | Algorithm::Jwt(_) => {
            faults.when(!way.forms.is_empty(), format!("{at}forms"), "the algorithm has none");
            let tied = matches!(&way.algorithm, Algorithm::Jwt(jwt) if jwt.ties_body())
                || matches!(way.signature.at, Location::Body);
            faults.when(!tied && !covered_otherwise, format!("{at}algorithm"), uncovered);
            return;
        }
        _ => faults.when(way.forms.is_empty(), format!("{at}forms"), "at least one"),
    }
    for (position, form) in way.forms.iter().enumerate() {
        let path = |key: &str| format!("{at}forms[{position}].{key}");
        faults.when(form.name.is_empty() || form.name == "auto", path("name"), "a form needs a name other than auto");
        let twice = way.forms.iter().take(position).any(|other| other.name == form.name);
        faults.when(twice, path("name"), "two forms have the same name");
        faults.when(form.content.is_empty(), path("content"), "at least one part");
        faults.when(!covered_otherwise && !way.covers_body(form), path("content"), uncovered);
        let secret = Part::any(&form.content, &|part| matches!(part, Part::Secret));
        let hashed = matches!(way.algorithm, Algorithm::Hash(_));
        faults.when(
            secret != hashed,
            path("content"),
            "the secret is a part of it where the algorithm is a hash, only",
        );
        let extensible = matches!(way.algorithm, Algorithm::Hash(hash) if hash.is_extensible())
            && !matches!(form.content.last(), Some(Part::Secret));
        let closed = form.requires.iter().any(|requirement| {
            matches!(requirement, Requirement::Json | Requirement::JsonObject | Requirement::EmptyBody)
        });
        let message = "anyone who has one delivery can lengthen the content of such a hash: require json, json_object or empty_body";
        faults.when(extensible && !closed, path("requires"), message);
        let whole =
            |part: &Part| matches!(part, Part::Body | Part::UncompressedBody | Part::Digest(_) | Part::SortedForm(_));
        let own = way.is_in_body() && Part::any(&form.content, &whole);
        faults.when(own, path("content"), "the body holds the signature");
        check_declared(spec, &form.content, &path("content"), faults);
        let is_lost = |part: &Part| part.list_field().is_some_and(|field| !is_other_field(field, &way.signature));
        faults.when(Part::any(&form.content, &is_lost), path("content"), NO_LIST);
    }
}

fn check_declared(spec: &Spec, parts: &[Part], path: &str, faults: &mut Faults) {
    let declared = |name: &str| spec.parameters.iter().any(|parameter| parameter.name == name && !parameter.secret);
    let undeclared = Part::any(parts, &|part| matches!(part, Part::Parameter(name) if !declared(name)));
    faults.when(undeclared, path, "a parameter that `parameters` does not declare");
    let empty = Part::any(parts, &|part| matches!(part, Part::ListedHeaders(listed) if listed.split.is_empty()));
    faults.when(empty, path, "listed_headers.split must not be empty");
}
