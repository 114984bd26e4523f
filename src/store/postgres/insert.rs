//! New deliveries of a batch, all of them in one statement, and dedupe keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::error::PgError;
use super::link::Connection;
use super::work::Times;
use super::{row, statements};
use crate::store::attempt::Attempt;
use crate::store::backend::Write;
use crate::store::types::{DedupeKey, Delivery, Millis, Shown, State};

/// The deliveries that a batch stores.
#[derive(Debug, Default)]
pub struct NewRows<'a> {
    deliveries: Vec<&'a Delivery>,
    routes: Vec<i32>,
    attempts: Vec<Option<&'a Attempt>>,
    keys: Vec<Option<DedupeKey>>,
    destinations: Vec<i32>,
    claims: Vec<bool>,
    /// Keys that an earlier delivery of the batch has.
    twins: Vec<Uuid>,
    skew: Millis,
}

impl<'a> NewRows<'a> {
    /// Those of a batch, each id and each key once.
    pub fn of(batch: &'a [Write], routes: &HashMap<Arc<str>, i32>, skew: Millis) -> Self {
        let mut new = Self { skew, ..Self::default() };
        let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
        for write in batch {
            let (delivery, attempt, key, destinations, claim) = match write {
                Write::Accept { delivery, key, destinations, claim } => {
                    (&**delivery, None, *key, i32::from(*destinations), *claim)
                }
                Write::Record(record) => (&record.delivery, record.attempt.as_ref(), None, 0, false),
                Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => continue,
            };
            let Some(route) = routes.get(&delivery.route) else { continue };
            if let Some(key) = key.map(|key| Uuid::from_bytes(key.key))
                && !keys.insert(key)
            {
                // The twin gets the answer of the first one.
                new.twins.push(key);
                continue;
            }
            if !ids.insert(delivery.id) {
                continue;
            }
            new.deliveries.push(delivery);
            new.routes.push(*route);
            new.attempts.push(attempt);
            new.keys.push(key);
            new.destinations.push(destinations);
            new.claims.push(claim);
        }
        new
    }

    /// Stores them; gives the rows of those that are stored, by id.
    pub async fn insert(
        &self,
        connection: &Connection,
        gateway: &str,
        session: Option<i64>,
        times: Times,
    ) -> Result<HashMap<Uuid, i64>, PgError> {
        if self.deliveries.is_empty() {
            return Ok(HashMap::new());
        }
        let each = &self.deliveries;
        let ids: Vec<Uuid> = each.iter().map(|delivery| delivery.id).collect();
        let received: Vec<i64> = each.iter().map(|delivery| delivery.received_at).collect();
        let settled: Vec<Option<i64>> =
            each.iter().map(|delivery| (delivery.state != State::Pending).then_some(times.now)).collect();
        let states: Vec<i16> = each.iter().map(|delivery| delivery.state.number().into()).collect();
        let attempts: Vec<i32> = self.attempts.iter().map(|attempt| i32::from(attempt.is_some())).collect();
        let schemes: Vec<String> = each.iter().map(|delivery| row::clean(&delivery.scheme)).collect();
        let reasons: Vec<Option<String>> = each.iter().map(|delivery| clean(delivery.reason.as_deref())).collect();
        let statuses: Vec<Option<i32>> = each.iter().map(|delivery| delivery.status.map(i32::from)).collect();
        let types: Vec<Option<String>> = each.iter().map(|delivery| clean(delivery.event_type.as_deref())).collect();
        let events: Vec<Option<String>> = each.iter().map(|delivery| clean(delivery.event_id.as_deref())).collect();
        let requests: Vec<Option<String>> = each.iter().map(|delivery| clean(delivery.request_id.as_deref())).collect();
        let peers: Vec<String> = each.iter().map(|delivery| row::clean(&delivery.peer)).collect();
        let methods: Vec<String> = each.iter().map(|delivery| row::clean(&delivery.method)).collect();
        let paths: Vec<String> = each.iter().map(|delivery| row::clean(&delivery.path)).collect();
        let lengths: Vec<i64> =
            each.iter().map(|delivery| i64::try_from(delivery.request_bytes).unwrap_or(i64::MAX)).collect();
        let durations: Vec<Option<i64>> = each.iter().map(|delivery| delivery.duration_ms.map(i64::from)).collect();
        let details: Vec<&[u8]> = each.iter().map(|delivery| &*delivery.details).collect();
        let heads: Vec<&[u8]> = each.iter().map(|delivery| &*delivery.head).collect();
        let bodies: Vec<Option<&[u8]>> = each.iter().map(|delivery| delivery.body.as_deref()).collect();
        let keys: Vec<Option<Uuid>> = self.keys.iter().map(|key| key.map(|key| Uuid::from_bytes(key.key))).collect();
        let untils: Vec<Option<i64>> =
            self.keys.iter().map(|key| key.map(|key| key.until.saturating_add(self.skew))).collect();
        let found = connection
            .query(
                statements::INSERT,
                &[
                    &ids,
                    &received,
                    &settled,
                    &self.routes,
                    &states,
                    &attempts,
                    &schemes,
                    &reasons,
                    &statuses,
                    &types,
                    &events,
                    &requests,
                    &peers,
                    &methods,
                    &paths,
                    &lengths,
                    &durations,
                    &details,
                    &heads,
                    &bodies,
                    &keys,
                    &untils,
                    &self.destinations,
                    &self.claims,
                    &times.now,
                    &gateway,
                    &session,
                    &times.skew,
                ],
            )
            .await?;
        found.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
    }

