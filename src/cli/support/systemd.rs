//! systemd: the sockets that it passes (`LISTEN_FDS`), those that it keeps for the next process (`FDSTORE`), and what it is told
//! of the gateway's life (`NOTIFY_SOCKET`). Without systemd, neither variable is there, and nothing happens.
//!
//! It keeps sockets for a unit with `FileDescriptorStoreMax=`: until the service has stopped without being started again, so over a
//! restart, and over a crash that `Restart=` follows. Meanwhile connections wait in the queues of the sockets; see
//! <https://systemd.io/FILE_DESCRIPTOR_STORE/>.

use std::collections::BTreeSet;
use std::io;

use listenfd::ListenFd;
use sd_notify::{NotifyState, notify, notify_with_fds};

use crate::app::{Listeners, PassedSocket};

/// How many file descriptors fit into a message (unix(7), `SCM_RIGHTS`), at most.
const IN_A_MESSAGE: usize = 253;
/// What `systemctl status` shows after a reload that failed, until one succeeds. The reasons are in the log.
const NOT_RELOADED: &str = "The configuration was not reloaded: what ran goes on. See the log";

/// systemd, as it is talked to by a unit with `Type=notify`. If it is dropped before the gateway was [ready](Self::ready), the
/// gateway could not start, and systemd is told to close what it keeps: what connects is then refused instead of waiting in vain.
#[derive(Default)]
pub struct Manager {
    told: Told,
    /// The names of the sockets that it passed or keeps.
    names: BTreeSet<String>,
    /// What it shows of the gateway is [`NOT_RELOADED`].
    shows_failure: bool,
}

/// What it was told last.
#[derive(Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

impl Manager {
    /// The listening sockets that were passed to this process: those of `.socket` units, and those that are kept.
    ///
    /// # Errors
    /// One of them is no TCP socket.
    pub fn sockets(&mut self) -> io::Result<Vec<PassedSocket>> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
        let names: Vec<String> = names.take(passed.len()).collect();
        self.names.extend(names.iter().cloned());
        let sockets = (0..passed.len()).zip(names).filter_map(|(index, name)| {
            let taken = passed.take_tcp_listener(index);
            taken.map(|socket| Some(PassedSocket { socket: socket?, name })).transpose()
        });
        sockets.collect()
    }

    /// Leaves the sockets that this process has opened for the next one.
    pub fn keep(&mut self, listeners: &Listeners) {
        listeners.closed().iter().for_each(|name| close(name));
        for (name, sockets) in listeners.opened() {
            self.names.insert(name.to_owned());
            for sockets in sockets.chunks(IN_A_MESSAGE) {
                warn_of(notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], sockets));
            }
        }
    }

    /// The gateway takes deliveries: it has started or reloaded, or goes on as it was because the reload has failed.
    pub fn ready(&mut self, has_failed: bool) {
        if matches!(self.told, Told::Nothing | Told::Reloading) {
            let status = match (has_failed, self.shows_failure) {
                (true, _) => Some(NotifyState::Status(NOT_RELOADED)),
                (false, true) => Some(NotifyState::Status("")),
                (false, false) => None,
            };
            let states: Vec<_> = [NotifyState::Ready].into_iter().chain(status).collect();
            tell(&states);
            self.told = Told::Ready;
            self.shows_failure = has_failed;
        }
    }

    /// It is about to reload.
    pub fn reloading(&mut self) {
        if self.told != Told::Stopping {
            // By the time systemd knows which reload is meant.
            let time = NotifyState::monotonic_usec_now();
            match time {
                Ok(time) => tell(&[NotifyState::Reloading, time]),
                Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
            }
            self.told = Told::Reloading;
        }
    }

    /// It drains, or stops at once.
    pub fn stopping(&mut self) {
        if self.told != Told::Stopping {
            tell(&[NotifyState::Stopping]);
            self.told = Told::Stopping;
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.told == Told::Nothing {
            self.names.iter().for_each(|name| close(name));
        }
    }
}

/// Has systemd close what it keeps under a name. The sockets of a `.socket` unit are not among that.
fn close(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

fn tell(state: &[NotifyState<'_>]) {
    warn_of(notify(state));
}

fn warn_of(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "systemd cannot be told what the gateway does");
    }
}
