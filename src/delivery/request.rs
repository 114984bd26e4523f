//! A request as it arrives: its head, who sent it, its body still to be read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::BoxError;
use uuid::Uuid;

use crate::delivery::peer::Peer;
use crate::delivery::timeline::{Event, Timeline};
use crate::http1::server::connection::IncomingBody;
use crate::routing::table::RouteShared;

/// What comes with a request's head: its body, not yet read, and who sends it.
pub struct Inbound {
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// The sender.
    pub peer: Rc<Peer>,
}

/// A request's body on its way in, by the version that the connection speaks.
pub enum RequestBody {
    /// There is none.
    Empty,
    /// HTTP/1.1.
    Http1(IncomingBody),
    /// HTTP/2.
    Http2(Incoming),
}

/// What is known of a request from its head on. Shared by all that work on it, and by what will tell of it.
pub struct RequestInfo {
    /// Its head as it came.
    pub head: Parts,
    /// The sender.
    pub peer: Rc<Peer>,
    /// Its id in the request to the upstream, the response and the log.
    pub request_id: HeaderValue,
    /// The delivery's id, a UUID of version 7: the order of ids is the order of receipt.
    pub delivery_id: Uuid,
    /// When its head had come.
    pub received: Instant,
    /// What is noted of it on its way.
    pub timeline: Timeline,
}

/// A request that has been taken up.
pub struct Received {
    /// Its head.
    pub info: Rc<RequestInfo>,
    /// Nothing has been read of it.
    pub body: RequestBody,
}

impl RequestInfo {
    /// What the request says of its event, in the places that its route's scheme names.
    pub fn event(&self, route: Option<&RouteShared>) -> Event {
        route.map(|route| self.timeline.event(&route.config.scheme, &self.head)).unwrap_or_default()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
