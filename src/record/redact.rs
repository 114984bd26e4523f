//! Takes credentials out of a head and a body before these are recorded.
//!
//! - `Authorization`, `Proxy-Authorization`, `Cookie` and `Set-Cookie`, for any server;
//! - every header, query parameter and field of a body that is itself the secret of the route's
//!   [scheme](crate::schemes::Credentials);
//! - every other header and parameter that has such a secret in it, and the secret wherever it stands in a body.
//!
//! Signatures stay: they are worth nothing for another delivery, and explain why one was refused.
//!
//! Does not protect against a secret that no scheme sends, a secret of less than eight bytes in another place than its own, nor
//! one in a path.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderName, Uri, Version};
use memchr::memchr;

use crate::http1::as_sent::SentHead;
use crate::http1::client::request::Head;
use crate::http1::payload::Payload;
use crate::routing::table::RouteShared;
use crate::schemes::{self, Credentials, REDACTED, Redacted};
use crate::store::details::{Details, FieldLine, RequestRecord};
use crate::upstream::message::{Message, Target};

/// The secrets of a stored delivery.
#[derive(Debug)]
pub struct Secrets<'r> {
    /// Where they can stand.
    credentials: Cow<'r, Credentials>,
    /// There was one in the body.
    are_in_body: bool,
    /// It is not known where in the body its scheme has them.
    is_scheme_lost: bool,
}

/// Headers whose values are never recorded, whatever the scheme.
const NEVER_RECORDED: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];

/// Whether the value of a header of this name is never recorded, whatever the scheme.
pub fn is_never_recorded(name: &[u8]) -> bool {
    NEVER_RECORDED.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_str().as_bytes()))
}

impl<'r> Secrets<'r> {
    /// Those of a delivery that came by `scheme`: they stand where its route expects them now, where that scheme does, and in
    /// the headers and parameters that had one when it came. `route` is `None` if the configuration does not have it.
    pub fn of(route: Option<&'r RouteShared>, scheme: &str, details: &Details) -> Self {
        let mut credentials = route.map(|route| Cow::Borrowed(&route.credentials)).unwrap_or_default();
        let mut is_scheme_lost = false;
        if route.is_none_or(|route| route.config.scheme.name != scheme) {
            match schemes::find(scheme) {
                Some(scheme) => credentials.to_mut().add(scheme.credentials()),
                // The configuration had it then, and may have another one now.
                None => is_scheme_lost = true,
            }
        }
        for what in &details.redacted {
            match what.split_once(' ') {
                Some(("header", name)) => {
                    if let Ok(name) = name.parse::<HeaderName>()
                        && !hides(&credentials, name.as_str().as_bytes())
                    {
                        credentials.to_mut().add_header(name);
                    }
                }
                Some(("query", name)) if !credentials.has_parameter(name) => credentials.to_mut().add_parameter(name),
                _ => {}
            }
        }
        Self { credentials, are_in_body: details.had_secret_in_body(), is_scheme_lost }
    }

    /// As [`message`].
    pub fn message(&self, sent: &Message) -> Option<Message> {
        message(&self.credentials, sent)
    }

    /// As [`body`]; a body whose secret is not found any more is [`Redacted::Gone`].
    pub fn body(&self, payload: &Payload) -> Redacted<Bytes> {
        match body(&self.credentials, payload) {
            Redacted::Replaced(_) if self.are_in_body && self.is_scheme_lost => Redacted::Gone,
            Redacted::Unchanged if self.are_in_body => Redacted::Gone,
            found => found,
        }
    }
}

/// Whether the value of this header is taken out.
fn hides(credentials: &Credentials, name: &[u8]) -> bool {
    is_never_recorded(name) || credentials.has_header(name)
}

/// What is taken out of a request with this head, in the words of [`Details::redacted`](crate::store::details::Details::redacted).
pub fn taken_out(credentials: &Credentials, head: &Parts) -> Vec<String> {
    let has_secret =
        |name: &&HeaderName| head.headers.get_all(*name).iter().any(|value| credentials.are_in(value.as_bytes()));
    let headers = head
        .headers
        .keys()
        .filter(|name| hides(credentials, name.as_str().as_bytes()) || has_secret(name))
        .map(|name| format!("header {name}"));
    let query = head.uri.query().and_then(|query| credentials.redact_query(query));
    let query = query.into_iter().flat_map(|(_, names)| names).map(|name| format!("query {name}"));
    headers.chain(query).collect()
}

