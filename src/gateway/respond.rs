//! Makes the gateway's own responses. Of every refusal: `application/problem+json` (RFC 9457) with constant texts.
//!
//! One place, so that nothing else can say too much: no secret, no expected digest, no upstream address.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::{BoxError, Service};

use crate::delivery::stages::Arrived;
use crate::gateway::headers::{X_REQUEST_ID, new_request_id};
use crate::gateway::stage::Here;
use crate::metrics::Outcome;
use crate::reject::{PROBLEM_TYPE, Refusal, Reject};
use crate::routing::limits::Permit;
use crate::routing::table::Route;
use crate::schemes::Reply;
use crate::upstream::pool::ResponseBody;

/// Room for the headers of a refusal.
const OWN_HEADERS: usize = 4;
/// Room for its text, in bytes.
const USUAL_TEXT: usize = 320;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

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

/// The stage: turns refusals into responses.
pub async fn respond<S>(here: Rc<Here<(), S>>, arrived: Arrived) -> Result<Answer, Infallible>
where
    S: Service<Arrived, Response = Handled, Error = Infallible> + Clone,
{
    let arrival = arrived.arrival.clone();
    let Handled { route, result } = here.next(arrived).await?;
    Ok(match result {
        Ok(response) => {
            // Only a challenge has a response that is neither the upstream's nor a refusal.
            let outcome = if response.body().is_own() { Outcome::Challenge } else { Outcome::Forwarded };
            Answer { response, route, outcome, rejected: None }
        }
        Err(Refusal { reject, unread }) => {
            let mut response = problem(reject, route.as_deref(), Some(&arrival.request_id));
            if unread {
                close_after(&mut response, arrival.head.version);
            }
            Answer { response, route, outcome: reject.into(), rejected: Some(reject) }
        }
    })
}

/// The response to a challenge.
pub fn reply(Reply { headers, body }: Reply) -> Response<Body> {
    let mut response = Response::new(Body::text(body));
    *response.headers_mut() = headers;
    response
}

/// Says that the connection ends with this response, as its request has not been read to its end. HTTP/2 ends the stream
/// instead, and has no such header (RFC 9113 section 8.2.2).
pub fn close_after(response: &mut Response<Body>, version: Version) {
    if version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The response to a request whose panic no stage caught. Says nothing of the panic to the sender; the panic hook has
/// already told the log where it was. The request's own id is lost with it.
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let id = new_request_id();
    let mut response = problem(Reject::Bug, None, Some(&id));
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn problem(reject: Reject, route: Option<&Route>, request_id: Option<&HeaderValue>) -> Response<Body> {
    let signature = route.map_or(StatusCode::UNAUTHORIZED, |route| route.config.reject_status);
    let mut response = json(reject.status(signature), reject.reason(), reject.title(), request_id);
    if let (Reject::MethodNotAllowed, Some(route)) = (reject, route) {
        response.headers_mut().insert(ALLOW, route.allow.clone());
    }
    if let Some(seconds) = reject.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// A refusal as a response, wherever it is made.
pub fn json(status: StatusCode, reason: &str, title: &str, request_id: Option<&HeaderValue>) -> Response<Body> {
    let text = problem_text(status, reason, title, request_id);
    let mut response = Response::new(Body::text(text.into()));
    response.headers_mut().reserve(OWN_HEADERS);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    response
}

/// RFC 9457 section 3.1, with two members of our own. There is nothing to be escaped: the texts are constants, and an id is
/// sane or made here.
fn problem_text(status: StatusCode, reason: &str, title: &str, request_id: Option<&HeaderValue>) -> Vec<u8> {
    let id = request_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut text = String::with_capacity(USUAL_TEXT);
    text.push_str(r#"{"type":""#);
    text.push_str(PROBLEM_TYPE);
    text.push_str(reason);
    text.push_str(r#"","title":""#);
    text.push_str(title);
    text.push_str(r#"","status":"#);
    text.push_str(status.as_str());
    text.push_str(r#","reason":""#);
    text.push_str(reason);
    text.push_str(r#"","request_id":""#);
    text.push_str(id);
    text.push_str(r#""}"#);
    text.into_bytes()
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
    fn is_own(&self) -> bool {
        matches!(self.source, Source::Text(_))
    }

    fn text(text: Bytes) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_with_the_reason_and_the_request_id() {
        let id = HeaderValue::from_static("id-1");
        for reject in Reject::ALL {
            let response = problem(reject, None, Some(&id));
            let status = response.status();
            assert_eq!(status, reject.status(StatusCode::UNAUTHORIZED));
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let Source::Text(Some(text)) = response.into_body().source else { panic!("a text") };
            let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let expected = serde_json::json!({
                "type": format!("urn:hooklatch:problem:{}", reject.reason()),
                "title": reject.title(),
                "status": status.as_u16(),
                "reason": reject.reason(),
                "request_id": "id-1",
            });
            assert_eq!(problem, expected);
        }
    }
}
