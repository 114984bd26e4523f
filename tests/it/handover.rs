//! A service manager that opens the listener, as a `.socket` unit has systemd do it: a restart refuses no connection. And what the
//! gateway tells the manager of its life.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::gateway::SECRET;
use crate::support::http::{ANSWER, Connection};
use crate::support::process::{BINARY, GatewayProcess, Process, Stream, poll};
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

/// Connections that are made at once.
const SENDERS: usize = 4;

/// Writes a configuration that listens at `server`.
fn configure(folder: &Path, server: SocketAddr, threads: usize, upstream: SocketAddr) {
    let routes = route("circleci", &format!("upstream: \"http://{upstream}/in\""));
    let server = format!("server: {{ listen: \"{server}\", threads: {threads} }}");
    fs::write(folder.join("gateway.yaml"), format!("{server}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n{routes}"))
        .unwrap();
}

/// `serve` with this socket as systemd passes it: as file descriptor 3, and with variables that say so.
fn passed(listener: &TcpListener, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command.args([
        "-c",
        script,
        "sh",
        BINARY,
        "serve",
        "--log-format",
        "json",
        "--log-level",
        "info",
        "-c",
        "gateway.yaml",
    ]);
    command.current_dir(folder).env("SECRET", SECRET).env_remove("RUST_LOG");
    command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    command
}

#[test]
fn a_restart_with_a_socket_of_the_service_manager_refuses_no_connection() {
    let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
    upstream.answer_always();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    configure(folder.path(), at, 2, upstream.address);
    let start = || GatewayProcess::start_with_input(&mut passed(&listener, folder.path()));
    let (stop, forwarded, draining) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let send = || {
        while !stop.load(Ordering::Relaxed) {
            // Panics if the connection is refused or reset, or not answered.
            let mut sender = Connection::open(at);
            sender.write(&Delivery::circleci("{}").header("Connection", "close").bytes());
            let answer = sender.receive();
            match answer.status {
                200 => forwarded.fetch_add(1, Ordering::Relaxed),
                // A request that begins on an open connection while the gateway drains.
                503 if answer.json()["reason"] == "draining" => draining.fetch_add(1, Ordering::Relaxed),
                _ => panic!("{answer:?}"),
            };
        }
    };
    thread::scope(|scope| {
        let mut gateway = start();
        assert_eq!(gateway.server, at);
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        for _ in 0..3 {
            let before = forwarded.load(Ordering::Relaxed);
            poll("deliveries are forwarded", || forwarded.load(Ordering::Relaxed) >= before + 50);
            assert_eq!(gateway.process.terminate().code(), Some(0));
            gateway = start();
        }
        let before = forwarded.load(Ordering::Relaxed);
        poll("deliveries are forwarded again", || forwarded.load(Ordering::Relaxed) >= before + 50);
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().expect("no connection is refused");
        }
        assert_eq!(gateway.process.terminate().code(), Some(0));
    });
    assert!(draining.load(Ordering::Relaxed) <= 3 * SENDERS, "at most what was on its way");
}

#[test]
fn what_connects_while_no_gateway_runs_waits_for_the_next_one() {
    let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
    upstream.answer_always();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(folder.path(), listener.local_addr().unwrap(), 1, upstream.address);
    let mut sender = Connection::open(listener.local_addr().unwrap());
    sender.write(&Delivery::circleci("{}").bytes());
    let gateway = GatewayProcess::start_with_input(&mut passed(&listener, folder.path()));
    assert_eq!(sender.receive().status, 200);
    drop(gateway);
    drop(TcpStream::connect(listener.local_addr().unwrap()).expect("the socket is still open"));
}

#[test]
fn a_socket_that_the_configuration_does_not_have_is_an_error() {
    let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(folder.path(), "127.0.0.1:0".parse().unwrap(), 1, upstream.address);
    let mut process = Process::start_with_input("the gateway", &mut passed(&listener, folder.path()), "");
    assert_eq!(process.wait().code(), Some(1));
    let said = process.printed(Stream::Stderr).join("\n");
    let expected = format!("a socket at {} was passed", listener.local_addr().unwrap());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn the_service_manager_is_told_when_the_gateway_is_ready_reloads_and_stops() {
    let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(ANSWER)).unwrap();
    let next = || {
        let mut bytes = [0; 1024];
        let length = told.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    configure(folder.path(), "127.0.0.1:0".parse().unwrap(), 1, upstream.address);
    let mut command = Command::new(BINARY);
    command.args(["serve", "--log-format", "json", "--log-level", "info", "-c", "gateway.yaml"]);
    command.current_dir(folder.path()).env("SECRET", SECRET).env("NOTIFY_SOCKET", &path).env_remove("RUST_LOG");
    let mut gateway = GatewayProcess::start_command(&mut command);
    assert_eq!(next().trim_end(), "READY=1");
    let file = folder.path().join("gateway.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("circleci, ", "circleci, max_body: 2MiB, ")).unwrap();
    gateway.process.signal("HUP");
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(next().trim_end(), "READY=1");
    gateway.process.signal("TERM");
    assert_eq!(next().trim_end(), "STOPPING=1");
    assert_eq!(gateway.process.wait().code(), Some(0));
}
