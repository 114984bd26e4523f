//! Turns a refusal into a response of `application/problem+json` (RFC 9457). No other module makes such responses. They contain
//! no secret, no expected digest and no address of an upstream.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};

use crate::delivery::response::Body;
use crate::gateway::request_id::{X_REQUEST_ID, new_request_id};
use crate::reject::{PROBLEM_TYPE, Reject};
use crate::routing::table::Route;

/// The number of field lines of a refusal, for which space is reserved.
const OWN_HEADERS: usize = 4;
/// The bytes that are reserved for the text of a refusal.
const USUAL_TEXT: usize = 320;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Adds `Connection: close` to the response to a request that was not read to its end. Not for HTTP/2, which ends the stream
/// instead and forbids this field (RFC 9113 section 8.2.2).
pub fn close_after(response: &mut Response<Body>, version: Version) {
    if version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The response for a refusal. `route` decides the status of signature faults and the value of `Allow`.
pub fn problem(reject: Reject, route: Option<&Route>, request_id: Option<&HeaderValue>) -> Response<Body> {
    let signature = route.map_or(StatusCode::UNAUTHORIZED, |route| route.shared.config.reject_status);
    let mut response = json(reject.status(signature), reject.reason(), reject.facts().title, request_id);
    if let (Reject::MethodNotAllowed, Some(route)) = (reject, route) {
        response.headers_mut().insert(ALLOW, route.shared.allow.clone());
    }
    if let Some(seconds) = reject.facts().retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The response for a refusal outside of the stages, with a new request id.
pub fn problem_without_route(reject: Reject) -> Response<Body> {
    let id = new_request_id();
    let mut response = problem(reject, None, Some(&id));
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn json(status: StatusCode, reason: &str, title: &str, request_id: Option<&HeaderValue>) -> Response<Body> {
    let text = problem_text(status, reason, title, request_id);
    let mut response = Response::new(Body::text(text.into()));
    response.headers_mut().reserve(OWN_HEADERS);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    response
}

/// The members of RFC 9457 section 3.1 and two extension members, `reason` and `request_id`. Nothing needs escaping: the texts
/// are constants, and [`request_id`](crate::gateway::request_id) lets no quote through.
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
            let text = response.into_body().into_text();
            let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let expected = serde_json::json!({
                "type": format!("urn:hooklatch:problem:{}", reject.reason()),
                "title": reject.facts().title,
                "status": status.as_u16(),
                "reason": reject.reason(),
                "request_id": "id-1",
            });
            assert_eq!(problem, expected);
        }
    }
}
