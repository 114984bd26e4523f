//! Binds the listeners of a configuration, or takes over sockets that are open already: those of a supervisor, and those that the
//! gateway before this one has left with the supervisor.

use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Config;
use crate::store::postgres;
use crate::store::sqlite::OpenError;

/// Connections that the kernel queues for a busy listener. The kernel limits this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening socket that was open before this process started.
pub struct PassedSocket {
    /// The socket.
    pub socket: net::TcpListener,
    /// The name that it was passed under. If it is that of [`Listeners::opened`], a gateway before this one has opened it.
    pub name: String,
}

/// Bound sockets of all listeners.
pub struct Listeners {
    /// For each worker thread, one or more sockets for each address.
    pub(super) workers: Vec<Vec<net::TcpListener>>,
    /// The addresses of the public listener.
    pub(super) addresses: Vec<SocketAddr>,
    /// The socket of the admin listener.
    pub(super) admin: net::TcpListener,
    /// The address of the admin listener.
    pub(super) admin_address: SocketAddr,
    /// The listeners of which this process has opened the sockets, by their names.
    opened: Vec<(String, SocketAddr)>,
    /// The names of the listeners that were closed, because the configuration has them no longer.
    closed: Vec<String>,
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
        _ if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            "; this process may not open more: raise LimitNOFILE in the unit or `ulimit -n`, or lower server.threads"
                .to_owned()
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

/// The same, but for the listeners whose sockets were `passed`. What a gateway before this one has opened is closed if the
/// configuration no longer listens there.
///
/// # Errors
/// [`StartError::Bind`], [`StartError::Passed`].
pub fn bind_with(config: &Config, passed: Vec<PassedSocket>) -> Result<Listeners, StartError> {
    let (mut passed, closed) = sort(config, passed)?;
    let mut take = |kind: Kind, wanted: SocketAddr| -> Vec<net::TcpListener> {
        let is_it = |socket: &mut Sorted| socket.address == wanted && socket.kind.is_none_or(|of| of == kind);
        passed.extract_if(.., is_it).map(|sorted| sorted.socket).collect()
    };
    let threads = config.server.threads.get();
    let mut workers: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    let (mut addresses, mut opened) = (Vec::new(), Vec::new());
    for &wanted in &config.server.listen {
        let bind_error = |source| StartError::Bind { address: wanted, key: "server.listen", source };
        let mut sockets = take(Kind::Server, wanted);
        let is_new = sockets.is_empty();
        if is_new {
            sockets = bind_shared(wanted, threads).map_err(bind_error)?;
        }
        let address = spread(sockets, &mut workers).map_err(bind_error)?;
        addresses.extend(address);
        opened.extend(address.filter(|_| is_new).map(|address| (Kind::Server.name(address), address)));
    }
    let wanted = config.admin.listen;
    let bind_error = |source| StartError::Bind { address: wanted, key: "admin.listen", source };
    let (admin, is_new) = match take(Kind::Admin, wanted).pop() {
        Some(socket) => (socket, false),
        None => (open(wanted, false).map_err(bind_error)?, true),
    };
    let admin_address = admin.local_addr().map_err(bind_error)?;
    if is_new {
        opened.push((Kind::Admin.name(admin_address), admin_address));
    }
    match passed.first() {
        Some(&Sorted { address, .. }) => Err(StartError::Passed { address }),
        None => Ok(Listeners { workers, addresses, admin, admin_address, opened, closed }),
    }
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

    /// The sockets that this process has opened, those of a listener together, with the listener's name. A supervisor can keep
    /// them and pass them to the next gateway.
    pub fn opened(&self) -> impl Iterator<Item = (&str, Vec<BorrowedFd<'_>>)> {
        let all = || self.workers.iter().flatten().chain([&self.admin]);
        self.opened.iter().map(move |(name, address)| {
            let at = all().filter(|socket| socket.local_addr().is_ok_and(|own| own == *address));
            (name.as_str(), at.map(AsFd::as_fd).collect())
        })
    }

    /// The names of the listeners that a gateway before this one had and the configuration no longer has. They are closed, so that a
    /// supervisor need not keep them.
    pub fn closed(&self) -> &[String] {
        &self.closed
    }
}

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Admin,
}

impl Kind {
    /// The name under which a supervisor keeps the sockets of a listener. systemd forbids colons in it.
    fn name(self, address: SocketAddr) -> String {
        let kind = match self {
            Self::Server => "server",
            Self::Admin => "admin",
        };
        format!("{kind}-{address}").replace(':', "_")
    }
}

/// A passed socket that the configuration may have.
struct Sorted {
    socket: net::TcpListener,
    address: SocketAddr,
    /// What a gateway has opened it for. A supervisor's own can be for either listener.
    kind: Option<Kind>,
}

/// Closes the sockets of listeners that a gateway has opened and the configuration no longer has. Returns the others, and the
/// names of those that were closed.
fn sort(config: &Config, passed: Vec<PassedSocket>) -> io::Result<(Vec<Sorted>, Vec<String>)> {
    let (mut sorted, mut closed) = (Vec::new(), Vec::new());
    for PassedSocket { socket, name } in passed {
        let address = socket.local_addr()?;
        let kind = [Kind::Server, Kind::Admin].into_iter().find(|kind| kind.name(address) == name);
        let is_wanted = match kind {
            Some(Kind::Server) => config.server.listen.contains(&address),
            Some(Kind::Admin) => config.admin.listen == address,
            None => true,
        };
        if is_wanted {
            sorted.push(Sorted { socket, address, kind });
        } else {
            // Not only this copy: the address may be part of a new one, and the supervisor still has its own copy.
            match SockRef::from(&socket).shutdown(Shutdown::Read) {
                // It was closed before, by a gateway before this one.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                closed => closed?,
            }
            if !closed.contains(&name) {
                tracing::info!(%address, "a listener that the configuration no longer has is closed");
                closed.push(name);
            }
        }
    }
    Ok((sorted, closed))
}

/// Gives each thread one or more of the sockets of an address, so that connections are accepted from the queue of each socket.
/// Threads without one of their own share another's. Returns the address.
fn spread(sockets: Vec<net::TcpListener>, workers: &mut [Vec<net::TcpListener>]) -> io::Result<Option<SocketAddr>> {
    let address = sockets.first().map(net::TcpListener::local_addr).transpose()?;
    let threads = workers.len();
    let copies = sockets.iter().cycle().take(threads.saturating_sub(sockets.len()));
    let copies = copies.map(net::TcpListener::try_clone).collect::<io::Result<Vec<_>>>()?;
    for (index, socket) in sockets.into_iter().chain(copies).enumerate() {
        if let Some(worker) = workers.get_mut(index % threads) {
            worker.push(socket);
        }
    }
    Ok(address)
}

/// Binds one socket for each thread to the same address. Linux alone spreads connections over such sockets (socket(7),
/// SO_REUSEPORT); elsewhere the threads share one.
fn bind_shared(address: SocketAddr, threads: usize) -> io::Result<Vec<net::TcpListener>> {
    if threads == 1 || !cfg!(target_os = "linux") {
        return Ok(vec![open(address, false)?]);
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
