//! The calls that change something, and `explain`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::body::{self, Fields};
use super::deliveries;
use super::query::{Id, Name, Query, Run};
use crate::acts::Refused;
use crate::acts::bulk::{DEFAULT_PER_SECOND, MAX_DELIVERIES, MAX_PER_SECOND, Progress};
use crate::acts::explain::Explanation;
use crate::admin::AdminContext;
use crate::admin::problem::Problem;
use crate::config::units::parse_duration;
use crate::queue::attempt::rfc3339;
use crate::routing::capture;

/// How long a capture goes on, unless something else is asked for.
pub const CAPTURE_TIME: Duration = Duration::from_secs(300);
/// Requests of a capture, unless another number is asked for.
pub const CAPTURE_MAX: u64 = 20;

type Answer = Result<Response, Problem>;

/// `POST /api/v1/deliveries/ID/replay`
///
/// # Errors
/// 404, 409, 410, 503.
pub async fn replay(State(context): State<Arc<AdminContext>>, Id(id): Id, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    let attempt = context.acts.replay(id).await?;
    Ok(super::json(StatusCode::ACCEPTED, &json!({ "attempt": attempt })))
}

/// `POST /api/v1/deliveries/ID/discard`
///
/// # Errors
/// 404, 409, 410, 503.
pub async fn discard(State(context): State<Arc<AdminContext>>, Id(id): Id, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    context.acts.discard(id).await?;
    Ok(super::json(StatusCode::OK, &json!({ "state": "discarded" })))
}

/// `POST /api/v1/deliveries/ID/erase`
///
/// # Errors
/// 404, 410, 503.
pub async fn erase(State(context): State<Arc<AdminContext>>, Id(id): Id, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    context.acts.erase(id).await?;
    Ok(super::json(StatusCode::OK, &json!({ "state": "erased" })))
}

/// `POST /api/v1/deliveries/ID/explain`
///
/// # Errors
/// 404, 409, 410, 503.
pub async fn explain(State(context): State<Arc<AdminContext>>, Id(id): Id, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    let Explanation { accepted, reason, status, title, secret_id, proven, causes, notes, signed_at } =
        context.acts.explain(id).await?;
    let signed_at = signed_at.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000)).map(rfc3339);
    let explanation = json!({
        "accepted": accepted,
        "reason": reason,
        "status": status,
        "title": title,
        "secret_id": secret_id,
        "proven": proven,
        "causes": causes,
        "notes": notes,
        "signed_at": signed_at,
    });
    Ok(super::json(StatusCode::OK, &explanation))
}

/// `POST /api/v1/replays`
///
/// # Errors
/// 400 for a wrong body or a mistake in `q`, 403 for more than a dry run if `admin.read_only` is true, 503.
pub async fn start_bulk(State(context): State<Arc<AdminContext>>, query: Query, bytes: Bytes) -> Answer {
    query.only(&[], &[])?;
    let mut fields = body::object(&bytes)?;
    let text =
        fields.text("q")?.ok_or_else(|| Problem::bad_body("q is missing: it says which deliveries to replay"))?;
    let max = fields.whole("max", 1, MAX_DELIVERIES as u64)?.unwrap_or(MAX_DELIVERIES as u64);
    let per_second = fields.whole("per_second", 1, MAX_PER_SECOND.into())?.unwrap_or(DEFAULT_PER_SECOND.into());
    let dry_run = fields.flag("dry_run")?.unwrap_or(false);
    fields.finish()?;
    let filter = deliveries::matching(&context, &text)?;
    let max = usize::try_from(max).unwrap_or(MAX_DELIVERIES);
    if dry_run {
        let matched = context.acts.count(filter, max).await?;
        return Ok(super::json(StatusCode::OK, &json!({ "matched": matched })));
    }
    if (context.running)().admin.read_only {
        return Err(Problem::read_only());
    }
    let per_second = u32::try_from(per_second).unwrap_or(MAX_PER_SECOND);
    let started = context.acts.start_bulk(filter, max, per_second).await?;
    Ok(super::json(StatusCode::ACCEPTED, &progress(&started)))
}

/// `GET /api/v1/replays/ID`
///
/// # Errors
/// 404.
pub async fn bulk(State(context): State<Arc<AdminContext>>, run: Run, query: Query) -> Answer {
    query.only(&[], &[])?;
    Ok(super::json(StatusCode::OK, &progress(&context.acts.bulk(run.0)?)))
}

/// `DELETE /api/v1/replays/ID`
///
/// # Errors
/// 404.
pub async fn stop_bulk(State(context): State<Arc<AdminContext>>, run: Run, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    Ok(super::json(StatusCode::OK, &progress(&context.acts.stop_bulk(run.0)?)))
}

/// `POST /api/v1/routes/NAME/pause`
///
/// # Errors
/// 404, 409, 503.
pub async fn pause(State(context): State<Arc<AdminContext>>, Name(name): Name, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    context.acts.pause(&name).await?;
    Ok(super::json(StatusCode::OK, &json!({ "paused": true })))
}

/// `POST /api/v1/routes/NAME/resume`
///
/// # Errors
/// 404, 503.
pub async fn resume(State(context): State<Arc<AdminContext>>, Name(name): Name, query: Query, bytes: Bytes) -> Answer {
    nothing(query, &bytes)?;
    context.acts.resume(&name).await?;
    Ok(super::json(StatusCode::OK, &json!({ "paused": false })))
}

/// `POST /api/v1/routes/NAME/capture`
///
/// # Errors
/// 400 for a wrong body, 404.
pub async fn capture(State(context): State<Arc<AdminContext>>, Name(name): Name, query: Query, bytes: Bytes) -> Answer {
    query.only(&[], &[])?;
    let mut fields = body::object(&bytes)?;
    let time = match fields.text("for")? {
        None => CAPTURE_TIME,
        Some(text) => parse_duration(&text).map_err(|error| Problem::bad_body(format!("for: {error}")))?,
    };
    if time > capture::LONGEST {
        return Err(Problem::bad_body(format!("for must be {} s at most", capture::LONGEST.as_secs())));
    }
    let max = fields.whole("max", 0, capture::MOST.into())?.unwrap_or(CAPTURE_MAX);
    fields.finish()?;
    let captured = context.acts.capture(&name, time, u32::try_from(max).unwrap_or(capture::MOST))?;
    Ok(super::json(StatusCode::OK, &shown(&captured)))
}

/// What is left of a capture.
pub fn shown(captured: &capture::Captured) -> Value {
    json!({ "until": rfc3339(captured.until), "left": captured.left })
}

fn progress(progress: &Progress) -> Value {
    let Progress { id, state, matched, done, failed, left } = progress;
    json!({
        "id": id.to_string(),
        "state": state.as_str(),
        "matched": matched,
        "done": done,
        "failed": failed,
        "left": left,
    })
}

/// A call without parameters: its body is empty, or an object without fields.
fn nothing(query: Query, bytes: &[u8]) -> Result<(), Problem> {
    query.only(&[], &[])?;
    let fields = if bytes.trim_ascii().is_empty() { Fields::new(Map::new()) } else { body::object(bytes)? };
    fields.finish()
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::NotFound | Refused::UnknownRoute | Refused::UnknownRun => StatusCode::NOT_FOUND,
            Refused::Gone => StatusCode::GONE,
            Refused::InFlight | Refused::NotVerified | Refused::NoBody | Refused::NotWaiting | Refused::NoQueue => {
                StatusCode::CONFLICT
            }
            Refused::TooManyRuns | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refused.reason(), refused.to_string())
    }
}
