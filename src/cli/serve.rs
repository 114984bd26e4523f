//! `hooklatch serve`: runs the gateway until SIGTERM or SIGINT, then lets deliveries in flight finish. A second signal of
//! these stops it at once. SIGHUP, or a change of a file of the configuration, reloads the configuration.

use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Failure, failure};
use crate::app::{self, Order, ShutdownResult};
use crate::clock::Clock;
use crate::config::reload::{self, Watched};
use crate::config::{Config, LoadError};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let (config, watched) = reload::load_watched(path);
    let config = config.map_err(|error| failure(path, error))?;
    app::warn_of(&config.warnings);
    let runtime = app::runtime()?;
    // From here on every signal is handled; the system's default handling would end the process.
    let mut operator = {
        let _guard = runtime.enter();
        Operator::new(watched)?
    };
    let listeners = app::bind(&config).map_err(|error| Failure::Failed(error.to_string()))?;
    match app::run_under(&runtime, config, listeners, Clock::system(), async || operator.order().await) {
        Ok(ShutdownResult::Drained) => Ok(()),
        Ok(ShutdownResult::CutOff(deliveries)) => {
            tracing::error!(deliveries, "the shutdown grace ran out: deliveries were cut off");
            Err(Failure::Told)
        }
        Ok(ShutdownResult::Stopped(deliveries)) => {
            tracing::error!(deliveries, "a second signal: stopped at once");
            Err(Failure::Told)
        }
        Err(error) if error.is_of_the_configuration() => Err(Failure::Unusable(error.to_string())),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

/// Ready at the first SIGTERM or SIGINT.
pub(super) async fn shutdown() {
    match Ending::new() {
        Ok(mut ending) => ending.signal().await,
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals");
            std::future::pending::<()>().await;
        }
    }
}

/// The signals that end the gateway.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

/// Turns signals and changed files into orders for the gateway.
struct Operator {
    ending: Ending,
    hangup: Signal,
    /// Whether the gateway is draining.
    drains: bool,
    /// Asks the watching thread to load the configuration. The channel holds one request: a second one would be the same.
    requests: SyncSender<()>,
    loads: mpsc::Receiver<Result<Config, LoadError>>,
}

impl Ending {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Operator {
    /// Reads files on a thread of its own, because a file system may block for long. The thread ends with the process.
    fn new(watched: Watched) -> io::Result<Self> {
        let (requests, requested) = sync_channel(1);
        let (publish, loads) = mpsc::channel(1);
        let watch = move || reload::watch(watched, &requested, |loaded| publish.blocking_send(loaded).is_ok());
        std::thread::Builder::new().name("reload".to_owned()).spawn(watch)?;
        Ok(Self { ending: Ending::new()?, hangup: signal(SignalKind::hangup())?, drains: false, requests, loads })
    }

    async fn order(&mut self) -> Order {
        loop {
            tokio::select! {
                biased;
                () = self.ending.signal() => {
                    return if std::mem::replace(&mut self.drains, true) { Order::Stop } else { Order::Drain };
                }
                _ = self.hangup.recv() => {
                    // If the channel is full, the load that is already requested will see the same files.
                    let _ = self.requests.try_send(());
                }
                Some(loaded) = self.loads.recv() => return Order::Reload(Box::new(loaded)),
            }
        }
    }
}
