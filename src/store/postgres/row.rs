//! Between a row of the database and the store's types.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smol_str::SmolStr;
use tokio_postgres::Row;

use super::error::PgError;
use crate::store::attempt::Attempt;
use crate::store::details::StoredDetails;
use crate::store::types::{Delivery, Millis, RequestId, Shown, State, Stored};
use crate::store::waiting::Waiting;

/// A text as the database can keep it: it takes no NUL.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// A number that is not below zero; the next one that fits, if it does not.
pub fn number<T: Default + TryFrom<F>, F>(found: F) -> T {
    T::try_from(found).unwrap_or_default()
}

/// The same, where there may be none.
pub fn optional<T: TryFrom<F>, F>(found: Option<F>) -> Option<T> {
    found.and_then(|found| T::try_from(found).ok())
}

/// The state in a column.
pub fn state(row: &Row, column: usize) -> Result<State, PgError> {
    let number: i16 = row.try_get(column)?;
    let state = u8::try_from(number).ok().and_then(State::from_number);
    state.ok_or_else(|| PgError::Other(format!("a delivery has the unknown state {number}")))
}

/// The bytes in a column.
pub fn bytes(row: &Row, column: usize) -> Result<Bytes, PgError> {
    Ok(Bytes::copy_from_slice(row.try_get(column)?))
}

/// A place in the queue, in six columns from this one on.
pub fn waiting(row: &Row, first: usize) -> Result<Waiting, PgError> {
    Ok(Waiting {
        due_at: row.try_get(first)?,
        attempts: number(row.try_get::<_, i64>(first + 1)?),
        counted: number(row.try_get::<_, i64>(first + 2)?),
        since: row.try_get(first + 3)?,
        replay: row.try_get(first + 4)?,
        once: row.try_get(first + 5)?,
    })
}

/// A delivery as the statements of lists give it; head and details are the caller's. `held` tells whether a route is missing
/// from the configuration, `skew` is what the database's clock is ahead.
pub fn stored(row: &Row, held: impl FnOnce(&str) -> bool, skew: Millis) -> Result<Stored, PgError> {
    let route: &str = row.try_get(2)?;
    let state = state(row, 3)?;
    let attempts = number(row.try_get::<_, i32>(4)?);
    let delivery = Delivery {
        id: row.try_get(0)?,
        received_at: row.try_get(1)?,
        route: Arc::from(route),
        state,
        scheme: Arc::from(row.try_get::<_, &str>(5)?),
        reason: row.try_get::<_, Option<&str>>(6)?.map(Arc::from),
        status: optional(row.try_get::<_, Option<i32>>(7)?),
        event_type: row.try_get::<_, Option<&str>>(8)?.map(SmolStr::new),
        event_id: row.try_get::<_, Option<&str>>(9)?.map(SmolStr::new),
        request_id: row.try_get::<_, Option<&str>>(10)?.map_or(RequestId::Unknown, |id| RequestId::Named(id.into())),
        peer: SmolStr::new(row.try_get::<_, &str>(11)?),
        method: SmolStr::new(row.try_get::<_, &str>(12)?),
        path: SmolStr::new(row.try_get::<_, &str>(13)?),
        request_bytes: number(row.try_get::<_, i64>(14)?),
        duration_ms: optional(row.try_get::<_, Option<i64>>(15)?),
        head: Bytes::new(),
        body: None,
        details: StoredDetails::default(),
    };
    let shown = Shown::of(state, attempts, held(route));
    let due: Option<i64> = row.try_get(17)?;
    Ok(Stored {
        delivery,
        shown,
        attempts,
        next_attempt_at: due.map(|at| at.saturating_sub(skew)),
        gateway: Some(SmolStr::new(row.try_get::<_, &str>(16)?)),
    })
}

/// An attempt.
pub fn attempt(row: &Row) -> Result<Attempt, PgError> {
    Ok(Attempt {
        destination: number(row.try_get::<_, i32>(0)?),
        number: number(row.try_get::<_, i64>(1)?),
        at: row.try_get(2)?,
        result: Arc::from(row.try_get::<_, &str>(3)?),
        status: optional(row.try_get::<_, Option<i32>>(4)?),
        error: row.try_get(5)?,
        duration_ms: number(row.try_get::<_, i64>(6)?),
        replay: row.try_get(7)?,
        gateway: Some(SmolStr::new(row.try_get::<_, &str>(8)?)),
        response_head: bytes(row, 9)?,
        response_body: bytes(row, 10)?,
    })
}
