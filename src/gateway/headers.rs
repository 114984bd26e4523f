//! The field lines of the request to the upstream.
//!
//! Removed from the sender's field lines:
//! 1. hop-by-hop fields (RFC 9110 section 7.6.1): a fixed list, and every name in a `Connection` line;
//! 2. the gateway's own fields: `Hooklatch-*`, `X-Forwarded-For`, `-Proto` and `-Host`, `X-Request-Id`;
//! 3. unless a trusted proxy sent it, what else proxies say about a sender or a URL: `X-Forwarded-*`, `X-Real-IP`, `X-Original-*`,
//!    `X-Rewrite-*`;
//! 4. all of these, and `Content-Length`, with other characters in place of hyphens, which CGI-like handlers cannot tell apart;
//! 5. `Forwarded` (RFC 7239), unless a trusted proxy named the client by it;
//! 6. `Host`, `Content-Length` and `Expect`.
//!
//! Then the gateway adds its own. The fields of a trusted proxy are kept: the gateway appends to its `X-Forwarded-For`, and
//! keeps its `X-Forwarded-Proto` and `-Host` if their values are valid.
//!
//! Cookie lines that HTTP/2 has split are joined (RFC 9113 section 8.2.3). All other field lines keep the spelling of their name,
//! their value, order and number.

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use uuid::fmt::Hyphenated;

use crate::config::SIGN_HEADERS;
use crate::delivery::peer::{ForwardedBy, Peer};
use crate::delivery::request::RequestInfo;
use crate::gateway::client_addr::protocol;
use crate::gateway::forwarded::X_FORWARDED_FOR;
use crate::gateway::request_id::X_REQUEST_ID;
use crate::http1::client::request::Head;
use crate::http1::field::{connection_options, is_hop_by_hop, is_host, single};
use crate::routing::route_headers::RouteHeaders;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Names of the gateway's own field lines, spelt as the documentation has them.
const DELIVERY_ID: &str = "Hooklatch-Delivery-Id";
const REQUEST_ID: &str = "X-Request-Id";
const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";

/// The prefix of the gateway's own field names.
const OWN_PREFIX: &str = "hooklatch-";

/// All field lines of the request to the upstream except `Host`, which depends on the upstream. `host` is the host that the
/// sender asked for, `secret` the position of the secret that verified the delivery, `length` the bytes of the body.
pub fn fields(
    route: &RouteHeaders,
    info: &RequestInfo,
    host: Option<&HeaderValue>,
    secret: Option<usize>,
    length: u64,
) -> Head {
    let RequestInfo { head: Parts { headers, version, .. }, sent, peer, request_id, timeline, .. } = info;
    let mut fields = Head::for_body(length);
    let trace = timeline.trace();
    let cookies = if *version == Version::HTTP_2 { joined_cookies(headers) } else { None };
    for (name, value) in going_on(headers, &peer.forwarded_by) {
        if route.signs && is_of_signature(name.as_str()) {
            continue;
        }
        if trace.is_none_or(|trace| !trace.replaces(name)) && (cookies.is_none() || name != COOKIE) {
            fields.line_as_sent(sent, name, value);
        }
    }
    if let Some(cookies) = &cookies {
        fields.line(&COOKIE, cookies);
    }
    if let Some(trace) = trace {
        trace.propagate(&mut fields);
    }
    fields.content_length(length);
    fields.line(REQUEST_ID, request_id);
    if info.has_senders_id {
        let mut text = [0; Hyphenated::LENGTH];
        fields.text_line(DELIVERY_ID, info.delivery_id.hyphenated().encode_lower(&mut text));
    } else {
        fields.line(DELIVERY_ID, request_id);
    }
    let forwarded = XForwarded::of(peer, host, headers);
    fields.line(FORWARDED_FOR, &forwarded.client);
    fields.line(FORWARDED_PROTO, &forwarded.proto);
    if let Some(host) = &forwarded.host {
        fields.line(FORWARDED_HOST, host);
    }
    fields.lines(route.lines(secret));
    fields
}

/// The sender's field lines that go to the upstream unchanged: neither hop-by-hop fields nor the gateway's own.
/// `keeps_forwarded` says whether `Forwarded` is among them: a trusted proxy has named the client by it.
pub fn going_on<'a>(
    headers: &'a HeaderMap,
    forwarded_by: &ForwardedBy,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let keeps_forwarded = matches!(forwarded_by, ForwardedBy::Forwarded { .. });
    let is_trusted = !matches!(forwarded_by, ForwardedBy::Direct);
    // `get_all`: a second Connection line names fields, too.
    let named: Vec<_> = connection_options(headers.get_all(CONNECTION).iter()).collect();
    headers.iter().filter(move |(name, _)| {
        let text = name.as_str();
        !is_hop_by_hop(text)
            && !is_spoofed(text, is_trusted)
            && !matches!(text, "host" | "content-length" | "expect" | "x-request-id")
            && (keeps_forwarded || text != "forwarded")
            && !named.contains(name)
    })
}

