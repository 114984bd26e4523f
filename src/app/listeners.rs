//! Binds the listeners of a configuration.

use std::io;
use std::net::{self, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::store::postgres;
use crate::store::sqlite::OpenError;

/// Connections that the kernel queues for a busy listener. The kernel limits this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// Bound sockets of all listeners.
pub struct Listeners {
    /// For each worker thread, a socket for each address.
    pub(super) workers: Vec<Vec<net::TcpListener>>,
    /// The addresses of the public listener.
    pub(super) addresses: Vec<SocketAddr>,
    /// The socket of the admin listener.
    pub(super) admin: net::TcpListener,
    /// The address of the admin listener.
    pub(super) admin_address: SocketAddr,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, does not belong to this machine, or is not permitted.
    #[error("cannot listen on {address} ({key}): {source}{}", what_to_do(source, *address, key))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The key of the configuration that names the address.
        key: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A supervisor has passed a socket that the configuration does not have.
    #[error(
        "a socket at {address} was passed (by a .socket unit of systemd), which neither server.listen nor admin.listen has: \
         write the address in both alike"
    )]
    Passed {
        /// The address of the socket.
        address: SocketAddr,
    },
    /// A thread, a runtime or the root certificates failed.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::queue::start::StoreStartError),
    /// The metrics registry refuses a family.
    #[error("cannot start: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl StartError {
    /// Whether the configuration, or the version of the program, has to change: another try with the same would fail, too.
    pub fn is_of_the_configuration(&self) -> bool {
        use crate::queue::start::StoreStartError::{Open, Postgres};
        matches!(
            self,
            Self::Store(
                Open(OpenError::Newer { .. } | OpenError::Foreign { .. })
                    | Postgres(postgres::error::OpenError::Unfit { .. })
            )
        )
    }
}

/// Advice for an address that cannot be bound.
fn what_to_do(error: &io::Error, address: SocketAddr, key: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!("; another process has it (`ss -ltnp sport = :{port}` shows which): stop that, or change {key}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; this machine has no such address: 0.0.0.0 in {key} means all of its addresses")
        }
        io::ErrorKind::PermissionDenied => {
            format!("; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): use a higher one in {key}")
        }
        _ => String::new(),
    }
}

/// Binds every listener of a configuration.
///
/// # Errors
/// [`StartError::Bind`].
pub fn bind(config: &Config) -> Result<Listeners, StartError> {
    bind_with(config, Vec::new())
}

/// The same, but for the addresses at which a supervisor has `passed` listening sockets. These stay open when the gateway ends: what
/// connects meanwhile waits for the next one.
///
/// # Errors
/// [`StartError::Bind`], [`StartError::Passed`].
pub fn bind_with(config: &Config, passed: Vec<net::TcpListener>) -> Result<Listeners, StartError> {
    let mut passed =
        passed.into_iter().map(|socket| Ok((socket.local_addr()?, socket))).collect::<io::Result<Vec<_>>>()?;
    let threads = config.server.threads.get();
    let mut workers: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for &address in &config.server.listen {
        let bind_error = |source| StartError::Bind { address, key: "server.listen", source };
        let sockets = match passed.iter().position(|(at, _)| *at == address) {
            Some(index) => shared_by(passed.swap_remove(index).1, threads),
            None => bind_shared(address, threads),
        };
        let sockets = sockets.map_err(bind_error)?;
        addresses.extend(sockets.first().map(net::TcpListener::local_addr).transpose().map_err(bind_error)?);
        for (worker, socket) in workers.iter_mut().zip(sockets) {
            worker.push(socket);
        }
    }
    let address = config.admin.listen;
    let bind_error = |source| StartError::Bind { address, key: "admin.listen", source };
    let admin = match passed.iter().position(|(at, _)| *at == address) {
        Some(index) => passed.swap_remove(index).1,
        None => open(address, false).map_err(bind_error)?,
    };
    if let Some(&(address, _)) = passed.first() {
        return Err(StartError::Passed { address });
    }
    let admin_address = admin.local_addr().map_err(bind_error)?;
    Ok(Listeners { workers, addresses, admin, admin_address })
}

impl Listeners {
    /// The addresses of the public listener. Port 0 of the configuration is replaced by the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }
}

/// One socket for all threads: they take connections from one queue.
fn shared_by(socket: net::TcpListener, threads: usize) -> io::Result<Vec<net::TcpListener>> {
    let mut sockets = (1..threads).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    sockets.push(socket);
    Ok(sockets)
}

/// Binds one socket for each thread to the same address. Linux alone spreads connections over such sockets (socket(7),
/// SO_REUSEPORT); elsewhere the threads share one.
fn bind_shared(address: SocketAddr, threads: usize) -> io::Result<Vec<net::TcpListener>> {
    if threads == 1 || !cfg!(target_os = "linux") {
        return shared_by(open(address, false)?, threads);
    }
    // With SO_REUSEPORT, a second gateway of the same user could bind the same address. Binding without it first finds out.
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
        // So that 0.0.0.0 and [::] can both be bound, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the previous process's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
