//! The operator's side, on a listener of its own: `/metrics`, `/livez`, `/readyz`, `/config`.
//!
//! Everything else is 404. There is no authentication: bind it where only operators reach it, as is the default.

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

use crate::config::{ClientTls, Config, Identity, Networks, Otlp, Roots};
use crate::metrics::Metrics;

/// How long a connection may wait for a whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long accepting pauses after an error of the system.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For whoever looks around.
const NOT_FOUND: &[u8] = b"not found: here are /metrics, /livez, /readyz and /config\n";

/// What the admin listener tells.
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/config`: JSON without secrets, see [`summary`].
    pub summary: Box<dyn Fn() -> String>,
    /// For `/readyz`: whether the gateway takes deliveries.
    pub ready: Box<dyn Fn() -> bool>,
}

/// Serves `admin` on `listener`, until dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
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

/// A configuration as JSON, without any secret: only their ids.
pub fn summary(config: &Config) -> serde_json::Value {
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            serde_json::json!({
                "name": route.name,
                "path": route.path.to_string(),
                "host": route.host,
                "scheme": route.scheme.name,
                "signed_content": route.scheme_options.signed_content,
                "match_payload": route.scheme_options.match_payload,
                "secrets": route.secret_ids,
                "upstream": route.upstream.to_string(),
                "connect_timeout_seconds": route.upstream.connect_timeout.as_secs_f64(),
                "resend": route.upstream.resend,
                "host_header": route.upstream.host_header.as_str(),
                "upstream_tls": route.upstream.certificates.as_ref().map(client_tls),
                "allowed_ips": texts(&route.allowed_ips),
                "methods": route.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
                "enforce": route.enforce,
                "reject_status": route.reject_status.as_u16(),
                "max_body_bytes": route.max_body,
                "body_timeout_seconds": route.body_timeout.as_secs_f64(),
                "max_in_flight": route.max_in_flight,
                "rate_limit": route.rate_limit.map(|limit| {
                    serde_json::json!({ "per_second": limit.per_second, "burst": limit.burst })
                }),
                "timeout_seconds": route.timeout.as_secs_f64(),
            })
        })
        .collect();
    serde_json::json!({
        "version": crate::VERSION,
        "revision": crate::REVISION,
        "server": {
            "listen": config.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tls": config.server.tls.as_ref().map(|tls| serde_json::json!({
                "certificate": tls.identity.fingerprint(),
                "client_ca": tls.client_ca.as_ref().map(Roots::fingerprint),
            })),
            "trusted_proxies": texts(&config.server.trusted_proxies),
            "proxy_protocol": config.server.proxy_protocol,
            "threads": config.server.threads,
            "max_connections": config.server.max_connections,
            "header_timeout_seconds": config.server.header_timeout.as_secs_f64(),
            "idle_timeout_seconds": config.server.idle_timeout.as_secs_f64(),
            "max_header_bytes": config.server.max_header_bytes,
            "buffered_bytes": config.server.buffered_bytes,
            "shutdown_grace_seconds": config.server.shutdown_grace.as_secs_f64(),
            "access_log": config.server.access_log.as_str(),
        },
        "admin": { "listen": config.admin.listen.to_string() },
        "telemetry": { "otlp": config.telemetry.as_ref().map(otlp) },
        "routes": routes,
    })
}

fn otlp(otlp: &Otlp) -> serde_json::Value {
    serde_json::json!({
        "endpoint": otlp.endpoint.to_string(),
        "headers": otlp.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "tls": otlp.endpoint.certificates.as_ref().map(client_tls),
        "timeout_seconds": otlp.timeout.as_secs_f64(),
        "sample": otlp.sample,
        "service_name": otlp.service_name,
        "context_from": otlp.context_from.as_str(),
    })
}

fn client_tls(tls: &ClientTls) -> serde_json::Value {
    serde_json::json!({
        "ca": tls.ca.as_ref().map(Roots::fingerprint),
        "client_certificate": tls.identity.as_ref().map(Identity::fingerprint),
    })
}

fn texts(networks: &Networks) -> Vec<String> {
    networks.iter().map(|network| network.to_string()).collect()
}

impl Admin {
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