/// The values of the `X-Forwarded-*` fields for the upstream.
struct XForwarded<'a> {
    /// `X-Forwarded-For`.
    client: Cow<'a, HeaderValue>,
    /// `X-Forwarded-Proto`.
    proto: HeaderValue,
    /// `X-Forwarded-Host`; `None` if the request names no host.
    host: Option<Cow<'a, HeaderValue>>,
}

impl<'a> XForwarded<'a> {
    fn of(peer: &'a Peer, host: Option<&'a HeaderValue>, headers: &HeaderMap) -> Self {
        let proto = HeaderValue::from_static(if peer.tls { "https" } else { "http" });
        let own_host = host.map(Cow::Borrowed);
        let (client, said) = match &peer.forwarded_by {
            ForwardedBy::Direct => return Self { client: Cow::Borrowed(&peer.forwarded_for), proto, host: own_host },
            ForwardedBy::XForwarded => (added_to(headers, &peer.forwarded_for), (None, None)),
            ForwardedBy::Forwarded { proto, host } => {
                let client = if peer.is_proxy() {
                    join([peer.client.to_string().as_bytes(), peer.forwarded_for.as_bytes()], b", ")
                } else {
                    peer.forwarded_for.clone()
                };
                (client, (proto.clone(), host.clone()))
            }
        };
        let told = single(headers, &X_FORWARDED_PROTO).and_then(|value| protocol(value.to_str().ok()?));
        let host = single(headers, &X_FORWARDED_HOST).filter(|value| is_host(value)).cloned();
        Self {
            client: Cow::Owned(client),
            proto: told.or(said.0).unwrap_or(proto),
            host: host.or(said.1).map(Cow::Owned).or(own_host),
        }
    }
}

/// The elements of a trusted proxy's `X-Forwarded-For` lines, and the address of that proxy at their end.
fn added_to(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.as_bytes().trim_ascii());
    join(lines.filter(|line| !line.is_empty()).chain([peer.as_bytes()]), b", ")
}

/// The cookies of a request as one line, if HTTP/2 has split them into several lines.
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(COOKIE).iter();
    let (first, second) = (lines.next()?, lines.next()?);
    Some(join([first, second].into_iter().chain(lines).map(HeaderValue::as_bytes), b"; "))
}

fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>, between: &[u8]) -> HeaderValue {
    let mut value = Vec::new();
    for part in parts {
        if !value.is_empty() {
            value.extend_from_slice(between);
        }
        value.extend_from_slice(part);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).expect("header values joined by visible ASCII are one")
}

/// Whether a name is the gateway's own, or says about the sender what only a trusted proxy may say; or whether a handler could
/// take it for such a name, for `Content-Length`, or for a hop-by-hop field. CGI turns every hyphen into an underscore (RFC 3875
/// section 4.1.18), and PHP dots and other characters too.
fn is_spoofed(name: &str, is_trusted: bool) -> bool {
    let is_reserved = |name: &str| is_own(name) || (!is_trusted && is_about_the_sender(name));
    match read_as(name) {
        Cow::Borrowed(name) => is_reserved(name),
        Cow::Owned(name) => {
            is_reserved(&name)
                || is_hop_by_hop(&name)
                || [X_REQUEST_ID, CONTENT_LENGTH].iter().any(|own| own == name.as_str())
        }
    }
}

/// Whether a handler could take a name for one of those under which it gets the gateway's own signature.
fn is_of_signature(name: &str) -> bool {
    let name = read_as(name);
    SIGN_HEADERS.iter().any(|own| own == &*name)
}

/// The name with hyphens, for which a handler could take this one; borrowed if it is the name itself.
fn read_as(name: &str) -> Cow<'_, str> {
    match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        true => name.into(),
        false => name.replace(|character: char| !character.is_ascii_alphanumeric(), "-").into(),
    }
}

/// Whether a field of this name says who sent a request, or for which URL, by the word of a proxy.
fn is_about_the_sender(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-") else { return false };
    ["forwarded-", "original-", "rewrite-"].iter().any(|prefix| rest.starts_with(prefix)) || rest == "real-ip"
}

