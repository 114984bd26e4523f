//! The circuits that gateways share. Their table is not logged: a commit to it waits for no disk and no standby, and after a
//! crash all circuits are closed until attempts fail again.
//!
//! A circuit that is closed and has no failures has no row. One gateway at a time may probe: the one whose session, as long
//! as that lives, is in the row.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use uuid::Uuid;

use super::error::PgError;
use super::link::Connection;
use super::row::number;
use super::{Postgres, QUERY_TIME, statements as sql};
use crate::store::backend::Heard;
use crate::store::circuits::{CircuitEvent, KnownCircuits, Prober, SharedCircuit, SharedOpen, Untold};
use crate::store::types::millis;

/// Circuits that are told of in one transaction: so few that it ends in time where the database is far away.
const MOST: usize = 16;

/// After a failure nothing is told for so long: each batch of deliveries would wait for it otherwise.
const PAUSE: Duration = Duration::from_secs(1);

/// Begins a transaction that does not wait long for the row of a gateway that holds it.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '200ms'";

impl Postgres {
    /// Writes what is to be told of circuits, and reads all, if something is to be told, if others have changed something, or if
    /// it `is_time`; now and then, forgets old ones. If that fails, each gateway goes by its own circuits, and deliveries are
    /// accepted as before.
    pub(super) fn share_circuits(&mut self, is_time: bool, forgets: bool) {
        let at = self.upkeep.now();
        if self.upkeep.circuits_again.is_some_and(|again| at < again) {
            return;
        }
        let result =
            self.exchange_circuits(is_time).and_then(|()| if forgets { self.forget_circuits() } else { Ok(()) });
        let again = result.is_err().then(|| at + PAUSE);
        let worked = std::mem::replace(&mut self.upkeep.circuits_again, again).is_none();
        match result {
            Err(error) if worked => tracing::warn!(%error, "circuits are not shared with other gateways for now"),
            Ok(()) if !worked => tracing::info!("circuits are shared with other gateways again"),
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn exchange_circuits(&mut self, is_time: bool) -> Result<(), PgError> {
        let untold = self.sharing.circuits.take(MOST);
        let is_to_read = self.sharing.circuits.take_is_to_read();
        if untold.is_empty() && !is_to_read && !is_time {
            return Ok(());
        }
        let known = match self.write_circuits(&untold) {
            Ok(known) => known,
            Err(error) => {
                self.sharing.circuits.put_back(untold);
                return Err(error);
            }
        };
        let told: Vec<Uuid> = untold.keys().copied().collect();
        if self.sharing.circuits.set_known(&known, &told) {
            self.news.set_circuits();
        }
        let is_granted = |upstream: &Uuid| {
            known.get(upstream).and_then(|circuit| circuit.open).is_some_and(|open| open.prober == Prober::Granted)
        };
        let granted: Vec<Uuid> = told.into_iter().filter(is_granted).collect();
        if let Some(others) = &self.others {
            (others.tell)(Heard::Circuits(known));
        }
        for (upstream, untold) in untold {
            let heard = untold.asks.into_iter().filter_map(|ask| ask.send(()).ok()).count();
            if heard == 0 && granted.contains(&upstream) {
                // All who have asked have gone meanwhile: another gateway may probe.
                self.sharing.circuits.tell(upstream, CircuitEvent::ProbeCancelled);
            }
        }
        Ok(())
    }

    fn forget_circuits(&mut self) -> Result<(), PgError> {
        self.link.run(QUERY_TIME, async |connection| connection.execute(sql::FORGET_CIRCUITS, &[]).await)?;
        Ok(())
    }

    /// Reads all circuits.
    pub(super) fn read_circuits(&mut self) -> Result<(), PgError> {
        let known = self.write_circuits(&BTreeMap::new())?;
        self.sharing.circuits.set_known(&known, &[]);
        Ok(())
    }

    /// Writes this, all or nothing, and reads all circuits.
    fn write_circuits(&mut self, untold: &BTreeMap<Uuid, Untold>) -> Result<KnownCircuits, PgError> {
        let asks = untold.values().any(Untold::is_asked);
        let session = if asks { self.session()? } else { 0 };
        let probes = self.probes.clone();
        let (granted, rows) = self.link.run_again(QUERY_TIME, async |connection| {
            let mut granted = Vec::new();
            if !untold.is_empty() {
                connection.batch(BEGIN).await?;
                let result = write_all(connection, untold, &probes, session).await;
                connection.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
                granted = result?;
            }
            Ok((granted, connection.query(sql::CIRCUITS, &[]).await?))
        })?;
        for (upstream, untold) in untold {
            if untold.answered || untold.probe.is_some() {
                self.probes.remove(upstream);
            }
        }
        self.probes.extend(granted.iter().map(|upstream| (*upstream, session)));
        let now = self.upkeep.now();
        let mut known: KnownCircuits =
            rows.iter().map(|row| circuit(row, &self.probes, now)).collect::<Result<_, PgError>>()?;
        for upstream in granted {
            if let Some(open) = known.get_mut(&upstream).and_then(|circuit| circuit.open.as_mut()) {
                open.prober = Prober::Granted;
            }
        }
        Ok(known)
    }
}

/// Writes what is to be told, in the order of the upstreams, so that two gateways do not wait for each other. Gives those that
/// this session may probe.
async fn write_all(
    connection: &Connection,
    untold: &BTreeMap<Uuid, Untold>,
    probes: &HashMap<Uuid, i64>,
    session: i64,
) -> Result<Vec<Uuid>, PgError> {
    let mut granted = Vec::new();
    for (upstream, untold) in untold {
        write(connection, upstream, untold, probes.get(upstream).copied()).await?;
        if untold.is_asked() && connection.execute(sql::ASK_TO_PROBE, &[upstream, &session]).await? > 0 {
            granted.push(*upstream);
        }
    }
    Ok(granted)
}

/// Writes what is to be told of one circuit, which this session of the gateway probes.
async fn write(connection: &Connection, upstream: &Uuid, untold: &Untold, session: Option<i64>) -> Result<(), PgError> {
    if untold.answered {
        connection.execute(sql::CLOSE_CIRCUIT, &[upstream]).await?;
    }
    match (untold.probe, session) {
        (Some(CircuitEvent::ProbeFailed(max_wait)), Some(session)) => {
            connection.execute(sql::FAIL_PROBE, &[upstream, &session, &millis(max_wait)]).await?;
        }
        (Some(_), Some(session)) => {
            connection.execute(sql::CANCEL_PROBE, &[upstream, &session]).await?;
        }
        _ => {}
    }
    if let Some((count, limit, wait)) = untold.failed {
        connection.execute(sql::FAIL_CIRCUIT, &[upstream, &i64::from(count), &i64::from(limit), &millis(wait)]).await?;
    }
    Ok(())
}

/// A circuit, of which this gateway makes these probes.
fn circuit(row: &Row, probes: &HashMap<Uuid, i64>, now: Instant) -> Result<(Uuid, SharedCircuit), PgError> {
    let upstream: Uuid = row.try_get(0)?;
    let prober = match row.try_get::<_, Option<i64>>(4)? {
        None => Prober::Nobody,
        prober if prober.as_ref() == probes.get(&upstream) => Prober::ThisGateway,
        Some(_) => Prober::Another,
    };
    let open = |wait: i64, in_ms: Option<i64>| SharedOpen {
        probe_at: now + duration(in_ms.unwrap_or_default()),
        wait: duration(wait),
        prober,
    };
    let (wait, probe_in): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    let failures = number(row.try_get::<_, i64>(1)?);
    Ok((upstream, SharedCircuit { failures, open: wait.map(|wait| open(wait, probe_in)) }))
}

fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}
