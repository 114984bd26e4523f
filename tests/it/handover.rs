//! A service manager that holds the listening sockets over a restart, so that no connection is refused: those that the gateway has
//! left with it, or those of a `.socket` unit. And what the gateway tells the manager of its life.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::bookkeeper::Bookkeeper;
use crate::support::gateway::SECRET;
use crate::support::http::{Connection, get};
use crate::support::manager::ServiceManager;
use crate::support::process::{GatewayProcess, Process, Stream, poll};
use crate::support::rig::route;
use crate::support::sender::Delivery;

/// Connections that are made at once.
const SENDERS: usize = 4;

/// A gateway as a service, with a handler behind it.
struct Service {
    manager: ServiceManager,
    handler: Bookkeeper,
    folder: TempDir,
    /// Where it listens.
    server: SocketAddr,
    admin: SocketAddr,
    /// Keep others from these addresses.
    _reserved: [Socket; 2],
}

/// An address of this machine that no other test gets. The gateway can listen there nonetheless.
fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Waits until connections are refused. A process that another test has just forked has this test's sockets until it executes
/// its program.
fn nobody_listens(addresses: &[SocketAddr]) {
    poll("connections are refused", || addresses.iter().all(|address| TcpStream::connect(address).is_err()));
}

impl Service {
    fn new() -> Self {
        Self::under(ServiceManager::new())
    }

