//! The handler's place behind the gateway: a real server that the test itself plays, step by step.
//!
//! Nothing is scripted ahead: a test accepts a connection, reads a request, and answers, breaks off or does neither, so
//! that what comes when is in the order of the test's lines. Connections and bytes that the test did not ask for fail
//! it when the value is dropped.

use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};

use super::http::ANSWER;
use super::stream::Stream;

/// A listener where the gateway connects to.
pub struct Upstream {
    listener: TcpListener,
    pub address: SocketAddr,
    /// A thread answers what comes, instead of the test.
    is_unattended: Cell<bool>,
}

/// An address without a listener, reserved as long as this value lives.
pub struct Nobody {
    socket: Socket,
    pub address: SocketAddr,
}

/// A connection of the gateway's.
pub struct Peer {
    stream: BufReader<Stream>,
    /// Whether bytes may be left unread.
    careless: bool,
}

/// A request as the upstream got it.
#[derive(Debug)]
pub struct Seen {
    /// As it came, the empty line included.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Upstream {
    pub fn bind() -> Self {
        Self::bind_with(128)
    }

    /// With room for `backlog` connections that have not been accepted, and one more.
    pub fn bind_with(backlog: i32) -> Self {
        Self::bind_at(SocketAddr::from(([127, 0, 0, 1], 0)), backlog)
    }

    /// The same at another address of this machine.
    pub fn bind_at(address: SocketAddr, backlog: i32) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        Self::listen(socket, backlog)
    }

    fn listen(socket: Socket, backlog: i32) -> Self {
        socket.listen(backlog).unwrap();
        // On Linux this bounds `accept` too (socket(7), SO_RCVTIMEO).
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        Self { listener, address, is_unattended: Cell::default() }
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap_or_else(|error| panic!("no connection came: {error}"));
        Peer::from(stream)
    }

    /// The next connection, which must be by TLS.
    #[track_caller]
    pub fn accept_tls(&self, server: Arc<ServerConfig>) -> Peer {
        let (stream, _) = self.listener.accept().unwrap_or_else(|error| panic!("no connection came: {error}"));
        let mut peer = Peer::from(stream.try_clone().unwrap());
        peer.stream = BufReader::new(Stream::accept_tls(stream, server));
        peer
    }

    /// From now on a thread answers each request with 200.
    pub fn answer_always(&self) {
        self.answer_by(|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    /// From now on a thread answers each request with these bytes, and does not mind connections that break off.
    pub fn answer_by(&self, answer: impl Fn(&Seen) -> &'static str + Send + Sync + 'static) {
        self.answer_each(usize::MAX, answer);
    }

    /// The same, and each connection ends after one answer.
    pub fn answer_by_and_close(&self, answer: impl Fn(&Seen) -> &'static str + Send + Sync + 'static) {
        self.answer_each(1, answer);
    }

    /// Answers `requests` on each connection.
    fn answer_each(&self, requests: usize, answer: impl Fn(&Seen) -> &'static str + Send + Sync + 'static) {
        self.is_unattended.set(true);
        let (listener, answer) = (self.listener.try_clone().unwrap(), Arc::new(answer));
        thread::spawn(move || {
            loop {
                // Otherwise none waits, or what is wrong passes.
                if let Ok((stream, _)) = listener.accept() {
                    let answer = answer.clone();
                    thread::spawn(move || Peer::from(stream).answer_requests(requests, &*answer));
                }
            }
        });
    }

    /// That no connection waits to be accepted.
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        match accepted {
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(ANSWER)).unwrap();
                let mut bytes = [0; 256];
                let read = stream.read(&mut bytes).unwrap_or_default();
                panic!("the upstream saw an unexpected connection: {:?}", String::from_utf8_lossy(&bytes[..read]));
            }
        }
    }
}

impl Nobody {
    pub fn bind() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, address }
    }

    /// From now on the test listens there.
    pub fn listen(self) -> Upstream {
        Upstream::listen(self.socket, 128)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if !thread::panicking() && !self.is_unattended.get() {
            self.expect_nothing();
        }
    }
}

impl Peer {
    /// The next request, whole.
    #[track_caller]
    pub fn request(&mut self) -> Seen {
        let head = self.head();
        self.body(head)
    }

