//! The load: senders and upstream in one thread.
//!
//! On a core of its own it never sleeps: the wake-ups of a load generator that sleeps are charged to the gateway. Sockets are
//! polled in turn instead, which costs this thread's core and no other. Where it shares the gateway's cores, it sleeps, since
//! it would otherwise take from the gateway what it spins away.

#[path = "http2.rs"]
mod http2;
#[path = "sockets.rs"]
pub mod sockets;
#[path = "wire.rs"]
pub mod wire;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use http2::Http2;
use sockets::{Place, Sockets};
use wire::{Secure, Wire};

/// How long responses may take that are not measured.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long what was accepted may take to be delivered.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);
/// What the upstream answers to everything.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// An upstream, and senders that come and go.
pub struct Load {
    listener: TcpListener,
    listening: Place,
    upstream: Vec<Served>,
    buffer: Vec<u8>,
    /// The sockets of upstream and senders.
    pub sockets: Sockets,
    /// Requests that the upstream has answered.
    pub answered: u64,
    /// What else has its turn.
    pub others: Vec<Other>,
}

/// Does what it can now, with a buffer.
pub type Other = Box<dyn FnMut(&mut [u8]) -> io::Result<()>>;

/// One run.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The gateway.
    pub gateway: SocketAddr,
    /// How to speak TLS; `None`: in the clear.
    pub secure: Option<&'a Secure>,
    /// A whole request. If it has `Connection: close`, each has a connection of its own.
    pub request: &'a [u8],
    /// The status that every response must have.
    pub status: u16,
    /// Connections at the same time.
    pub connections: usize,
    /// How long to send for.
    pub time: Duration,
    /// Requests a second in all, evenly spaced; `None`: each connection sends as soon as it has its response.
    pub rate: Option<f64>,
}

/// Gives a delivery a connection of its own.
pub const CLOSING: &str = "Connection: close\r\n";

/// Connections that are there.
pub struct Senders(Vec<Sender>);

/// Requests that have been sent but for their last byte.
pub struct Held(Vec<Sender>);

/// What came of a run.
#[derive(Default)]
pub struct Count {
    /// Responses.
    pub responses: u64,
    /// Those on a connection that resumed an earlier session of TLS.
    pub resumed: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// From the moment at which a request was due to its whole response; only if the plan has a rate.
    pub latencies: Vec<Duration>,
}

/// A connection that the upstream serves.
struct Served {
    stream: TcpStream,
    place: Place,
    head: Vec<u8>,
    body_left: usize,
}

/// A sender's connection.
struct Sender {
    wire: Wire,
    place: Place,
    /// `None` with HTTP/1.1.
    http2: Option<Http2>,
    written: Option<usize>,
    due: Instant,
    response: Vec<u8>,
    closed: bool,
}

