//! The response to a delivery on its way back, and how the delivery ended.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use super::ahead::Ahead;
use crate::metrics::GaugeGuard;
use crate::reject::{Outcome, Refusal, Reject};
use crate::routing::limits::{Permit, Reservation};
use crate::routing::table::Route;
use crate::upstream::pool::ResponseBody;

/// The body of a response: the upstream's, streamed, or a text from the gateway.
pub struct Body {
    source: Source,
    /// Counts the delivery against its route's `max_in_flight` until the body is dropped.
    permit: Option<Permit>,
    /// Counts the delivery in `hooklatch_in_flight_requests` until the body is dropped.
    _in_flight: Option<GaugeGuard>,
}

enum Source {
    Upstream(ResponseBody),
    /// The upstream's, read before the sender takes it.
    Ahead(Ahead),
    /// A text from the gateway; `None` if it is empty, and once it has been sent.
    Text(Option<Bytes>),
}

/// The response to a delivery that was not refused, and the outcome of the delivery. The stage that makes the response sets
/// both.
pub struct Completed {
    /// The response for the sender.
    pub response: Response<Body>,
    /// How the delivery ended.
    pub outcome: Outcome,
}

/// The result of a stage below the routing stage.
pub type StageResult = Result<Completed, Refusal>;

/// The result of the routing stage. A refusal has not been turned into a response yet.
pub struct Handled {
    /// The route, if one matched.
    pub route: Option<Rc<Route>>,
    /// The response, or the refusal.
    pub result: StageResult,
}

/// A response, and the facts about it that the observing stage counts and logs.
pub struct FinalResponse {
    /// The response for the sender.
    pub response: Response<Body>,
    /// The route, if one matched.
    pub route: Option<Rc<Route>>,
    /// How the delivery ended.
    pub outcome: Outcome,
    /// Why the delivery was refused, or why the upstream did not answer; `None` otherwise.
    pub rejected: Option<Reject>,
}

impl Body {
    /// The upstream's body, streamed.
    pub fn upstream(body: ResponseBody) -> Self {
        Self { source: Source::Upstream(body), permit: None, _in_flight: None }
    }

    /// A text from the gateway.
    pub fn text(text: Bytes) -> Self {
        Self { source: Source::Text((!text.is_empty()).then_some(text)), permit: None, _in_flight: None }
    }

    /// The same body; it holds `permit`, the delivery's place in `max_in_flight`, as long as the upstream sends. A text gives it
    /// back at once: a sender that is slow to read it keeps no place from others.
    pub fn with_permit(self, permit: Permit) -> Self {
        let permit = matches!(&self.source, Source::Upstream(body) if !body.is_end_stream()).then_some(permit);
        Self { permit, ..self }
    }

    /// The same body; if it is the upstream's, it is read as the upstream sends it, even if the sender takes nothing, as long as
    /// `held` has room.
    pub fn read_ahead(self, held: impl FnOnce() -> Reservation) -> Self {
        match self.source {
            Source::Upstream(body) if !body.is_end_stream() => {
                Self { source: Source::Ahead(Ahead::start(body, self.permit, held())), permit: None, ..self }
            }
            _ => self,
        }
    }

    /// The same body; it holds `in_flight`, which counts the delivery as in flight.
    pub fn counted_by(self, in_flight: GaugeGuard) -> Self {
        Self { _in_flight: Some(in_flight), ..self }
    }

    /// The text; empty if the body is the upstream's.
    pub fn into_text(self) -> Bytes {
        match self.source {
            Source::Text(text) => text.unwrap_or_default(),
            Source::Upstream(_) | Source::Ahead(_) => Bytes::new(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.get_mut().source {
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
            Source::Ahead(body) => body.poll_frame(cx),
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(body) => body.is_end_stream(),
            Source::Ahead(body) => body.is_end_stream(),
            Source::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream(body) => body.size_hint(),
            Source::Ahead(body) => body.size_hint(),
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