    /// The request of which this is the head.
    #[track_caller]
    pub fn body(&mut self, mut head: Seen) -> Seen {
        head.body = vec![0; head.one("content-length").parse().unwrap()];
        self.stream.read_exact(&mut head.body).unwrap();
        head
    }

    /// So many bytes of a body.
    pub fn body_part(&mut self, length: usize) -> Vec<u8> {
        let mut part = vec![0; length];
        self.stream.read_exact(&mut part).unwrap();
        part
    }

    /// The next request's head. Its body must have a length and no transfer coding.
    #[track_caller]
    pub fn head(&mut self) -> Seen {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_until(b'\n', &mut head).unwrap_or_else(|error| panic!("no request: {error}"));
            assert!(read > 0, "the gateway closed in a head: {:?}", String::from_utf8_lossy(&head));
        }
        let seen = Seen { head, body: Vec::new() };
        assert_eq!(seen.all("transfer-encoding"), [""; 0]);
        seen.one("content-length");
        seen
    }

    /// Writes `bytes` as they are.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Writes chunks of a body until the gateway no longer takes them.
    pub fn write_until_closed(mut self) {
        self.careless = true;
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        let error = (0..10_000).find_map(|_| self.stream.get_mut().write_all(&chunk).err());
        let error = error.expect("the gateway took it all");
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    }

    /// Answers 200 with a short body.
    pub fn answer(&mut self) {
        self.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
    }

    /// Answers so many requests, or fewer if the connection ends.
    fn answer_requests(mut self, requests: usize, answer: &impl Fn(&Seen) -> &'static str) -> Option<()> {
        self.careless = true;
        for _ in 0..requests {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                self.stream.read_until(b'\n', &mut head).ok().filter(|read| *read > 0)?;
            }
            let mut seen = Seen { head, body: Vec::new() };
            seen.body.resize(seen.one("content-length").parse().ok()?, 0);
            self.stream.read_exact(&mut seen.body).ok()?;
            self.stream.get_mut().write_all(answer(&seen).as_bytes()).ok()?;
        }
        Some(())
    }

    /// That the gateway ends this connection without another byte.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// The stream under it.
    pub fn stream(&mut self) -> &mut Stream {
        self.stream.get_mut()
    }

    /// Closes the connection without reading what has come.
    pub fn slam(mut self) {
        self.careless = true;
    }
}

impl From<TcpStream> for Peer {
    fn from(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_write_timeout(Some(ANSWER)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(Stream::Plain(stream)), careless: false }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.careless || thread::panicking() {
            return;
        }
        let mut byte = [0];
        let stream = self.stream.get_ref().tcp();
        stream.set_nonblocking(true).unwrap();
        let waiting = stream.peek(&mut byte).unwrap_or(0) + self.stream.buffer().len();
        assert_eq!(waiting, 0, "the gateway sent more than the test asked for");
    }
}

impl Seen {
    /// The request line without its CRLF.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(self.lines()[0]).into_owned()
    }

    /// The header lines in order, without their CRLF.
    pub fn headers(&self) -> Vec<&[u8]> {
        self.lines().split_off(1)
    }

    /// The values of every header called `name` (lower case), in order, as raw bytes.
    pub fn raw(&self, name: &str) -> Vec<&[u8]> {
        let value = |line: &&'_ [u8]| line.iter().position(|byte| *byte == b':');
        let named = self.headers().into_iter().filter_map(|line| {
            let (key, rest) = line.split_at(value(&line)?);
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| rest[1..].strip_prefix(b" ").unwrap_or(&rest[1..]))
        });
        named.collect()
    }

    /// The same as text.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.raw(name).into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The value of a header that is there once.
    #[track_caller]
    pub fn one(&self, name: &str) -> String {
        let mut values = self.all(name);
        assert_eq!(values.len(), 1, "{name} in {:?}", String::from_utf8_lossy(&self.head));
        values.remove(0)
    }

    fn lines(&self) -> Vec<&[u8]> {
        let head = self.head.strip_suffix(b"\r\n\r\n").unwrap();
        let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.collect()
    }
}
