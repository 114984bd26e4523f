//! Where in a request a secret itself stands, in place of a signature made with it: tokens, passwords, the text by which a
//! provider asks for a challenge. Such values are worth as much as the secret, so no record may have them.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::fields;
use super::payload;
use super::secret::{Secret, derive};
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
    /// The secrets themselves, as they can stand in a request: none is a part of an earlier one.
    secrets: Vec<Secret>,
}

/// The least length of a secret that is looked for in other places than its own: a shorter one would be found by chance.
const SHORTEST: usize = 8;
/// What stays as it is when a secret is written into a query or a form.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    /// The headers that can have a signature, or the secret itself.
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        let names = self.ways.iter().flat_map(|way| match &way.signature.at {
            Location::Header(name) | Location::HeaderLines(name) => vec![name.clone()],
            Location::Headers(names) => names.clone(),
            Location::HeaderSeries { prefix, count } => series(prefix, *count).collect(),
            Location::Query(_) | Location::Form(_) | Location::Multipart(_) | Location::Json(_) | Location::Body => {
                Vec::new()
            }
        });
        names.collect()
    }

    /// The places where a secret itself stands.
    pub fn credentials(&self) -> Credentials {
        let mut found = Credentials::default();
        for way in self.ways.iter().filter(|way| way.algorithm == Algorithm::Token) {
            match &way.signature.at {
                Location::Header(name) | Location::HeaderLines(name) => found.headers.push(name.clone()),
                Location::Headers(names) => found.headers.extend_from_slice(names),
                Location::HeaderSeries { prefix, count } => found.headers.extend(series(prefix, *count)),
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

/// The headers of a series.
fn series(prefix: &str, count: usize) -> impl Iterator<Item = HeaderName> {
    (1..=count).filter_map(move |number| format!("{prefix}{number}").parse().ok())
}

impl Credentials {
    /// With the secrets of a route, where its scheme sends a secret itself: they are then found in every header, parameter and
    /// body, since a sender may have them in several places.
    pub fn with_secrets(mut self, spec: &Spec, secrets: &[Secret]) -> Self {
        let mut found: Vec<Vec<u8>> = Vec::new();
        for way in spec.ways.iter().filter(|way| way.algorithm == Algorithm::Token) {
            for secret in secrets {
                // One that does not decode belongs to another way.
                let Ok(key) = derive(&way.secret, &way.algorithm, secret) else { continue };
                for bytes in [secret.expose(), &key] {
                    found.push(percent_encode(bytes, UNESCAPED).to_string().into_bytes());
                    found.push(STANDARD.encode(bytes).into_bytes());
                    found.push(bytes.to_vec());
                }
            }
        }
        found.retain(|bytes| bytes.len() >= SHORTEST);
        // A longer one may contain a shorter one.
        found.sort_unstable_by_key(|bytes| Reverse(bytes.len()));
        found.dedup();
        self.secrets = found.into_iter().map(Secret::from).collect();
        self
    }

    /// Whether one of the secrets stands in these bytes.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|secret| memmem::find(bytes, secret.expose()).is_some())
    }

    /// A text that is recorded or logged beside head and body, without secrets.
    pub fn harmless<'t>(&self, text: &'t str) -> &'t str {
        if self.are_in(text.as_bytes()) { REDACTED } else { text }
    }

    /// These bytes with [`REDACTED`] in place of each secret; `None` if they have none.
    fn without(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        for secret in self.secrets.iter().map(Secret::expose) {
            let text = out.as_deref().unwrap_or(bytes);
            let mut found = memmem::find_iter(text, secret).peekable();
            if found.peek().is_none() {
                continue;
            }
            let (mut replaced, mut copied) = (Vec::with_capacity(text.len()), 0);
            for at in found {
                replaced.extend_from_slice(text.get(copied..at).unwrap_or_default());
                replaced.extend_from_slice(REDACTED.as_bytes());
                copied = at + secret.len();
            }
            replaced.extend_from_slice(text.get(copied..).unwrap_or_default());
            out = Some(replaced);
        }
        out
    }

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
        self.secrets.extend(other.secrets);
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
        !self.form.is_empty() || !self.json.is_empty() || !self.secrets.is_empty()
    }

    /// A query whose secrets are replaced, and the names of their parameters.
    pub fn redact_query(&self, query: &str) -> Option<(String, Vec<String>)> {
        let (text, found) = replace_fields(query.as_bytes(), &self.query, |field| self.are_in(field))?;
        // What was replaced is ASCII, and it was cut at ASCII bytes.
        Some((String::from_utf8(text).ok()?, found))
    }

    /// A body whose secrets are replaced.
    pub fn redact_body(&self, body: &[u8]) -> Redacted<Vec<u8>> {
        if body.is_empty() || !self.are_in_body() {
            return Redacted::Unchanged;
        }
        let mut redacted: Option<Vec<u8>> = None;
        if let Some((text, _)) = replace_fields(body, &self.form, |_| false) {
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
        redacted = self.without(redacted.as_deref().unwrap_or(body)).or(redacted);
        redacted.map_or(Redacted::Unchanged, Redacted::Replaced)
    }
}

