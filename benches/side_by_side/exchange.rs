//! A closed loop of any protocol: each connection hands over the next delivery as soon as the last one is answered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::load::sockets::{Place, Sockets};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How deliveries are handed over.
pub struct Protocol {
    /// Prepares a connection that was just made, while it blocks.
    pub greet: fn(&mut TcpStream) -> io::Result<()>,
    /// Whether these bytes are a whole answer; an error if it is not the expected one.
    pub is_whole: fn(&[u8]) -> io::Result<bool>,
}

/// What came of a loop.
#[derive(Default)]
pub struct Exchanged {
    /// Answers.
    pub answers: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// From the first byte of a request to its whole answer, in order of time.
    pub latencies: Vec<Duration>,
}

/// One connection.
struct Exchange<'a> {
    stream: TcpStream,
    place: Place,
    /// What is left to write.
    left: &'a [u8],
    /// When it was begun; `None` while it is idle.
    begun: Option<Instant>,
    answer: Vec<u8>,
}

/// Connections that are ready to be used.
pub struct Connections(Vec<TcpStream>);

impl Connections {
    /// Makes them.
    pub fn open(address: SocketAddr, count: usize, protocol: &Protocol) -> io::Result<Self> {
        let open = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            (protocol.greet)(&mut stream)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        Ok(Self((0..count).map(|_| open()).collect::<io::Result<_>>()?))
    }

    /// These and others, which take turns with them.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Sends for this long, until the requests are used up if they are not to be repeated, and then until each answer is
    /// there. `load` is the upstream meanwhile.
    pub fn run(
        self,
        load: &mut Load,
        protocol: &Protocol,
        requests: &[Vec<u8>],
        repeats: bool,
        time: Duration,
    ) -> io::Result<Exchanged> {
        let start = Instant::now();
        let idle = |stream| {
            let place = load.sockets.add(&stream)?;
            Ok(Exchange { stream, place, left: &[], begun: None, answer: Vec::new() })
        };
        let mut exchanges = self.0.into_iter().map(idle).collect::<io::Result<Vec<Exchange<'_>>>>()?;
        let (mut buffer, mut exchanged) = (vec![0; 64 << 10], Exchanged::default());
        let mut next = 0;
        loop {
            let now = Instant::now();
            let open = now.duration_since(start) < time && (repeats || next < requests.len());
            let before = exchanged.answers;
            for exchange in &mut exchanges {
                if open && exchange.begun.is_none() && (repeats || next < requests.len()) {
                    exchange.left = &requests[next % requests.len()];
                    exchange.begun = Some(Instant::now());
                    next += 1;
                }
                if let Some(took) = exchange.step(protocol, &mut buffer, &mut load.sockets)? {
                    exchanged.answers += 1;
                    exchanged.latencies.push(took);
                }
            }
            let served = load.serve()?;
            if !open && exchanges.iter().all(|exchange| exchange.begun.is_none()) {
                break;
            }
            if now.duration_since(start) > time + PATIENCE {
                return Err(io::Error::new(ErrorKind::TimedOut, "answers are missing"));
            }
            load.sockets.look(!served && exchanged.answers == before)?;
        }
        exchanged.elapsed = start.elapsed();
        Ok(exchanged)
    }
}

impl Exchange<'_> {
    /// How long the exchange took, if it has just come to its end.
    fn step(&mut self, protocol: &Protocol, buffer: &mut [u8], sockets: &mut Sockets) -> io::Result<Option<Duration>> {
        let Some(begun) = self.begun else { return Ok(None) };
        if !self.left.is_empty() {
            match self.stream.write(self.left) {
                Ok(written) => self.left = &self.left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !sockets.take(self.place) {
            return Ok(None);
        }
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer")),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.answer.extend_from_slice(&buffer[..read]);
        if !(protocol.is_whole)(&self.answer)? {
            return Ok(None);
        }
        self.answer.clear();
        self.begun = None;
        Ok(Some(begun.elapsed()))
    }
}
