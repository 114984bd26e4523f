//! Where in a request a secret itself stands, in place of a signature made with it: tokens, passwords, the text by which a
//! provider asks for a challenge. Such values are worth as much as the secret, so no record may have them.

use http::HeaderName;

use super::fields;
use super::payload;
use super::spec::{Algorithm, Expected, Location, Place, Pointer, Spec};

/// What stands in the place of a secret.
pub const REDACTED: &str = "redacted";

/// The places of a scheme's requests where a secret itself stands.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    headers: Vec<HeaderName>,
    query: Vec<String>,
    form: Vec<String>,
    json: Vec<Pointer>,
}

/// A text whose secrets were replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redacted<T> {
    /// It has no secret.
    Unchanged,
    /// The text with [`REDACTED`] in the place of each secret.
    Replaced(T),
    /// Nothing can be shown of it: it cannot be read where a secret is expected.
    Gone,
}

impl Spec {
    /// The places where a secret itself stands.
    pub fn credentials(&self) -> Credentials {
        let mut found = Credentials::default();
        for way in self.ways.iter().filter(|way| way.algorithm == Algorithm::Token) {
            match &way.signature.at {
                Location::Header(name) | Location::HeaderLines(name) => found.headers.push(name.clone()),
                Location::Headers(names) => found.headers.extend_from_slice(names),
                Location::HeaderSeries { prefix, count } => {
                    let names = (1..=*count).filter_map(|number| format!("{prefix}{number}").parse().ok());
                    found.headers.extend(names);
                }
                Location::Query(name) => found.query.push(name.clone()),
                Location::Form(name) => found.form.push(name.clone()),
                Location::Json(pointer) => found.json.push(pointer.clone()),
                // Never a secret: a signed token, and `Spec::parse` sees to the other.
                Location::Body | Location::Multipart(_) => {}
            }
        }
        for condition in self.challenge.iter().flat_map(|challenge| &challenge.when) {
            if matches!(condition.is, Expected::Text(_) | Expected::Letters(_)) {
                continue;
            }
            match &condition.at {
                Place::Header(name) => found.headers.push(name.clone()),
                Place::Query(name) => found.query.push(name.clone()),
                Place::Form(name) => found.form.push(name.clone()),
                Place::Json(pointer) => found.json.push(pointer.clone()),
                // Of a signed token, which has no secret in it.
                Place::Claim(_) => {}
            }
        }
        found
    }
}

impl Credentials {
    /// Whether the value of a header of this name, in any case, is a secret.
    pub fn has_header(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|own| name.eq_ignore_ascii_case(own.as_str().as_bytes()))
    }

    /// Whether the value of this query parameter is a secret.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|own| own == name)
    }

    /// Adds the places of another scheme.
    pub fn add(&mut self, other: Self) {
        self.headers.extend(other.headers);
        self.query.extend(other.query);
        self.form.extend(other.form);
        self.json.extend(other.json);
    }

    /// Adds a header.
    pub fn add_header(&mut self, name: HeaderName) {
        self.headers.push(name);
    }

    /// Adds a query parameter.
    pub fn add_parameter(&mut self, name: &str) {
        self.query.push(name.to_owned());
    }

    /// Whether a body can have a secret in it.
    pub fn are_in_body(&self) -> bool {
        !self.form.is_empty() || !self.json.is_empty()
    }

    /// A query whose secrets are replaced, and the names of their parameters.
    pub fn redact_query(&self, query: &str) -> Option<(String, Vec<&str>)> {
        let names: Vec<&str> = self.query.iter().map(String::as_str).collect();
        let (text, found) = replace_fields(query.as_bytes(), &names)?;
        // What was replaced is ASCII, and it was cut at ASCII bytes.
        Some((String::from_utf8(text).ok()?, found))
    }

    /// A body whose secrets are replaced.
    pub fn redact_body(&self, body: &[u8]) -> Redacted<Vec<u8>> {
        if body.is_empty() || !self.are_in_body() {
            return Redacted::Unchanged;
        }
        let mut redacted: Option<Vec<u8>> = None;
        let names: Vec<&str> = self.form.iter().map(String::as_str).collect();
        if let Some((text, _)) = replace_fields(body, &names) {
            redacted = Some(text);
        }
        for pointer in &self.json {
            let text = redacted.as_deref().unwrap_or(body);
            match replace_json(text, pointer) {
                Redacted::Unchanged => {}
                Redacted::Replaced(text) => redacted = Some(text),
                Redacted::Gone => return Redacted::Gone,
            }
        }
        redacted.map_or(Redacted::Unchanged, Redacted::Replaced)
    }
}

