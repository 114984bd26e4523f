//! Between a row of the database and the store's types.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Row, params};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::store::attempt::Attempt;
use crate::store::details::StoredDetails;
use crate::store::types::{Delivery, Millis, RequestId, Shown, State, Stored};

/// Stores a delivery of which so many attempts were made under a row and a route's number; says whether its id is new.
pub fn insert_delivery(
    statement: &mut CachedStatement<'_>,
    row: i64,
    route: i64,
    (delivery, attempts): (&Delivery, u32),
    now: Millis,
) -> rusqlite::Result<bool> {
    let settled_at = (delivery.state != State::Pending).then_some(now);
    let rows = statement.execute(params![
        row,
        delivery.id.as_bytes(),
        delivery.received_at,
        settled_at,
        route,
        delivery.state.number(),
        &*delivery.scheme,
        delivery.reason.as_deref(),
        delivery.status,
        delivery.event_type.as_deref(),
        delivery.event_id.as_deref(),
        request_id(delivery),
        delivery.peer.as_str(),
        delivery.method.as_str(),
        delivery.path.as_str(),
        i64::try_from(delivery.request_bytes).unwrap_or(i64::MAX),
        delivery.duration_ms,
        &*delivery.details.encoded(),
        &*delivery.head,
        attempts,
    ])?;
    Ok(rows == 1)
}

/// What stands for the request id: nothing for the delivery's own id, which most have, so that it takes no room in the row and in
/// the index; an empty text for none.
fn request_id(delivery: &Delivery) -> Option<&str> {
    match &delivery.request_id {
        RequestId::Own => None,
        RequestId::Named(text) => Some(text),
        RequestId::Unknown => Some(""),
    }
}

/// A delivery as the statement of summaries gives it; head and details are the caller's.
pub fn stored(row: &Row<'_>, route: impl FnOnce(i64) -> Option<(Arc<str>, bool)>) -> rusqlite::Result<Stored> {
    let (name, held) = route(row.get(2)?).ok_or_else(|| unreadable(2, Type::Integer, "an unknown route"))?;
    let state = state(row, 3)?;
    let attempts = row.get(4)?;
    let id = id(row, 0)?;
    let delivery = Delivery {
        id,
        received_at: row.get(1)?,
        route: name,
        state,
        scheme: row.get(5)?,
        reason: row.get(6)?,
        status: row.get(7)?,
        event_type: optional_text(row, 8)?,
        event_id: optional_text(row, 9)?,
        request_id: match optional_text(row, 10)? {
            None if state != State::Erased => RequestId::Own,
            named => named.filter(|named| !named.is_empty()).map_or(RequestId::Unknown, RequestId::Named),
        },
        peer: text(row, 11)?,
        method: text(row, 12)?,
        path: text(row, 13)?,
        request_bytes: u64::try_from(row.get::<_, i64>(14)?).unwrap_or(0),
        duration_ms: row.get(15)?,
        head: Bytes::new(),
        body: None,
        details: StoredDetails::default(),
    };
    let shown = Shown::of(state, attempts, held);
    Ok(Stored { delivery, shown, attempts, next_attempt_at: row.get(16)?, gateway: None })
}

/// An attempt.
pub fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        destination: row.get(0)?,
        number: row.get(1)?,
        at: row.get(2)?,
        result: row.get(3)?,
        status: row.get(4)?,
        error: row.get(5)?,
        duration_ms: row.get(6)?,
        replay: row.get(7)?,
        gateway: None,
        response_head: bytes(row, 8)?,
        response_body: bytes(row, 9)?,
    })
}

/// The id in a column.
pub fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(Uuid::from_bytes(bytes))
}

/// The state in a column.
pub fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    State::from_number(row.get(column)?).ok_or_else(|| unreadable(column, Type::Integer, "an unknown state"))
}

/// The text in a column.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<SmolStr> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

/// The text in a column that can be empty of one.
fn optional_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<SmolStr>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(SmolStr::new))
}

/// The bytes in a column.
pub fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(row.get::<_, Vec<u8>>(column)?.into())
}

fn unreadable(column: usize, kind: Type, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}
