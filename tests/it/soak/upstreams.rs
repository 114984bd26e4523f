//! Handlers behind the gateway: one that does everything right, one that swallows requests, one that does everything
//! wrong. Each keeps book of every request that it has read whole, by the number at the end of its path.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::Random;

/// How a handler behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Answers 200 at once.
    Steady,
    /// Answers 200 after some milliseconds.
    Slow,
    /// Reads a request on a connection that it has answered on before, and then closes without an answer.
    Swallowing,
    /// Closes, garbles, stalls, breaks off; is gone for a while now and then.
    Rude,
}

/// A running handler.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manners: Manners,
    /// How often each number came.
    book: Mutex<HashMap<u64, u32>>,
    /// What should not have come, at most some of it.
    complaints: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// Longer than a rude handler's route waits.
pub const STALL: Duration = Duration::from_millis(400);
/// How long a rude handler is gone.
const GONE: Duration = Duration::from_millis(150);

impl Upstream {
    pub fn start(manners: Manners, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manners,
            book: Mutex::default(),
            complaints: Mutex::default(),
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let upstream = Self { address, shared: shared.clone() };
        thread::spawn(move || accept(listener, &shared, Random::new(seed)));
        upstream
    }

    /// How often each number came.
    pub fn book(&self) -> HashMap<u64, u32> {
        self.shared.book.lock().unwrap().clone()
    }

    pub fn complaints(&self) -> Vec<String> {
        self.shared.complaints.lock().unwrap().clone()
    }

    /// Closes every connection, and minds its manners from now on.
    pub fn close(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.hang_up();
    }
}

impl Shared {
    fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn complain(&self, what: String) {
        let mut complaints = self.complaints.lock().unwrap();
        if complaints.len() < 10 {
            complaints.push(what);
        }
    }
}

fn accept(mut listener: TcpListener, shared: &Arc<Shared>, mut random: Random) {
    loop {
        let Ok((stream, _)) = listener.accept() else { return };
        if let Ok(copy) = stream.try_clone() {
            let mut open = shared.open.lock().unwrap();
            open.retain(|stream| stream.peer_addr().is_ok());
            open.push(copy);
        }
        let seed = random.next();
        let serving = shared.clone();
        thread::spawn(move || drop(serve(stream, &serving, Random::new(seed))));
        let leaves = shared.manners == Manners::Rude && !shared.is_over.load(Ordering::Relaxed) && random.one_in(200);
        if leaves {
            let Ok(address) = listener.local_addr() else { return };
            drop(listener);
            shared.hang_up();
            thread::sleep(GONE);
            listener = loop {
                match TcpListener::bind(address) {
                    Ok(listener) => break listener,
                    Err(_) => thread::sleep(GONE),
                }
            };
        }
    }
}

/// One connection, to its end.
fn serve(stream: TcpStream, shared: &Shared, mut random: Random) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    for answered in 0u64.. {
        let rude = shared.manners == Manners::Rude && !shared.is_over.load(Ordering::Relaxed);
        if rude && answered > 0 && random.one_in(10) {
            return stream.get_ref().shutdown(Shutdown::Both);
        }
        let Some((number, wrong)) = read(&mut stream)? else { return Ok(()) };
        *shared.book.lock().unwrap().entry(number).or_default() += 1;
        if let Some(wrong) = wrong {
            shared.complain(format!("{number}: {wrong}"));
        }
        if shared.manners == Manners::Slow {
            thread::sleep(Duration::from_millis(random.below(20)));
        }
        if shared.manners == Manners::Swallowing && answered > 0 && random.one_in(6) {
            return stream.get_ref().shutdown(Shutdown::Both);
        }
        let out = stream.get_mut();
        match if rude { random.below(20) } else { 99 } {
            0 => return out.shutdown(Shutdown::Both),
            1 => out.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").and_then(|()| out.shutdown(Shutdown::Both))?,
            2 => out.write_all(b"what is this?\r\n\r\n").and_then(|()| out.shutdown(Shutdown::Both))?,
            3 => out
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .and_then(|()| out.shutdown(Shutdown::Both))?,
            4 => thread::sleep(STALL),
            5 => out.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?,
            6 => out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
            7 => out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n")?,
            8 => out.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
            _ => out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?,
        }
    }
    Ok(())
}

/// The number of the next request, and what is wrong with it; `None` at the connection's end.
fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(u64, Option<String>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head);
    let header = |name: &str| {
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let number = path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
    let begins = format!("{{\"number\":{number},");
    let wrong = if header("hooklatch-verified") != Some("true") {
        Some(format!("not verified: {head}"))
    } else if !body.starts_with(begins.as_bytes()) {
        Some(format!("another body: {path} {:?}", String::from_utf8_lossy(body.get(..40).unwrap_or(&body))))
    } else {
        None
    };
    Ok(Some((number, wrong)))
}