impl Load {
    /// An upstream on a free port.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            listening: Place::default(),
            upstream: Vec::new(),
            buffer: vec![0; 1 << 20],
            sockets: Sockets::default(),
            answered: 0,
            others: Vec::new(),
        })
    }

    /// Whether to sleep when there is nothing to do, as [`run`](Self::run), [`run_over`](Self::run_over) without a rate and
    /// [`serve_until`](Self::serve_until) can. Senders that are connected must not be used any more.
    pub fn sleeps(&mut self, sleeps: bool) -> io::Result<()> {
        self.sockets = if sleeps { Sockets::watched()? } else { Sockets::default() };
        self.listening = self.sockets.add(&self.listener)?;
        for served in &mut self.upstream {
            served.place = self.sockets.add(&served.stream)?;
        }
        Ok(())
    }

    /// Where the upstream is.
    pub fn upstream(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Sends until the time is over and every response is there.
    pub fn run(&mut self, plan: Plan<'_>) -> io::Result<Count> {
        let mut senders = self.connect(&plan)?;
        self.run_over(plan, &mut senders, plan.connections)
    }

    /// The same over connections that are there, of which this many at most wait for a response at the same time. All have
    /// their turn.
    pub fn run_over(&mut self, plan: Plan<'_>, Senders(senders): &mut Senders, in_flight: usize) -> io::Result<Count> {
        assert!(plan.rate.is_none() || !self.sockets.are_watched());
        let start = Instant::now();
        let in_flight = in_flight.min(senders.len());
        let interval = plan.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let mut count = Count::default();
        let (mut due, mut next) = (start, 0);
        let mut busy: Vec<usize> = Vec::new();
        let mut open = true;
        while open || !busy.is_empty() {
            let now = Instant::now();
            open = now.duration_since(start) < plan.time;
            late(start + plan.time + PATIENCE)?;
            while open && busy.len() < in_flight && (interval.is_none() || due <= now) {
                while senders[next].is_busy() {
                    next = (next + 1) % senders.len();
                }
                senders[next].start(if interval.is_some() { due } else { now });
                busy.push(next);
                next = (next + 1) % senders.len();
                due += interval.unwrap_or_default();
            }
            let before = count.responses;
            let mut at = 0;
            while at < busy.len() {
                let sender = &mut senders[busy[at]];
                if !sender.step(&plan, &mut self.buffer, &mut self.sockets)? {
                    at += 1;
                    continue;
                }
                busy.swap_remove(at);
                count.responses += 1;
                count.resumed += u64::from(sender.wire.is_resumed());
                if interval.is_some() {
                    count.latencies.push(Instant::now().duration_since(sender.due));
                }
                if sender.closed {
                    *sender = Sender::connect(&plan, now, &mut self.sockets)?;
                }
            }
            let served = self.serve()?;
            self.sockets.look(!served && count.responses == before)?;
        }
        count.elapsed = start.elapsed();
        Ok(count)
    }

    /// Sends these requests, one after the other, within the plan's time. Whenever sender and upstream have done what they can, the
    /// gateway has its `turn`. After each request it waits until the upstream has had `delivered` more of them, and until the
    /// gateway `rests`.
    pub fn exactly(
        &mut self,
        plan: Plan<'_>,
        requests: &[Vec<u8>],
        delivered: u64,
        turn: impl Fn() -> io::Result<()>,
        rests: impl Fn() -> bool,
    ) -> io::Result<()> {
        assert!(!self.sockets.are_watched());
        let deadline = Instant::now() + plan.time;
        let mut sender = Sender::connect(&plan, Instant::now(), &mut self.sockets)?;
        let mut answered = self.answered;
        for request in requests {
            let plan = Plan { request, ..plan };
            sender.start(Instant::now());
            answered += delivered;
            while !sender.step(&plan, &mut self.buffer, &mut self.sockets)? {
                self.serve()?;
                turn()?;
                late(deadline)?;
            }
            while self.answered < answered || !rests() {
                self.serve()?;
                turn()?;
                late(deadline)?;
            }
            if sender.closed {
                sender = Sender::connect(&plan, Instant::now(), &mut self.sockets)?;
            }
        }
        Ok(())
    }

    /// Opens connections, sends one request on each, and leaves them open.
    pub fn open_idle(&mut self, plan: Plan<'_>) -> io::Result<Vec<Wire>> {
        assert!(!self.sockets.are_watched());
        let mut idle = Vec::new();
        for _ in 0..plan.connections {
            let mut sender = Sender::connect(&plan, Instant::now(), &mut self.sockets)?;
            sender.start(Instant::now());
            while !sender.step(&plan, &mut self.buffer, &mut self.sockets)? {
                self.serve()?;
            }
            idle.push(sender.wire);
        }
        Ok(idle)
    }

    /// Sends one request on each connection, all but its last byte.
    pub fn hold(&mut self, plan: Plan<'_>) -> io::Result<Held> {
        assert!(!self.sockets.are_watched());
        let all = plan.request.len() - 1;
        let cut = Plan { request: &plan.request[..all], ..plan };
        let mut senders = Vec::new();
        for _ in 0..plan.connections {
            let mut sender = Sender::connect(&plan, Instant::now(), &mut self.sockets)?;
            sender.start(Instant::now());
            senders.push(sender);
        }
        let deadline = Instant::now() + PATIENCE;
        while senders.iter().any(|sender| sender.written != Some(all)) {
            for sender in &mut senders {
                if sender.step(&cut, &mut self.buffer, &mut self.sockets)? {
                    return Err(io::Error::other("a response before the request's end"));
                }
            }
            late(deadline)?;
        }
        Ok(Held(senders))
    }

    /// Sends the last bytes, and waits for every response.
    pub fn finish(&mut self, plan: Plan<'_>, Held(mut senders): Held) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while senders.iter().any(Sender::is_busy) {
            for sender in &mut senders {
                sender.step(&plan, &mut self.buffer, &mut self.sockets)?;
            }
            self.serve()?;
            late(deadline)?;
        }
        Ok(())
    }

    /// Serves until so many requests have been answered in all, [`DELIVERED_WITHIN`] at most.
    pub fn serve_until(&mut self, answered: u64) -> io::Result<()> {
        let deadline = Instant::now() + DELIVERED_WITHIN;
        while self.answered < answered {
            let served = self.serve()?;
            self.sockets.look(!served)?;
            if Instant::now() > deadline {
                let missing = answered - self.answered;
                return Err(io::Error::other(format!("{missing} deliveries were accepted and did not arrive")));
            }
        }
        Ok(())
    }

    /// Does what the upstream can do now, and says whether it answered anything.
    pub fn serve(&mut self) -> io::Result<bool> {
        if self.sockets.take(self.listening)
            && let Some((stream, _)) = ready(self.listener.accept())?
        {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.sockets.add(&stream)?;
            self.upstream.push(Served { stream, place, head: Vec::new(), body_left: 0 });
        }
        let (buffer, sockets) = (&mut self.buffer, &mut self.sockets);
        for other in &mut self.others {
            other(buffer)?;
        }
        let before = self.answered;
        let answered = &mut self.answered;
        self.upstream
            .retain_mut(|served| !sockets.take(served.place) || served.step(buffer, answered).unwrap_or(false));
        Ok(self.answered > before)
    }

    /// As many senders as the plan says.
    pub fn connect(&mut self, plan: &Plan<'_>) -> io::Result<Senders> {
        let connect = |_| Sender::connect(plan, Instant::now(), &mut self.sockets);
        (0..plan.connections).map(connect).collect::<io::Result<_>>().map(Senders)
    }
}

