//! What a delivery is at each stage of its way: [`Arrived`] → [`Routed`] → [`Claimed`] → [`Buffered`] → `Verified`.
//!
//! Each stage takes the type that the one before it makes, so a wrong order of stages does not compile. `Verified`
//! is in [`verify`](crate::gateway::verify), for only that module can make one.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tower::BoxError;

use crate::delivery::timeline::Trail;
use crate::http1::server::connection::SenderBody;
use crate::routing::limits::Held;
use crate::routing::table::Route;
use crate::schemes::{Asked, Claim, VerifyError};

/// The far end of a connection from a sender.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, or the one that its PROXY protocol header gives.
    pub address: SocketAddr,
    /// Its address, without the port, as `X-Forwarded-For` gives it.
    pub forwarded_for: HeaderValue,
    /// Whether the connection is by TLS.
    pub tls: bool,
    /// Who sent the request: this end itself, or whom it sends for as a trusted proxy. Found out for each request.
    pub client: IpAddr,
    /// Whose word about the client counts.
    pub word: Word,
}

/// Whose word about a client counts.
#[derive(Debug, Clone)]
pub enum Word {
    /// The connection's own addresses alone.
    Nobody,
    /// That of the trusted proxy, in `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// The same, with `Forwarded` (RFC 7239) in place of `X-Forwarded-For`.
    Forwarded {
        /// The protocol that the client used, if it is said.
        proto: Option<HeaderValue>,
        /// The host that the client asked for, if it is said.
        host: Option<HeaderValue>,
    },
}

/// What comes with a request's head: its body, not yet read, and who sends it.
pub struct Inbound {
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// The sender.
    pub peer: Rc<Peer>,
}

/// A request's body on its way in, by the version that the connection speaks.
pub enum RequestBody {
    /// HTTP/1.1.
    Http1(SenderBody),
    /// HTTP/2.
    Http2(Incoming),
}

/// What is known of a request from its head on. Shared by all that work on it, and by what will tell of it.
pub struct Arrival {
    /// Its head as it came.
    pub head: Parts,
    /// The sender.
    pub peer: Rc<Peer>,
    /// The id under which it goes from here on.
    pub request_id: HeaderValue,
    /// When its head had come.
    pub received: Instant,
    /// What is noted of it on its way.
    pub trail: Trail,
}

/// A request that has been taken up.
pub struct Arrived {
    /// Its head.
    pub arrival: Rc<Arrival>,
    /// Nothing has been read of it.
    pub body: RequestBody,
}

/// A request that matches a route, its body not yet read.
pub struct Routed {
    /// Its head.
    pub arrival: Rc<Arrival>,
    /// The route.
    pub route: Rc<Route>,
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// The challenge that the head is, if it is one: then the request is no delivery.
    pub asked: Option<Asked>,
}

/// A request whose signature header has been looked at, its body not yet read.
pub struct Claimed {
    /// Its head.
    pub arrival: Rc<Arrival>,
    /// The route.
    pub route: Rc<Route>,
    /// Nothing has been read of it.
    pub body: RequestBody,
    /// What the signature header claims. An error goes on only where the route does not enforce, or where the body may
    /// be a challenge that needs no signature.
    pub claim: Result<Claim, VerifyError>,
    /// When the head had come: the time by which a signed time is judged, since 1970-01-01T00:00:00Z.
    pub now: Duration,
}

/// A request with its whole body in memory.
pub struct Buffered {
    /// Its head.
    pub arrival: Rc<Arrival>,
    /// The route.
    pub route: Rc<Route>,
    /// The bytes of its body.
    pub payload: Payload,
    /// As in [`Claimed`].
    pub claim: Result<Claim, VerifyError>,
    /// As in [`Claimed`].
    pub now: Duration,
}

/// The bytes of a body, in the pieces in which they came. A clone shares them.
#[derive(Clone)]
pub struct Payload(Arc<Pieces>);

/// Pieces of a body, in order.
pub type Frames = SmallVec<[Bytes; 2]>;

struct Pieces {
    frames: Frames,
    /// The length of all, in bytes.
    length: u64,
    /// Kept until the last clone is gone.
    _held: Option<Held>,
}

impl Peer {
    /// The far end of a connection, sending for itself.
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let text = address.ip().to_string();
        let forwarded_for = HeaderValue::from_str(&text).expect("an address is visible ASCII");
        Self { address, forwarded_for, tls, client: address.ip(), word: Word::Nobody }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

impl Payload {
    /// A body in these pieces, which are accounted for by `held`.
    pub fn new(frames: Frames, held: Option<Held>) -> Self {
        let length = frames.iter().map(|frame| frame.len() as u64).sum();
        Self(Arc::new(Pieces { frames, length, _held: held }))
    }

    /// The length of the whole in bytes.
    pub fn len(&self) -> u64 {
        self.0.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn frames(&self) -> &[Bytes] {
        &self.0.frames
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(Frames::from_iter([bytes]), None)
    }
}
