//! Wires configuration, metrics, worker threads and listeners together, and takes them down in order.
//!
//! Each worker thread has a runtime, listening sockets (SO_REUSEPORT, so that the kernel spreads connections), routes
//! and upstream connections of its own: nothing on a delivery's way is shared between threads but counters.
//!
//! Shutdown: listeners close at once and `/readyz` turns 503; connections end after the delivery they are on; what is
//! left when `server.shutdown_grace` is over is cut off.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{self, ClientTls, Config};
use crate::metrics::{Metrics, ObserveMetrics};
use crate::proxy::entrance::Entrance;
use crate::proxy::forward::ForwardContext;
use crate::proxy::listener::{ListenContext, accept};
use crate::proxy::observe::ObserveContext;
use crate::proxy::pool::Pool;
use crate::proxy::route::{Route, RouteContext, Router};
use crate::proxy::stack::{StackContext, stack};
use crate::proxy::tls::client_config;
use crate::proxy::transport::Connector;
use crate::proxy::verify::VerifyContext;

/// Connections that the kernel holds for a listener that is busy; it caps this at its own `somaxconn`.
const BACKLOG: i32 = 4096;

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
    #[error("cannot listen on {address} ({key}): {source}")]
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

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every delivery was answered.
    Drained,
    /// The grace ran out with this many deliveries in flight.
    CutOff(i64),
}

/// How far the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Draining,
    Stopped,
}

/// Routes with the same of these share connections: host, port, TLS and its certificates, time to connect.
type PoolKey<'a> = (&'a str, u16, bool, &'a Option<ClientTls>, Duration);

/// What all worker threads share.
struct Shared {
    server: config::Server,
    routes: Vec<Arc<config::Route>>,
    metrics: Metrics,
    unmatched: ObserveMetrics,
    entrance: Entrance,
    /// For upstreams by https, by the certificates that they ask for.
    tls: HashMap<Option<ClientTls>, Arc<ClientConfig>>,
    clock: Clock,
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
    let summary = admin::summary(&config);
    let grace = config.server.shutdown_grace;
    let shared = Arc::new(Shared::new(config, clock)?);
    let metrics = Arc::new(shared.metrics.clone());
    let in_flight = metrics.in_flight.clone();
    let (phase, phases) = watch::channel(Phase::Running);
    let runtime = runtime()?;
    runtime.block_on(async {
        // Asked once before anybody hears of the listeners: signals are waited for from now on, not from later.
        let mut shutdown = pin!(shutdown);
        let stopped = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_ready())).await;
        listeners.admin.set_nonblocking(true)?;
        let ready = Box::new(move || *phases.borrow() == Phase::Running);
        let admin = Admin { metrics, summary, ready };
        let (ended, mut all_ended) = mpsc::channel::<()>(1);
        let mut threads = Vec::new();
        for sockets in listeners.workers {
            threads.push(spawn(sockets, shared.clone(), phase.subscribe(), ended.clone())?);
        }
        drop(ended);
        tokio::task::spawn_local(admin::serve(TcpListener::from_std(listeners.admin)?, admin));
        for address in listeners.addresses {
            tracing::info!(listener = "server", %address, "listening");
        }
        tracing::info!(listener = "admin", address = %listeners.admin_address, "listening");

        if !stopped {
            shutdown.await;
        }
        tracing::info!(in_flight = in_flight.get(), grace_seconds = grace.as_secs_f64(), "draining");
        phase.send_replace(Phase::Draining);
        let drained = tokio::time::timeout(grace, all_ended.recv()).await.is_ok();
        let cut_off = if drained { 0 } else { in_flight.get() };
        phase.send_replace(Phase::Stopped);
        all_ended.recv().await;
        for thread in threads {
            if thread.join().is_err() {
                return Err(io::Error::other("a worker thread panicked").into());
            }
        }
        Ok(if cut_off == 0 { Ended::Drained } else { Ended::CutOff(cut_off) })
    })
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

impl Shared {
    fn new(config: Config, clock: Clock) -> Result<Self, StartError> {
        let metrics = Metrics::new(clock.unix().as_secs_f64())?;
        let mut tls = HashMap::new();
        for upstream in config.routes.iter().map(|route| &route.upstream).filter(|upstream| upstream.tls) {
            if !tls.contains_key(&upstream.certificates) {
                tls.insert(upstream.certificates.clone(), client_config(upstream.certificates.as_ref())?);
            }
        }
        Ok(Self {
            unmatched: metrics.unmatched(),
            entrance: Entrance::new(&config.server, metrics.handshakes())?,
            metrics,
            server: config.server,
            routes: config.routes.into_iter().map(Arc::new).collect(),
            tls,
            clock,
        })
    }