impl Served {
    /// Whether the connection is still open.
    fn step(&mut self, buffer: &mut [u8], answered: &mut u64) -> io::Result<bool> {
        let Some(read) = ready(self.stream.read(buffer))? else { return Ok(true) };
        if read == 0 {
            return Ok(false);
        }
        let mut bytes = &buffer[..read];
        while !bytes.is_empty() {
            if self.body_left == 0 {
                self.head.extend_from_slice(bytes);
                let Some(end) = find(&self.head, b"\r\n\r\n") else { return Ok(true) };
                self.body_left = content_length(&self.head[..end]);
                let taken = end + 4 - (self.head.len() - bytes.len());
                bytes = &bytes[taken..];
                self.head.clear();
            }
            let taken = bytes.len().min(self.body_left);
            self.body_left -= taken;
            bytes = &bytes[taken..];
            if self.body_left == 0 {
                self.stream.write_all(ANSWER)?;
                *answered += 1;
            }
        }
        Ok(true)
    }
}

impl Sender {
    fn connect(plan: &Plan<'_>, now: Instant, sockets: &mut Sockets) -> io::Result<Self> {
        let wire = Wire::connect(plan.gateway, plan.secure)?;
        let place = wire.watch(sockets)?;
        let http2 = plan.secure.filter(|secure| secure.is_http2).map(|_| Http2::new());
        Ok(Self { wire, place, http2, written: None, due: now, response: Vec::new(), closed: false })
    }

    fn is_busy(&self) -> bool {
        self.written.is_some()
    }

    fn start(&mut self, due: Instant) {
        self.written = Some(0);
        self.due = due;
    }

    /// Whether a response has come to its end.
    fn step(&mut self, plan: &Plan<'_>, buffer: &mut [u8], sockets: &mut Sockets) -> io::Result<bool> {
        let Some(mut written) = self.written else { return Ok(false) };
        if let Some(http2) = &mut self.http2 {
            if written == 0 {
                http2.begin(plan.request)?;
                self.written = Some(plan.request.len());
            }
            let is_complete = http2.step(&mut self.wire, buffer)?;
            self.written = self.written.filter(|_| !is_complete);
            return Ok(is_complete);
        }
        if written < plan.request.len() {
            match self.wire.write(&plan.request[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A refusal may close the connection before all of the request is sent; the response still counts.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    written = plan.request.len();
                }
                Err(error) => return Err(error),
            }
            self.written = Some(written);
        }
        if !sockets.take(self.place) {
            return Ok(false);
        }
        let Some(read) = ready(self.wire.read(buffer))? else { return Ok(false) };
        if read == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the gateway closed without a response"));
        }
        self.response.extend_from_slice(&buffer[..read]);
        let Some(end) = find(&self.response, b"\r\n\r\n") else { return Ok(false) };
        let head = self.response[..end].to_ascii_lowercase();
        let body = &self.response[end + 4..];
        let complete = if find(&head, b"transfer-encoding: chunked").is_some() {
            find(body, b"0\r\n\r\n").is_some()
        } else {
            body.len() >= content_length(&head)
        };
        if !complete {
            return Ok(false);
        }
        let status: u16 =
            head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok()).unwrap_or(0);
        if status != plan.status {
            let text = String::from_utf8_lossy(&self.response).into_owned();
            return Err(io::Error::other(format!("expected {}, got: {text}", plan.status)));
        }
        self.closed = find(&head, b"connection: close").is_some() || written < plan.request.len();
        self.response.clear();
        self.written = None;
        Ok(true)
    }
}

fn late(deadline: Instant) -> io::Result<()> {
    if Instant::now() < deadline { Ok(()) } else { Err(io::Error::new(ErrorKind::TimedOut, "responses are missing")) }
}

/// `None` if the socket is not ready.
pub fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The CPU time of this thread.
pub fn own_cpu() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let time = stat.split_whitespace().next().and_then(|time| time.parse().ok());
    Ok(Duration::from_nanos(time.ok_or_else(|| io::Error::other("no schedstat"))?))
}

/// Whether a request wants a connection of its own.
pub fn closes(request: &[u8]) -> bool {
    find(request, CLOSING.as_bytes()).is_some()
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
