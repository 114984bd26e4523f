//! A handler that takes every delivery with 200, unless it is to fail, and keeps book of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A running handler; it ends with the test process.
pub struct Bookkeeper {
    pub address: SocketAddr,
    book: Arc<Book>,
}

/// A delivery as it came.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which connection it came on: the first is 0.
    pub connection: usize,
    /// The target of the request.
    pub target: String,
    /// In order; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Book {
    entries: Mutex<Vec<Entry>>,
    /// Whether it answers 503.
    fails: AtomicBool,
    /// Whether answers are held back.
    held: Mutex<bool>,
    released: Condvar,
}

impl Bookkeeper {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::<Book>::default();
        let keeper = Self { address, book: book.clone() };
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let book = book.clone();
                thread::spawn(move || serve(connection, stream, &book));
            }
        });
        keeper
    }

    /// All deliveries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.book.entries.lock().unwrap().clone()
    }

    /// Answers 503 from now on.
    pub fn fail(&self) {
        self.book.fails.store(true, Ordering::SeqCst);
    }

    /// Answers 200 again from now on.
    pub fn recover(&self) {
        self.book.fails.store(false, Ordering::SeqCst);
    }

    /// Writes deliveries down but answers none until [`Bookkeeper::release`].
    pub fn hold(&self) {
        *self.book.held.lock().unwrap() = true;
    }

    /// Answers what was held, and all that comes.
    pub fn release(&self) {
        *self.book.held.lock().unwrap() = false;
        self.book.released.notify_all();
    }
}

impl Entry {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One connection, to its end.
fn serve(connection: usize, stream: TcpStream, book: &Book) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let target = line(&mut stream)?.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        loop {
            let line = line(&mut stream)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut entry = Entry { connection, target, headers, body: Vec::new() };
        entry.body.resize(entry.header("content-length")?.parse().ok()?, 0);
        stream.read_exact(&mut entry.body).ok()?;
        book.entries.lock().unwrap().push(entry);
        drop(book.released.wait_while(book.held.lock().unwrap(), |held| *held).unwrap());
        let status = if book.fails.load(Ordering::SeqCst) { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nok\n");
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}
