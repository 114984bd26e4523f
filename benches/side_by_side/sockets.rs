//! Which sockets can be read: all of them are tried where the load spins, those that the system names where it sleeps.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// How long the load sleeps at most: a write that would have blocked is then tried again.
const AT_MOST: Duration = Duration::from_millis(1);
/// Sockets that the system names at once.
const AT_ONCE: usize = 256;

/// The sockets of the load.
#[derive(Default)]
pub struct Sockets(Option<Watched>);

/// A socket.
#[derive(Clone, Copy, Default)]
pub struct Place(Option<usize>);

struct Watched {
    epoll: OwnedFd,
    events: Vec<Event>,
    readable: Vec<bool>,
}

impl Sockets {
    /// Sockets that the system watches, so that the load can sleep.
    pub fn watched() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self(Some(Watched { epoll, events: Vec::with_capacity(AT_ONCE), readable: Vec::new() })))
    }

    /// Whether the load sleeps.
    pub fn are_watched(&self) -> bool {
        self.0.is_some()
    }

    /// One more socket. The system forgets it when it is closed.
    pub fn add(&mut self, socket: &impl AsFd) -> io::Result<Place> {
        let Some(watched) = &mut self.0 else { return Ok(Place(None)) };
        let at = watched.readable.len();
        epoll::add(&watched.epoll, socket, EventData::new_u64(at as u64), EventFlags::IN)?;
        watched.readable.push(false);
        Ok(Place(Some(at)))
    }

    /// Whether a socket is to be read; said once each time that the system names it.
    pub fn take(&mut self, Place(at): Place) -> bool {
        match (&mut self.0, at) {
            (Some(watched), Some(at)) => std::mem::take(&mut watched.readable[at]),
            _ => true,
        }
    }

    /// Asks the system. If nothing can be done but wait, sleeps until a socket can be read.
    pub fn look(&mut self, waits: bool) -> io::Result<()> {
        let Some(Watched { epoll, events, readable }) = &mut self.0 else { return Ok(()) };
        let timeout = if waits { AT_MOST } else { Duration::ZERO };
        events.clear();
        let timeout = timeout.try_into().map_err(io::Error::other)?;
        match epoll::wait(epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            readable[event.data.u64() as usize] = true;
        }
        Ok(())
    }
}
