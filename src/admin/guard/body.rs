//! The bound on bodies: no call has a long one.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt as _;

use crate::admin::problem::Problem;

/// The longest body in bytes.
const MAX_BODY: usize = 64 << 10;
/// How much of a longer body is read, so that the client reads the refusal before its connection is closed.
const MAX_PASSED_OVER: usize = 4 << 20;
/// The time to receive a body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the body, so that handlers have it whole.
pub async fn read(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(TIMEOUT, collect(body)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time").into_response()
        }
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Problem::bad_body("the body ended early")) };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > MAX_PASSED_OVER {
            break;
        }
        if length <= MAX_BODY {
            bytes.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is longer than 64 KiB"));
    }
    Ok(bytes.into())
}