/// A head without secrets; its names are spelt as they were `sent`.
pub fn request(credentials: &Credentials, head: &Parts, sent: &SentHead) -> RequestRecord {
    let fields = head.headers.iter().map(|(name, value)| {
        let redacted = hides(credentials, name.as_str().as_bytes()) || credentials.are_in(value.as_bytes());
        let name = Bytes::copy_from_slice(sent.name(name, value));
        let value =
            if redacted { Bytes::from_static(REDACTED.as_bytes()) } else { Bytes::copy_from_slice(value.as_bytes()) };
        FieldLine { name, value, redacted }
    });
    let target = head.uri.path_and_query().map_or(head.uri.path(), |target| target.as_str());
    RequestRecord {
        method: head.method.to_string(),
        target: redacted_target(credentials, &head.uri).unwrap_or_else(|| target.to_owned()),
        version: version(head.version).to_owned(),
        fields: fields.collect(),
    }
}

/// A message without secrets, with an empty body; `None` if its head has none.
pub fn message(credentials: &Credentials, message: &Message) -> Option<Message> {
    let (text, prefix) = message.target.parts();
    let query = text.contains('?').then(|| text.parse().ok()).flatten();
    let target = query.and_then(|uri| redacted_target(credentials, &uri));
    let fields = redacted_lines(credentials, message.fields.bytes());
    if target.is_none() && fields.is_none() {
        return None;
    }
    let uri: Uri = target.unwrap_or(text).parse().unwrap_or_default();
    Some(Message {
        id: message.id,
        method: message.method.clone(),
        target: Target::new(uri, prefix),
        host: message.host.clone(),
        fields: Head::of_lines(fields.unwrap_or_else(|| message.fields.bytes().to_vec())),
        payload: Payload::from(Bytes::new()),
    })
}

/// A body without secrets. It has to be whole: a part of it could not be read.
pub fn body(credentials: &Credentials, payload: &Payload) -> Redacted<Bytes> {
    if !credentials.are_in_body() {
        return Redacted::Unchanged;
    }
    match credentials.redact_body(&payload.whole()) {
        Redacted::Unchanged => Redacted::Unchanged,
        Redacted::Replaced(body) => Redacted::Replaced(body.into()),
        Redacted::Gone => Redacted::Gone,
    }
}

/// The version as [`RequestRecord::version`] has it.
fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The target with `redacted` for the parameters that are secrets; `None` if it has none.
fn redacted_target(credentials: &Credentials, uri: &Uri) -> Option<String> {
    let (query, _) = credentials.redact_query(uri.query()?)?;
    Some(format!("{}?{query}", uri.path()))
}

