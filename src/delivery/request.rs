//! A request as it arrives: its head, its peer, and its unread body.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::BoxError;
use uuid::Uuid;

use crate::delivery::peer::Peer;
use crate::delivery::timeline::{Event, Timeline};
use crate::http1::as_sent::SentHead;
use crate::http1::server::connection::IncomingBody;
use crate::routing::table::RouteShared;

/// The unread body and the peer of a request, beside its head.
pub struct Inbound {
    /// The body; nothing of it has been read.
    pub body: RequestBody,
    /// The peer of the connection.
    pub peer: Rc<Peer>,
    /// The field lines as the sender wrote them; empty for HTTP/2.
    pub sent: SentHead,
}

/// The body of a request, by the connection's version of HTTP.
pub enum RequestBody {
    /// No body.
    Empty,
    /// HTTP/1.1.
    Http1(IncomingBody),
    /// HTTP/2.
    Http2(Http2Body),
}

/// The body of a request by HTTP/2. The server holds a clone: it reads what the stages leave.
#[derive(Clone)]
pub struct Http2Body(Rc<RefCell<Incoming>>);

impl Http2Body {
    /// The body that hyper receives.
    pub fn new(body: Incoming) -> Self {
        Self(Rc::new(RefCell::new(body)))
    }

    /// Reads the next part.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_frame(cx)
    }

    /// Whether all of it has been read.
    pub fn has_ended(&self) -> bool {
        self.0.borrow().is_end_stream()
    }
}

/// The facts about a request that are known once its head has arrived. Shared by all stages, the access log and the spans.
pub struct RequestInfo {
    /// The head, unchanged.
    pub head: Parts,
    /// Its field lines as the sender wrote them; empty for HTTP/2.
    pub sent: SentHead,
    /// The peer of the connection, with the client that it forwards for.
    pub peer: Rc<Peer>,
    /// The request id for the upstream, the response and the log: the sender's, or else the delivery's.
    pub request_id: HeaderValue,
    /// Whether the request id is the sender's.
    pub has_senders_id: bool,
    /// The delivery's id, a UUID of version 7: the order of ids is the order of receipt.
    pub delivery_id: Uuid,
    /// When the head had arrived.
    pub received: Instant,
    /// The same moment since 1970-01-01T00:00:00Z. A signed time is compared with it.
    pub received_unix: Duration,
    /// The times and sizes that the stages note.
    pub timeline: Timeline,
}

/// A request with its id and its client.
pub struct Received {
    /// The head and the facts about the request.
    pub info: Rc<RequestInfo>,
    /// The body; nothing of it has been read.
    pub body: RequestBody,
}

impl RequestInfo {
    /// The type and id of the event, from the places that the scheme of `route` names.
    pub fn event(&self, route: Option<&RouteShared>) -> Event {
        route.map(|route| self.timeline.event(&route.config.scheme, &self.head)).unwrap_or_default()
    }

    /// The request id for records and logs: a sender may have put the route's secret there.
    pub fn shown_id(&self, route: Option<&RouteShared>) -> Option<&str> {
        let id = self.request_id.to_str().ok()?;
        Some(route.map_or(id, |route| route.credentials.harmless(id)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => body.poll_next(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.0.borrow().size_hint(),
        }
    }
}
