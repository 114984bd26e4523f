//! Writes what a batch has changed, and commits: all in one round trip.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::PgError;
use super::link::Connection;
use super::row::clean;
use super::work::{Loaded, Work};
use super::{maintain, statements as sql};

/// What a transaction sends without waiting for answers. All are prepared before it begins, so that they arrive in order.
pub const STATEMENTS: &[&str] = &[
    sql::LOCK_PART,
    sql::TAKE,
    sql::SETTLE,
    sql::QUEUE_FRESH,
    sql::INSERT,
    sql::FIND_KEYS,
    sql::PUT_KEYS,
    sql::LOAD,
    sql::LOAD_QUEUE,
    sql::LIVING,
    sql::UPDATE,
    sql::PUT_QUEUE,
    sql::DELETE_QUEUE,
    sql::RELEASE,
    sql::PUT_ATTEMPTS,
    sql::PUT_BODIES,
    sql::DELETE_BODIES,
    sql::ERASE_DELIVERIES,
    sql::ERASE_ATTEMPTS,
    sql::DELETE_ATTEMPTS,
    sql::DELETE_DELIVERIES,
    sql::ADD_COUNTS,
];

/// Writes all that has changed, adds to this part of the numbers, and commits.
pub async fn write_and_commit(connection: &Connection, work: &Work, part: i32, gateway: &str) -> Result<(), PgError> {
    let rows = |which: fn(&Loaded) -> bool| -> Vec<i64> {
        work.rows.iter().filter(|(_, loaded)| which(loaded)).map(|(row, _)| *row).collect()
    };
    let (gone, erased) = (rows(|loaded| loaded.gone), rows(|loaded| loaded.erased && !loaded.gone));
    let without_body = rows(|loaded| loaded.gone || loaded.body == Some(None));
    tokio::try_join!(
        biased;
        put_attempts(connection, work, gateway),
        update(connection, work),
        delete_queue(connection, work),
        put_queue(connection, work),
        put_bodies(connection, work),
        for_rows(connection, sql::DELETE_BODIES, &without_body),
        for_rows(connection, sql::ERASE_DELIVERIES, &erased),
        for_rows(connection, sql::ERASE_ATTEMPTS, &erased),
        for_rows(connection, sql::DELETE_ATTEMPTS, &gone),
        for_rows(connection, sql::DELETE_DELIVERIES, &gone),
        maintain::add(connection, part, &work.deltas),
        connection.commit(),
    )?;
    Ok(())
}

async fn for_rows(connection: &Connection, sql: &'static str, rows: &Vec<i64>) -> Result<(), PgError> {
    if !rows.is_empty() {
        connection.execute(sql, &[rows]).await?;
    }
    Ok(())
}

async fn put_attempts(connection: &Connection, work: &Work, gateway: &str) -> Result<(), PgError> {
    if work.attempts.is_empty() {
        return Ok(());
    }
    let each = || work.attempts.iter();
    let rows: Vec<i64> = each().map(|((row, ..), _)| *row).collect();
    let destinations: Vec<i32> = each().map(|((_, destination, _), _)| (*destination).into()).collect();
    let numbers: Vec<i64> = each().map(|((.., number), _)| (*number).into()).collect();
    let each = || work.attempts.values();
    let at: Vec<i64> = each().map(|attempt| attempt.at).collect();
    let results: Vec<Cow<'_, str>> = each().map(|attempt| clean(&attempt.result)).collect();
    let statuses: Vec<Option<i32>> = each().map(|attempt| attempt.status.map(i32::from)).collect();
    let errors: Vec<Option<Cow<'_, str>>> = each().map(|attempt| attempt.error.as_deref().map(clean)).collect();
    let durations: Vec<i64> = each().map(|attempt| attempt.duration_ms.into()).collect();
    let replays: Vec<bool> = each().map(|attempt| attempt.replay).collect();
    let heads: Vec<&[u8]> = each().map(|attempt| &*attempt.response_head).collect();
    let bodies: Vec<&[u8]> = each().map(|attempt| &*attempt.response_body).collect();
    let params: super::link::Params<'_> = &[
        &rows,
        &destinations,
        &numbers,
        &at,
        &results,
        &statuses,
        &errors,
        &durations,
        &replays,
        &heads,
        &bodies,
        &gateway,
    ];
    connection.execute(sql::PUT_ATTEMPTS, params).await?;
    Ok(())
}

