//! The response to a delivery on its way back.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use crate::reject::{Outcome, Refusal, Reject};
use crate::routing::limits::Permit;
use crate::routing::table::Route;
use crate::upstream::pool::ResponseBody;

/// The body of a response: the upstream's, streamed, or a text of the gateway's own.
pub struct Body {
    source: Source,
    /// The delivery is in flight as long as its response.
    _permit: Option<Permit>,
}

enum Source {
    Upstream(ResponseBody),
    /// `None` once sent.
    Text(Option<Bytes>),
}

/// A response, and what the observing stage needs to know of it.
pub struct Answer {
    /// What the sender gets.
    pub response: Response<Body>,
    /// The route, if one matched.
    pub route: Option<Rc<Route>>,
    /// How the delivery ended.
    pub outcome: Outcome,
    /// Why it was refused, or the upstream did not answer.
    pub rejected: Option<Reject>,
}

/// What came of a delivery, the refusal not yet being a response.
pub struct Handled {
    /// The route, if one matched.
    pub route: Option<Rc<Route>>,
    /// The upstream's response or that to a challenge, or why there is none.
    pub result: Result<Response<Body>, Refusal>,
}

impl Body {
    /// Streamed from the upstream.
    pub fn upstream(body: ResponseBody) -> Self {
        Self { source: Source::Upstream(body), _permit: None }
    }

    /// The same, keeping the delivery's place among those in flight until it is dropped.
    pub fn with_permit(self, permit: Permit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// The text, if it is the gateway's own.
    pub fn into_text(self) -> Bytes {
        match self.source {
            Source::Text(text) => text.unwrap_or_default(),
            Source::Upstream(_) => Bytes::new(),
        }
    }

    /// Whether it is a text of the gateway's own.
    pub fn is_own(&self) -> bool {
        matches!(self.source, Source::Text(_))
    }

    /// A text of the gateway's own.
    pub fn text(text: Bytes) -> Self {
        Self { source: Source::Text(Some(text)), _permit: None }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.get_mut().source {
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(body) => body.is_end_stream(),
            Source::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream(body) => body.size_hint(),
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
