//! A request as it was recorded, and what may be shown of it.
//!
//! Secrets were taken out before it was recorded. Signatures are shown only on request: with one, the delivery can be sent again
//! until its signed time is too old.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderName;

use crate::routing::table::RouteShared;
use crate::schemes::{self, REDACTED, Verifier};
use crate::store::details::{Details, RequestRecord};

/// What stands in the place of a signature that is not shown.
pub const HIDDEN: &str = "hidden";
/// What names of headers and parameters contain that could be signatures, for a delivery of a route or a scheme that the
/// configuration does not have any more.
const SUSPECT: [&str; 7] = ["sign", "hmac", "token", "digest", "auth", "secret", "key"];

/// What names of headers and parameters contain that are signatures, whatever the scheme: providers send several, of which a
/// scheme reads one, and a sender may have put one in a wrong place.
const SIGNATURE: [&str; 4] = ["signature", "hmac", "-sign", "_sign"];

/// The headers that any built-in scheme reads a signature from.
static OF_ANY_SCHEME: LazyLock<HashSet<HeaderName>> = LazyLock::new(|| {
    let specs = schemes::names().filter_map(schemes::find);
    specs.flat_map(|spec| spec.signature_headers()).collect()
});

/// Where signatures stand in the requests of a route.
#[derive(Debug)]
pub struct Signatures {
    headers: Vec<HeaderName>,
    parameters: Vec<String>,
    /// The scheme of the delivery is not known: what could be a signature counts as one.
    guess: bool,
}

/// The head of a recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// Path and query, with [`HIDDEN`] in place of hidden values.
    pub target: String,
    /// `HTTP/1.1` and the like.
    pub version: String,
    /// Whether it came by TLS.
    pub tls: bool,
    /// The host that it was for.
    pub host: Option<String>,
    /// Whether a parameter of the target is hidden.
    pub hides_parameter: bool,
    /// The field lines, in order.
    pub fields: Vec<Field>,
}

/// A field line of a recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value; [`HIDDEN`] or `redacted` in place of what is not shown.
    pub value: Bytes,
    /// Whether the value is that of the request.
    pub shown: bool,
}

impl Signatures {
    /// Those of the deliveries of `route` with `scheme`. `route` is `None` if the configuration does not have it.
    pub fn of(route: Option<&RouteShared>, scheme: &str) -> Self {
        let verifier = route.map(|route| &route.config.verifier);
        let parameters = verifier.map(Verifier::signature_parameters).unwrap_or_default();
        Self {
            headers: verifier.map(Verifier::signature_headers).unwrap_or_default(),
            parameters: parameters.into_iter().map(str::to_owned).collect(),
            guess: route.is_none_or(|route| route.config.scheme.name != scheme),
        }
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.as_str().eq_ignore_ascii_case(name))
            || name.parse().is_ok_and(|name: HeaderName| OF_ANY_SCHEME.contains(&name))
            || self.suspects(name)
    }

    fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter == name) || self.suspects(name)
    }

    fn suspects(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        has(&SIGNATURE) || (self.guess && has(&SUSPECT))
    }

    /// The target with [`HIDDEN`] in place of signatures.
    fn hidden_in(&self, target: &str) -> String {
        let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
        let pairs = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            if value != REDACTED && self.has_parameter(&decoded) { format!("{name}={HIDDEN}") } else { pair.to_owned() }
        });
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

impl Field {
    /// A field line, whose value is hidden if it is a signature.
    fn new(name: String, value: Bytes, signatures: &Signatures, with_signatures: bool) -> Self {
        let shown = with_signatures || !signatures.has_header(&name);
        Self { name, value: if shown { value } else { Bytes::from_static(HIDDEN.as_bytes()) }, shown }
    }

    /// Whether it is a signature that is not shown.
    pub fn is_hidden(&self) -> bool {
        !self.shown && *self.value == *HIDDEN.as_bytes()
    }
}

impl RecordedRequest {
    /// The request of a record, with or without its signatures; `None` if its head is not kept.
    pub fn of(details: &Details, signatures: &Signatures, with_signatures: bool) -> Option<Self> {
        let RequestRecord { method, target, version, fields } = details.request.as_ref()?;
        let fields = fields.iter().map(|line| {
            let name = String::from_utf8_lossy(&line.name).into_owned();
            match line.redacted {
                // Not even those who ask for signatures see it.
                true => Field { name, value: line.value.clone(), shown: false },
                false => Field::new(name, line.value.clone(), signatures, with_signatures),
            }
        });
        let line = (method.as_str(), target.clone(), version.as_str());
        Some(Self::new(line, fields.collect(), details, signatures, with_signatures))
    }

