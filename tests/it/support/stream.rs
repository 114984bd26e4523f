//! A connection of a test, on either side, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::http::ANSWER;

pub enum Stream {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// To the gateway, which calls itself `gateway.example`. The handshake comes with the first byte.
    pub fn connect_tls(address: SocketAddr, client: Arc<ClientConfig>) -> Self {
        Self::start_tls(Self::connect(address), client)
    }

    pub fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&address, ANSWER).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_write_timeout(Some(ANSWER)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The same on a connection that is there.
    pub fn start_tls(stream: TcpStream, client: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("gateway.example").unwrap();
        Self::Client(Box::new(StreamOwned::new(ClientConnection::new(client, name).unwrap(), stream)))
    }

    /// The other side of it.
    pub fn accept_tls(stream: TcpStream, server: Arc<ServerConfig>) -> Self {
        Self::Server(Box::new(StreamOwned::new(ServerConnection::new(server).unwrap(), stream)))
    }

    /// Goes through the handshake.
    pub fn handshake(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Client(stream) => stream.conn.complete_io(&mut stream.sock).map(drop),
            Self::Server(stream) => stream.conn.complete_io(&mut stream.sock).map(drop),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }

    /// Whether a client has resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        matches!(self, Self::Client(stream) if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// The protocol that TLS has agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Client(stream) => stream.conn.alpn_protocol(),
            Self::Server(stream) => stream.conn.alpn_protocol(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Client(stream) => stream.read(buf),
            Self::Server(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Client(stream) => stream.write(buf),
            Self::Server(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}
