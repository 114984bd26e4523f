//! Accepts connections of operators, and serves HTTP/1.1 on them.
//!
//! hyper serves it rather than [`http1`](crate::http1): the router builds on hyper, and deliveries do not pass here.

use std::convert::Infallible;
use std::io;
use std::net;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tower::ServiceExt as _;

use super::guard::host::{LocalAddress, PeerAddress};
use super::{AdminContext, hours, router};
use crate::net::ACCEPT_PAUSE;
use crate::priority::give_way;

/// The time to receive a whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The longest request head in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Bytes that wait in the kernel for a slow client: the streams of events find out soon that one does not read.
const SEND_BUFFER: usize = 64 << 10;
/// Open connections; further ones are closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// Threads for work that takes long to compute.
const BLOCKING_THREADS: usize = 4;

/// The running admin listener; it ends when this is dropped.
pub struct AdminServer {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Serves `context` on `listener`, on a thread of its own.
    ///
    /// # Errors
    /// The system gives no thread or no file descriptors.
    pub fn start(listener: net::TcpListener, context: AdminContext) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            give_way();
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => tokio::select! {
                        () = serve(listener, Arc::new(context)) => {}
                        _ = stopped => {}
                    },
                    Err(error) => tracing::error!(%error, "cannot serve the admin listener"),
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the admin listener has panicked");
        }
    }
}

async fn serve(listener: TcpListener, context: Arc<AdminContext>) {
    tokio::spawn(hours::sample(context.clone()));
    let router = router::router(context);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = connections.clone().try_acquire_owned() else {
            tracing::debug!("too many admin connections");
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, router).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    if let Err(error) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER) {
        tracing::debug!(%error, "cannot bound the buffer of an admin connection");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(LocalAddress(local));
        request.extensions_mut().insert(PeerAddress(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "admin connection ended");
    }
}
