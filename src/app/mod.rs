//! Wires configuration, metrics, worker threads and listeners together, and takes them down in order.
//!
//! Each worker thread has a runtime, listening sockets (SO_REUSEPORT, so that the kernel spreads connections), routes
//! and upstream connections of its own: nothing on a delivery's way is shared between threads but counters.
//!
//! Reload: a new configuration is built in full and then exchanged under the threads' feet ([`Order::Reload`]).
//!
//! Shutdown: listeners close at once and `/readyz` turns 503; connections end after the delivery they are on; what is
//! left when `server.shutdown_grace` is over is cut off.

mod generation;
mod reload;
mod worker;

use std::io;
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, LoadError};
use crate::metrics::Metrics;
use generation::Generation;
use worker::Shared;

/// Connections that the kernel holds for a listener that is busy; it caps this at its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// How long the spans of the last deliveries may take to be exported, within the grace.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// Bound sockets: for each worker thread one per address, and the admin listener's.
pub struct Listeners {
    workers: Vec<Vec<net::TcpListener>>,
    addresses: Vec<SocketAddr>,
    admin: net::TcpListener,
    admin_address: SocketAddr,
}

/// A listener that cannot be bound, or what else keeps the gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, not of this machine, or not allowed.
    #[error("cannot listen on {address} ({key}): {source}{}", what_to_do(source, *address, key))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Where the configuration names it.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Threads, runtimes, root certificates.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A family that the metrics registry refuses.
    #[error("cannot start: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What whoever starts the gateway can do about an address that cannot be bound.
fn what_to_do(error: &io::Error, address: SocketAddr, key: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!("; another process has it (`ss -ltnp sport = :{port}` says which): stop that, or change {key}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; this machine has no such address: 0.0.0.0 in {key} stands for all it has")
        }
        io::ErrorKind::PermissionDenied => {
            format!("; ports below 1024 take a privilege (CAP_NET_BIND_SERVICE): take a higher one in {key}")
        }
        _ => String::new(),
    }
}

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every delivery was answered.
    Drained,
    /// The grace ran out with this many deliveries in flight.
    CutOff(i64),
    /// [`Order::Stop`] came, with this many deliveries in flight.
    Stopped(i64),
}

/// What whoever runs the gateway may want of it.
#[derive(Debug)]
pub enum Order {
    /// Run this configuration from now on, if it can be run; otherwise go on as before.
    Reload(Box<Result<Config, LoadError>>),
    /// Take no more deliveries, finish those in flight, and end.
    Drain,
    /// End at once, even while draining.
    Stop,
}

/// How far the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Draining,
    Stopped,
}

/// Binds every listener of a configuration.
///
/// # Errors
/// [`StartError::Bind`].
pub fn bind(config: &Config) -> Result<Listeners, StartError> {
    let threads = config.server.threads.get();
    let mut workers: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for &address in &config.server.listen {
        let bind_error = |source| StartError::Bind { address, key: "server.listen", source };
        let sockets = bind_shared(address, threads).map_err(bind_error)?;
        addresses.extend(sockets.first().map(net::TcpListener::local_addr).transpose().map_err(bind_error)?);
        for (worker, socket) in workers.iter_mut().zip(sockets) {
            worker.push(socket);
        }
    }
    let address = config.admin.listen;
    let bind_error = |source| StartError::Bind { address, key: "admin.listen", source };
    let admin = open(address, false).map_err(bind_error)?;
    let admin_address = admin.local_addr().map_err(bind_error)?;
    Ok(Listeners { workers, addresses, admin, admin_address })
}