    fn under(manager: ServiceManager) -> Self {
        let ((one, server), (two, admin)) = (reserve(), reserve());
        let (handler, folder) = (Bookkeeper::start(), tempfile::tempdir().unwrap());
        Self { manager, handler, folder, server, admin, _reserved: [one, two] }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    /// Writes a configuration with so many threads, and a queue.
    fn configure(&self, threads: usize) {
        let (server, admin, store) = (self.server, self.admin, self.folder.path().join("store"));
        let keys = format!("upstream: \"http://{}/in\", delivery: queue", self.handler.address);
        let text = format!(
            "server: {{ listen: \"{server}\", threads: {threads} }}\nadmin: {{ listen: \"{admin}\" }}\n\
             store: {{ path: \"{}\", min_free: 0B }}\nroutes:\n{}",
            store.display(),
            route("circleci", &keys)
        );
        fs::write(self.file(), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = self.manager.serve(&self.file());
        command.env("SECRET", SECRET);
        command
    }

    /// Returns once the manager knows that the gateway is ready.
    fn start(&mut self) -> GatewayProcess {
        let gateway = GatewayProcess::start_command(&mut self.command());
        self.manager.hear_up_to("READY=1");
        gateway
    }

    /// As a manager stops a service before it starts it again.
    fn stop(&mut self, mut gateway: GatewayProcess) {
        assert_eq!(gateway.process.terminate().code(), Some(0));
        self.manager.hear_up_to("STOPPING=1");
    }

    /// The gateway cannot start and ends with this status: what it has said.
    fn fails(&mut self, status: i32) -> String {
        let mut process = Process::start("the gateway", &mut self.command(), "");
        assert_eq!(process.wait().code(), Some(status));
        process.printed(Stream::Stderr).join("\n")
    }

    /// The names of the sockets at the server's and the admin listener's address.
    fn names(&self) -> (String, String) {
        (format!("server-127.0.0.1_{}", self.server.port()), format!("admin-127.0.0.1_{}", self.admin.port()))
    }

    /// Restarts it under load, each time with so many threads.
    fn refuses_no_connection(&mut self, threads: &[usize]) {
        let (server, admin) = (self.server, self.admin);
        let (stop, accepted, draining) = (AtomicBool::new(false), Mutex::new(Vec::new()), AtomicUsize::new(0));
        let (stop, accepted, draining) = (&stop, &accepted, &draining);
        let count = || accepted.lock().unwrap().len();
        let send = move |sender: usize| {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = format!("{{\"id\":\"{sender}-{number}\"}}");
                // Panics if the connection is refused or reset, or not answered.
                let mut connection = Connection::open(server);
                connection.write(&Delivery::circleci(&body).header("Connection", "close").bytes());
                let answer = connection.receive();
                match answer.status {
                    200 => accepted.lock().unwrap().push(body.into_bytes()),
                    // A request that begins on an open connection while the gateway drains.
                    503 if answer.json()["reason"] == "draining" => {
                        draining.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => panic!("{answer:?}"),
                }
            }
        };
        let ask = move || {
            while !stop.load(Ordering::Relaxed) {
                // The process may end before it has answered, but another one listens then.
                let mut connection = Connection::open(admin);
                if connection.try_write(&get("/livez")).is_ok()
                    && let Some(answer) = connection.try_receive()
                {
                    assert_eq!(answer.status, 200);
                }
            }
        };
        self.configure(threads[0]);
        let mut gateway = self.start();
        let kept: Vec<String> = self.manager.kept().into_iter().map(str::to_owned).collect();
        let gateway = thread::scope(|scope| {
            let mut clients: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
            clients.push(scope.spawn(ask));
            for &threads in &threads[1..] {
                let before = count();
                poll("deliveries are accepted", || count() >= before + 50);
                self.configure(threads);
                self.stop(gateway);
                gateway = self.start();
                assert_eq!(self.manager.kept(), kept, "nothing new");
            }
            let before = count();
            poll("deliveries are accepted again", || count() >= before + 50);
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                client.join().expect("no connection is refused");
            }
            gateway
        });
        assert!(draining.load(Ordering::Relaxed) <= threads.len() * SENDERS, "at most what was on its way");
        poll("all that was accepted is delivered", || {
            let delivered: Vec<Vec<u8>> = self.handler.entries().into_iter().map(|entry| entry.body).collect();
            accepted.lock().unwrap().iter().all(|body| delivered.contains(body))
        });
        self.stop(gateway);
    }
}

#[test]
fn a_restart_refuses_no_connection_and_loses_no_delivery() {
    let mut service = Service::new();
    // Fewer threads than sockets, and more.
    service.refuses_no_connection(&[2, 2, 1, 3]);
    let (server, admin) = service.names();
    assert_eq!(service.manager.kept(), [&server, &server, &admin]);
    service.manager.let_go();
    nobody_listens(&[service.server, service.admin]);
}

#[test]
fn what_connects_while_no_gateway_runs_waits_for_the_next_one_also_after_a_crash() {
    let mut service = Service::new();
    service.configure(2);
    let mut gateway = service.start();
    gateway.process.signal("KILL");
    gateway.process.wait();
    // So many that each socket has some.
    let mut senders: Vec<_> = (0..20).map(|_| Connection::open(service.server)).collect();
    for (number, sender) in senders.iter_mut().enumerate() {
        sender.write(&Delivery::circleci(format!("{{\"id\":\"{number}\"}}")).bytes());
    }
    let _gateway = service.start();
    for sender in &mut senders {
        assert_eq!(sender.receive().status, 200);
    }
}

#[test]
fn an_address_that_the_configuration_no_longer_has_is_closed_and_a_new_one_is_kept() {
    let mut service = Service::new();
    service.configure(2);
    let gateway = service.start();
    service.stop(gateway);
    let (before, (_, admin)) = (service.server, service.names());

    // All addresses of the machine, with the port that is still open at one of them.
    service.server = SocketAddr::from(([0, 0, 0, 0], before.port()));
    service.configure(2);
    let gateway = service.start();
    let all = format!("server-0.0.0.0_{}", before.port());
    assert_eq!(service.manager.kept(), [&admin, &all, &all]);
    let mut sender = Connection::open(before);
    sender.write(&Delivery::circleci("{}").bytes());
    assert_eq!(sender.receive().status, 200);
    drop(sender);
    service.stop(gateway);

    // The two listeners change places: a socket stays with what it was opened for.
    (service.server, service.admin) = (service.admin, before);
    service.configure(1);
    let gateway = service.start();
    let (server, admin) = service.names();
    assert_eq!(service.manager.kept(), [&server, &admin]);
    assert_eq!(gateway.server, service.server);
    let mut asking = Connection::open(before);
    asking.write(&get("/readyz"));
    assert_eq!(asking.receive().status, 200);
    drop(asking);
    service.stop(gateway);

    let (_reserved, moved) = reserve();
    let left = std::mem::replace(&mut service.server, moved);
    service.configure(1);
    let gateway = service.start();
    nobody_listens(&[left]);
    service.stop(gateway);
}

#[test]
fn a_gateway_that_cannot_start_leaves_nobody_waiting() {
    let in_use = TcpListener::bind("127.0.0.1:0").unwrap();
    let invalid = |service: &mut Service| fs::write(service.file(), "").unwrap();
    let occupied = |service: &mut Service| {
        service.admin = in_use.local_addr().unwrap();
        service.configure(2);
    };
    type Change<'a> = &'a dyn Fn(&mut Service);
    let changes = [(&invalid as Change<'_>, 78, "at least one route"), (&occupied, 1, "cannot listen on")];
    for (change, status, why) in changes {
        let mut service = Service::new();
        service.configure(2);
        let gateway = service.start();
        service.stop(gateway);
        let listened = [service.server, service.admin];
        change(&mut service);
        let said = service.fails(status);
        assert!(said.contains(why), "{said}");
        while !service.manager.kept().is_empty() {
            service.manager.hear();
        }
        nobody_listens(&listened);
    }
}

#[test]
fn a_socket_that_is_none_of_tcp_leaves_nobody_waiting_for_those_that_are_kept() {
    let mut service = Service::new();
    service.configure(2);
    let gateway = service.start();
    service.stop(gateway);
    assert_eq!(service.manager.kept().len(), 3);
    service.manager.open(UdpSocket::bind("127.0.0.1:0").unwrap().into());
    let said = service.fails(1);
    assert!(said.contains("a socket of systemd: "), "{said}");
    while !service.manager.kept().is_empty() {
        service.manager.hear();
    }
    nobody_listens(&[service.server, service.admin]);
}

#[test]
fn a_restart_with_a_socket_unit_refuses_no_connection_either() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = Service::under(ServiceManager::with_socket(&listener));
    service.server = listener.local_addr().unwrap();
    service.refuses_no_connection(&[2, 2, 2, 2]);
    assert_eq!(service.manager.kept(), [service.names().1], "the manager has the socket of the unit anyway");
}

#[test]
fn a_socket_that_the_configuration_does_not_have_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = Service::under(ServiceManager::with_socket(&listener));
    service.configure(2);
    let said = service.fails(1);
    let expected = format!("a socket at {} was passed", listener.local_addr().unwrap());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn the_service_manager_is_told_when_the_gateway_is_ready_reloads_and_stops() {
    let mut service = Service::new();
    service.configure(1);
    let mut gateway = GatewayProcess::start_command(&mut service.command());
    let (server, admin) = service.names();
    for name in [server, admin] {
        assert_eq!(service.manager.hear(), format!("FDSTORE=1\nFDNAME={name}"));
    }
    assert_eq!(service.manager.hear(), "READY=1");
    let text = fs::read_to_string(service.file()).unwrap();
    fs::write(service.file(), text.replace("circleci, ", "circleci, max_body: 2MiB, ")).unwrap();
    gateway.process.signal("HUP");
    let reloading = service.manager.hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(service.manager.hear(), "READY=1", "the listeners are as they were");

    // What can be read but not applied, and what cannot be read.
    for wrong in [text.replace("threads: 1", "threads: 2"), format!("{text}\nnonsense: 1\n")] {
        fs::write(service.file(), wrong).unwrap();
        gateway.process.signal("HUP");
        assert!(service.manager.hear().starts_with("RELOADING=1\n"));
        let failed = "READY=1\nSTATUS=The configuration was not reloaded: what ran goes on. See the log";
        assert_eq!(service.manager.hear(), failed);
    }
    fs::write(service.file(), text).unwrap();
    gateway.process.signal("HUP");
    assert!(service.manager.hear().starts_with("RELOADING=1\n"));
    assert_eq!(service.manager.hear(), "READY=1\nSTATUS=", "it is taken back");
    gateway.process.signal("TERM");
    assert_eq!(service.manager.hear(), "STOPPING=1");
    assert_eq!(gateway.process.wait().code(), Some(0));
}
