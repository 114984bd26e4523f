//! A refusal of the API as `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, and `reason`, a stable
//! name for programs.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::reject::PROBLEM_TYPE;
use crate::store::StoreError;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// The seconds after which a busy store is worth another try.
const RETRY_SECONDS: u16 = 1;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status of the response.
    pub status: StatusCode,
    /// A stable name.
    pub reason: &'static str,
    /// What is wrong with this request, in a sentence. It quotes no token.
    pub detail: Cow<'static, str>,
    /// Further members of the JSON object.
    pub more: Map<String, Value>,
}

impl Problem {
    /// A refusal without further members.
    pub fn new(status: StatusCode, reason: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason, detail: detail.into(), more: Map::new() }
    }

    /// A wrong query string, or a key of it.
    pub fn bad_query(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_query", detail)
    }

    /// A wrong body.
    pub fn bad_body(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_body", detail)
    }

    /// No such path, delivery or route.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Something that was here once.
    pub fn gone(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "gone", detail)
    }

    /// A change, where there may be none.
    pub fn read_only() -> Self {
        Self::new(StatusCode::FORBIDDEN, "read_only", "admin.read_only is true: nothing can be changed")
    }

    /// A fault of the gateway, which has been logged.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the gateway has a fault: see its log")
    }

    /// The same with a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let reason = match error {
            StoreError::Full => "storage_full",
            StoreError::Slow | StoreError::TimedOut => "storage_slow",
            StoreError::Unreachable(_) | StoreError::Failed(_) | StoreError::Closed => "storage_failed",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut members = Map::new();
        members.insert("type".to_owned(), format!("{PROBLEM_TYPE}{}", self.reason).into());
        members.insert("title".to_owned(), json!(self.status.canonical_reason()));
        members.insert("status".to_owned(), self.status.as_u16().into());
        members.insert("detail".to_owned(), self.detail.clone().into());
        members.insert("reason".to_owned(), self.reason.into());
        members.extend(self.more.clone());
        let text = Value::Object(members).to_string();
        let mut response = (self.status, [(CONTENT_TYPE, PROBLEM_JSON)], text).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
            }
            _ => {}
        }
        // For the pages, which say the same to people.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to a method that a path does not have. The router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path does not have this method")
}
