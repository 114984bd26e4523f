//! `hooklatch serve`: runs the gateway until SIGTERM or SIGINT, then lets deliveries in flight finish. A second signal
//! stops it at once.

use std::io;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, load};
use crate::app::{self, Ended};
use crate::clock::Clock;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    let listeners = app::bind(&config).map_err(|error| Failure::Failed(error.to_string()))?;
    match app::run(config, listeners, Clock::system(), shutdown()) {
        Ok(Ended::Drained) => Ok(()),
        Ok(Ended::CutOff(deliveries)) => {
            tracing::error!(deliveries, "the shutdown grace ran out: deliveries were cut off");
            Err(Failure::Told)
        }
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

/// Ready at the first signal.
pub(super) async fn shutdown() {
    match signals() {
        Ok((mut terminate, mut interrupt)) => {
            either(&mut terminate, &mut interrupt).await;
            tokio::task::spawn_local(async move {
                either(&mut terminate, &mut interrupt).await;
                tracing::error!("a second signal: stopping at once");
                std::process::exit(1);
            });
        }
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals");
            std::future::pending::<()>().await;
        }
    }
}

fn signals() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