async fn update(connection: &Connection, work: &Work) -> Result<(), PgError> {
    let changed = |loaded: &Loaded| (loaded.changed || loaded.head.is_some()) && !loaded.gone;
    let changed: Vec<(i64, &Loaded)> =
        work.rows.iter().filter(|(_, loaded)| changed(loaded)).map(|(row, loaded)| (*row, loaded)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let each = || changed.iter().map(|(_, loaded)| loaded);
    let rows: Vec<i64> = changed.iter().map(|(row, _)| *row).collect();
    let states: Vec<i16> = each().map(|loaded| loaded.state.number().into()).collect();
    let attempts: Vec<i32> = each().map(|loaded| i32::try_from(loaded.attempts).unwrap_or(i32::MAX)).collect();
    let statuses: Vec<Option<i32>> = each().map(|loaded| loaded.status.map(i32::from)).collect();
    let durations: Vec<Option<i64>> = each().map(|loaded| loaded.duration_ms.map(i64::from)).collect();
    let settled: Vec<Option<i64>> = each().map(|loaded| loaded.settled_at).collect();
    let reasons: Vec<Option<Cow<'_, str>>> = each().map(|loaded| loaded.reason.as_deref().map(clean)).collect();
    let heads: Vec<Option<&[u8]>> = each().map(|loaded| loaded.head.as_deref()).collect();
    let params: super::link::Params<'_> =
        &[&rows, &states, &attempts, &statuses, &durations, &settled, &reasons, &heads];
    connection.execute(sql::UPDATE, params).await?;
    Ok(())
}

async fn delete_queue(connection: &Connection, work: &Work) -> Result<(), PgError> {
    let mut rows: Vec<i64> = Vec::new();
    let mut destinations: Vec<i32> = Vec::new();
    for (row, loaded) in &work.rows {
        let all = loaded.left.iter().chain(loaded.waits.keys().filter(|_| loaded.gone));
        for destination in all {
            rows.push(*row);
            destinations.push((*destination).into());
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    connection.execute(sql::DELETE_QUEUE, &[&rows, &destinations]).await?;
    Ok(())
}

async fn put_queue(connection: &Connection, work: &Work) -> Result<(), PgError> {
    let places = work.rows.iter().filter(|(_, loaded)| !loaded.gone).flat_map(|(row, loaded)| {
        let changed = loaded.waits.iter().filter(|(_, waits)| waits.changed);
        changed.map(move |(destination, waits)| (*row, i32::from(*destination), loaded.route, waits))
    });
    let places: Vec<_> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let rows: Vec<i64> = places.iter().map(|(row, ..)| *row).collect();
    let destinations: Vec<i32> = places.iter().map(|(_, destination, ..)| *destination).collect();
    let routes: Vec<i32> = places.iter().map(|(_, _, route, _)| *route).collect();
    let each = || places.iter().map(|(.., waits)| waits);
    let due: Vec<i64> = each().map(|waits| waits.waiting.due_at).collect();
    let attempts: Vec<i64> = each().map(|waits| waits.waiting.attempts.into()).collect();
    let counted: Vec<i64> = each().map(|waits| waits.waiting.counted.into()).collect();
    let since: Vec<i64> = each().map(|waits| waits.waiting.since).collect();
    let replays: Vec<bool> = each().map(|waits| waits.waiting.replay).collect();
    let once: Vec<bool> = each().map(|waits| waits.waiting.once).collect();
    let owners: Vec<Option<i64>> = each().map(|waits| waits.owner).collect();
    let params: super::link::Params<'_> =
        &[&rows, &destinations, &routes, &due, &attempts, &counted, &since, &replays, &once, &owners];
    connection.execute(sql::PUT_QUEUE, params).await?;
    Ok(())
}

async fn put_bodies(connection: &Connection, work: &Work) -> Result<(), PgError> {
    let kept = work.rows.iter().filter(|(_, loaded)| !loaded.gone);
    let (rows, bodies): (Vec<i64>, Vec<Bytes>) =
        kept.filter_map(|(row, loaded)| Some((*row, loaded.body.clone()??))).unzip();
    if rows.is_empty() {
        return Ok(());
    }
    let bodies: Vec<&[u8]> = bodies.iter().map(|body| &**body).collect();
    connection.execute(sql::PUT_BODIES, &[&rows, &bodies]).await?;
    Ok(())
}
