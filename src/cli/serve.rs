//! `hooklatch serve`: runs the gateway until SIGTERM or SIGINT, then lets deliveries in flight finish. A second signal of
//! these stops it at once. SIGHUP, or a change of a file of the configuration, reloads the configuration.
//!
//! Under systemd it takes the sockets that a `.socket` unit or the process before has opened, leaves its own with systemd for the next
//! process, and says when it is ready, reloads and stops.
//!
//! On a terminal, unless a format of the log is asked for, it says what it serves and what becomes of each delivery.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use super::support::http::reachable;
use super::support::logging::Logging;
use super::support::systemd::Manager;
use super::{Failure, failure};
use crate::app::{self, Followed, Listeners, Order, ShutdownResult};
use crate::clock::Clock;
use crate::config::reload::{self, Progress, Watched};
use crate::config::{AccessLog, Config, LoadError};

/// How long reading the files of a configuration may take until that counts as a failed reload. What is read later is taken
/// up all the same.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(path: &Path, logging: &Logging) -> Result<(), Failure> {
    let mut manager = Manager::default();
    let passed = manager.sockets().map_err(|error| Failure::Failed(format!("a socket of systemd: {error}")))?;
    let (config, watched) = reload::load_watched(path);
    let mut config = config.map_err(|error| failure(path, error))?;
    app::warn_of(&config.warnings);
    let runtime = app::runtime()?;
    // From here on every signal is handled; the system's default handling would end the process.
    let mut operator = {
        let _guard = runtime.enter();
        Operator::new(path.to_owned(), watched)?
    };
    let listeners = app::bind_with(&config, passed).map_err(|error| Failure::Failed(error.to_string()))?;
    manager.keep(&listeners);
    if logging.shows_deliveries {
        show_all(&mut config);
        introduce(&config, &listeners)?;
    }
    let orders = async |before: Followed| {
        // The gateway asks for an order once it runs, and again once it has followed it.
        manager.ready(before == Followed::Failed);
        let mut order = operator.order().await;
        match &mut order {
            Order::Reload(loaded) => {
                manager.reloading();
                if logging.shows_deliveries {
                    loaded.iter_mut().for_each(show_all);
                }
            }
            Order::Drain | Order::Stop => manager.stopping(),
        }
        order
    };
    match app::run_under(&runtime, config, listeners, Clock::system(), logging.dropped(), orders) {
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

/// On a terminal each delivery has a line, and not those alone that are refused.
fn show_all(config: &mut Config) {
    if config.server.access_log == AccessLog::Refused {
        config.server.access_log = AccessLog::All;
    }
}

/// Says on a terminal what is served: a line for each route, and the address of the page.
fn introduce(config: &Config, listeners: &Listeners) -> Result<(), Failure> {
    let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
    let protocol = if config.server.tls.is_some() { "https" } else { "http" };
    outln!("hooklatch {} on {protocol}://{}", env!("CARGO_PKG_VERSION"), addresses.join(", "));
    for route in &config.routes {
        let (host, path) = (route.host.as_deref().unwrap_or_default(), &route.path);
        let secrets = match route.secret_ids.len() {
            1 => "1 secret".to_owned(),
            count => format!("{count} secrets"),
        };
        let (name, scheme, delivery) = (&route.name, &route.scheme.name, route.delivery.as_str());
        outln!("  {name}: {host}{path} → {}  {scheme}, {secrets}, {delivery}", route.upstream);
    }
    if config.admin.page {
        outln!("  the page: {}", page(listeners));
    }
    Ok(())
}

/// The address of the page.
pub(super) fn page(listeners: &Listeners) -> String {
    format!("http://{}/ui/", reachable(listeners.admin_address()))
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
    /// Runs from the moment at which the watching thread begins to read files until it has read them.
    reading: Option<Pin<Box<Sleep>>>,
    /// Whether reading has taken longer than [`RELOAD_TIMEOUT`], and has not ended.
    hangs: bool,
    /// Asks the watching thread to load the configuration. The channel holds one request: a second one would be the same.
    requests: SyncSender<()>,
    progress: mpsc::Receiver<Progress>,
    path: PathBuf,
}

/// Ready when reading has taken too long; never if nothing is being read.
async fn late(reading: Option<&mut Pin<Box<Sleep>>>) {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
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
    fn new(path: PathBuf, watched: Watched) -> io::Result<Self> {
        let (requests, requested) = sync_channel(1);
        let (publish, progress) = mpsc::channel(1);
        let watch = move || reload::watch(watched, &requested, |progress| publish.blocking_send(progress).is_ok());
        std::thread::Builder::new().name("reload".to_owned()).spawn(watch)?;
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self {
            ending: Ending::new()?,
            hangup,
            drains: false,
            reading: None,
            hangs: false,
            requests,
            progress,
            path,
        })
    }

    /// Asks for a load.
    fn request(&self) {
        // If the channel is full, the load that is already requested will see the same files.
        let is_full = self.requests.try_send(()).is_err();
        if self.hangs || (is_full && self.reading.is_some()) {
            tracing::warn!("the reload before this one still runs: the files are read again when it has ended");
        }
    }

    async fn order(&mut self) -> Order {
        loop {
            tokio::select! {
                biased;
                () = self.ending.signal() => {
                    return if std::mem::replace(&mut self.drains, true) { Order::Stop } else { Order::Drain };
                }
                _ = self.hangup.recv() => self.request(),
                Some(progress) = self.progress.recv() => match progress {
                    Progress::Reading => self.reading = Some(Box::pin(sleep(RELOAD_TIMEOUT))),
                    Progress::Unchanged => (self.reading, self.hangs) = (None, false),
                    Progress::Loaded(loaded) => {
                        (self.reading, self.hangs) = (None, false);
                        return Order::Reload(loaded);
                    }
                },
                () = late(self.reading.as_mut()) => {
                    (self.reading, self.hangs) = (None, true);
                    let why = format!("the file system has not answered for {} seconds", RELOAD_TIMEOUT.as_secs());
                    let source = io::Error::new(io::ErrorKind::TimedOut, why);
                    return Order::Reload(Box::new(Err(LoadError::Unreadable { path: self.path.clone(), source })));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::DefaultGuard;

    use super::*;

    fn operator(requests: SyncSender<()>, progress: mpsc::Receiver<Progress>) -> Operator {
        let ending = Ending::new().unwrap();
        let hangup = signal(SignalKind::hangup()).unwrap();
        let path = PathBuf::from("gateway.yaml");
        Operator { ending, hangup, drains: false, reading: None, hangs: false, requests, progress, path }
    }

    /// What is logged.
    #[derive(Default)]
    struct Log(Mutex<Vec<u8>>);

    impl Log {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    impl Write for &Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What this thread logs as long as the guard lives.
    fn logged() -> (Arc<Log>, DefaultGuard) {
        let log = Arc::<Log>::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_is_asked_for_while_another_one_hangs_has_a_line_in_the_log() {
        let (log, _guard) = logged();
        let (requests, requested) = sync_channel(1);
        let (publish, progress) = mpsc::channel(1);
        let mut operator = operator(requests, progress);
        // The second one waits together with the first, whose load sees the same files.
        operator.request();
        operator.request();
        assert_eq!(log.lines().len(), 0);
        requested.recv().unwrap();
        publish.send(Progress::Reading).await.unwrap();
        tokio::select! {
            biased;
            order = operator.order() => panic!("{order:?}"),
            () = sleep(RELOAD_TIMEOUT / 2) => {}
        }
        operator.request();
        assert_eq!(log.lines().len(), 0, "it is loaded next");
        operator.request();
        assert_eq!(log.lines().len(), 1);

        assert!(matches!(operator.order().await, Order::Reload(_)), "it hangs");
        requested.recv().unwrap();
        operator.request();
        assert_eq!(log.lines().len(), 2);
        let expected = "the reload before this one still runs: the files are read again when it has ended";
        let lines = log.lines();
        assert!(lines.iter().all(|line| line.contains("WARN") && line.ends_with(expected)), "{lines:?}");

        publish.send(Progress::Loaded(Box::new(Err(LoadError::Invalid { errors: Vec::new() })))).await.unwrap();
        operator.order().await;
        operator.request();
        assert_eq!(log.lines().len(), 2, "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_cannot_be_read_in_time_are_a_failed_reload_and_are_taken_up_later() {
        let (requests, _requested) = sync_channel(1);
        let (publish, progress) = mpsc::channel(1);
        let mut operator = operator(requests, progress);
        publish.send(Progress::Reading).await.unwrap();
        let Order::Reload(late) = operator.order().await else { panic!() };
        let error = late.unwrap_err().to_string();
        assert_eq!(error, "cannot read gateway.yaml: the file system has not answered for 10 seconds");

        let invalid = LoadError::Invalid { errors: Vec::new() };
        publish.send(Progress::Loaded(Box::new(Err(invalid)))).await.unwrap();
        let Order::Reload(loaded) = operator.order().await else { panic!() };
        assert!(matches!(*loaded, Err(LoadError::Invalid { .. })));

        publish.send(Progress::Reading).await.unwrap();
        let told = async {
            sleep(RELOAD_TIMEOUT / 2).await;
            publish.send(Progress::Unchanged).await.unwrap();
            sleep(RELOAD_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            () = told => {}
            order = operator.order() => panic!("{order:?}"),
        }
    }
}
