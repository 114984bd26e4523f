//! Binds the listeners of a configuration.

use std::io;
use std::net::{self, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::store::sqlite::OpenError;

/// Connections that the kernel holds for a listener that is busy; it caps this at its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// Bound sockets: for each worker thread one per address, and the admin listener's.
pub struct Listeners {
    pub(super) workers: Vec<Vec<net::TcpListener>>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) admin: net::TcpListener,
    pub(super) admin_address: SocketAddr,
}

/// Why the gateway cannot start.
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
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::queue::start::StartError),
    /// A family that the metrics registry refuses.
    #[error("cannot start: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl StartError {
    /// Whether the configuration has to be changed, or another version of the program run: trying again is in vain.
    pub fn is_of_the_configuration(&self) -> bool {
        use crate::queue::start::StartError::Open;
        matches!(self, Self::Store(Open(OpenError::Newer { .. } | OpenError::Foreign { .. })))
    }
}

/// What to do about an address that cannot be bound.
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