    /// The routes as one thread holds them. Routes with the same upstream share its connections.
    fn router(&self) -> io::Result<Router> {
        let mut pools: HashMap<PoolKey<'_>, Arc<Pool>> = HashMap::new();
        let mut routes = Vec::new();
        for config in &self.routes {
            let upstream = &config.upstream;
            let key =
                (upstream.host.as_str(), upstream.port, upstream.tls, &upstream.certificates, upstream.connect_timeout);
            let pool = match pools.get(&key) {
                Some(pool) => pool.clone(),
                None => {
                    let tls = self.tls.get(&upstream.certificates).filter(|_| upstream.tls).cloned();
                    let connector = Connector::new(&upstream.host, upstream.port, upstream.connect_timeout, tls)?;
                    pools.entry(key).or_insert(Pool::new(connector, self.clock.clone())).clone()
                }
            };
            routes.push(Rc::new(Route::new(config.clone(), pool, &self.metrics).map_err(io::Error::other)?));
        }
        Ok(Router::new(routes))
    }
}

/// Starts a worker thread; `ended` lives as long as it does.
fn spawn(
    sockets: Vec<net::TcpListener>,
    shared: Arc<Shared>,
    phases: watch::Receiver<Phase>,
    ended: mpsc::Sender<()>,
) -> io::Result<JoinHandle<()>> {
    shared.router()?;
    // A runtime stays on its thread, but what goes wrong there is still an error of the start.
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let _ended = ended;
        let told = |result| drop(started.send(result));
        match runtime() {
            Err(error) => told(Err(error)),
            Ok(runtime) => runtime.block_on(async {
                match sockets.into_iter().map(listen).collect() {
                    Err(error) => told(Err(error)),
                    Ok(sockets) => {
                        told(Ok(()));
                        work(sockets, &shared, phases).await;
                    }
                }
            }),
        }
    })?;
    start.recv().map_err(io::Error::other)??;
    Ok(thread)
}

fn listen(socket: net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// A worker thread's life.
async fn work(sockets: Vec<TcpListener>, shared: &Shared, mut phases: watch::Receiver<Phase>) {
    let router = shared.router().expect("it has been made once before the thread was started");
    let metrics = &shared.metrics;
    let clock = shared.clock.clone();
    let draining = Rc::new(Cell::new(false));
    let unmatched = Rc::new(shared.unmatched.clone());
    let stack = stack(StackContext {
        trusted_proxies: shared.server.trusted_proxies.clone(),
        observe: ObserveContext {
            clock: clock.clone(),
            in_flight: metrics.in_flight.clone(),
            unmatched: unmatched.clone(),
            access_log: shared.server.access_log,
            log_limit: Rc::default(),
        },
        route: RouteContext { router: Rc::new(router), draining: draining.clone() },
        buffered_bytes: metrics.buffered_bytes.clone(),
        // Limits of their own: a flood of refusals must not silence what an operator has to act on.
        verify: VerifyContext { clock: clock.clone(), log_limit: Rc::default() },
        forward: ForwardContext { clock, log_limit: Rc::default() },
    });
    let (drain, draining_connections) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel(1);
    let context = ListenContext {
        connections: metrics.connections.clone(),
        unmatched,
        entrance: Rc::new(RefCell::new(shared.entrance.clone())),
        drain: draining_connections,
        alive,
    };
    for socket in sockets {
        tokio::task::spawn_local(accept(socket, stack.clone(), context.clone()));
    }
    drop(context);
    // An error means that the sender is gone, and with it whoever waits for this thread.
    let _ = phases.wait_for(|phase| *phase >= Phase::Draining).await;
    draining.set(true);
    drain.send_replace(true);
    tokio::select! {
        _ = all_gone.recv() => {}
        _ = phases.wait_for(|phase| *phase == Phase::Stopped) => {}
    }
}

/// A runtime for tasks that stay on its thread. With a `LocalSet` on an ordinary one, every readiness of a socket that
/// wakes a task would cost a write to an eventfd as well.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
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
