//! HTTP/2 to the gateway: a client that behaves, and a connection on which a test writes the frames itself.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::Full;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::http::ANSWER;
use super::stream::Stream;

/// A connection of hyper's.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An answer that is under way; `None` if the stream or the connection ended instead.
pub struct Pending(Receiver<Option<Answer>>);

/// Frames, written and read one by one (RFC 9113 section 4.1).
pub struct Frames(Stream);

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl Client {
    /// Connects; `config` must offer `h2`.
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let name = ServerName::try_from("gateway.example").unwrap();
            let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Sends a request and does not wait.
    pub fn start(&self, request: Request<Vec<u8>>) -> Pending {
        let (answered, pending) = sync_channel(1);
        let mut sender = self.sender.clone();
        let request = request.map(|body| Full::from(Bytes::from(body)));
        self.runtime.spawn(async move {
            let answer = async {
                sender.ready().await.ok()?;
                let (head, body) = sender.send_request(request).await.ok()?.into_parts();
                let mut body = std::pin::pin!(body);
                let mut read = Vec::new();
                while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    read.extend(frame.ok()?.into_data().unwrap_or_default());
                }
                Some(Answer { status: head.status.as_u16(), headers: head.headers, body: read })
            };
            let _ = answered.send(answer.await);
        });
        Pending(pending)
    }

    /// Whether the gateway has ended the connection, or said that it will.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Pending {
    #[track_caller]
    pub fn wait(self) -> Answer {
        self.outcome().expect("an answer")
    }

    #[track_caller]
    pub fn outcome(self) -> Option<Answer> {
        self.0.recv_timeout(ANSWER).expect("neither an answer nor an end")
    }
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Frames {
    /// Connects and exchanges the settings (RFC 9113 section 3.4).
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let mut stream = Stream::connect_tls(address, config);
        stream.handshake().unwrap();
        assert_eq!(stream.alpn(), Some(&b"h2"[..]));
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Self(stream);
        frames.write(SETTINGS, 0, 0, b"").unwrap();
        frames.until(|frame| frame.kind == SETTINGS && frame.flags == ACK).expect("the settings are acknowledged");
        frames.write(SETTINGS, ACK, 0, b"").unwrap();
        frames
    }

    /// Writes a frame; an error if the gateway has closed.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let frame = encode(kind, flags, stream, payload);
        self.write_all(&frame)
    }

    /// The stream under it.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.0
    }

    /// Writes encoded frames.
    pub fn write_all(&mut self, frames: &[u8]) -> std::io::Result<()> {
        self.0.write_all(frames)?;
        self.0.flush()
    }

    /// The next frame; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, s @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(s) & 0x7fff_ffff, payload })
    }

    /// The first frame that is so; `None` if the connection ends before.
    pub fn until(&mut self, is_so: impl Fn(&Frame) -> bool) -> Option<Frame> {
        std::iter::from_fn(|| self.read()).find(|frame| is_so(frame))
    }

    /// The error code of the GOAWAY that must come, or `None` if the connection ends without.
    pub fn goaway(&mut self) -> Option<u32> {
        let frame = self.until(|frame| frame.kind == GOAWAY)?;
        Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()))
    }
}

/// A frame's bytes.
pub fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2).
pub fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A length of seven bits and what goes beyond (RFC 7541 section 5.1).
fn integer(value: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = value.checked_sub(127) else { return block.push(u8::try_from(value).unwrap()) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}
