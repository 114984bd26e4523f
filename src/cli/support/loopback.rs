//! Finds out what the gateway does with one request: runs the gateway as `serve` does, with a sender and an upstream on
//! loopback.
//!
//! [`Config::on_loopback`] changes the addresses of the configuration, and removes settings that do not depend on the
//! request: allowed addresses, rates, TLS. The verdict is the gateway's own, from the first byte of the head to the last
//! byte of the body.
//!
//! The client here is not [`http1`](crate::http1)'s: it sends a captured head unchanged, also one that `http1` would not write.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::oneshot;

use super::handler::{Delivered, EmbeddedUpstream};
use crate::app::{self, Listeners};
use crate::clock::Clock;
use crate::config::Config;

/// A body longer than this is sent only after `100 Continue`, so that the gateway can refuse the request without it.
const SENT_AT_ONCE: usize = 16 << 10;
/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 64 << 10;

/// A request: its head, with lines that end in CRLF and without the empty line, and its body, as long as `Content-Length`
/// says.
pub struct Request {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

/// The verdict on a request.
pub enum Verdict {
    /// The upstream got it.
    Forwarded(Delivered),
    /// The gateway refused it.
    Refused {
        status: u16,
        /// A name of the closed list in `reject`.
        reason: String,
        /// The reason in a sentence.
        title: String,
    },
    /// The gateway answered the request itself: an endpoint challenge.
    Answered,
}

/// Runs requests through a gateway on loopback.
pub struct LoopbackGateway {
    upstream: EmbeddedUpstream,
}

impl LoopbackGateway {
    pub fn new() -> io::Result<Self> {
        Ok(Self { upstream: EmbeddedUpstream::start()? })
    }

    /// The verdict of a gateway with this configuration on the request, at the time of `clock`.
    pub fn judge(&self, config: Config, clock: Clock, request: &Request) -> io::Result<Verdict> {
        let config = config.on_loopback(self.upstream.address, PATIENCE);
        let listeners = app::bind(&config).map_err(io::Error::other)?;
        let address = first_address(&listeners)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let gateway = std::thread::Builder::new().name("gateway".to_owned());
        let gateway = gateway.spawn(move || app::run(config, listeners, clock, shutdown))?;
        let answer = exchange(address, request);
        drop(stop);
        let ended = gateway.join().map_err(|_| io::Error::other("the gateway's thread panicked"))?;
        ended.map_err(io::Error::other)?;
        self.verdict(answer?)
    }

    fn verdict(&self, (status, body): (u16, Vec<u8>)) -> io::Result<Verdict> {
        if let Some(delivered) = self.upstream.seen().pop() {
            return Ok(Verdict::Forwarded(delivered));
        }
        if (200..300).contains(&status) {
            return Ok(Verdict::Answered);
        }
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let text = |key: &str| Some(problem.as_ref()?.get(key)?.as_str()?.to_owned());
        match (text("reason"), text("title")) {
            (Some(reason), Some(title)) => Ok(Verdict::Refused { status, reason, title }),
            _ => Err(io::Error::other(format!("the gateway answered {status} without a reason"))),
        }
    }
}

fn first_address(listeners: &Listeners) -> io::Result<SocketAddr> {
    listeners.addresses().first().copied().ok_or_else(|| io::Error::other("no address is bound"))
}

/// Sends the request and reads the final response: its status and body.
fn exchange(address: SocketAddr, request: &Request) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let waits = request.body.len() > SENT_AT_ONCE;
    let mut first = request.head.clone();
    let asks = request.head.split(|byte| *byte == b'\n').any(|line| line.to_ascii_lowercase().starts_with(b"expect:"));
    first.extend_from_slice(if waits && !asks { b"Expect: 100-continue\r\n\r\n" } else { b"\r\n" });
    first.extend_from_slice(if waits { &[] } else { &request.body });
    stream.write_all(&first)?;
    let mut received = ResponseBuffer::default();
    loop {
        let (status, length) = received.head(&mut stream)?;
        if status == 100 && waits {
            stream.write_all(&request.body)?;
        }
        if status >= 200 {
            return Ok((status, received.take(&mut stream, length)?));
        }
    }
}

/// Bytes of the gateway's responses that have arrived and not been parsed.
#[derive(Default)]
struct ResponseBuffer(Vec<u8>);

impl ResponseBuffer {
    /// The status and `Content-Length` of the next response.
    fn head(&mut self, stream: &mut TcpStream) -> io::Result<(u16, usize)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(end) = response.parse(&self.0).map_err(io::Error::other)? {
                let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
                let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
                let status = response.code.unwrap_or_default();
                self.0.drain(..end);
                return Ok((status, length.unwrap_or_default()));
            }
            self.more(stream)?;
        }
    }

    fn take(&mut self, stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
        while self.0.len() < length {
            self.more(stream)?;
        }
        self.0.truncate(length);
        Ok(std::mem::take(&mut self.0))
    }

    fn more(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let before = self.0.len();
        let mut piece = [0; 8192];
        let count = stream.read(&mut piece)?;
        self.0.extend_from_slice(piece.get(..count).unwrap_or_default());
        if count == 0 || self.0.len() as u64 > MAX_RESPONSE {
            return Err(io::Error::other(format!("the gateway's answer ended after {before} bytes")));
        }
        Ok(())
    }
}
