//! A request as it was recorded, so that it can be judged again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::delivery::peer::{ForwardedBy, Peer};
use crate::delivery::request::RequestInfo;
use crate::delivery::timeline::Timeline;
use crate::gateway::forwarded::X_FORWARDED_FOR;
use crate::http1::as_sent::SentHead;
use crate::http1::payload::Payload;
use crate::queue::stored;
use crate::record::shown::is_as_it_came;
use crate::routing::table::RouteShared;
use crate::store::details::{Details, RequestRecord};
use crate::store::{Delivery, Shown, received_at};

/// In an answer with a recorded body, says that it is only the first part of what came.
pub const BODY_CUT: HeaderName = HeaderName::from_static("hooklatch-body-cut");
/// In an answer with a recorded body, says that it had a secret in it, which is replaced.
pub const BODY_REDACTED: HeaderName = HeaderName::from_static("hooklatch-body-redacted");
/// The most field lines that are read.
const MAX_FIELDS: usize = 512;

/// What is recorded of a request. It can go to another thread.
pub struct Recorded {
    /// The summary of the delivery.
    pub delivery: Delivery,
    /// What is kept beside.
    pub details: Details,
    /// The head, without what was redacted.
    pub head: Parts,
    /// Its field lines as they came.
    sent: SentHead,
    /// The whole body; `None` if it is not kept, or not in full.
    pub body: Option<Bytes>,
    /// Head and body have their secrets.
    is_as_it_came: bool,
}

impl Recorded {
    /// What `delivery`, `details` and `body` say of the request; `None` if its head is not kept.
    pub fn new(delivery: Delivery, details: Details, body: Option<Bytes>) -> Option<Self> {
        let (head, sent) = match &details.request {
            Some(request) => head(request, details.host.as_deref())?,
            None => head_of_message(&delivery)?,
        };
        let is_as_it_came = is_as_it_came(Shown::of(delivery.state, 0, false));
        let is_whole = is_as_it_came || !details.had_secret_in_body();
        let body = body.filter(|body| is_whole && body.len() as u64 >= delivery.request_bytes);
        // The head of a message has its secrets, one of the details does not.
        let is_as_it_came = is_as_it_came && details.request.is_none();
        Some(Self { delivery, details, head, sent, body, is_as_it_came })
    }

    /// When it was received, since 1970-01-01T00:00:00Z.
    pub fn received_at(&self) -> Duration {
        Duration::from_millis(u64::try_from(received_at(self.delivery.id)).unwrap_or_default())
    }

    /// The body, in the form that the gateway works with.
    pub fn payload(&self) -> Option<Payload> {
        self.body.clone().map(Payload::from)
    }

    /// Whether what its route verifies it by was redacted: a token, which is a secret itself.
    pub fn lacks_its_proof(&self, route: &RouteShared) -> bool {
        if self.is_as_it_came {
            return false;
        }
        let proofs = route.config.verifier.signature_headers();
        self.details.redacted.iter().any(|what| match what.split_once(' ') {
            Some(("header", name)) => proofs.iter().any(|proof| proof == name),
            _ => true,
        })
    }

    /// The facts that the gateway knew.
    pub fn info(&self, now: Instant) -> RequestInfo {
        let client: IpAddr = self.delivery.peer.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let proxy = self.details.proxy.as_deref().and_then(|proxy| proxy.parse().ok());
        let mut peer = Peer::new(SocketAddr::new(proxy.unwrap_or(client), 0), self.details.tls);
        if proxy.is_some() {
            peer.client = client;
            peer.forwarded_by = match self.head.headers.contains_key(X_FORWARDED_FOR) {
                true => ForwardedBy::XForwarded,
                false => ForwardedBy::Forwarded { proto: None, host: None },
            };
        }
        let request_id = self.delivery.request_id().and_then(|id| HeaderValue::from_str(&id).ok());
        RequestInfo {
            head: self.head.clone(),
            sent: self.sent.clone(),
            peer: Rc::new(peer),
            request_id: request_id.unwrap_or_else(|| HeaderValue::from_static("")),
            has_senders_id: true,
            delivery_id: self.delivery.id,
            received: now,
            received_unix: self.received_at(),
            timeline: Timeline::default(),
        }
    }
}

/// The head of a request; `None` if it cannot be read, which only another program's record can cause.
fn head(request: &RequestRecord, host: Option<&str>) -> Option<(Parts, SentHead)> {
    let kept = request.fields.iter().filter(|line| !line.redacted);
    let (sent, headers) = SentHead::of_lines(kept.map(|line| (&*line.name, &*line.value)))?;
    let version = match request.version.as_str() {
        "HTTP/2" => Version::HTTP_2,
        "HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    Some((parts((&request.method, &request.target, version), headers, host)?, sent))
}

/// The head of a request of which the message for the handler is kept: the same, but for fields of one connection.
fn head_of_message(delivery: &Delivery) -> Option<(Parts, SentHead)> {
    if delivery.head.is_empty() {
        return None;
    }
    let message = stored::decode(delivery.id, &delivery.head, Bytes::new()).ok()?;
    let lines = [message.fields.bytes(), b"\r\n"].concat();
    let mut found = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let httparse::Status::Complete((_, found)) = httparse::parse_headers(&lines, &mut found).ok()? else { return None };
    let (sent, mut headers) = SentHead::of_lines(found.iter().map(|line| (line.name.as_bytes(), line.value)))?;
    headers.extend(message.host.map(|host| (HOST, host)));
    let (target, _) = message.target.parts();
    Some((parts((message.method.as_str(), &target, Version::HTTP_11), headers, None)?, sent))
}

fn parts((method, target, version): (&str, &str, Version), headers: HeaderMap, host: Option<&str>) -> Option<Parts> {
    let mut uri: Uri = target.parse().ok()?;
    // HTTP/2 names the host apart from the field lines.
    if !headers.contains_key(HOST)
        && let Some(host) = host
    {
        let mut parts = uri.into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        parts.authority = Some(host.parse::<Authority>().ok()?);
        uri = Uri::from_parts(parts).ok()?;
    }
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(method.as_bytes()).ok()?;
    (head.uri, head.version, head.headers) = (uri, version, headers);
    Some(head)
}