/// Field lines without those that are secrets: a value that is no secret would be no help to the handler. `None` if there are
/// no such lines.
fn redacted_lines(credentials: &Credentials, lines: &[u8]) -> Option<Vec<u8>> {
    let hidden = |line: &[u8]| {
        let name = memchr(b':', line).and_then(|end| line.get(..end)).unwrap_or(line);
        hides(credentials, name) || credentials.are_in(line)
    };
    let each = || {
        let mut rest = lines;
        std::iter::from_fn(move || {
            let (line, next) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
            rest = next;
            (!line.is_empty()).then_some(line)
        })
    };
    each().any(hidden).then(|| each().filter(|line| !hidden(line)).flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Method, Request};
    use uuid::Uuid;

    use super::*;
    use crate::schemes::{RequestHead, SchemeOptions, Secret, Unsigned};

    fn message_of(head: &Parts, body: &[u8]) -> Message {
        let mut fields = Head::default();
        head.headers.iter().for_each(|(name, value)| fields.line(name, value));
        Message {
            id: Uuid::nil(),
            method: Method::POST,
            target: Target::new(head.uri.clone(), None),
            host: None,
            fields,
            payload: Bytes::copy_from_slice(body).into(),
        }
    }

    /// Everything that could be recorded of a request, in one piece.
    fn recorded(credentials: &Credentials, head: &Parts, bytes: &[u8]) -> Vec<u8> {
        let details = Details { request: Some(request(credentials, head, &SentHead::default())), ..Details::default() };
        let sent = message_of(head, bytes);
        let sent = message(credentials, &sent).unwrap_or(sent);
        let (target, _) = sent.target.parts();
        let kept = match body(credentials, &Bytes::copy_from_slice(bytes).into()) {
            Redacted::Unchanged => Bytes::copy_from_slice(bytes),
            Redacted::Replaced(body) => body,
            Redacted::Gone => Bytes::new(),
        };
        [&details.encode(), target.as_bytes(), sent.fields.bytes(), &kept].concat()
    }

    #[test]
    fn no_scheme_that_sends_its_secret_leaves_it_in_a_record() {
        use base64::Engine as _;
        let mut seen = 0;
        for name in schemes::names() {
            let spec = schemes::find(name).unwrap();
            let secret = "user:c4nary-s3cret-0123456789";
            let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
            let parameters = spec.parameters.iter().filter(|parameter| !parameter.secret);
            let options = SchemeOptions {
                parameters: parameters.map(|parameter| (parameter.name.clone(), "x".to_owned())).collect(),
                public_url: spec.needs_public_url().then(|| "https://hooks.example.com/in".to_owned()),
                ..SchemeOptions::default()
            };
            let Ok(verifier) = spec.compile(&options, &[Secret::from(secret.as_bytes().to_vec())]) else { continue };
            let sample = &spec.sample;
            let target = sample.query.as_ref().map_or("/in".to_owned(), |query| format!("/in?{query}"));
            let mut head = Request::post(target).body(()).unwrap().into_parts().0;
            head.headers = sample.headers.to_map();
            let unsigned = Unsigned { head: RequestHead::of(&head), body: sample.body.as_bytes() };
            let Ok(signed) = verifier.sign(0, &unsigned, Duration::from_secs(1_700_000_000)) else { continue };
            signed.headers.iter().for_each(|(name, value)| drop(head.headers.insert(name, value.clone())));
            if let Some(query) = &signed.query {
                head.uri = format!("/in?{query}").parse().unwrap();
            }
            let bytes = signed.body.unwrap_or_else(|| sample.body.as_bytes().to_vec());
            let has = |text: &[u8], what: &str| memchr::memmem::find(text, what.as_bytes()).is_some();
            let sent = [message_of(&head, &[]).fields.bytes(), head.uri.to_string().as_bytes(), &bytes].concat();
            seen += usize::from(has(&sent, secret) || has(&sent, &base64));
            let kept = recorded(&spec.credentials(), &head, &bytes);
            assert!(!has(&kept, secret) && !has(&kept, &base64), "{name}: {}", String::from_utf8_lossy(&kept));
        }
        assert!(seen >= 13, "only {seen} schemes send their secret");
    }

    #[test]
    fn what_was_taken_out_is_said_and_the_rest_stays_as_it_was() {
        let credentials = schemes::find("meta").unwrap().credentials();
        let mut head = Request::post("/in?a=%20&hub.verify_token=x").body(()).unwrap().into_parts().0;
        for (name, value) in [("x-hub-signature-256", "sha256=00"), ("cookie", "a"), ("cookie", "b"), ("x-b", "\u{e9}")]
        {
            head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert_eq!(taken_out(&credentials, &head), ["header cookie", "query hub.verify_token"]);
        let record = request(&credentials, &head, &SentHead::default());
        assert_eq!(record.target, "/in?a=%20&hub.verify_token=redacted");
        let fields: Vec<(&[u8], &[u8], bool)> =
            record.fields.iter().map(|field| (&*field.name, &*field.value, field.redacted)).collect();
        assert_eq!(
            fields,
            [
                (b"x-hub-signature-256".as_slice(), b"sha256=00".as_slice(), false),
                (b"cookie", b"redacted", true),
                (b"cookie", b"redacted", true),
                (b"x-b", "\u{e9}".as_bytes(), false)
            ]
        );
        let sent = message(&credentials, &message_of(&head, b"")).unwrap();
        assert_eq!(sent.fields.bytes(), "x-hub-signature-256: sha256=00\r\nx-b: \u{e9}\r\n".as_bytes());
        assert_eq!(sent.target.parts().0, "/in?a=%20&hub.verify_token=redacted");
    }

    #[test]
    fn a_message_without_secrets_is_left_as_it_is() {
        let head = Request::post("/in?a=1").header("x-a", "b").body(()).unwrap().into_parts().0;
        assert!(message(&Credentials::default(), &message_of(&head, b"")).is_none());
    }
}