/// Whether only the gateway may set a field of this name.
fn is_own(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'h') => name.starts_with(OWN_PREFIX),
        Some(b'x') => matches!(name, "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The names of the field lines that go to the upstream.
    fn names_going_on(lines: &[(&'static str, &str)]) -> Vec<String> {
        let headers = map(lines);
        let mut names: Vec<_> = going_on(&headers, &ForwardedBy::Direct).map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_any_connection_line_names_goes() {
        let lines = [
            ("connection", "close, x-one"),
            ("connection", "X-Two,, ;bad;"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
            ("x-three", "3"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
        ];
        assert_eq!(names_going_on(&lines), ["x-three"]);
    }

    #[test]
    fn the_gateways_own_words_and_those_about_framing_are_taken_from_nobody_else() {
        let lines = [
            ("hooklatch-verified", "true"),
            ("hooklatch_verified", "true"),
            ("hooklatch-anything", "x"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded-for", "10.0.0.1"),
            ("x_request_id", "x"),
            ("x-request-id", "1"),
            ("hooklatch.verified", "true"),
            ("hooklatch~secret.id", "x"),
            ("x-forwarded-port", "443"),
            ("x.forwarded.server", "x"),
            ("x-real-ip", "10.0.0.1"),
            ("x_real_ip", "10.0.0.1"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-originality", "kept"),
            ("x-real-ipx", "kept"),
            ("hooklatched", "kept"),
            ("transfer_encoding", "chunked"),
            ("proxy_connection", "close"),
            ("content_length", "1"),
            ("content-length", "1"),
            ("host", "spoofed"),
            ("forwarded", "for=192.0.2.1"),
            ("expect", "100-continue"),
            ("an_other", "kept"),
        ];
        assert_eq!(names_going_on(&lines), ["an_other", "hooklatched", "x-originality", "x-real-ipx"]);
        let headers =
            map(&[("x-forwarded-port", "443"), ("x-real-ip", "10.0.0.1"), ("x_real_ip", "1"), ("hooklatch.x", "1")]);
        let names: Vec<_> = going_on(&headers, &ForwardedBy::XForwarded).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-forwarded-port", "x-real-ip", "x_real_ip"], "a trusted proxy may say it");
    }

    #[test]
    fn a_senders_signature_under_any_spelling_is_taken_for_the_gateways() {
        for name in ["webhook-id", "webhook_id", "webhook_timestamp", "webhook.signature", "webhook-signature"] {
            assert!(is_of_signature(name), "{name}");
        }
        for name in ["webhook-ids", "webhookid", "x-webhook-id", "webhook-signatures", "webhook-event"] {
            assert!(!is_of_signature(name), "{name}");
        }
    }

    /// The `X-Forwarded-*` values for a request from `peer` with these field lines.
    fn told(peer: &Peer, lines: &[(&'static str, &str)]) -> [String; 3] {
        let host = HeaderValue::from_static("own.example");
        let XForwarded { client, proto, host } = XForwarded::of(peer, Some(&host), &map(lines));
        [client, Cow::Owned(proto), host.unwrap()].map(|value| value.to_str().unwrap().to_owned())
    }

    fn peer(forwarded_by: ForwardedBy) -> Peer {
        let client = "192.0.2.1".parse().unwrap();
        Peer { client, forwarded_by, ..Peer::new("10.0.0.1:4711".parse().unwrap(), false) }
    }

    #[test]
    fn a_senders_own_word_about_itself_is_not_passed_on() {
        let lines = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "spoofed.example"),
            ("forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(told(&peer(ForwardedBy::Direct), &lines), ["10.0.0.1", "http", "own.example"]);
        let tls = Peer::new("[2001:db8::1]:1".parse().unwrap(), true);
        assert_eq!(told(&tls, &lines), ["2001:db8::1", "https", "own.example"]);
    }

    #[test]
    fn a_trusted_proxys_word_is_passed_on_and_added_to() {
        let lines = [
            ("x-forwarded-for", "garbage, 192.0.2.1 "),
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "asked.example:8443"),
        ];
        let expected = ["garbage, 192.0.2.1, 10.0.0.2, 10.0.0.1", "https", "asked.example:8443"];
        assert_eq!(told(&peer(ForwardedBy::XForwarded), &lines), expected);
        assert_eq!(told(&peer(ForwardedBy::XForwarded), &[]), ["10.0.0.1", "http", "own.example"]);
    }

    #[test]
    fn a_trusted_proxys_word_that_cannot_be_true_is_replaced() {
        for proto in ["", "gopher", "https, http", "https "] {
            assert_eq!(told(&peer(ForwardedBy::XForwarded), &[("x-forwarded-proto", proto)])[1], "http", "{proto:?}");
        }
        for host in ["", "a, b", "a b", "a/b", "u@a", "a\"b"] {
            assert_eq!(
                told(&peer(ForwardedBy::XForwarded), &[("x-forwarded-host", host)])[2],
                "own.example",
                "{host:?}"
            );
        }
        let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")];
        assert_eq!(told(&peer(ForwardedBy::XForwarded), &twice)[1], "http");
    }

    #[test]
    fn what_forwarded_says_is_said_in_x_forwarded() {
        let said = |proto, host| ForwardedBy::Forwarded { proto, host };
        let host = Some(HeaderValue::from_static("asked.example"));
        let https = Some(HeaderValue::from_static("https"));
        let expected = ["192.0.2.1, 10.0.0.1", "https", "asked.example"];
        assert_eq!(told(&peer(said(https.clone(), host)), &[]), expected);
        assert_eq!(told(&peer(said(None, None)), &[]), ["192.0.2.1, 10.0.0.1", "http", "own.example"]);
        let stronger = [("x-forwarded-proto", "http")];
        assert_eq!(told(&peer(said(https, None)), &stronger)[1], "http", "X-Forwarded-Proto comes first");
    }

    #[test]
    fn cookies_that_were_split_are_joined() {
        let cookies = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]);
        assert_eq!(joined_cookies(&cookies).unwrap(), "a=1; b=2; c=3; d=4");
        assert_eq!(joined_cookies(&map(&[("cookie", "a=1")])), None);
    }
}