/// Replaces the values of the fields of a form or query that have one of these names, or that `has_secret`; gives the names of
/// those that it has.
fn replace_fields(text: &[u8], names: &[String], has_secret: impl Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<String>)> {
    let mut found = Vec::new();
    let mut out = Vec::with_capacity(text.len());
    for (position, field) in text.split(|byte| *byte == b'&').enumerate() {
        if position > 0 {
            out.push(b'&');
        }
        let pair = fields::pairs(field).next();
        let is_hidden = |name: &[u8], value: &[u8]| {
            names.iter().any(|own| own.as_bytes() == name) || has_secret(name) || has_secret(value)
        };
        let Some((name, _)) = pair.filter(|(name, value)| is_hidden(name, value) || has_secret(field)) else {
            out.extend_from_slice(field);
            continue;
        };
        let raw = field.split(|byte| *byte == b'=').next().unwrap_or_default();
        let (raw, name) = match has_secret(raw) || has_secret(&name) {
            true => (REDACTED.as_bytes(), REDACTED.to_owned()),
            false => (raw, String::from_utf8_lossy(&name).into_owned()),
        };
        out.extend_from_slice(raw);
        out.push(b'=');
        out.extend_from_slice(REDACTED.as_bytes());
        if !found.contains(&name) {
            found.push(name);
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

    #[test]
    fn a_secret_that_is_sent_is_found_in_every_place() {
        let of = |scheme: &str, secret: &str| {
            let spec = schemes::find(scheme).unwrap();
            spec.credentials().with_secrets(spec, &[Secret::from(secret.as_bytes().to_vec())])
        };
        let gitlab = of("gitlab", "t0k+n-0123");
        assert!(gitlab.are_in(b"https://hooks.example.com/?t0k+n-0123") && !gitlab.are_in(b"t0k+n-012"));
        assert_eq!((gitlab.harmless("id-t0k+n-0123"), gitlab.harmless("id")), ("redacted", "id"));
        assert_eq!(
            gitlab.redact_query("a=1&b=xt0k%2Bn-0123&t0k+n-0123&c").unwrap(),
            ("a=1&b=redacted&redacted=redacted&c".to_owned(), vec!["b".to_owned(), "redacted".to_owned()])
        );
        assert_eq!(
            body(&gitlab, r#"{"a":"t0k+n-0123","b":["t0k+n-0123 t0k%2Bn-0123"]}"#),
            Redacted::Replaced(r#"{"a":"redacted","b":["redacted redacted"]}"#.to_owned())
        );
        assert_eq!(body(&gitlab, r#"{"a":"t0k"}"#), Redacted::Unchanged);
        assert!(!format!("{gitlab:?}").contains("t0k"));
        let graph = of("microsoft-graph", "5ecret-0123");
        assert_eq!(
            body(&graph, r#"{"value":[{"clientState":"5ecret-0123","a":"5ecret-0123"}]}"#),
            Redacted::Replaced(r#"{"value":[{"clientState":"redacted","a":"redacted"}]}"#.to_owned())
        );
        assert!(!of("gitlab", "short").are_in(b"short"), "it would be found by chance");
        assert!(!of("github", "a-long-secret").are_in(b"a-long-secret"), "its scheme sends no secret");
    }
}
