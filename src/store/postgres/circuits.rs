//! The circuits that gateways share. Their table is not logged: a commit to it waits for no disk and no standby, and after a
//! crash all circuits are closed until attempts fail again.
//!
//! A circuit that is closed and has no failures has no row. One gateway at a time may probe: the one whose session, as long
//! as that lives, is in the row.

use std::collections::HashMap;
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

impl Postgres {
    /// Writes what is to be told of circuits, and reads all, if something is to be told, if others have changed something, or if
    /// it `is_time`.
    pub(super) fn share_circuits(&mut self, is_time: bool) -> Result<(), PgError> {
        let untold = self.sharing.circuits.take();
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
        if let Some(others) = &self.others {
            (others.tell)(Heard::Circuits(known));
        }
        for ask in untold.into_values().flat_map(|untold| untold.asks) {
            // A dispatcher that has gone asks no more.
            let _gone = ask.send(());
        }
        Ok(())
    }

    /// Reads all circuits.
    pub(super) fn read_circuits(&mut self) -> Result<(), PgError> {
        let known = self.write_circuits(&HashMap::new())?;
        self.sharing.circuits.set_known(&known, &[]);
        Ok(())
    }

    /// Writes this, and reads all circuits.
    fn write_circuits(&mut self, untold: &HashMap<Uuid, Untold>) -> Result<KnownCircuits, PgError> {
        let asks = untold.values().any(|untold| !untold.asks.is_empty());
        let session = if asks { self.session()? } else { 0 };
        let probes = self.probes.clone();
        let (granted, rows) = self.link.run_again(QUERY_TIME, async |connection| {
            let mut granted = Vec::new();
            for (upstream, untold) in untold {
                write(connection, upstream, untold, probes.get(upstream).copied()).await?;
                if !untold.asks.is_empty() && connection.execute(sql::ASK_TO_PROBE, &[upstream, &session]).await? > 0 {
                    granted.push(*upstream);
                }
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
