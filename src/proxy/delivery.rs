//! What a delivery is at each stage of its way: [`Arrived`] → [`Routed`] → [`Claimed`] → [`Buffered`] → `Verified`.
//!
//! Each stage takes the type that the one before it makes, so a wrong order of stages does not compile. `Verified`
//! is in [`verify`](super::verify), for only that module can make one.

use std::convert::Infallible;
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

use super::limits::Held;
use super::route::Route;
use super::trail::Trail;
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
    pub body: Incoming,
    /// The sender.
    pub peer: Rc<Peer>,
}

/// A request that has been taken up.
pub struct Arrived {
    /// Its head as it came, with a request id. Boxed: each stage moves it on.
    pub head: Box<Parts>,
    /// Nothing has been read of it.
    pub body: Incoming,
    /// The sender.
    pub peer: Rc<Peer>,
    /// The id, as it is in the head.
    pub request_id: HeaderValue,
    /// When its head had come.
    pub received: Instant,
    /// What is noted of it.
    pub trail: Trail,
}

/// A request that matches a route, its body not yet read.
pub struct Routed {
    /// The route.
    pub route: Rc<Route>,
    /// The sender.
    pub peer: Rc<Peer>,
    /// The request's head as it came.
    pub head: Box<Parts>,
    /// Nothing has been read of it.
    pub body: Incoming,
    /// When its head had come.
    pub received: Instant,
    /// The challenge that the head is, if it is one: then the request is no delivery.
    pub asked: Option<Asked>,
    /// What is noted of it.
    pub trail: Trail,
}

/// A request whose signature header has been looked at, its body not yet read.
pub struct Claimed {
    /// The route.
    pub route: Rc<Route>,
    /// The sender.
    pub peer: Rc<Peer>,
    /// The request's head as it came.
    pub head: Box<Parts>,
    /// Nothing has been read of it.
    pub body: Incoming,
    /// What the signature header claims. An error goes on only where the route does not enforce, or where the body may
    /// be a challenge that needs no signature.
    pub claim: Result<Claim, VerifyError>,
    /// When the signature header was looked at: the time by which a signed time is judged, since 1970-01-01T00:00:00Z.
    pub now: Duration,
    /// What is noted of it.
    pub trail: Trail,
}

/// A request with its whole body in memory.
pub struct Buffered {
    /// The route.
    pub route: Rc<Route>,
    /// The sender.
    pub peer: Rc<Peer>,
    /// The request's head as it came.
    pub head: Box<Parts>,
    /// The bytes of its body.
    pub payload: Payload,
    /// As in [`Claimed`].
    pub claim: Result<Claim, VerifyError>,
    /// As in [`Claimed`].
    pub now: Duration,
    /// What is noted of it.
    pub trail: Trail,
}

/// The bytes of a body, in the pieces in which they came. A clone shares them.
#[derive(Clone, Default)]
pub struct Payload {
    frames: SmallVec<[Bytes; 2]>,
    /// The first of `frames` that has not been sent on.
    next: usize,
    /// Bytes in `frames[next..]`.
    length: u64,
    _held: Option<Arc<Held>>,
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

impl Payload {
    /// Adds a piece at the end.
    pub fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.length = self.length.saturating_add(frame.len() as u64);
            self.frames.push(frame);
        }
    }

    /// The length of the whole in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces, in order.
    pub fn frames(&self) -> &[Bytes] {
        &self.frames
    }

    /// Keeps `held` until the last clone is gone.
    pub fn hold(&mut self, held: Held) {
        self._held = Some(Arc::new(held));
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let mut payload = Self::default();
        payload.push(bytes);
        payload
    }
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = self.next;
        let Some(frame) = self.frames.get_mut(next).map(std::mem::take) else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.length = self.length.saturating_sub(frame.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
