//! The listener for operators: `/metrics`, `/livez`, `/readyz`, `/config`.
//!
//! Every other path is 404. There is no authentication: bind it to an address that only operators can reach. The default is
//! loopback.
//!
//! hyper serves it rather than [`http1`](crate::http1): a web page comes to this listener, and its router builds on hyper.

mod summary;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::net::ACCEPT_PAUSE;

pub use summary::summary;

/// The time to receive a whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The body of a 404.
const NOT_FOUND: &[u8] = b"not found: try /metrics, /livez, /readyz or /config\n";

/// The data that the admin listener serves.
pub struct AdminService {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/config`: JSON without secrets, see [`summary`].
    pub summary: Box<dyn Fn() -> String>,
    /// For `/readyz`: whether the gateway takes deliveries.
    pub ready: Box<dyn Fn() -> bool>,
}

/// Serves `admin` on `listener`, until dropped.
pub async fn serve(listener: TcpListener, admin: AdminService) {
    let admin = Rc::new(admin);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let admin = admin.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let response = admin.answer(request.method(), request.uri().path());
            async { Ok::<_, Infallible>(response) }
        });
        tokio::task::spawn_local(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

impl AdminService {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, kind, text) = match path {
            "/metrics" => match self.metrics.encode() {
                Ok(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()),
                Err(error) => {
                    tracing::error!(%error, "cannot encode the metrics");
                    (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Bytes::from_static(b"cannot encode\n"))
                }
            },
            "/livez" => (StatusCode::OK, "text/plain", Bytes::from_static(b"alive\n")),
            "/readyz" if (self.ready)() => (StatusCode::OK, "text/plain", Bytes::from_static(b"ready\n")),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", Bytes::from_static(b"starting or draining\n")),
            "/config" => (StatusCode::OK, "application/json", (self.summary)().into()),
            _ => (StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(NOT_FOUND)),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        if status != StatusCode::NOT_FOUND && method != Method::GET && method != Method::HEAD {
            response = Response::new(Full::from(Bytes::from_static(b"method not allowed\n")));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
