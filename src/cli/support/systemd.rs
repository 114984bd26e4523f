//! systemd: the sockets that it has opened (`LISTEN_FDS`), and what it is told of the gateway's life (`NOTIFY_SOCKET`). Without
//! systemd, neither variable is there, and nothing happens.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use sd_notify::{NotifyState, notify};

/// Tells systemd what the gateway does: a unit with `Type=notify` waits for that.
#[derive(Default)]
pub struct Notifier(Told);

/// What it was told last.
#[derive(Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// The listening sockets that systemd has passed to this process.
///
/// # Errors
/// One of them is no listening TCP socket.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|index| passed.take_tcp_listener(index).transpose()).collect()
}

impl Notifier {
    /// The gateway takes deliveries: it has started, or has reloaded.
    pub fn ready(&mut self) {
        if matches!(self.0, Told::Nothing | Told::Reloading) {
            tell(&[NotifyState::Ready]);
            self.0 = Told::Ready;
        }
    }

    /// It is about to reload.
    pub fn reloading(&mut self) {
        if self.0 != Told::Stopping {
            // By the time systemd knows which reload is meant.
            let time = NotifyState::monotonic_usec_now();
            match time {
                Ok(time) => tell(&[NotifyState::Reloading, time]),
                Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
            }
            self.0 = Told::Reloading;
        }
    }

    /// It drains, or stops at once.
    pub fn stopping(&mut self) {
        if self.0 != Told::Stopping {
            tell(&[NotifyState::Stopping]);
            self.0 = Told::Stopping;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "systemd cannot be told what the gateway does");
    }
}