    /// The request with this method, target and field lines, from which secrets were taken.
    pub fn of_fields<'a>(
        (method, target): (&str, String),
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        details: &Details,
        signatures: &Signatures,
        with_signatures: bool,
    ) -> Self {
        let field = |(name, value)| {
            let name = String::from_utf8_lossy(name).into_owned();
            Field::new(name, Bytes::copy_from_slice(value), signatures, with_signatures)
        };
        let line = (method, target, "HTTP/1.1");
        Self::new(line, fields.map(field).collect(), details, signatures, with_signatures)
    }

    fn new(
        (method, target, version): (&str, String, &str),
        fields: Vec<Field>,
        details: &Details,
        signatures: &Signatures,
        with_signatures: bool,
    ) -> Self {
        let shown = if with_signatures { target.clone() } else { signatures.hidden_in(&target) };
        Self {
            method: method.to_owned(),
            hides_parameter: shown != target,
            target: shown,
            version: version.to_owned(),
            tls: details.tls,
            host: details.host.clone(),
            fields,
        }
    }

    /// Whether a signature is hidden.
    pub fn hides_something(&self) -> bool {
        self.hides_parameter || self.fields.iter().any(Field::is_hidden)
    }

    /// The field lines that can be sent again: those that are shown and that belong to the message, not to its connection.
    pub fn sendable(&self) -> impl Iterator<Item = &Field> {
        const OF_CONNECTION: [&str; 9] = [
            "connection",
            "content-length",
            "expect",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        self.fields.iter().filter(|field| {
            let name = field.name.to_ascii_lowercase();
            field.shown && !OF_CONNECTION.contains(&name.as_str()) && name != "host"
        })
    }

    /// The value of `Host`, if the request had one.
    pub fn host(&self) -> Option<&str> {
        let line = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
        line.and_then(|field| std::str::from_utf8(&field.value).ok()).or(self.host.as_deref())
    }
}

/// Bytes of a sender as text: UTF-8, or each byte as the character of its number (ISO 8859-1).
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::details::FieldLine;

    fn signatures(guess: bool) -> Signatures {
        Signatures { headers: vec![HeaderName::from_static("x-proof")], parameters: vec!["p".to_owned()], guess }
    }

    fn details() -> Details {
        let line = |name: &'static str, value: &'static str, redacted| FieldLine {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
            redacted,
        };
        let fields = vec![
            line("host", "hooks.example.com", false),
            line("x-proof", "5ecret", false),
            line("X-Hub-Signature", "an0ther", false),
            line("X-GitLab-Token", "t0ken", false),
            line("X-Wrong-Hmac", "wr0ng", false),
            line("X-Plain", "plain", false),
            line("authorization", "redacted", true),
            line("content-length", "2", false),
        ];
        let request = RequestRecord {
            method: "POST".to_owned(),
            target: "/in?p=5ecret&%70=5ecret&q=1&p".to_owned(),
            version: "HTTP/1.1".to_owned(),
            fields,
        };
        Details { request: Some(request), ..Details::default() }
    }

    #[test]
    fn a_signature_is_hidden_unless_it_is_asked_for() {
        let hidden = RecordedRequest::of(&details(), &signatures(false), false).unwrap();
        assert_eq!(hidden.target, "/in?p=hidden&%70=hidden&q=1&p=hidden");
        let text = format!("{hidden:?}");
        assert!(!["5ecret", "an0ther", "t0ken", "wr0ng"].iter().any(|value| text.contains(value)), "{text}");
        let field = |name: &str| hidden.fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!((&*field("authorization").value, field("authorization").is_hidden()), (&b"redacted"[..], false));
        assert_eq!((&*field("X-Hub-Signature").value, field("X-Hub-Signature").is_hidden()), (&b"hidden"[..], true));
        let sendable: Vec<_> = hidden.sendable().map(|field| field.name.as_str()).collect();
        assert_eq!(sendable, ["X-Plain"]);
        let shown = RecordedRequest::of(&details(), &signatures(false), true).unwrap();
        assert_eq!(shown.target, "/in?p=5ecret&%70=5ecret&q=1&p");
        let sendable: Vec<_> = shown.sendable().map(|field| field.name.as_str()).collect();
        assert_eq!(sendable, ["x-proof", "X-Hub-Signature", "X-GitLab-Token", "X-Wrong-Hmac", "X-Plain"]);
        let mut redacted = details();
        redacted.request.as_mut().unwrap().target = "/in?p=redacted".to_owned();
        let shown = RecordedRequest::of(&redacted, &signatures(false), false).unwrap();
        assert_eq!((shown.target.as_str(), shown.hides_parameter), ("/in?p=redacted", false));
    }

    #[test]
    fn what_could_be_a_signature_of_an_unknown_scheme_is_hidden() {
        let hidden = RecordedRequest::of(&details(), &signatures(true), false).unwrap();
        assert_eq!(hidden.sendable().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["X-Plain"]);
    }

    #[test]
    fn any_bytes_are_text() {
        assert_eq!(text("ü".as_bytes()), "ü");
        assert_eq!(text(b"\xff\0a"), "\u{ff}\0a");
    }
}