    /// The attempts that were made at once, of those that are stored.
    pub fn attempts<'s>(&'s self, stored: &'s HashMap<Uuid, i64>) -> impl Iterator<Item = (i64, &'a Attempt)> + 's {
        let each = self.deliveries.iter().zip(&self.attempts);
        each.filter_map(|(delivery, attempt)| Some((*stored.get(&delivery.id)?, (*attempt)?)))
    }

    /// What those that are stored count as.
    pub fn counted<'s>(&'s self, stored: &'s HashMap<Uuid, i64>) -> impl Iterator<Item = (i32, Shown)> + 's {
        let each = self.deliveries.iter().zip(&self.routes).zip(&self.attempts);
        let stored = each.filter(|((delivery, _), _)| stored.contains_key(&delivery.id));
        stored.map(|((delivery, route), attempt)| {
            (*route, Shown::of(delivery.state, u32::from(attempt.is_some()), false))
        })
    }

    /// Keys of deliveries that are not stored.
    fn open_keys(&self, stored: &HashMap<Uuid, i64>) -> Vec<Uuid> {
        let each = self.deliveries.iter().zip(&self.keys);
        let open = each.filter(|(delivery, _)| !stored.contains_key(&delivery.id));
        let open = open.filter_map(|(_, key)| key.map(|key| Uuid::from_bytes(key.key)));
        open.chain(self.twins.iter().copied()).collect()
    }
}

/// Which deliveries the keys belong to of those that are not stored.
pub async fn find_keys(
    connection: &Connection,
    new: &NewRows<'_>,
    stored: &HashMap<Uuid, i64>,
) -> Result<HashMap<Uuid, Uuid>, PgError> {
    let open = new.open_keys(stored);
    if open.is_empty() {
        return Ok(HashMap::new());
    }
    let found = connection.query(statements::FIND_KEYS, &[&open]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Writes the keys of deliveries that handlers have taken.
pub async fn put_keys(connection: &Connection, batch: &[Write], skew: Millis) -> Result<(), PgError> {
    let mut keys: HashMap<Uuid, (i64, Uuid)> = HashMap::new();
    for write in batch {
        if let Write::Key(id, key) = write {
            keys.insert(Uuid::from_bytes(key.key), (key.until.saturating_add(skew), *id));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let (names, values): (Vec<Uuid>, Vec<(i64, Uuid)>) = keys.into_iter().unzip();
    let (untils, ids): (Vec<i64>, Vec<Uuid>) = values.into_iter().unzip();
    connection.execute(statements::PUT_KEYS, &[&names, &untils, &ids]).await?;
    Ok(())
}

fn clean(text: Option<&str>) -> Option<String> {
    text.map(row::clean)
}