/// Replaces the values of these fields of a form or query; gives the names that it has.
fn replace_fields<'n>(text: &[u8], names: &[&'n str]) -> Option<(Vec<u8>, Vec<&'n str>)> {
    let mut found = Vec::new();
    let mut out = Vec::with_capacity(text.len());
    for (position, field) in text.split(|byte| *byte == b'&').enumerate() {
        if position > 0 {
            out.push(b'&');
        }
        let name = fields::pairs(field).next().and_then(|(name, _)| names.iter().find(|own| own.as_bytes() == &*name));
        let Some(name) = name else {
            out.extend_from_slice(field);
            continue;
        };
        let raw = field.split(|byte| *byte == b'=').next().unwrap_or_default();
        out.extend_from_slice(raw);
        out.push(b'=');
        out.extend_from_slice(REDACTED.as_bytes());
        if !found.contains(name) {
            found.push(*name);
        }
    }
    (!found.is_empty()).then_some((out, found))
}

/// Replaces the values that a pointer names in a JSON text, by whatever way a parser could come to them.
fn replace_json(text: &[u8], pointer: &Pointer) -> Redacted<Vec<u8>> {
    let Some(values) = payload::find_raw(text, pointer) else { return Redacted::Gone };
    if values.is_empty() {
        return Redacted::Unchanged;
    }
    let start = text.as_ptr().addr();
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for value in values {
        let at = value.as_ptr().addr().saturating_sub(start);
        let (Some(before), true) = (text.get(copied..at), at + value.len() <= text.len()) else {
            return Redacted::Gone;
        };
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"");
        out.extend_from_slice(REDACTED.as_bytes());
        out.extend_from_slice(b"\"");
        copied = at + value.len();
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Redacted::Replaced(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes;

    fn credentials(scheme: &str) -> Credentials {
        schemes::find(scheme).unwrap().credentials()
    }

    fn of(signature: &str) -> Credentials {
        let text = format!(
            "name: x\ntitle: X\ndocumentation: [https://example.com]\nconfidence: documented\nalgorithm: token\n\
             signature: {{ at: {signature}, encoding: text }}\nsecret: utf8\ncovers: nothing\n\
             sample: {{ body: '{{}}' }}\n"
        );
        schemes::Spec::parse(&text).unwrap().credentials()
    }

    fn body(credentials: &Credentials, body: &str) -> Redacted<String> {
        match credentials.redact_body(body.as_bytes()) {
            Redacted::Unchanged => Redacted::Unchanged,
            Redacted::Replaced(text) => Redacted::Replaced(String::from_utf8(text).unwrap()),
            Redacted::Gone => Redacted::Gone,
        }
    }

    #[test]
    fn a_token_is_a_secret_and_a_signature_is_not() {
        assert!(credentials("gitlab").has_header(b"x-gitlab-token"));
        assert!(!credentials("github").has_header(b"x-hub-signature-256"));
        assert!(!credentials("github").are_in_body());
    }

    #[test]
    fn a_parameter_by_which_a_provider_proves_itself_is_a_secret() {
        let meta = credentials("meta");
        let (query, names) = meta.redact_query("hub.mode=subscribe&hub.verify_token=s%65c&hub.challenge=1").unwrap();
        assert_eq!(query, "hub.mode=subscribe&hub.verify_token=redacted&hub.challenge=1");
        assert_eq!(names, ["hub.verify_token"]);
        assert_eq!(meta.redact_query("hub.mode=subscribe"), None);
    }

    #[test]
    fn every_value_under_a_pointer_is_replaced_however_it_is_written() {
        let graph = credentials("microsoft-graph");
        let replaced = |text: &str| Redacted::Replaced(text.to_owned());
        assert_eq!(
            body(&graph, r#"{"value":[{"clientState":"s","a":1},{"b":2,"client\u0053tate" : "s\u0065c"}]}"#),
            replaced(r#"{"value":[{"clientState":"redacted","a":1},{"b":2,"client\u0053tate" : "redacted"}]}"#)
        );
        assert_eq!(
            body(&graph, r#"{"value":[{"clientState":"a","clientState":{"x":["b"]}}]}"#),
            replaced(r#"{"value":[{"clientState":"redacted","clientState":"redacted"}]}"#)
        );
        assert_eq!(body(&graph, r#"{"value":[{"a":"b"}]}"#), Redacted::Unchanged);
        assert_eq!(body(&graph, r#"{"value":[{"clientState":"s""#), Redacted::Gone, "it cannot be read to its end");
        assert_eq!(body(&graph, ""), Redacted::Unchanged);
    }

    #[test]
    fn a_field_of_a_form_or_a_query_is_replaced_however_it_is_written() {
        let form = of("{ form: to ken }");
        assert_eq!(
            body(&form, "a=1&to+ken=s&b=&to%20ken=t&to+ken"),
            Redacted::Replaced("a=1&to+ken=redacted&b=&to%20ken=redacted&to+ken=redacted".to_owned())
        );
        assert_eq!(body(&form, "a=1"), Redacted::Unchanged);
        assert_eq!(of("{ query: token }").redact_query("token=1&x").unwrap().0, "token=redacted&x");
    }
}
