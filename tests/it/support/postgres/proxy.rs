//! Between a client and a server, for instance a gateway and its database: passes bytes on, until it is told to cut, stall or
//! slow them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A listener whose address lasts as long as this value; connections that wait to be passed on end with it.
pub struct Proxy {
    /// Where to connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What becomes of the bytes of all connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passing,
    /// Each read is passed on this much later, either way.
    Slow(Duration),
    /// Nothing is passed on, and nothing ends: as when a network loses every packet.
    Stalled,
    /// New connections end at once.
    Cut,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    target: SocketAddr,
    /// Both ends of each connection, so that they can be ended. Those that have ended are taken out by the next one.
    open: Vec<[TcpStream; 2]>,
}

impl Proxy {
    /// Passes on to an address.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mode: Mode::Passing, target, open: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || {
            // It ends with the process, as other listeners of tests do. An error is that of one connection, or passes.
            for stream in listener.incoming().flatten() {
                let accepting = accepting.clone();
                thread::spawn(move || accepting.connect(stream));
            }
        });
        Self { address, shared }
    }

    /// From now on new connections go to this address.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.lock().target = target;
    }

    /// Ends all connections, and each new one at once.
    pub fn cut(&self) {
        self.shared.set(Mode::Cut);
        self.break_off();
    }

    /// Passes nothing on and ends nothing.
    pub fn stall(&self) {
        self.shared.set(Mode::Stalled);
    }

    /// Passes everything on, this much later.
    pub fn slow(&self, delay: Duration) {
        self.shared.set(Mode::Slow(delay));
    }

    /// Passes everything on, as at first. What was held goes on; what was cut has ended.
    pub fn restore(&self) {
        self.shared.set(Mode::Passing);
    }

    /// Ends the connections of now, and takes new ones.
    pub fn break_off(&self) {
        for ends in self.shared.lock().open.drain(..) {
            end(&ends);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    /// Passes a new connection on. Without a server it ends at once, as does each of a proxy that was cut.
    fn connect(self: &Arc<Self>, client: TcpStream) -> Option<()> {
        let target = {
            let state = self.lock();
            (state.mode != Mode::Cut).then_some(state.target)?
        };
        let server = TcpStream::connect_timeout(&target, CONNECT).ok()?;
        for stream in [&client, &server] {
            stream.set_nodelay(true).ok()?;
        }
        let ends = [client.try_clone().ok()?, server.try_clone().ok()?];
        let mut state = self.lock();
        if state.mode == Mode::Cut {
            return None;
        }
        state.open.retain(|[client, _]| client.take_error().is_ok() && client.peer_addr().is_ok());
        state.open.push(ends);
        drop(state);
        let back = (server.try_clone().ok()?, client.try_clone().ok()?);
        for (from, to) in [(client, server), back] {
            let shared = self.clone();
            thread::spawn(move || shared.pass(from, to));
        }
        Some(())
    }

    /// One direction of a connection, to its end, which ends the other one, too.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            self.wait();
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        // Even an end is not passed on while nothing is.
        self.wait();
        end(&[from, to]);
    }

    /// Returns when what was read may be passed on.
    fn wait(&self) {
        let mut state = self.lock();
        loop {
            match state.mode {
                Mode::Passing | Mode::Cut => return,
                Mode::Stalled => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                mode @ Mode::Slow(delay) => {
                    let waited = self.changed.wait_timeout_while(state, delay, |state| state.mode == mode);
                    let (left, result) = waited.unwrap_or_else(PoisonError::into_inner);
                    if result.timed_out() {
                        return;
                    }
                    state = left;
                }
            }
        }
    }
}

fn end(ends: &[TcpStream; 2]) {
    for stream in ends {
        // It may have ended already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
