//! A service manager, as systemd is one for a unit with `Type=notify` and `FileDescriptorStoreMax=`: it hears what the gateway says,
//! keeps the sockets that the gateway leaves with it, and passes them to the next process.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use super::http::ANSWER;
use super::process::BINARY;

/// More than a message of the tests' gateways has.
const IN_A_MESSAGE: usize = 64;

pub struct ServiceManager {
    folder: TempDir,
    told: UnixDatagram,
    /// The sockets of a `.socket` unit.
    opened: Vec<OwnedFd>,
    /// What the gateway has left, by name.
    kept: Vec<(String, OwnedFd)>,
}

impl ServiceManager {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        told.set_read_timeout(Some(ANSWER)).unwrap();
        Self { folder, told, opened: Vec::new(), kept: Vec::new() }
    }

    /// With a `.socket` unit that has opened this listener.
    pub fn with_socket(listener: &TcpListener) -> Self {
        Self { opened: vec![listener.try_clone().unwrap().into()], ..Self::new() }
    }

    /// The `.socket` unit opens this socket as well.
    pub fn open(&mut self, socket: OwnedFd) {
        self.opened.push(socket);
    }

    /// `serve` with this configuration, and with the sockets and variables that systemd starts a service with.
    pub fn serve(&self, file: &Path) -> Command {
        let unit = self.opened.iter().map(|socket| ("hooklatch.socket", socket));
        let kept = self.kept.iter().map(|(name, socket)| (name.as_str(), socket));
        let (names, sockets): (Vec<&str>, Vec<&OwnedFd>) = unit.chain(kept).unzip();
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", BINARY, "serve", "--log-format", "json"]);
        command.args(["--log-level", "info", "-c"]).arg(file).env_remove("RUST_LOG");
        if !names.is_empty() {
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        let mapped = sockets.iter().zip(3..);
        let mapped = mapped.map(|(socket, child_fd)| FdMapping { parent_fd: socket.try_clone().unwrap(), child_fd });
        command.fd_mappings(mapped.collect()).unwrap();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    /// The next message of the gateway, once what it asks for is done.
    pub fn hear(&mut self) -> String {
        let (mut bytes, mut space) = ([0; 1024], [MaybeUninit::uninit(); cmsg_space!(ScmRights(IN_A_MESSAGE))]);
        let mut came = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.told, &mut [IoSliceMut::new(&mut bytes)], &mut came, RecvFlags::CMSG_CLOEXEC);
        let length = received.expect("the gateway says something").bytes;
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let name = message.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
        assert!(!name.contains(':') && name.is_ascii() && name.len() <= 255, "as sd_notify(3) has it: {name}");
        let sockets = came.drain().filter_map(|came| match came {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let sockets: Vec<OwnedFd> = sockets.flatten().collect();
        if message.lines().any(|line| line == "FDSTORE=1") {
            self.kept.extend(sockets.into_iter().map(|socket| (name.to_owned(), socket)));
        } else if message.lines().any(|line| line == "FDSTOREREMOVE=1") {
            self.kept.retain(|(kept, _)| kept != name);
        }
        message.trim_end().to_owned()
    }

    /// The same up to this message.
    pub fn hear_up_to(&mut self, last: &str) {
        while self.hear() != last {}
    }

    /// The names of what it keeps, in order.
    pub fn kept(&self) -> Vec<&str> {
        self.kept.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Lets go of all that it keeps, as systemd does once a service has stopped for good.
    pub fn let_go(&mut self) {
        self.kept.clear();
    }
}
