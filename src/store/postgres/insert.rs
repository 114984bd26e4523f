//! New deliveries of a batch, those that are fresh in one statement and the others in another one, and dedupe keys.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::error::PgError;
use super::link::{Connection, Params};
use super::row::clean;
use super::statements;
use super::work::Times;
use crate::store::attempt::Attempt;
use crate::store::backend::Write;
use crate::store::types::{DedupeKey, Delivery, Millis, RequestId, Shown, State};

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

/// What all new deliveries have.
struct Columns<'a> {
    ids: Vec<Uuid>,
    received: Vec<i64>,
    schemes: Vec<Cow<'a, str>>,
    types: Vec<Option<Cow<'a, str>>>,
    events: Vec<Option<Cow<'a, str>>>,
    requests: Vec<Option<Cow<'a, str>>>,
    peers: Vec<Cow<'a, str>>,
    methods: Vec<Cow<'a, str>>,
    paths: Vec<Cow<'a, str>>,
    lengths: Vec<i64>,
    details: Vec<Cow<'a, [u8]>>,
    heads: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(deliveries: &[&'a Delivery]) -> Self {
        let each = || deliveries.iter().copied();
        Self {
            ids: each().map(|delivery| delivery.id).collect(),
            received: each().map(|delivery| delivery.received_at).collect(),
            schemes: each().map(|delivery| clean(&delivery.scheme)).collect(),
            types: each().map(|delivery| delivery.event_type.as_deref().map(clean)).collect(),
            events: each().map(|delivery| delivery.event_id.as_deref().map(clean)).collect(),
            requests: each()
                .map(|delivery| match &delivery.request_id {
                    RequestId::Unknown => None,
                    RequestId::Own => Some(delivery.id.to_string().into()),
                    RequestId::Named(text) => Some(clean(text)),
                })
                .collect(),
            peers: each().map(|delivery| clean(&delivery.peer)).collect(),
            methods: each().map(|delivery| clean(&delivery.method)).collect(),
            paths: each().map(|delivery| clean(&delivery.path)).collect(),
            lengths: each().map(|delivery| i64::try_from(delivery.request_bytes).unwrap_or(i64::MAX)).collect(),
            details: each().map(|delivery| delivery.details.encoded()).collect(),
            heads: each().map(|delivery| &*delivery.head).collect(),
        }
    }
}

impl<'a> NewRows<'a> {
    /// Those of a batch, each id and each key once: those that are stored as fresh ones, and the others.
    pub fn of(batch: &'a [Write], routes: &HashMap<Arc<str>, i32>, skew: Millis, uses_fresh: bool) -> (Self, Self) {
        let empty = || Self { skew, ..Self::default() };
        let (mut fresh, mut others) = (empty(), empty());
        let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
        for write in batch {
            let (delivery, attempt, key, destinations, claim) = match write {
                Write::Accept { delivery, key, destinations, claim } => {
                    (&**delivery, None, *key, *destinations, *claim)
                }
                Write::Record(record) => (&record.delivery, record.attempt.as_ref(), None, 0, false),
                Write::Key(..) | Write::Complete(_) | Write::Release(_) | Write::Change(_) => continue,
            };
            let Some(route) = routes.get(&delivery.route) else { continue };
            let is_fresh = uses_fresh && is_fresh(delivery, destinations, claim);
            let new = if is_fresh { &mut fresh } else { &mut others };
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
            new.destinations.push(destinations.into());
            new.claims.push(claim);
        }
        (fresh, others)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Stores them as fresh ones of a session, and adds them to this part of the numbers; gives the rows of those that are
    /// stored, by id.
    pub async fn take(
        &self,
        connection: &Connection,
        (gateway, part): (&str, i32),
        session: Option<i64>,
        times: Times,
    ) -> Result<HashMap<Uuid, i64>, PgError> {
        if self.deliveries.is_empty() {
            return Ok(HashMap::new());
        }
        let columns = Columns::of(&self.deliveries);
        let bodies: Vec<&[u8]> = self.deliveries.iter().map(|new| new.body.as_deref().unwrap_or_default()).collect();
        let (keys, untils) = self.keys();
        let params: Params<'_> = &[
            &columns.ids,
            &columns.received,
            &self.routes,
            &columns.schemes,
            &columns.types,
            &columns.events,
            &columns.requests,
            &columns.peers,
            &columns.methods,
            &columns.paths,
            &columns.lengths,
            &columns.details,
            &columns.heads,
            &bodies,
            &keys,
            &untils,
            &session,
            &times.now,
            &times.of_queue,
            &gateway,
            &part,
        ];
        let found = connection.query(statements::TAKE, params).await?;
        found.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
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
        let columns = Columns::of(each);
        let settled: Vec<Option<i64>> =
            each.iter().map(|delivery| (delivery.state != State::Pending).then_some(times.now)).collect();
        let states: Vec<i16> = each.iter().map(|delivery| delivery.state.number().into()).collect();
        let attempts: Vec<i32> = self.attempts.iter().map(|attempt| i32::from(attempt.is_some())).collect();
        let reasons: Vec<Option<Cow<'_, str>>> =
            each.iter().map(|delivery| delivery.reason.as_deref().map(clean)).collect();
        let statuses: Vec<Option<i32>> = each.iter().map(|delivery| delivery.status.map(i32::from)).collect();
        let durations: Vec<Option<i64>> = each.iter().map(|delivery| delivery.duration_ms.map(i64::from)).collect();
        let bodies: Vec<Option<&[u8]>> = each.iter().map(|delivery| delivery.body.as_deref()).collect();
        let (keys, untils) = self.keys();
        let params: Params<'_> = &[
            &columns.ids,
            &columns.received,
            &settled,
            &self.routes,
            &states,
            &attempts,
            &columns.schemes,
            &reasons,
            &statuses,
            &columns.types,
            &columns.events,
            &columns.requests,
            &columns.peers,
            &columns.methods,
            &columns.paths,
            &columns.lengths,
            &durations,
            &columns.details,
            &columns.heads,
            &bodies,
            &keys,
            &untils,
            &self.destinations,
            &self.claims,
            &times.now,
            &gateway,
            &session,
            &times.of_queue,
        ];
        let found = connection.query(statements::INSERT, params).await?;
        found.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
    }

    fn keys(&self) -> (Vec<Option<Uuid>>, Vec<Option<i64>>) {
        let each = || self.keys.iter();
        let keys = each().map(|key| key.map(|key| Uuid::from_bytes(key.key))).collect();
        (keys, each().map(|key| key.map(|key| key.until.saturating_add(self.skew))).collect())
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

/// Whether a delivery is stored as a fresh one: it is attempted at once, and has one place to go.
fn is_fresh(delivery: &Delivery, destinations: u16, claim: bool) -> bool {
    claim && destinations == 1 && delivery.body.is_some()
}

/// Which deliveries the keys belong to of those that are not stored.
pub async fn find_keys(
    connection: &Connection,
    new: [&NewRows<'_>; 2],
    stored: &HashMap<Uuid, i64>,
) -> Result<HashMap<Uuid, Uuid>, PgError> {
    let open: Vec<Uuid> = new.iter().flat_map(|new| new.open_keys(stored)).collect();
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
