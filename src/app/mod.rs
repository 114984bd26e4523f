//! Connects configuration, metrics, worker threads and listeners, and stops them in order.
//!
//! Each worker thread has its own runtime, listening sockets (SO_REUSEPORT, so that the kernel distributes connections), routes
//! and upstream connections. Deliveries of different threads share only counters and read-only data. The admin listener has a
//! thread of its own. As many connections are accepted as fit into the limit of open files ([`open_files`]).
//!
//! Reload: a new configuration is built completely before it replaces the running one ([`Order::Reload`]).
//!
//! Shutdown: listeners close at once and `/readyz` turns 503. Each connection ends after its current delivery. Deliveries that
//! are still in flight after `server.shutdown_grace` are aborted.

mod gauges;
mod generation;
mod listeners;
pub mod open_files;
mod reload;
mod worker;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;

use crate::acts::Acts;
use crate::admin::AdminContext;
use crate::admin::api::stream::Streams;
use crate::admin::hours::Hours;
use crate::admin::server::AdminServer;
use crate::admin::ui::flash::Flashes;
use crate::admin::ui::session::Sessions;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, LoadError, Place};
use crate::metrics::Metrics;
use crate::queue::lane::Queue;
use crate::server::untaken::UntakenBytes;
use crate::store::sqlite;
use generation::Generation;
pub use listeners::{Listeners, PassedSocket, StartError, bind, bind_with};
use worker::{Share, Shared};

/// The time for exporting the last spans, within the grace.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// How long a reload waits for the store to take the routes; it goes on in the background.
const STORE_PATIENCE: Duration = Duration::from_secs(1);
/// How often the store is told the routes again, after it has not taken them.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownResult {
    /// Every delivery was answered.
    Drained,
    /// The grace ended with this many deliveries in flight.
    CutOff(i64),
    /// [`Order::Stop`] came, with this many deliveries in flight.
    Stopped(i64),
}

/// An order to the gateway.
#[derive(Debug)]
pub enum Order {
    /// Run this configuration from now on. If it is invalid, the old one stays.
    Reload(Box<Result<Config, LoadError>>),
    /// Accept no more deliveries, finish those in flight, and end.
    Drain,
    /// End at once, even while draining.
    Stop,
}

/// What came of the order before, when the gateway asks for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// It is done, or there was none.
    Done,
    /// A reload failed: what ran goes on.
    Failed,
}

/// The phase of the gateway's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Draining,
    Stopped,
}

