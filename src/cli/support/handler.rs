//! An upstream inside this process: accepts every request and keeps it for inspection.
//!
//! hyper serves it rather than [`http1`](crate::http1): it stands for a handler, so another parser must read what the gateway
//! forwards.

use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::app;
use crate::lock::lock;

/// An HTTP server on a free port of the loopback address. It runs until the process ends.
pub struct EmbeddedUpstream {
    pub address: SocketAddr,
    seen: Seen,
}

/// The requests since the last call of [`EmbeddedUpstream::seen`].
type Seen = Arc<Mutex<Vec<Delivered>>>;

/// A request as the upstream received it.
pub struct Delivered {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl EmbeddedUpstream {
    pub fn start() -> io::Result<Self> {
        let socket = net::TcpListener::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        let seen = Seen::default();
        let kept = seen.clone();
        std::thread::Builder::new().name("upstream".to_owned()).spawn(move || serve(socket, &kept))?;
        Ok(Self { address, seen })
    }

    /// Takes the requests that have arrived since the last call.
    pub fn seen(&self) -> Vec<Delivered> {
        std::mem::take(&mut *lock(&self.seen))
    }
}

impl Delivered {
    /// The value of a header, if it is present and ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn verified(&self) -> &str {
        self.header("hooklatch-verified").unwrap_or("not set")
    }
}

fn serve(socket: net::TcpListener, seen: &Seen) {
    let Ok(runtime) = app::runtime() else { return };
    runtime.block_on(async {
        let Ok(listener) = TcpListener::from_std(socket) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            let service = service_fn(move |request| receive(request, seen.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(async move { drop(connection.await) });
        }
    });
}

async fn receive(request: Request<Incoming>, seen: Seen) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, incoming) = request.into_parts();
    let mut incoming = std::pin::pin!(incoming);
    let mut body = Vec::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| incoming.as_mut().poll_frame(cx)).await {
        body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    lock(&seen).push(Delivered { headers: parts.headers, body });
    Ok(Response::new(Full::from(Bytes::from_static(b"handled\n"))))
}