/// Runs the gateway until `shutdown` is ready and every delivery in flight is answered.
///
/// # Errors
/// What keeps it from starting; nothing is served then.
pub fn run(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, StartError> {
    let mut shutdown = pin!(shutdown);
    let mut ordered = false;
    let orders = async || {
        if ordered {
            std::future::pending::<()>().await;
        }
        shutdown.as_mut().await;
        ordered = true;
        Order::Drain
    };
    run_under(&runtime()?, config, listeners, clock, orders)
}

/// Runs the gateway as `orders` has it: until [`Order::Drain`] and every delivery in flight is answered, or
/// [`Order::Stop`]. `orders` is called for the next order, on `runtime`, and may be dropped while it waits for it.
///
/// # Errors
/// What keeps it from starting; nothing is served then.
pub fn run_under(
    runtime: &LocalRuntime,
    config: Config,
    listeners: Listeners,
    clock: Clock,
    mut orders: impl AsyncFnMut() -> Order,
) -> Result<Ended, StartError> {
    let metrics = Metrics::new(clock.unix().as_secs_f64())?;
    let generation = Arc::new(Generation::new(config, None, &metrics)?);
    generation.show(&metrics);
    let (generations, current) = watch::channel(generation);
    let (phase, phases) = watch::channel(Phase::Running);
    runtime.block_on(async {
        listeners.admin.set_nonblocking(true)?;
        let (ended, mut all_ended) = mpsc::channel::<()>(1);
        // The threads' handles are made here, so that the series are there before a thread runs.
        let unmatched = metrics.unmatched();
        let shared =
            Shared { unmatched, metrics: metrics.clone(), clock: clock.clone(), phases, generations: current, ended };
        let admin = admin(&shared);
        let mut threads = Vec::new();
        for sockets in listeners.workers {
            threads.push(worker::spawn(sockets, shared.clone())?);
        }
        drop(shared);
        tokio::task::spawn_local(admin::serve(TcpListener::from_std(listeners.admin)?, admin));
        for address in listeners.addresses {
            tracing::info!(listener = "server", %address, "listening");
        }
        tracing::info!(listener = "admin", address = %listeners.admin_address, "listening");

        let at_once = loop {
            match orders().await {
                Order::Reload(loaded) => {
                    let running = generations.borrow().clone();
                    match reload::prepare(&running, *loaded, &metrics) {
                        Ok(next) => {
                            generations.send_replace(next.clone());
                            next.taken_up_by(threads.len()).await;
                            reload::succeeded(&running, &next, &metrics, &clock);
                        }
                        Err(errors) => reload::failed(&running, &errors, &metrics),
                    }
                }
                Order::Drain => break false,
                Order::Stop => break true,
            }
        };
        let grace = generations.borrow().server.shutdown_grace;
        let begun = clock.now();
        tracing::info!(in_flight = metrics.in_flight.get(), grace_seconds = grace.as_secs_f64(), "draining");
        phase.send_replace(Phase::Draining);
        let drained = tokio::select! {
            biased;
            () = async { while !at_once && !matches!(orders().await, Order::Stop) {} } => None,
            drained = tokio::time::timeout(grace, all_ended.recv()) => Some(drained.is_ok()),
        };
        let ended = match (drained, metrics.in_flight.get()) {
            (None, in_flight) => Ended::Stopped(in_flight),
            (Some(true), _) | (_, 0) => Ended::Drained,
            (Some(false), in_flight) => Ended::CutOff(in_flight),
        };
        phase.send_replace(Phase::Stopped);
        all_ended.recv().await;
        for thread in threads {
            if thread.join().is_err() {
                return Err(io::Error::other("a worker thread panicked").into());
            }
        }
        if let (false, Some(telemetry)) = (matches!(ended, Ended::Stopped(_)), &generations.borrow().telemetry) {
            telemetry.finish(grace.saturating_sub(clock.now() - begun).min(LAST_SPANS));
        }
        Ok(ended)
    })
}

/// Logs what is unwise about a configuration.
pub fn warn_of(warnings: &[ConfigError]) {
    for ConfigError { path, message } in warnings {
        tracing::warn!(at = path, warning = message, "a warning about the configuration");
    }
}

/// A runtime for tasks that stay on its thread. With a `LocalSet` on an ordinary one, every readiness of a socket that
/// wakes a task would cost a write to an eventfd as well.
///
/// # Errors
/// The system has no more file descriptors.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

fn admin(shared: &Shared) -> Admin {
    let (phases, generations) = (shared.phases.clone(), shared.generations.clone());
    Admin {
        metrics: Arc::new(shared.metrics.clone()),
        summary: Box::new(move || format!("{:#}\n", generations.borrow().summary)),
        ready: Box::new(move || *phases.borrow() == Phase::Running),
    }
}

impl Listeners {
    /// Where deliveries come in; the port that the system chose where the configuration says 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }
}

/// One socket for each thread on the same address.
fn bind_shared(address: SocketAddr, threads: usize) -> io::Result<Vec<net::TcpListener>> {
    if threads == 1 {
        return Ok(vec![open(address, false)?]);
    }
    // SO_REUSEPORT would let a second gateway of the same user in; a socket without it finds out.
    drop(open(address, false)?);
    let first = open(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..threads {
        sockets.push(open(address, true)?);
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be there, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the last one's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