/// Runs the gateway until `shutdown` is ready and every delivery in flight is answered.
///
/// # Errors
/// Why the gateway cannot start. It serves nothing then.
pub fn run(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<ShutdownResult, StartError> {
    run_with(config, listeners, clock, shutdown, drop)
}

/// The same. `started` gets what people can do to the gateway, as soon as it runs.
///
/// # Errors
/// Those of [`run`].
pub fn run_with(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
    started: impl FnOnce(Acts),
) -> Result<ShutdownResult, StartError> {
    let mut shutdown = pin!(shutdown);
    let mut ordered = false;
    let orders = async |_| {
        if ordered {
            std::future::pending::<()>().await;
        }
        shutdown.as_mut().await;
        ordered = true;
        Order::Drain
    };
    runtime()?.block_on(serve(config, listeners, clock, || 0, orders, started))
}

/// Runs the gateway until [`Order::Drain`] came and every delivery in flight is answered, or until [`Order::Stop`]. `orders`
/// returns the next order, and is told what came of the one before. It runs on `runtime`, and its future may be dropped while it waits. `dropped_lines` says how many
/// lines the log has dropped, for the metric.
///
/// # Errors
/// Why the gateway cannot start. It serves nothing then.
pub fn run_under(
    runtime: &LocalRuntime,
    config: Config,
    listeners: Listeners,
    clock: Clock,
    dropped_lines: impl Fn() -> u64 + 'static,
    orders: impl AsyncFnMut(Followed) -> Order,
) -> Result<ShutdownResult, StartError> {
    runtime.block_on(serve(config, listeners, clock, dropped_lines, orders, drop))
}

async fn serve(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    dropped_lines: impl Fn() -> u64 + 'static,
    mut orders: impl AsyncFnMut(Followed) -> Order,
    started: impl FnOnce(Acts),
) -> Result<ShutdownResult, StartError> {
    let mut gateway = Gateway::start(config, listeners, clock, dropped_lines).await?;
    started(gateway.acts.clone());
    let at_once = gateway.run(&mut orders).await;
    gateway.stop(&mut orders, at_once).await
}

/// The running gateway.
struct Gateway {
    metrics: Metrics,
    clock: Clock,
    queue: Arc<Queue>,
    phase: watch::Sender<Phase>,
    generations: watch::Sender<Arc<Generation>>,
    threads: Vec<JoinHandle<()>>,
    /// Each thread holds a sender. The channel closes when all threads have ended.
    all_ended: mpsc::Receiver<()>,
    /// Tells the store the routes of the newest configuration.
    telling: Option<task::JoinHandle<()>>,
    acts: Acts,
    /// It answers until the end.
    admin: AdminServer,
}

impl Gateway {
    /// Starts the worker threads and the admin listener.
    async fn start(
        config: Config,
        listeners: Listeners,
        clock: Clock,
        dropped_lines: impl Fn() -> u64 + 'static,
    ) -> Result<Self, StartError> {
        open_files::raise();
        let metrics = Metrics::new(clock.unix().as_secs_f64())?;
        let queue = Arc::new(Queue::open(&config, &metrics.store, &clock)?);
        let database = |store: &config::Store| match &store.place {
            Place::Folder(path) => path.join(sqlite::DATABASE).display().to_string(),
            Place::Postgres { target, .. } => target.to_string(),
        };
        let store = config.store.as_ref().map_or_else(|| "the store".to_owned(), database);
        let generation = Arc::new(Generation::new(config, None, &metrics)?);
        let configured = queue.configure(&generation.configs(), &clock).await;
        configured.map_err(|error| io::Error::other(format!("{store}: {error}")))?;
        generation.show(&metrics);
        let (generations, current) = watch::channel(generation);
        let (phase, phases) = watch::channel(Phase::Running);
        let (ended, all_ended) = mpsc::channel(1);
        // The handles are made before the threads start, so that their series exist when the first scrape comes.
        let unmatched = metrics.unmatched();
        let shared = Shared {
            unmatched,
            metrics: metrics.clone(),
            clock: clock.clone(),
            queue: queue.clone(),
            unmatched_records: Arc::default(),
            untaken: UntakenBytes::default(),
            phases,
            generations: current,
            ended,
        };
        let admin = admin(&shared);
        let acts = admin.acts.clone();
        let admin = AdminServer::start(listeners.admin, admin)?;
        let mut threads = Vec::new();
        let of = listeners.workers.len();
        for (index, sockets) in listeners.workers.into_iter().enumerate() {
            threads.push(worker::spawn(sockets, Share { index, of }, shared.clone())?);
        }
        let shown = generations.subscribe();
        tokio::task::spawn_local(gauges::show(queue.clone(), shown, clock.clone(), metrics.clone(), dropped_lines));
        drop(shared);
        for address in listeners.addresses {
            tracing::info!(listener = "server", %address, "listening");
        }
        tracing::info!(listener = "admin", address = %listeners.admin_address, "listening");
        Ok(Self { metrics, clock, queue, phase, generations, threads, all_ended, telling: None, acts, admin })
    }

    /// Follows `orders` until one of them ends the gateway. Returns whether to end at once.
    async fn run(&mut self, orders: &mut impl AsyncFnMut(Followed) -> Order) -> bool {
        let mut before = Followed::Done;
        loop {
            match orders(before).await {
                Order::Reload(loaded) => before = self.reload(*loaded).await,
                Order::Drain => return false,
                Order::Stop => return true,
            }
        }
    }

    async fn reload(&mut self, loaded: Result<Config, LoadError>) -> Followed {
        let running = self.generations.borrow().clone();
        match reload::prepare(&running, loaded, &self.metrics) {
            Ok(next) => {
                self.generations.send_replace(next.clone());
                if let Some(store) = &next.store {
                    self.queue.adjust(store, &self.metrics.store);
                }
                next.taken_up_by(self.threads.len()).await;
                self.tell_store(next.clone()).await;
                reload::succeeded(&running, &next, &self.metrics, &self.clock);
                Followed::Done
            }
            Err(errors) => {
                reload::failed(&running, &errors, &self.metrics);
                Followed::Failed
            }
        }
    }

    /// Tells the store the routes of a configuration, again and again until it has taken them or a newer configuration comes.
    /// Returns after the first try, or [`STORE_PATIENCE`]: a disk that hangs must not hold up orders.
    async fn tell_store(&mut self, generation: Arc<Generation>) {
        let (tried, first) = oneshot::channel();
        let told = tell_store(self.queue.clone(), generation, self.clock.clone(), tried);
        if let Some(before) = self.telling.replace(task::spawn_local(told)) {
            before.abort();
        }
        if tokio::time::timeout(STORE_PATIENCE, first).await.is_err() {
            tracing::warn!("the store has not taken the routes of the new configuration yet");
        }
    }

    /// Drains, unless the gateway is to end `at_once`, and ends the threads.
    async fn stop(
        mut self,
        orders: &mut impl AsyncFnMut(Followed) -> Order,
        at_once: bool,
    ) -> Result<ShutdownResult, StartError> {
        let grace = self.generations.borrow().server.shutdown_grace;
        let begun = self.clock.now();
        let in_flight = self.metrics.in_flight.get();
        tracing::info!(in_flight, grace_seconds = grace.as_secs_f64(), "draining");
        self.phase.send_replace(Phase::Draining);
        let running = self.generations.borrow().clone();
        let drained = tokio::select! {
            biased;
            () = ordered_to_stop(orders, &running, &self.metrics), if !at_once => None,
            drained = tokio::time::timeout(grace, self.all_ended.recv()), if !at_once => Some(drained.is_ok()),
            else => None,
        };
        let ended = match (drained, self.metrics.in_flight.get()) {
            (None, in_flight) => ShutdownResult::Stopped(in_flight),
            (Some(true), _) | (_, 0) => ShutdownResult::Drained,
            (Some(false), in_flight) => ShutdownResult::CutOff(in_flight),
        };
        self.phase.send_replace(Phase::Stopped);
        self.all_ended.recv().await;
        for thread in self.threads {
            if thread.join().is_err() {
                return Err(io::Error::other("a worker thread panicked").into());
            }
        }
        drop(self.admin);
        // What is known of attempts is written before the end. Nothing else runs on this thread any more.
        self.queue.store.close();
        if let (false, Some(telemetry)) = (matches!(ended, ShutdownResult::Stopped(_)), &running.telemetry) {
            telemetry.finish(grace.saturating_sub(self.clock.now() - begun).min(LAST_SPANS));
        }
        Ok(ended)
    }
}

async fn tell_store(queue: Arc<Queue>, generation: Arc<Generation>, clock: Clock, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    loop {
        let told = queue.configure(&generation.configs(), &clock).await;
        if let Err(error) = &told
            && tried.is_some()
        {
            tracing::error!(%error, "the store has not taken the routes of the new configuration; it is told again");
        }
        // After a time, the receiver has gone.
        let _late = tried.take().map(|tried| tried.send(()));
        if told.is_ok() {
            return;
        }
        tokio::time::sleep(TELL_AGAIN).await;
    }
}

/// Ready at [`Order::Stop`] while the gateway drains. A reload during this time fails, and is counted and logged as a failure.
async fn ordered_to_stop(orders: &mut impl AsyncFnMut(Followed) -> Order, running: &Generation, metrics: &Metrics) {
    let mut before = Followed::Done;
    loop {
        match orders(before).await {
            Order::Stop => return,
            Order::Drain => {}
            Order::Reload(_) => {
                before = Followed::Failed;
                let message = "the gateway is shutting down".to_owned();
                reload::failed(running, &[ConfigError::new("", message)], metrics);
            }
        }
    }
}

/// Logs the warnings about a configuration.
pub fn warn_of(warnings: &[ConfigError]) {
    for ConfigError { path, message, .. } in warnings {
        tracing::warn!(at = path, warning = message, "a warning about the configuration");
    }
}

/// A runtime whose tasks stay on its thread. With a `LocalSet` on an ordinary runtime, every socket event that wakes a task
/// would also cost a write to an eventfd.
///
/// # Errors
/// The system has no more file descriptors.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

fn admin(shared: &Shared) -> AdminContext {
    let (phases, generations, queue) = (shared.phases.clone(), shared.generations.clone(), shared.queue.clone());
    let routes = shared.generations.clone();
    let routes = Arc::new(move || routes.borrow().running.routes.clone());
    AdminContext {
        metrics: shared.metrics.clone(),
        queue: shared.queue.clone(),
        clock: shared.clock.monotonic(),
        running: Box::new(move || generations.borrow().running.clone()),
        ready: Box::new(move || *phases.borrow() == Phase::Running && queue.is_well()),
        acts: Acts::new(shared.queue.clone(), &shared.clock, routes),
        hours: Hours::default(),
        streams: Streams::default(),
        replaying: tokio::sync::Mutex::default(),
        sessions: Sessions::default(),
        flashes: Flashes::default(),
    }
}
