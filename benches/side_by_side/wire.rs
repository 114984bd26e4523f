//! What a sender's bytes go over: TCP alone, or TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use super::sockets::{Place, Sockets};
use hooklatch::crypto;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

/// A connection of a sender, which never blocks.
pub enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How senders speak TLS. It has the tickets that one gateway has given out.
#[derive(Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Whether they speak HTTP/2.
    pub is_http2: bool,
}

impl Secure {
    /// Senders with this version, which resume earlier sessions or not.
    pub fn new(version: &'static SupportedProtocolVersion, resumes: bool, is_http2: bool) -> io::Result<Self> {
        let provider = crypto::provider();
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            .with_no_client_auth();
        config.resumption =
            if resumes { Resumption::store(Arc::new(Tickets::default())) } else { Resumption::disabled() };
        if is_http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Self { config: Arc::new(config), name, is_http2 })
    }
}

impl Wire {
    /// A connection; its handshake goes on with the first writes and reads.
    pub fn connect(gateway: SocketAddr, secure: Option<&Secure>) -> io::Result<Self> {
        let stream = TcpStream::connect(gateway)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let Some(Secure { config, name, .. }) = secure else { return Ok(Self::Clear(stream)) };
        let tls = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, stream))))
    }

    /// Has the system watch it. TLS may hold bytes that the socket no longer has, so it is always tried.
    pub fn watch(&self, sockets: &mut Sockets) -> io::Result<Place> {
        match self {
            Self::Clear(stream) => sockets.add(stream),
            Self::Tls(_) => Ok(Place::default()),
        }
    }

    /// Whether its handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The sessions with one gateway. rustls' own store has eight tickets of a server, too few for senders that connect at once.
#[derive(Debug, Default)]
struct Tickets(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

impl Tickets {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap()
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.sessions().tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.sessions().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.sessions().tls13.push(session);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions().tls13.pop()
    }
}

/// Takes any certificate and any signature: what a sender computes is not measured.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
